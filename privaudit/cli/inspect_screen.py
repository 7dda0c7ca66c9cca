"""What is in a checkpoint on one screen: file, network, what its weights betray, and last what can be attacked."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from privaudit.cli.console import LONGEST_LINE
from privaudit.cli.screen import Screen
from privaudit.cli.signs import shortened, shortened_middle
from privaudit.result import Layer, Membership, SpectrumCut

if TYPE_CHECKING:
    from privaudit.inspection import Inspection

_LAYERS_SHOWN = 4
_REASONS_SHOWN = 5
_REASON_LENGTH = 150
_NAME_LENGTH = 60


def inspect_screen(inspection: "Inspection", verbosity: int = 0) -> None:
    """Print it; with `verbosity` nothing is shortened."""
    screen = Screen()
    is_short = screen.is_interactive and verbosity == 0
    screen.gap()
    screen.fact("model", _model(inspection))
    screen.gap()
    _layers(screen, inspection, is_short)
    screen.gap()
    screen.fact("weights", _weights(inspection))
    length = _REASON_LENGTH if is_short else LONGEST_LINE
    screen.fact("equation", [shortened(f"{inspection.equation}: {inspection.equation_reason}", length)])
    if inspection.knowledge:
        screen.fact("assumed", [shortened(sentence, length) for sentence in inspection.knowledge])
    screen.fact("because", _reasons(inspection, is_short))
    screen.gap()
    _rebuilding(screen, inspection)
    _membership(screen, inspection.membership)


def _model(inspection: "Inspection") -> Iterator[str]:
    name = shortened_middle(inspection.path, _NAME_LENGTH)
    yield f"{name} ({inspection.format}, sha256 {inspection.sha256[:12]})"
    shape = "×".join(map(str, inspection.input_shape))
    yield f"{inspection.adapter}: {inspection.parameters:,} parameters, input {shape}, outputs {inspection.outputs}"


def _layers(screen: Screen, inspection: "Inspection", is_short: bool) -> None:
    """Those with a spectrum first come first, since the attack reads these."""
    cuts = {cut.layer: cut for cut in inspection.preflight.spectra}
    layers = inspection.layers
    if is_short and len(layers) > _LAYERS_SHOWN:
        read = [layer for layer in layers if layer.name in cuts] or list(layers)
        layers = tuple(read[:_LAYERS_SHOWN])
    rows = [_layer(layer, cuts.get(layer.name)) for layer in layers]
    screen.table(("layer", "kind", "shape", "bias", "spectrum"), rows, whole=("kind", "bias"))
    if len(layers) < len(inspection.layers):
        screen.line(f"and {len(inspection.layers) - len(layers)} more layers (--verbose)", "dim")


def _layer(layer: Layer, cut: SpectrumCut | None) -> list[str]:
    shape = "×".join(map(str, layer.shape))
    return [layer.name, layer.kind, shape, "yes" if layer.has_bias else "no", _spectrum(cut)]


def _spectrum(cut: SpectrumCut | None) -> str:
    if cut is None:
        return "–"
    if cut.rule == "cliff":
        return f"cliff after {cut.rank} directions (ratio {cut.cliff_ratio:.3g})"
    if cut.rule == "noise_edge":
        return f"{cut.rank} directions above noise, no cliff"
    return "full, no cliff" if cut.rule == "full" else "no direction above noise"


def _weights(inspection: "Inspection") -> Iterator[str]:
    preflight = inspection.preflight
    estimate = preflight.estimated_training_images
    told = "show no number of training images" if estimate is None else f"suggest {estimate} training images"
    if preflight.explained_by_reference is not None:
        told += f"; the reference explains {100 * preflight.explained_by_reference:.0f} % of the first layer"
    yield told


def _reasons(inspection: "Inspection", is_short: bool) -> Iterator[str]:
    """One paragraph, so that short sentences share lines."""
    reasons = inspection.preflight.reasons
    if not is_short:
        yield " ".join(reasons)
        return
    yield " ".join(shortened(reason, _REASON_LENGTH) for reason in reasons[:_REASONS_SHOWN])
    if len(reasons) > _REASONS_SHOWN:
        yield f"and {len(reasons) - _REASONS_SHOWN} more (--verbose)"


def _rebuilding(screen: Screen, inspection: "Inspection") -> None:
    if inspection.preflight.applicable:
        objectives = ", ".join(inspection.preflight.objectives)
        screen.signed("applies", f"rebuilding images can be tried by: {objectives}")
    else:
        screen.signed("not_applicable", "rebuilding images does not apply")


def _membership(screen: Screen, membership: Membership | None) -> None:
    if membership is None:
        screen.signed("not_run", "membership: not tested without --reference and --control")
    elif not membership.applicable:
        screen.signed("not_applicable", f"membership: the test does not apply. {membership.reason}".strip())
    elif membership.threshold is None:
        screen.signed("inconclusive", f"membership: no false-positive rate. {membership.reason}".strip())
    else:
        interval = f"95 % interval {membership.interval_low:.1f} to {membership.interval_high:.1f}"
        counts = f"{membership.members_found} images, {membership.controls_found} controls"
        text = f"membership readable: {counts} ({interval})"
        screen.signed("found" if membership.interval_low > 0 else "inconclusive", text)
