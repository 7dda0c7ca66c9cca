"""From a surveyed network to what is searched, with one fixed set of settings. Must not know training images."""

import math

import torch

from privaudit.adapters.interface import AttackTarget
from privaudit.attack_types import Searches
from privaudit.networks import ReluMlp, mlp_features
from privaudit.objectives.column_span import ColumnSpan
from privaudit.objectives.equation import AbstractEquation
from privaudit.objectives.feature_span import FeatureSpan
from privaudit.objectives.interface import AttackerKnowledge
from privaudit.objectives.loss_ties import LOSS_TIES
from privaudit.objectives.module_equation import ModuleEquation
from privaudit.objectives.span_equation import SpanEquation
from privaudit.objectives.tied_equation import TiedEquation
from privaudit.preflight import Survey, feature_index
from privaudit.spans import SearchSpace, pixel_space, smooth_span

_CANDIDATES_PER_IMAGE = 1.25  # of the equation: some end as false optima, the true ones need room
_TIED_CANDIDATES_PER_IMAGE = 1.2  # there false optima are few, but each needs a place beside the true ones
_SPAN_CANDIDATES = 200  # side by side; they do not interact, so this is about memory alone
_STRANGERS = 200  # unoptimised images that give the judge of single images its scale
_FALLBACK_IMAGES = 100  # where no spectrum says how many there are


def build_searches(
    target: AttackTarget,
    found: Survey,
    knowledge: AttackerKnowledge,
    n_candidates: int | None,
    dtype: torch.dtype,
    device: torch.device,
) -> Searches:
    """Objectives for what the survey says applies.

    Args:
        target: the network, on `device`.
        found: its survey.
        knowledge: preprocessing.
        n_candidates: of the equation; None: from the spectrum.
        dtype: arithmetic of the equation.
        device: where to compute.
    """
    n_images = found.n_images or _FALLBACK_IMAGES
    space = _space(target, found, knowledge, device)
    equation: AbstractEquation | None = None
    tied: TiedEquation | None = None
    if found.can_solve_equation:
        m = n_candidates or round(_CANDIDATES_PER_IMAGE * n_images)
        name, module = found.equation, target.module
        if isinstance(module, ReluMlp):
            equation = SpanEquation(name, module, space, knowledge, m, dtype)
            tied = _tied(target, found, space, knowledge, n_candidates, dtype)
        else:
            equation = ModuleEquation(name, module, target.n_outputs, space, knowledge, m, dtype)
    features = _feature_search(target, found, space, knowledge, n_images) if found.can_search_features else None
    return Searches(equation, features, n_images, target.n_outputs, knowledge, tied, _judge(target, found, space))


def _judge(target: AttackTarget, found: Survey, space: SearchSpace) -> ColumnSpan | None:
    """Where the first layer's column space leaves directions out that a false image could use."""
    module = target.module
    if target.trained is not None:  # folding scales the columns that the judge knows
        return None
    if not isinstance(module, ReluMlp) or not found.n_images_is_sharp or not found.sites[0].sees_inputs:
        return None
    if found.search_rank >= found.sites[0].weight.shape[0]:
        return None
    strangers = space.inputs(space.draw(_STRANGERS, torch.Generator().manual_seed(0)))
    return ColumnSpan(module, found.search_rank, strangers)


def _tied(
    target: AttackTarget,
    found: Survey,
    space: SearchSpace,
    knowledge: AttackerKnowledge,
    n_candidates: int | None,
    dtype: torch.dtype,
) -> TiedEquation | None:
    """The equation with multipliers tied to the loss, where loss, weight decay and the number of images are known."""
    stationarity = found.stationarity
    if stationarity is None or found.n_images is None or not isinstance(target.module, ReluMlp):
        return None
    m = n_candidates or round(_TIED_CANDIDATES_PER_IMAGE * found.n_images)
    log_scale = -math.log(found.n_images * stationarity.weight_decay)
    return TiedEquation(target.module, space, knowledge, LOSS_TIES[stationarity.loss], log_scale, m, dtype)


def _space(target: AttackTarget, found: Survey, knowledge: AttackerKnowledge, device: torch.device) -> SearchSpace:
    if found.sites and found.sites[0].sees_inputs and found.search_rank:
        return smooth_span(found.sites[0].weight, found.search_rank, target, knowledge.std)
    return pixel_space(target.input_shape, knowledge.std, device)


def _feature_search(
    target: AttackTarget, found: Survey, space: SearchSpace, knowledge: AttackerKnowledge, n_images: int
) -> FeatureSpan:
    index = feature_index(found.sites, n_images)
    assert index is not None
    site = found.sites[index]
    point_features = None
    if isinstance(target.module, ReluMlp) and space.decoder is not None:
        first = target.module.linear_layers()[0]
        point_features = mlp_features(target.module, index, first.weight @ space.decoder.T)
    rank = min(n_images, *site.weight.shape)
    return FeatureSpan(site, rank, space, knowledge, _SPAN_CANDIDATES, point_features)
