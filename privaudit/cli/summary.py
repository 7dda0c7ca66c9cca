"""What a gate decided, in a line a check, for people and logs; and the words for findings."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from privaudit.gate_decision import GateDecision
from privaudit.result import Verdict
from privaudit.text import listed

if TYPE_CHECKING:
    from privaudit.gate import Rules

_OUTCOMES = {0: "passed", 1: "failed", 3: "undecided"}
NAMES = {"rebuilt": "rebuilt", "membership": "membership readable"}
STATES = {
    "found": "FOUND",
    "not_found": "not found",
    "inconclusive": "inconclusive",
    "not_applicable": "not applicable",
    "not_run": "not run",
}


def decision_lines(decision: GateDecision) -> Iterator[str]:
    """The verdict, every check, leaks that are new or gone, and what the process will return."""
    verdict = decision.verdict
    yield f"verdict: {verdict.status}{named(verdict)}"
    told = f"allowances: {verdict.max_leaked} rebuilt, {verdict.max_readable} readable, fail on {verdict.fail_on}"
    yield f"{told} (from: {decision.policy})"
    for check in decision.checks:
        yield f"- {check.status} {check.name}: {check.message}"
    for comparison in decision.comparisons:
        for kind, ids in (("new", comparison.new), ("gone", comparison.gone)):
            if ids:
                yield f"  {comparison.finding}, {kind}: {listed(ids, 20)}"
    yield f"gate: exit {decision.exit_code}, {_outcome(decision)}"


def borrowed_line(decision: GateDecision, rules: "Rules") -> str | None:
    """That the result's own allowances decide, where they allow more than none; None where they do not.

    They are those of whoever scanned, or of a privaudit.toml that came with the model.
    """
    if rules.policy is not None:
        return None
    verdict = decision.verdict
    borrowed = {
        f"{verdict.max_leaked} rebuilt": ("--max-leaked", rules.max_leaked is None and verdict.max_leaked > 0),
        f"{verdict.max_readable} readable": ("--max-readable", rules.max_readable is None and verdict.max_readable > 0),
        f"fail on {verdict.fail_on}": ("--fail-on", rules.fail_on is None and verdict.fail_on != "any"),
    }
    told = {words: option for words, (option, is_borrowed) in borrowed.items() if is_borrowed}
    if not told:
        return None
    return (
        f"warning: allowances ({', '.join(told)}) from the result; name --policy or {' or '.join(told.values())} to "
        "set them here"
    )


def _outcome(decision: GateDecision) -> str:
    """What the exit code means, with what it hides."""
    statuses = {check.status for check in decision.checks}
    if decision.exit_code == 0 and statuses & {"failed", "error"}:
        return "reported only (--exit-zero)"
    if decision.exit_code == 0 and "waived" in statuses:
        return "passed with what is waived above"
    return _OUTCOMES[decision.exit_code]


def named(verdict: Verdict) -> str:
    """Which findings make `leak_found`, in parentheses; empty for another verdict."""
    if verdict.status != "leak_found":
        return ""
    names = [NAMES[f.name] for f in verdict.findings if f.status == "found" and verdict.fail_on in ("any", f.name)]
    return f" ({' and '.join(names)})"
