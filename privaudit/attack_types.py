"""What goes into an attack and what comes out of it. Must not know training images."""

from dataclasses import dataclass

from torch import Tensor

from privaudit.objectives.column_span import ColumnSpan
from privaudit.objectives.equation import AbstractEquation
from privaudit.objectives.feature_span import FeatureSpan
from privaudit.objectives.interface import AttackerKnowledge
from privaudit.objectives.tied_equation import TiedEquation
from privaudit.reconstructions import Reconstructions


@dataclass(frozen=True)
class Searches:
    """What is attacked with what.

    Attributes:
        equation: the multiplier equation, or None where it does not apply.
        feature_span: or None.
        n_images: estimated number of training images.
        n_outputs: K.
        knowledge: to turn inputs into pixels.
        tied: the equation with multipliers tied to the loss, or None where loss or weight decay are not known.
        judge: of single images in the span of a first layer, or None.
    """

    equation: AbstractEquation | None
    feature_span: FeatureSpan | None
    n_images: int
    n_outputs: int
    knowledge: AttackerKnowledge
    tied: TiedEquation | None = None
    judge: ColumnSpan | None = None


@dataclass(frozen=True)
class RunSummary:
    """One objective's share of the attack; fields as in `privaudit.result.AttackRun`."""

    objective: str
    status: str
    restarts: int
    steps: int
    candidates: int
    reconstructions: int
    seconds: float
    loss: float | None
    explained: float | None


@dataclass(frozen=True)
class Snapshot:
    """All that would have been handed on after `seconds` of attack: (M, C, H, W) pixels."""

    seconds: float
    pixels: Tensor


@dataclass(frozen=True)
class AttackOutcome:
    """What the attack hands on.

    Attributes:
        reconstructions: images.
        runs: one an objective.
        history: snapshots in time, the last is `reconstructions`.
        is_interrupted: the user stopped it; what was finished is here.
        seconds: of wall clock.
    """

    reconstructions: Reconstructions
    runs: tuple[RunSummary, ...]
    history: tuple[Snapshot, ...]
    is_interrupted: bool
    seconds: float
