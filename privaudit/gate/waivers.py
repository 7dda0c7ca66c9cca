"""Which waivers of a policy hold for a result, and which records they excuse.

In: waivers, a result and its verdict, the date. Out: a `WaiverState` each and the excused ids. A waiver that has
expired, names nothing that leaks, or does not say why or who, fails the gate: it must be removed, not ignored.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from privaudit.gate.comparison import FINDINGS, is_leak
from privaudit.gate.policy import Waiver
from privaudit.gate_decision import WaiverState, WaiverStatus
from privaudit.identifiers import comparable
from privaudit.result import AuditResult, Finding
from privaudit.text import one_line


@dataclass(frozen=True)
class Waived:
    """What the waivers that hold excuse.

    Attributes:
        states: of every waiver, in the policy's order.
        findings: name of a wholly waived finding to the waiver.
        records: name of a finding to the comparable ids of its waived records.
    """

    states: tuple[WaiverState, ...]
    findings: dict[str, WaiverState]
    records: dict[str, frozenset[str]]


def apply_waivers(waivers: Iterable[Waiver], result: AuditResult, findings: tuple[Finding, ...], today: date) -> Waived:
    """Judge every waiver.

    Args:
        waivers: of the policy.
        result: what they are applied to.
        findings: measured, under the policy's allowances. A waiver of a finding excuses one that is found or that
            cannot be confirmed; never one that was not measured.
        today: UTC.
    """
    states: list[WaiverState] = []
    whole: dict[str, WaiverState] = {}
    records: dict[str, set[str]] = {name: set() for name in FINDINGS}
    waivable: set[str] = {finding.name for finding in findings if finding.status in ("found", "inconclusive")}
    for waiver in waivers:
        matched = _matched(waiver.target, result, waivable)
        status, message = _judged(waiver, result, bool(matched), today)
        state = _state(waiver, status, message)
        states.append(state)
        if status == "applied":
            for name, identifier in matched:
                if identifier is None:
                    whole[name] = state
                else:
                    records[name].add(identifier)
    return Waived(tuple(states), whole, {name: frozenset(ids) for name, ids in records.items()})


def _matched(target: str, result: AuditResult, waivable: set[str]) -> list[tuple[str, str | None]]:
    """(finding, record) pairs that a target names among what leaks; the record is None for the whole finding."""
    if target in FINDINGS:
        return [(target, None)] if target in waivable else []
    finding, colon, rest = target.partition(":")
    names, wanted = ((finding,), rest) if colon and finding in FINDINGS else (FINDINGS, target)
    key = comparable(wanted)
    records = () if result.evidence is None else result.evidence.records
    return [
        (name, key) for record in records if comparable(record.id) == key for name in names if is_leak(record, name)
    ]


def _judged(waiver: Waiver, result: AuditResult, is_matched: bool, today: date) -> tuple[WaiverStatus, str]:
    target = one_line(waiver.target, 80)
    missing = [name for name in ("reason", "owner", "model_sha256") if not getattr(waiver, name).strip()]
    missing += [] if waiver.expires is not None else ["expires"]
    if missing or waiver.expires is None:
        return "refused", f"The waiver of {target} states no {' and no '.join(missing)}; complete it or remove it."
    if waiver.model_sha256.strip().lower() != result.model.sha256:
        return "refused", (
            f"The waiver of {target} was granted for the model {one_line(waiver.model_sha256[:12])}, and this is "
            f"{result.model.sha256[:12]}; grant it anew or remove it."
        )
    if waiver.expires < today:
        return (
            "expired",
            f"The waiver of {target} expired on {waiver.expires}; today is {today} (UTC). Owner: {_owner(waiver)}.",
        )
    if not is_matched:
        return "unmatched", f"The waiver of {target} matches nothing that leaks in this result; remove it."
    return "applied", f"{target} is waived until {waiver.expires} by {_owner(waiver)}: {one_line(waiver.reason)}"


def _owner(waiver: Waiver) -> str:
    return one_line(waiver.owner, 80)


def _state(waiver: Waiver, status: WaiverStatus, message: str) -> WaiverState:
    return WaiverState(
        target=waiver.target,
        owner=waiver.owner,
        reason=waiver.reason,
        expires="" if waiver.expires is None else waiver.expires.isoformat(),
        model_sha256=waiver.model_sha256,
        status=status,
        message=message,
    )
