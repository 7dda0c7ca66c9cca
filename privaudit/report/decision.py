"""A gate's decision as reports show it: beside the result it was made on, and without names of records.

In: a `GateDecision` and the result. Out: the result as the gate judged it, waivers by what became of them, texts in
which a record is a number. Must not know formats.
"""

import re
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from privaudit.errors import ResultError
from privaudit.gate_decision import GateDecision, WaiverState
from privaudit.result import AuditResult
from privaudit.text import one_line

FINDINGS = ("rebuilt", "membership")
_LEADS = tuple(f"{name}:" for name in FINDINGS)


def read_decision(path: Path) -> GateDecision:
    """Read a `gate.json`.

    Raises:
        ResultError: missing, not what a gate writes, or of another version.
    """
    try:
        return GateDecision.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ResultError(f"expected a gate.json at {path}, found no such file; name the file a gate wrote") from None
    except OSError as error:
        raise ResultError(f"expected a gate.json at {path}, found: {error.strerror}; gate again") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ResultError(
            f"expected what a gate writes in {path}, found: {where}: {first['msg']}; gate again"
        ) from None


def judged(result: AuditResult, decision: GateDecision | None) -> AuditResult:
    """The result with the verdict that the gate reached under its own allowances.

    Raises:
        ResultError: the decision is about another result.
    """
    if decision is None:
        return result
    if decision.result_sha256 != result.self_sha256:
        raise ResultError(
            f"expected a gate's decision on result {result.self_sha256[:12]}, found one on "
            f"{decision.result_sha256[:12]}; gate this result again"
        )
    return result.model_copy(update={"verdict": decision.verdict})


def waivers_of(decision: GateDecision, finding: str) -> tuple[WaiverState, ...]:
    """The waivers to which a whole finding owes that it does not count; none while some of it still counts.

    A finding is waived by its own name, or record by record, in which case its check says whether that was enough.
    """
    applied = [waiver for waiver in decision.waivers if waiver.status == "applied"]
    by_name = tuple(waiver for waiver in applied if waiver.target == finding)
    is_waived = any(check.name == finding and check.status == "waived" for check in decision.checks)
    by_record = tuple(w for w in applied if _record_of(w.target) and _finding_of(w.target) in (finding, None))
    return (*by_name, *by_record) if is_waived else by_name


def _finding_of(target: str) -> str | None:
    """`rebuilt` of `rebuilt:ID` and of `rebuilt`; None where a record is waived in both findings."""
    name = target.partition(":")[0]
    return name if name in FINDINGS else None


def _record_of(target: str) -> str:
    """`ID` of `rebuilt:ID` and of `ID`; empty where a whole finding is waived."""
    if target in FINDINGS:
        return ""
    return target.partition(":")[2] if _finding_of(target) else target


def lapsed(decision: GateDecision) -> tuple[WaiverState, ...]:
    """Waivers that waive nothing: expired, refused, or of something that does not leak."""
    return tuple(waiver for waiver in decision.waivers if waiver.status != "applied")


def record_hider(result: AuditResult, decision: GateDecision) -> Callable[[str], str]:
    """A function that replaces ids of records, which may be names of files, by their place in the result.

    Whole numbers stay as they are: they are positions already, and counts look like them.
    """
    places = {record.id: i + 1 for i, record in enumerate(result.evidence.records)} if result.evidence else {}
    named = {_record_of(waiver.target) for waiver in decision.waivers}
    for comparison in decision.comparisons:
        named.update(comparison.new, comparison.gone, comparison.unchanged)
    shown = {}
    for name in {*places, *named}:
        place = f"no. {places[name]}" if name in places else "of another result"
        for form in _forms(name):
            if form and not form.isdecimal():
                shown[form] = place

    def hide(text: str) -> str:
        for form in sorted((form for form in shown if form in text), key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", shown[form], text)
        return text

    return hide


def _forms(name: str) -> set[str]:
    """An id as it is and as messages quote it: on one line, shortened, with and without the finding in front."""
    if len(name) <= 60 and name.isprintable() and "  " not in name:
        return {name}
    return {name, *(one_line(f"{lead}{name}", 80).removeprefix(lead) for lead in ("", *_LEADS))}


def target_text(waiver: WaiverState, hide: Callable[[str], str]) -> str:
    """What a waiver is about: a finding, or a record by its place."""
    record, finding = _record_of(waiver.target), _finding_of(waiver.target)
    if not record:
        return waiver.target
    return f"record {hide(record)}" + ("" if finding is None else f" ({finding})")


def waiver_text(waiver: WaiverState, hide: Callable[[str], str]) -> str:
    """One sentence for who reads the waiver elsewhere: what, who, why, until when."""
    owner, reason = waiver.owner or "not stated", hide(waiver.reason) or "not stated"
    until = waiver.expires or "a day not stated"
    return f"Waiver of {target_text(waiver, hide)}, owner: {owner}, until {until}, reason: {reason}"
