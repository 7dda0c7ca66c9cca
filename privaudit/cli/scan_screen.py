"""A finished scan on one screen: what was audited, both findings, doubts, files, what to do, and the verdict last."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from privaudit.cli.findings_table import findings_table, is_counted
from privaudit.cli.screen import Screen
from privaudit.cli.signs import VERDICT_SIGNS, shortened, shortened_middle
from privaudit.cli.summary import NAMES, named
from privaudit.errors import ExitCode
from privaudit.result import AuditResult, Finding
from privaudit.verdict import ALLOWANCE_OPTION, supported_allowance

_REASONS_SHOWN = 3
_REASON_LENGTH = 140
"""On a terminal, so that the screen holds them; a log and --verbose have all of every reason."""

_NAME_LENGTH = 60
_PATH_LENGTH = 300


def scan_screen(result: AuditResult, files: Sequence[Path], code: int, verbosity: int = 0) -> None:
    """Print it.

    Args:
        result: of the scan.
        files: what it wrote.
        code: what the process will return.
        verbosity: above 0, reasons are not shortened.
    """
    screen = Screen()
    screen.gap()
    screen.fact("audited", _audited(result, screen.is_narrow))
    screen.gap()
    findings_table(screen, result)
    screen.gap()
    is_short = screen.is_interactive and verbosity == 0
    warnings = () if result.evidence is None else result.evidence.warnings
    for label, sentences in (("doubts", tuple(doubts_of(result))), ("notes", warnings)):
        if sentences:
            screen.fact(label, _shortened(sentences, is_short, _report(files)))
    screen.files("wrote", [shortened_middle(path, _PATH_LENGTH) for path in _reports_first(files)])
    screen.fact("next", [next_step(result, files)])
    screen.gap()
    verdict_line(screen, result, code)


def verdict_line(screen: Screen, result: AuditResult, code: int) -> None:
    """The last line: verdict, and what the process returns."""
    verdict = result.verdict
    text = f"verdict: {verdict.status}{named(verdict)}{_ending(result, code)}"
    screen.signed(VERDICT_SIGNS[verdict.status], text)


def doubts_of(result: AuditResult) -> Iterator[str]:
    """What the table does not say: why a finding is neither found nor not found, and what else stands in the way."""
    verdict = result.verdict
    told = {finding.reason for finding in verdict.findings}
    for finding in verdict.findings:
        if finding.status not in ("found", "not_found"):
            yield f"{NAMES[finding.name]}: {_reason(finding)}"
    yield from (reason for reason in verdict.reasons if reason not in told)


def next_step(result: AuditResult, files: Sequence[Path]) -> str:
    """One thing to do now."""
    if result.attack.interrupted:
        return "the same command with --resume continues; finished restarts are kept"
    report = shortened_middle(_report(files), _PATH_LENGTH)
    if result.verdict.status == "leak_found":
        return f"open {report} before a release: evidence, and what to change"
    if result.verdict.status == "no_leak_found":
        document = next((path for path in files if path.name == "result.json"), Path("result.json"))
        return f"privaudit gate {shortened_middle(document, _PATH_LENGTH)}; nothing found is no proof of nothing there"
    if result.evidence is None:
        return "scan again with --reference (training images) and --control (images never trained on)"
    return f"open {report}: every reason, and what would settle it"


def _audited(result: AuditResult, is_narrow: bool) -> Iterator[str]:
    model, evidence = result.model, result.evidence
    yield f"{shortened_middle(model.path, _NAME_LENGTH)} ({model.adapter}, {model.parameters:,} parameters)"
    if evidence is None:
        yield "without training images (--reference), so nothing could be counted"
        return
    estimate = result.preflight.estimated_training_images
    told = [f"{evidence.members} training images", f"{evidence.controls} controls"]
    told += [] if estimate is None else [f"the weights suggest {estimate} images"]
    yield from told if is_narrow else [", ".join(told)]


def _reason(finding: Finding) -> str:
    """Without what the table says: the figures, where the interval holds the allowance, and that it does not apply."""
    if is_counted(finding) and finding.interval_low <= finding.allowance < finding.interval_high:
        option = ALLOWANCE_OPTION[finding.name]
        supported = supported_allowance(finding.interval_high)
        return (
            f"the interval holds the allowance of {finding.allowance}: neither exceeded nor confirmed; these data "
            f"support {option} {supported}"
        )
    _first, _, rest = finding.reason.partition(". ")
    return rest if finding.status == "not_applicable" and rest else finding.reason


def _shortened(reasons: Sequence[str], is_short: bool, report: Path) -> Iterator[str]:
    if not is_short:
        yield from reasons
        return
    yield from (shortened(reason, _REASON_LENGTH) for reason in reasons[:_REASONS_SHOWN])
    left = len(reasons) - _REASONS_SHOWN
    if left > 0:
        yield f"and {left} more in {shortened_middle(report, _PATH_LENGTH)}"


def _reports_first(files: Sequence[Path]) -> list[Path]:
    """What people open, then what programs read."""
    return sorted(files, key=lambda path: path.suffix not in (".html", ".md"))


def _report(files: Sequence[Path]) -> Path:
    return next(iter(_reports_first(files)), Path("result.json"))


def _ending(result: AuditResult, code: int) -> str:
    if code == ExitCode.INTERRUPTED:
        return f", interrupted, exit {code}"
    is_hidden = code == 0 and result.verdict.status != "no_leak_found"
    return f", exit {code}" + (" (--exit-zero)" if is_hidden else "")
