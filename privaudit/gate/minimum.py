"""What a policy demands beside its allowances: work done, controls, records, tool version, limits of single classes.

In: a policy and a result. Out: `GateCheck`s. A minimum that is not met leaves the gate undecided (`error`, exit 3): too
little was measured. A class above its limit fails it (exit 1).
"""

import re
from collections import Counter
from collections.abc import Iterator

from privaudit.budget import plan_for
from privaudit.gate.comparison import FINDINGS, is_leak
from privaudit.gate.policy import ANY_CLASS, VERSION, ClassAllowance, Minimum, Policy, records_allowed
from privaudit.gate_decision import GateCheck
from privaudit.identifiers import comparable
from privaudit.result import AuditResult
from privaudit.text import one_line

_BUDGETS = ("quick", "standard", "thorough")
_READABLE = {"rebuilt": "rebuilt", "membership": "readable"}


def minimum_checks(minimum: Minimum, result: AuditResult) -> Iterator[GateCheck]:
    """One check for every minimum that the policy states."""
    n_controls = 0 if result.evidence is None else result.evidence.controls
    n_records = 0 if result.evidence is None else len(result.evidence.records)
    fpr = 0.0 if result.evidence is None else result.evidence.calibrated_threshold.fpr
    if minimum.budget is not None:
        yield _budget(minimum.budget, result)
    for name, wanted, found, unit in (
        ("minimum-budget-seconds", minimum.budget_seconds, result.attack.seconds, "seconds of attack"),
        ("minimum-controls", minimum.controls, n_controls, "controls"),
        ("minimum-records", minimum.records, n_records, "records of the reference"),
        ("minimum-fpr", minimum.fpr, fpr, "as false-positive rate"),
    ):
        if wanted is not None:
            yield _check(name, found >= wanted, f"{found:g} {unit}; the policy demands {wanted:g}.")
    if minimum.tool_version is not None:
        found_version = result.tool.version
        yield _check(
            "minimum-tool-version",
            _version(found_version) >= _version(minimum.tool_version),
            f"Scanned with privaudit {one_line(found_version, 40)}; the policy demands {minimum.tool_version}.",
        )


def class_checks(
    policy: Policy, result: AuditResult, excused: dict[str, frozenset[str]], whole: frozenset[str]
) -> Iterator[GateCheck]:
    """One check for every class and finding with a limit of its own, on counts rather than bounds.

    Args:
        policy: with `allow.per_class`.
        result: whose labels are the classes.
        excused: comparable ids by finding, waived or known from the baseline; they do not count.
        whole: findings that are waived as a whole.
    """
    limits = policy.allow.per_class
    if not limits:
        return
    labels = Counter() if result.evidence is None else Counter(str(r.label) for r in result.evidence.records)
    labels.pop("None", None)
    for label in sorted({*labels, *limits} - {ANY_CLASS}):
        limit = limits.get(label, limits.get(ANY_CLASS))
        if limit is not None:
            yield from _class(label, limit, labels[label], result, excused, whole)
    if not labels and ANY_CLASS in limits:
        yield _check("class", False, "The policy limits classes, and the records of this result have no labels.")


def _class(
    label: str,
    limit: ClassAllowance,
    n_records: int,
    result: AuditResult,
    excused: dict[str, frozenset[str]],
    whole: frozenset[str],
) -> Iterator[GateCheck]:
    for finding in FINDINGS:
        allowance = limit.rebuilt if finding == "rebuilt" else limit.readable
        if allowance is None:
            continue
        name = f"class-{one_line(label, 40)}-{_READABLE[finding]}"
        if not n_records or result.evidence is None:
            yield _check(name, False, f"No record of this result has the label {one_line(label, 40)}.")
            continue
        leaks = [r for r in result.evidence.records if str(r.label) == label and is_leak(r, finding)]
        counted = sum(comparable(record.id) not in excused[finding] for record in leaks)
        allowed = records_allowed(allowance, n_records)
        message = (
            f"{counted} of {n_records} records of class {one_line(label, 40)} {_READABLE[finding]}"
            f"{'' if counted == len(leaks) else f' ({len(leaks) - counted} more excused)'}; {allowed} allowed."
        )
        if counted > allowed:
            yield GateCheck(name=name, status="waived" if finding in whole else "failed", message=message)
        else:
            yield GateCheck(name=name, status="passed" if counted == len(leaks) else "waived", message=message)


def _budget(wanted: str, result: AuditResult) -> GateCheck:
    """The plan of a budget counts only where nothing narrowed it by hand."""
    config = result.reproduce.config
    found = config.get("budget")
    plan = plan_for("standard", 1, None, None)
    restarts, time_limit_s = config.get("restarts"), config.get("time_limit_s")
    narrowed = []
    if restarts is not None and not (isinstance(restarts, int) and restarts >= plan.restarts):
        narrowed.append(f"restarts {restarts}")
    if time_limit_s is not None:
        narrowed.append(f"time limit {time_limit_s} s")
    if config.get("candidates") is not None:
        narrowed.append(f"candidates {config['candidates']}")
    is_enough = found in _BUDGETS and _BUDGETS.index(str(found)) >= _BUDGETS.index(wanted) and not narrowed
    by_hand = f", set by hand: {one_line(', '.join(narrowed), 120)}" if narrowed else ""
    return _check(
        "minimum-budget", is_enough, f"Budget {one_line(found, 40)}{by_hand}; the policy demands {wanted} as planned."
    )


def _version(text: str) -> tuple[tuple[int, ...], int]:
    """Numbers, and 0 where something such as `.dev1` or `rc1` marks it as earlier than they say.

    What goes on with more numbers than a version has is none, and below all: a result may say anything.
    """
    match = VERSION.match(text)
    if match is None or re.match(r"\.?\d", text[match.end() :]):
        return (), 0
    numbers = [int(part) for part in match[0].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    is_release = match[0] == text or text[match.end()] == "+"
    return tuple(numbers), int(is_release)


def _check(name: str, is_met: bool, message: str) -> GateCheck:
    return GateCheck(name=name, status="passed" if is_met else "error", message=message)
