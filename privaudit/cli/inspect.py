"""`privaudit inspect`: what is in a checkpoint and what can be attacked, in seconds."""

from collections.abc import Iterator
from typing import Any

from privaudit.cli.console import emit_json, say, stdout_for_results_only
from privaudit.cli.options import INSPECT_OPTIONS, AsJson, ModelArgument, NoProgress, Quiet, Verbose, with_scan_options
from privaudit.cli.settings import effective_settings


@with_scan_options(INSPECT_OPTIONS)
def inspect(
    model: ModelArgument,
    *,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    no_progress: NoProgress = False,
    **settings: object,
) -> None:
    """Say what can be attacked in MODEL and why not.

    Takes seconds and attacks nothing. With --reference also how far its first layer betrays which images it was
    trained on. With -v every field, as --json has it.
    """
    from privaudit.cli.progress import listener_for
    from privaudit.inspection import inspect_model

    effective = effective_settings(model, settings, quiet or as_json, verbose)
    with stdout_for_results_only(), listener_for(quiet or as_json, verbose, no_progress) as listener:
        inspection = inspect_model(effective, listener)
    if as_json:
        emit_json(inspection.model_dump_json(indent=1))
        return
    if verbose:
        for line in lines(inspection.model_dump(mode="json")):
            say(line)
    if not quiet:
        from privaudit.cli.inspect_screen import inspect_screen

        inspect_screen(inspection, verbose)


def lines(value: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """A document as `name: value` lines, nested names joined by dots."""
    for name, item in value.items():
        if isinstance(item, dict):
            yield from lines(item, f"{prefix}{name}.")
        elif isinstance(item, list) and any(isinstance(part, dict) for part in item):
            yield f"{prefix}{name}: {len(item)}"
            for part in item:
                yield "- " + ", ".join(f"{key} {_plain(field)}" for key, field in part.items())
        elif isinstance(item, list) and any(isinstance(part, str) for part in item):
            yield f"{prefix}{name}:"
            yield from (f"- {part}" for part in item)
        else:
            yield f"{prefix}{name}: {_plain(item)}"


def _plain(value: object) -> str:
    """One value; long lists of numbers are shortened."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        shown = [_plain(item) for item in value[:8]]
        return " ".join(shown) + (f" … ({len(value)} in all)" if len(value) > len(shown) else "")
    return str(value)
