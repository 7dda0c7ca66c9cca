"""Every check of the gate, from a verdict, a policy and a baseline.

In: a result that agrees with itself. Out: `Judged`. The findings come first, then the instrument, the attack, the
policy's demands, the baseline and the waivers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from privaudit.errors import ResultError
from privaudit.gate.clock import started_at
from privaudit.gate.comparison import FINDINGS, by_id, compare, comparison_line, is_leak, require_comparable
from privaudit.gate.doubts import TOLERABLE, Doubt, finding_doubt, general_doubts, unmeasured
from privaudit.gate.excused import finding_without
from privaudit.gate.minimum import class_checks, minimum_checks
from privaudit.gate.policy import Policy
from privaudit.gate.waivers import Waived, apply_waivers
from privaudit.gate_decision import CheckStatus, Comparison, GateCheck, WaiverState
from privaudit.identifiers import comparable
from privaudit.result import AuditResult, Finding, Verdict

_GROUPS = {"instrument-failed": "instrument", "instrument-not-run": "instrument"}


@dataclass(frozen=True)
class Judged:
    """What came of it. `is_excused`: a waiver, a baseline or a tolerance had a part in it."""

    checks: tuple[GateCheck, ...]
    waivers: tuple[WaiverState, ...]
    comparisons: tuple[Comparison, ...]
    is_excused: bool


@dataclass(frozen=True)
class _Case:
    """What all checks are about."""

    result: AuditResult
    verdict: Verdict
    tolerated: frozenset[str]
    unmeasured: dict[str, Doubt]
    waived: Waived
    known: dict[str, frozenset[str]]
    comparisons: tuple[Comparison, ...]

    def excused(self, name: str) -> frozenset[str]:
        """Comparable ids that are waived or were known."""
        return self.waived.records[name] | self.known[name]


def all_checks(
    result: AuditResult, verdict: Verdict, policy: Policy, baseline: AuditResult | None, today: date
) -> Judged:
    """Run every check.

    Raises:
        ResultError: a baseline that does not fit the result or was not measured as well.
    """
    known, comparisons = _known(result, baseline)
    unmeasurable = unmeasured(result)
    measured = tuple(finding for finding in verdict.findings if finding.name not in unmeasurable)
    waived = apply_waivers(policy.waiver, result, measured, today)
    case = _Case(result, verdict, frozenset(policy.inconclusive.tolerate), unmeasurable, waived, known, comparisons)
    excused = {name: case.excused(name) for name in FINDINGS}
    checks = (
        *(_finding_check(case, finding) for finding in verdict.findings),
        *_general_checks(case),
        *minimum_checks(policy.minimum, result),
        *class_checks(policy, result, excused, frozenset(waived.findings)),
        *_baseline_checks(case),
        *_waiver_checks(waived.states),
    )
    return Judged(checks, waived.states, comparisons, any(check.status == "waived" for check in checks))


def _known(
    result: AuditResult, baseline: AuditResult | None
) -> tuple[dict[str, frozenset[str]], tuple[Comparison, ...]]:
    """Ids that leaked in the baseline, by finding, where it measured that finding."""
    if baseline is None:
        return {name: frozenset() for name in FINDINGS}, ()
    require_comparable(baseline, result)
    if baseline.self_sha256 == result.self_sha256 or started_at(baseline) > started_at(result):
        raise ResultError(
            "expected a baseline that is older than the result, found the same or a later scan; "
            "name the result of the last release"
        )
    _require_measured_as_well(baseline, result)
    before = unmeasured(baseline)
    known = {
        name: frozenset(key for key, record in by_id(baseline).items() if name not in before and is_leak(record, name))
        for name in FINDINGS
    }
    return known, compare(baseline, result)


def _require_measured_as_well(baseline: AuditResult, result: AuditResult) -> None:
    """Refuse a baseline that found more than it should have: what it calls known would excuse what is new.

    Raises:
        ResultError: its instrument did not pass, or its thresholds are laxer than the result's or missing.
    """
    states = {"positive": baseline.instrument.positive_control, "negative": baseline.instrument.negative_control}
    for name, state in states.items():
        if state != "passed":
            raise ResultError(
                f"expected a baseline whose instrument passed its checks, found that the {name} control "
                f"{'failed' if state == 'failed' else 'was not run'}; scan the last release again"
            )
    if baseline.evidence is None or result.evidence is None:
        return  # `require_comparable` refused these
    before, after = baseline.evidence, result.evidence
    if before.calibrated_threshold.ssim is None and after.calibrated_threshold.ssim is not None:
        raise ResultError(
            "expected a baseline with a calibrated threshold, as the result has one, found none; "
            "scan the last release with controls"
        )
    for name, old, new in (
        ("rebuilt", before.calibrated_threshold.fpr, after.calibrated_threshold.fpr),
        ("membership", before.membership.fpr, after.membership.fpr),
    ):
        if old > new:
            raise ResultError(
                f"expected a baseline with a false-positive rate of at most {new:g} for {name}, the result's, found "
                f"{old:g}; scan the last release with --fpr {new:g}"
            )


def _finding_check(case: _Case, finding: Finding) -> GateCheck:
    """One finding: as measured, then without what is excused, then whether the whole is waived."""
    name = finding.name
    if name in case.unmeasured:
        if (name, finding.status) == ("membership", "not_applicable"):
            return GateCheck(name=name, status="skipped", message=finding.reason)
        return _doubt_check(case, name, [case.unmeasured[name]])
    status, message = _measured(case, finding)
    if status in ("failed", "error") and name in case.waived.findings:
        return GateCheck(name=name, status="waived", message=f"{message} {case.waived.findings[name].message}")
    return GateCheck(name=name, status=status, message=message)


def _measured(case: _Case, finding: Finding) -> tuple[CheckStatus, str]:
    excused = _leaking(case, finding.name, case.excused(finding.name))
    remaining: Finding | None = finding
    said = ""
    if excused:
        remaining = finding_without(case.result, case.verdict, finding, case.excused(finding.name))
        said = f" {len(excused)} of the leaked records are waived or known from the baseline: {finding.reason}"
    if remaining is None:
        return "waived", f"Every record is waived or known from the baseline: {finding.reason}"
    is_selected = case.verdict.fail_on in (finding.name, "any")
    instrument = case.result.instrument
    is_believed = "failed" not in (instrument.positive_control, instrument.negative_control)
    if remaining.status == "found" and is_selected:
        return "failed" if is_believed else "error", remaining.reason + said
    doubt = finding_doubt(remaining, is_selected)
    if doubt is None:
        return "waived" if excused else "passed", remaining.reason + said
    if doubt.code in case.tolerated:
        return "waived", f"{doubt.message}{said} Tolerated by policy ({doubt.code})."
    return "error", doubt.message + said


def _leaking(case: _Case, name: str, ids: frozenset[str]) -> tuple[str, ...]:
    return tuple(key for key, record in by_id(case.result).items() if key in ids and is_leak(record, name))


def _doubt_check(case: _Case, name: str, doubts: list[Doubt]) -> GateCheck:
    """Undecided unless the policy tolerates every doubt."""
    message = " ".join(dict.fromkeys(doubt.message for doubt in doubts))
    codes = sorted({doubt.code for doubt in doubts})
    if all(code in case.tolerated and code in TOLERABLE for code in codes):
        return GateCheck(name=name, status="waived", message=f"{message} Tolerated by policy ({', '.join(codes)}).")
    return GateCheck(name=name, status="error", message=f"{message} ({', '.join(codes)})")


def _general_checks(case: _Case) -> Iterator[GateCheck]:
    """The instrument and the attack; unmeasured findings have checks of their own."""
    doubts = general_doubts(case.result)
    passed = {
        "instrument": "The instrument caught a network that leaks and cleared those that do not.",
        "attack": "The planned attack was run to its end." if case.result.attack.runs else "No attack was planned.",
    }
    for name, message in passed.items():
        own = [doubt for doubt in doubts if _GROUPS.get(doubt.code, "attack") == name]
        yield _doubt_check(case, name, own) if own else GateCheck(name=name, status="passed", message=message)


def _baseline_checks(case: _Case) -> Iterator[GateCheck]:
    """New leaks against the allowance: one is enough where none is allowed, whatever the interval says."""
    allowances = {"rebuilt": case.verdict.max_leaked, "membership": case.verdict.max_readable}
    for comparison in case.comparisons:
        name = comparison.finding
        if case.verdict.fail_on not in (name, "any") or name in case.unmeasured:
            status: CheckStatus = "skipped"
        else:
            new = [key for key in comparison.new if comparable(key) not in case.waived.records[name]]
            status = "failed" if len(new) > allowances[name] else "passed"
        if status == "failed" and name in case.waived.findings:
            status = "waived"
        line = f"{comparison_line(comparison)}; {allowances[name]} new allowed."
        yield GateCheck(name=f"baseline-{name}", status=status, message=line)


def _waiver_checks(states: tuple[WaiverState, ...]) -> Iterator[GateCheck]:
    for state in states:
        status: CheckStatus = "waived" if state.status == "applied" else "failed"
        yield GateCheck(name="waiver", status=status, message=state.message)
