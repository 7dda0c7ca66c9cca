"""What training hands to a study: a summary of a trained target, written beside it.

Must know neither scans nor grids.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

MODEL_FILE = "model.safetensors"
IMAGES_FILE = "images.npz"
SUMMARY_FILE = "training.json"
LOG_FILE = "training.jsonl"
SETTINGS_FILE = "train.toml"


class TrainingSummary(BaseModel):
    """How training ended.

    Attributes:
        status: `stationary` (the residual is at most the tolerance), `loss_reached`, `stopped_early` (no better
            held-out score), `no_descent_left` (no step lowers the loss in this arithmetic) or `epochs_used_up`.
        images: trained on; `controls` written beside them; `held_out` images that the accuracy is measured on.
        outputs: of the network; `parameters` its weights and biases.
        epochs: passes over the data, or steps of L-BFGS.
        loss: mean over the training images, without the weight decay.
        accuracy: share of the training images on the right side, in [0, 1]; None for regression.
        held_out_accuracy: the same of images that it was not trained on; None for regression or where there are none.
        held_out_loss: mean loss on them; None where there are none.
        residual: `‖∇(loss + λ/2 ‖θ‖²)‖ / (λ ‖θ‖)` at the end, 0 at a stationary point; without weight decay
            `‖∇ loss‖ / ‖θ‖`.
        epsilon: of (ε, δ) differential privacy with `delta`; None without DP-SGD.
        seconds: of training.
        fingerprint: of settings, images and versions: what is finished is not trained again where it is the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: str
    images: int
    controls: int
    held_out: int
    outputs: int
    parameters: int
    epochs: int
    loss: float
    accuracy: float | None
    held_out_accuracy: float | None
    held_out_loss: float | None
    residual: float
    epsilon: float | None = None
    delta: float | None = None
    seconds: float
    fingerprint: str = ""


@dataclass(frozen=True)
class TrainedTarget:
    """A trained network and the files it is in.

    Attributes:
        model: the checkpoint; its mean image lies beside it.
        images: `.npz` with `member_images`, `member_labels`, `control_images` and `control_labels`, which a scan reads
            as `FILE:member` and `FILE:control`.
        summary: how training ended.
    """

    model: Path
    images: Path
    summary: TrainingSummary
