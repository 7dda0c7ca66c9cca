"""What can be attacked in a network and why not, before anything is attacked.

In: an `AttackTarget` and metadata. Out: spectra of its linear layers, the estimated number of training images, the
equation that fits, whether the network is homogeneous. Knows a reference only for one number, the share of the first
layer that the reference explains, which no later stage of the attack receives.
"""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from privaudit.adapters.interface import AttackTarget
from privaudit.applicability import normalisations, structure, training
from privaudit.errors import ConfigError
from privaudit.networks import ReluMlp
from privaudit.objectives.module_equation import refusal as module_equation_refusal
from privaudit.spans import TELLING_WIDTH, Cut, LinearSite, cut_spectrum, linear_sites

_CUT_LIMIT = 64_000_000  # entries of a weight above which a spectrum takes minutes here
_UNSHARP_ALLOWANCE = 1.25  # without a cliff, directions just below the noise edge still carry images (METHOD 3a, bce)
_LOGISTIC = ("logistic", "bce", "binary cross", "binary_cross")
_SQUARED = ("mse", "squared", "mean square")
_TIED_REASON = "Its multipliers are tied to the {loss} loss and the weight decay of {decay:g} that the metadata name."
_NORMALISED = (
    "behind a normalisation the scale of a weight has no effect, so the weights are no weighted sum of gradients."
)
_CROSS_ENTROPY = ("cross_entropy", "cross-entropy", "cross entropy", "nll")


@dataclass(frozen=True)
class Stationarity:
    """What the metadata say about the point at which training stopped.

    Attributes:
        loss: key of `privaudit.objectives.loss_ties.LOSS_TIES`, a mean over the training images.
        weight_decay: λ of `λ/2 ‖θ‖²`, above 0.
    """

    loss: str
    weight_decay: float


@dataclass(frozen=True)
class Survey:
    """What preflight found.

    Attributes:
        sites: linear layers in the order of the forward pass.
        cuts: their spectra; None where a layer is too large.
        equation: key of the multiplier equations that fits, and `equation_reason` why.
        stationarity: of training, or None where the metadata do not say enough to tie multipliers to the loss.
        n_images: estimated number of training images; `n_images_is_sharp` when a cliff gives it.
        search_rank: directions of the first layer to search in.
        homogeneity_error: relative deviation from `Φ(x; cθ) = c^L Φ(x; θ)`.
        reasons: one sentence each about what applies and what does not.
    """

    sites: tuple[LinearSite, ...]
    cuts: tuple[Cut | None, ...]
    equation: str
    equation_reason: str
    stationarity: Stationarity | None
    n_images: int | None
    n_images_is_sharp: bool
    search_rank: int
    homogeneity_error: float
    can_solve_equation: bool
    can_search_features: bool
    reasons: tuple[str, ...]

    @property
    def first(self) -> tuple[LinearSite, Cut] | None:
        """The first linear layer with its spectrum."""
        if not self.sites or self.cuts[0] is None:
            return None
        return self.sites[0], self.cuts[0]

    @property
    def objectives(self) -> tuple[str, ...]:
        """Registry names of what applies."""
        names = (self.equation,) if self.can_solve_equation else ()
        return (*names, "feature_span") if self.can_search_features else names


def survey(target: AttackTarget, metadata: dict[str, str], task: str) -> Survey:
    """Look at the network.

    Args:
        target: the network.
        metadata: of the checkpoint; `loss` and `weight_decay` are read.
        task: `auto`, `binary`, `multiclass` or `regression`.
    """
    sites = linear_sites(target)
    cuts = tuple(_cut(site, target.n_outputs) for site in sites)
    equation, why = choose_equation(task, target.n_outputs, metadata)
    first = cuts[0] if cuts else None
    has_signal = first is not None and first.rule != "none"
    n_images, is_sharp, rank = _estimate(sites, first) if has_signal and first is not None else (None, False, 0)
    is_normalised = bool(normalisations(target.as_trained))
    is_mlp = isinstance(target.module, ReluMlp) and len(sites) >= 2 and not is_normalised
    feature_site = feature_index(sites, n_images or 1)
    can_equation = is_mlp and has_signal
    can_features = has_signal and feature_site is not None
    is_module_case = not isinstance(target.module, ReluMlp) and not can_features and (has_signal or not sites)
    why_not = _NORMALISED if is_normalised else ""
    if is_module_case and not is_normalised:
        refused = module_equation_refusal(target.module, target.input_shape)
        why_not = f"torch cannot differentiate this network both ways, {refused}" if refused else ""
    can_module = is_module_case and not why_not
    can_equation = can_equation or can_module
    homogeneity = homogeneity_error(target)
    equation_reason = _equation_reason(can_equation and not can_module, can_module, why_not)
    known = stationarity_of(metadata, target.n_outputs) if is_sharp and can_equation and not can_module else None
    tied = () if known is None else (_TIED_REASON.format(loss=known.loss.replace("_", " "), decay=known.weight_decay),)
    reasons = (
        *_signal_reasons(sites, first),
        *tied,
        *_search_reasons(has_signal or is_module_case, equation_reason, can_features, homogeneity),
        *structure(target.as_trained, target.input_shape),
        *training(metadata),
    )
    return Survey(
        sites, cuts, equation, why, known, n_images, is_sharp, rank, homogeneity, can_equation, can_features, reasons
    )


def _cut(site: LinearSite, n_outputs: int) -> Cut | None:
    """The spectrum; features collapse to class means late in training, inputs do not."""
    if site.weight.numel() > _CUT_LIMIT:
        return None
    return cut_spectrum(site.weight, 0 if site.sees_inputs else n_outputs)


def feature_index(sites: tuple[LinearSite, ...], n_images: int) -> int | None:
    """The first linear layer that sees features, not the inputs, and has more directions than there are images."""
    wide = (i for i, site in enumerate(sites) if not site.sees_inputs and min(site.weight.shape) > n_images)
    return next(wide, None)


def _estimate(sites: tuple[LinearSite, ...], cut: Cut) -> tuple[int, bool, int]:
    """Estimated number of images, whether it is sharp, directions to search in.

    Inputs with the training mean removed sum to zero: n images span n − 1 directions. Features do not.
    """
    if cut.has_cliff:
        return cut.rank + int(sites[0].sees_inputs), True, cut.rank
    rank = min(round(_UNSHARP_ALLOWANCE * cut.high), len(cut.singular_values))
    return rank, False, rank


def choose_equation(task: str, n_outputs: int, metadata: dict[str, str]) -> tuple[str, str]:
    """Which published equation fits, and why in one sentence (METHOD 1, table).

    Raises:
        ConfigError: the task contradicts the number of outputs.
    """
    if (task == "binary" and n_outputs != 1) or (task == "multiclass" and n_outputs < 2):
        needed = "one output" if task == "binary" else "two outputs or more"
        raise ConfigError(f"expected a network with {needed} for --task {task}, found {n_outputs}; leave out --task")
    loss = metadata.get("loss", "").lower()
    try:
        has_decay = (
            float(metadata.get("weight_decay", "nan")) != 0
        )  # unknown counts as decay: the general loss covers both
    except ValueError:
        has_decay = True
    if task == "binary" or (task == "auto" and n_outputs == 1 and not has_decay and _names(loss, _LOGISTIC)):
        reason = (
            "--task binary." if task == "binary" else "One output, logistic loss and no weight decay in the metadata."
        )
        return "binary_margin", reason
    is_softmax = _names(loss, _CROSS_ENTROPY) and not _names(loss, _LOGISTIC)
    is_margin = n_outputs > 1 and not has_decay and is_softmax
    if task == "multiclass" or (task == "auto" and is_margin):
        reason = "--task multiclass." if task == "multiclass" else "Cross-entropy without weight decay in the metadata."
        return "multiclass_margin", reason
    if task == "regression":
        return "general_loss", "--task regression: free multipliers, any loss."
    known = f"{n_outputs} output{'s' if n_outputs > 1 else ''}, loss {loss or 'unknown'}, weight decay"
    decay = metadata.get("weight_decay", "unknown")
    return "general_loss", f"{known} {decay}: free multipliers cover any loss with weight decay."


def stationarity_of(metadata: dict[str, str], n_outputs: int) -> Stationarity | None:
    """Loss and weight decay from the metadata; None where one is missing, zero, or not of a kind that is known.

    Squared and logistic losses are tied for one output with labels ±1 only.
    """
    loss = metadata.get("loss", "").lower()
    try:
        decay = float(metadata.get("weight_decay", "nan"))
    except ValueError:
        return None
    if not (0 < decay < math.inf) or "sum" in loss:
        return None
    if n_outputs > 1:
        is_softmax = _names(loss, _CROSS_ENTROPY) and not _names(loss, _LOGISTIC)
        return Stationarity("cross_entropy", decay) if is_softmax else None
    if _names(loss, _LOGISTIC):
        return Stationarity("logistic", decay)
    if _names(loss, _SQUARED) and "-1" in loss:
        return Stationarity("squared", decay)
    return None


def _names(loss: str, words: tuple[str, ...]) -> bool:
    return any(word in loss for word in words)


def homogeneity_error(target: AttackTarget) -> float:
    """Relative deviation of the network from `Φ(x; cθ) = c^L Φ(x; θ)` at c = 1.1 with the L that fits best.

    The margin equations rest on it (Lyu & Li 2019); the general loss with weight decay does not.
    """
    scaled = copy.deepcopy(target.as_trained)
    with torch.no_grad():
        for parameter in scaled.parameters():
            parameter.mul_(1.1)
        generator = torch.Generator().manual_seed(0)
        probe = (torch.rand(16, *target.input_shape, generator=generator) - 0.5).to(next(scaled.parameters()))
        before, after = target.module(probe).double(), scaled(probe).double()
        factor = (before * after).sum() / (before**2).sum().clamp_min(1e-30)
        return float((after - factor * before).norm() / after.norm().clamp_min(1e-30))


def explained_by(site: LinearSite, inputs: Tensor) -> float | None:
    """Share of a layer's squared weights inside the span of what images (N, C, H, W) send into it, in [0, 1].

    None where the images span everything, so that the share says nothing.
    """
    with torch.no_grad():
        features = torch.cat([site.features(block) for block in torch.split(inputs, 1024)]).double()
    if len(features) >= min(site.weight.shape):
        return None
    basis = torch.linalg.qr(features.T)[0]
    weight = site.weight.double()
    return float(((weight @ basis) ** 2).sum() / (weight**2).sum())


def _signal_reasons(sites: tuple[LinearSite, ...], cut: Cut | None) -> tuple[str, ...]:
    if not sites:
        return ("No linear layer: nothing here is attacked through a row space.",)
    name = sites[0].name
    if cut is None:
        return (f"Layer {name} is too large for its spectrum to be computed.",)
    if cut.rule == "none" and len(cut.singular_values) < TELLING_WIDTH:
        return (f"Layer {name} has {len(cut.singular_values)} directions, too few for its spectrum to tell anything.",)
    if cut.rule == "none":
        return (f"No direction of layer {name} stands above a random matrix: it shows no trace of training.",)
    kept = f"{cut.rank} of {len(cut.singular_values)} directions of layer {name}"
    if cut.has_cliff:
        return (
            f"The spectrum of layer {name} ends in a cliff after {cut.rank} directions (ratio {cut.cliff_ratio:.1f}).",
        )
    if cut.rule == "full":
        return (f"All {kept} carry signal: there are at least as many training images as directions.",)
    return (f"{kept} stand above the noise, without a cliff (between {cut.low} and {cut.high}).",)


def _equation_reason(is_mlp: bool, is_module: bool, why_not: str) -> str:
    if is_mlp:
        return "The multiplier equation is solved inside the span of the first layer."
    if is_module:
        return (
            "The multiplier equation is solved for the network as it is, because nothing faster applies: "
            "give --time-limit, it is slow."
        )
    if why_not:
        return f"The multiplier equation is not run: {why_not}"
    return "The multiplier equation is not run: it needs a ReLU chain of linear layers."


def _search_reasons(applies: bool, equation: str, can_features: bool, homogeneity: float) -> tuple[str, ...]:
    if not applies:
        return ("No reconstruction attack applies.",)
    features = (
        "Feature-span inversion applies."
        if can_features
        else "Feature-span inversion does not apply: no linear layer behind others has more directions than images."
    )
    exact = "homogeneous" if homogeneity < 1e-3 else f"not homogeneous (deviation {homogeneity:.1%})"
    return equation, features, f"The network is {exact} in its parameters."
