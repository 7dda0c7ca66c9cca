"""The one definition of structural similarity that every number of privaudit uses.

SSIM is not one number: window, border, data range and rescaling change it by 0.1 and more (METHOD 4.5), so the
definition is frozen here and printed in every report.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

PUBLISHED_THRESHOLD = 0.4
"""What the literature calls a good reconstruction (Haim et al. 2022, Buzaglo et al. 2023)."""


@dataclass(frozen=True)
class SsimSpec:
    """scikit-image's `structural_similarity` with a uniform window, on pixels clipped to [0, 1], no rescaling.

    Attributes:
        window: side in pixels, odd; smaller images use the largest odd side that fits.
        data_range: of the pixels.
    """

    window: int = 7
    data_range: float = 1.0

    def describe(self) -> str:
        """The definition in one sentence."""
        return (
            f"scikit-image structural_similarity, {self.window}×{self.window} uniform window, data range "
            f"{self.data_range:g}, mean over channels, pixels clipped to [0, 1], no rescaling; best of the "
            "3 reconstructions nearest by normalised cross-correlation"
        )

    def score(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
        """SSIM of two (C, H, W) images, in [-1, 1]; 1 for equal images."""
        height, width = first.shape[1:]
        side = min(self.window, height - (height + 1) % 2, width - (width + 1) % 2)
        a, b = np.clip(first, 0, self.data_range), np.clip(second, 0, self.data_range)
        score: float = structural_similarity(a, b, win_size=side, channel_axis=0, data_range=self.data_range)  # type: ignore[no-untyped-call]
        return float(score)


FROZEN = SsimSpec()
