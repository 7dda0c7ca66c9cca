"""`inspect`: what a checkpoint is and what can be attacked, in seconds and without attacking it."""

from collections.abc import Callable

import numpy as np
from pydantic import BaseModel, ConfigDict

from privaudit.config import ScanSettings
from privaudit.evidence import membership_of
from privaudit.loading import Loaded, load, on_device
from privaudit.membership import MembershipTable, read_membership
from privaudit.preflight import Survey, explained_by, survey
from privaudit.progress import ProgressListener
from privaudit.result import Layer, Membership, Preflight, SpectrumCut
from privaudit.spans import Cut

_VALUES_LISTED = 1024


class Inspection(BaseModel):
    """What `privaudit inspect` prints. `membership` is None without a reference."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    path: str
    format: str
    sha256: str
    adapter: str
    parameters: int
    input_shape: tuple[int, int, int]
    outputs: int
    layers: tuple[Layer, ...]
    knowledge: tuple[str, ...]
    equation: str
    equation_reason: str
    preflight: Preflight
    membership: Membership | None


def inspect_model(settings: ScanSettings, listener: ProgressListener) -> Inspection:
    """Load, look at the spectrum, and test membership where a reference is given.

    Raises:
        PrivauditError: anything that cannot be read or does not fit.
    """
    loaded = load(settings, listener)
    listener.stage("preflight", "reading the spectrum of the weights")
    found = survey_of(loaded, settings)
    table = membership_table(loaded, found, settings.fpr, with_multipliers=False)
    target = loaded.target
    return Inspection(
        path=str(settings.model),
        format=loaded.checkpoint.format,
        sha256=loaded.checkpoint.sha256,
        adapter=target.adapter,
        parameters=target.n_parameters,
        input_shape=target.input_shape,
        outputs=target.n_outputs,
        layers=tuple(Layer(name=x.name, kind=x.kind, shape=x.shape, has_bias=x.has_bias) for x in target.layers),
        knowledge=loaded.knowledge.sentences,
        equation=found.equation,
        equation_reason=found.equation_reason,
        preflight=preflight_of(loaded, found),
        membership=None if table is None else membership_of(table),
    )


def membership_table(
    loaded: Loaded,
    found: Survey,
    fpr: float,
    *,
    with_multipliers: bool,
    on_progress: Callable[[float], None] = lambda _: None,
) -> MembershipTable | None:
    """The membership test on what is loaded; None without a reference. Arguments as of `read_membership`."""
    if loaded.reference is None:
        return None
    preprocess = on_device(loaded.preprocessing, loaded.device).to_inputs
    return read_membership(
        loaded.target,
        found.sites,
        found.cuts[0] if found.cuts else None,
        preprocess(loaded.reference.pixels.to(loaded.device)),
        None if loaded.control is None else preprocess(loaded.control.pixels.to(loaded.device)),
        fpr,
        with_multipliers=with_multipliers,
        on_progress=on_progress,
    )


def survey_of(loaded: Loaded, settings: ScanSettings) -> Survey:
    """The survey of a loaded network."""
    return survey(loaded.target, loaded.checkpoint.metadata, settings.task)


def preflight_of(loaded: Loaded, found: Survey) -> Preflight:
    """The schema's view of a survey, with what the reference explains."""
    explained = None
    if loaded.reference is not None and found.first is not None:
        inputs = loaded.preprocessing.to_inputs(loaded.reference.pixels).to(loaded.device)
        explained = explained_by(found.first[0], inputs)
    return Preflight(
        applicable=bool(found.objectives),
        reasons=found.reasons,
        estimated_training_images=found.n_images if found.n_images_is_sharp else None,
        explained_by_reference=explained,
        homogeneity_error=found.homogeneity_error,
        objectives=found.objectives,
        spectra=tuple(_spectrum(site.name, cut) for site, cut in zip(found.sites, found.cuts, strict=True) if cut),
    )


def _spectrum(name: str, cut: Cut) -> SpectrumCut:
    values = cut.singular_values[:_VALUES_LISTED]
    relative = values / max(float(np.max(values)), 1e-300)
    return SpectrumCut(
        layer=name,
        singular_values=tuple(float(f"{value:.4g}") for value in relative),
        rank=cut.rank,
        low=cut.low,
        high=cut.high,
        cliff_ratio=float(f"{cut.cliff_ratio:.4g}"),
        rule=cut.rule,
    )
