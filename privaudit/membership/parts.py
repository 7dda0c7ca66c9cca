"""Per-image statistics from weights alone: row spaces and kinks.

In: linear layers and images. Out: one score an image and statistic; higher is more member-like, any real number. Must
know neither labels nor which images are members.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct
from torch import Tensor

from privaudit.spans import LinearSite, noise_deviation

_BLOCK = 1024
_LEAST_DISTANCE = 1e-12  # of a share outside a span: below it float32 weights say nothing

# The smoothness prior. Chosen on the seed-0 networks of benchmarks/membership.py and cifar10-bce-50; RESULTS.md lists
# what else was tried.
_ROUGHNESS_FLOOR = 0.005  # added to the Laplacian's eigenvalues, which go up to 8
_COLOUR_SHARE = 0.3  # variance of a colour difference relative to that of the channels' mean
_PRIOR_WEIGHT = 10.0  # of images against noise in the rows' prior covariance

BAND = 3e-4  # of |w·x + b| / (‖w‖ ‖x‖): METHOD 3 found kinks within 1e-3 of pre-activations
WIDE = 10.0  # the wider band, in bands


def span_distance(site: LinearSite, rank: int, inputs: Tensor) -> NDArray[np.float64]:
    """`‖f − V Vᵀ f‖ / ‖f‖` of (N, C, H, W) network inputs, f what enters the layer; (N,) in [0, 1].

    In float64: members of a network trained to the end lie 1e-4 outside.
    """
    span = torch.linalg.svd(site.weight.double(), full_matrices=False)[2][:rank]

    def distance(features: Tensor) -> Tensor:
        return _ratio((features - (features @ span.T) @ span).norm(dim=1), features.norm(dim=1))

    return _by_block(site, inputs, distance)


def whitened_distance(site: LinearSite, inputs: Tensor) -> NDArray[np.float64]:
    """The soft and whitened share outside the row space, for spectra without a cliff; (N,) in [0, 1].

    The rows of a layer are mixtures of training images plus the noise of the initialisation, so their prior covariance
    is `R = σ² I + t S` with S that of natural images and t from the norm of the weights. In `y = R^(−1/2) x` other
    images lie in no direction in particular (in pixels a smooth image is near to every span of images). There, with
    `W R^(−1/2) = U s Vᵀ` of h rows and noise σ', the log-likelihood ratio of `N(0, V s² Vᵀ / h)` against `N(0, σ'² I)`
    weighs direction k by `1 − h σ'² / s_k²`; the distance is `sqrt(1 − Σ_k weight_k (v_k·y)² / ‖y‖²)`.

    Args:
        site: sees the inputs themselves.
        inputs: (N, C, H, W).
    """
    shape = (int(inputs.shape[1]), int(inputs.shape[2]), int(inputs.shape[3]))
    weight = to_frequencies(site.weight.double(), shape)
    n_rows, n_inputs = weight.shape
    noise = noise_deviation(torch.linalg.svdvals(weight).cpu().numpy(), n_rows, n_inputs) ** 2
    power = float(weight.square().sum()) / n_rows
    # A thousandth of the power: a layer of pure noise would make the images' share of the prior negative.
    images = _PRIOR_WEIGHT * max(power - n_inputs * noise, 1e-3 * power)
    whitener = (noise + images * natural_variance(shape).to(weight)).rsqrt()
    _, singular, span = torch.linalg.svd(weight * whitener, full_matrices=False)
    left = n_rows * noise_deviation(singular.cpu().numpy(), n_rows, n_inputs) ** 2
    weights = (1 - left / singular.square().clamp_min(1e-300)).clamp_min(0)

    def distance(features: Tensor) -> Tensor:
        white = to_frequencies(features, shape) * whitener
        inside = (white @ span.T).square() @ weights
        return (1 - _ratio(inside, white.square().sum(1), 0.0)).clamp_min(0).sqrt()

    return _by_block(site, inputs, distance)


def natural_variance(shape: tuple[int, int, int]) -> Tensor:
    """(C·H·W,) prior variances of images in the coordinates of `to_frequencies`, sum 1.

    Inverse of the Laplacian form that METHOD 3c uses (natural images have power spectra near 1/f², Field 1987), times a
    share for colour differences. Measured on no data of the audit, so controls stay exchangeable with non-members.
    """
    channels, height, width = shape
    down, across = (2 - 2 * torch.cos(torch.pi * torch.arange(n, dtype=torch.float64) / n) for n in (height, width))
    variance = 1 / (down[:, None] + across[None, :] + _ROUGHNESS_FLOOR)
    colours = torch.tensor([1.0] + [_COLOUR_SHARE] * (channels - 1), dtype=torch.float64)
    full = (colours[:, None, None] * variance).flatten()
    return full / full.sum()


def to_frequencies(rows: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(N, C·H·W) images or weights to orthonormal coordinates of the same shape that are uncorrelated in images.

    Channels become their mean and its complement, rows and columns of the grid a cosine transform (DCT-II).
    """
    channels, height, width = shape
    mean_first = torch.eye(channels, dtype=torch.float64)
    mean_first[:, 0] = 1
    colour = torch.linalg.qr(mean_first)[0].T.to(rows)
    grid = torch.einsum("kc,nchw->nkhw", colour, rows.reshape(-1, *shape))
    frequencies: Tensor = cosine_basis(height).to(rows) @ grid @ cosine_basis(width).to(rows).T
    return frequencies.flatten(1)


def cosine_basis(n: int) -> Tensor:
    """(n, n) orthonormal DCT-II: row k is `cos(π k (i + 1/2) / n)`, normalised."""
    return torch.from_numpy(dct(np.eye(n), axis=0, norm="ortho"))


def kink_excess(site: LinearSite, inputs: Tensor) -> NDArray[np.float64]:
    """Surplus of pre-activations on the kink of the ReLU behind a layer, in standard deviations; (N,).

    Training with weight decay pushes pre-activations of training images onto the kink (METHOD 3), whatever the rank.
    With `a_j = |w_j·f + b_j| / (‖w_j‖ ‖f‖)` and `K(ε) = Σ_j 1 / (1 + (a_j / ε)²)`, a soft count within ε of zero, a
    density without a peak has `K(ε) = K(10 ε) / 10`: returned is `(K(ε) − K(10 ε) / 10) / sqrt(K(10 ε) / 10 + 1)`, a
    Poisson deviation. Scales of neurons and images drop out.
    """
    weight = site.weight.double()
    norms = weight.norm(dim=1)
    bias = 0.0 if site.bias is None else site.bias.double()

    def excess(features: Tensor) -> Tensor:
        scale = norms * features.norm(dim=1, keepdim=True)
        nearness = _ratio((features @ weight.T + bias).abs(), scale, torch.inf)
        near, wide = ((1 / (1 + (nearness / band) ** 2)).sum(1) for band in (BAND, WIDE * BAND))
        return poisson_excess(near, wide)

    return _by_block(site, inputs, excess)


def poisson_excess(near: Tensor, wide: Tensor) -> Tensor:
    """Standard deviations by which counts in the band exceed a tenth of those in the wide one; any shape."""
    return (near - wide / WIDE) / (wide / WIDE + 1).sqrt()


def log_nearness(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """`−log` of a share in [0, 1]: higher is more member-like, and orders of magnitude become steps."""
    return -np.log(np.maximum(distance, _LEAST_DISTANCE))


def _ratio(part: Tensor, whole: Tensor, of_nothing: float = 1.0) -> Tensor:
    """`part / whole`; `of_nothing` where whole is 0.

    An image without features (all zeros) is in every span and on every kink and says nothing: as far as can be.
    """
    return torch.where(whole > 0, part / whole.clamp_min(1e-300), of_nothing)


def _by_block(site: LinearSite, inputs: Tensor, statistic: Callable[[Tensor], Tensor]) -> NDArray[np.float64]:
    """`statistic` of the features (n, n_in), float64, of all inputs; (N,)."""
    found = []
    with torch.no_grad():
        for block in torch.split(inputs, _BLOCK):
            found.append(statistic(site.features(block.to(site.weight)).double()))
    return torch.cat(found).cpu().numpy()
