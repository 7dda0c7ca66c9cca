"""A finding without the records that a baseline or a waiver excuses, judged by the same rule as the whole.

In: evidence and ids. Out: the finding on what remains. The rule itself is `privaudit.verdict`.
"""

from privaudit.gate.comparison import is_leak
from privaudit.gate.scores import p_value_of, strictest_of
from privaudit.identifiers import comparable
from privaudit.result import AuditResult, Evidence, EvidenceRecord, Finding, Verdict
from privaudit.statistics import counts_interval, lower_bound_beyond_chance
from privaudit.verdict import verdict_for


def finding_without(result: AuditResult, verdict: Verdict, finding: Finding, excused: frozenset[str]) -> Finding | None:
    """The finding among the records that are not excused; None where every record is.

    Args:
        result: whose evidence is reduced.
        verdict: whose allowances and `fail_on` apply.
        finding: the one to judge again.
        excused: comparable ids.
    """
    evidence = result.evidence
    assert evidence is not None
    kept = tuple(record for record in evidence.records if comparable(record.id) not in excused)
    if not kept:
        return None
    counted = sum(is_leak(record, finding.name) for record in kept)
    reduced = verdict_for(
        _reduced(evidence, finding.name, kept, counted),
        result.preflight,
        result.attack,
        result.instrument,
        max_leaked=verdict.max_leaked,
        max_readable=verdict.max_readable,
        fail_on=verdict.fail_on,
    )
    return next(other for other in reduced.findings if other.name == finding.name)


def _reduced(evidence: Evidence, name: str, kept: tuple[EvidenceRecord, ...], k: int) -> Evidence:
    """Evidence on `k` of the kept records; figures of the other finding are left as they were and not read."""
    n = len(kept)
    part = evidence.calibrated_threshold if name == "rebuilt" else evidence.membership
    aside = sum(record.nearer_decoy is not None for record in kept) if name == "rebuilt" else 0
    figures: dict[str, object] = {
        "members_leaked" if name == "rebuilt" else "members_found": k,
        "interval_low": lower_bound_beyond_chance(k, n, part.fpr),
        "interval_high": counts_interval(k + aside, n).high,
        "p_value": p_value_of(evidence, name, k, n),
    }
    strictest = evidence.calibrated_threshold.strictest
    if name == "rebuilt":
        figures["members_set_aside"] = aside
        figures["strictest"] = None if strictest is None else strictest_of(evidence, strictest, kept)
    field = "calibrated_threshold" if name == "rebuilt" else "membership"
    # The other finding's counts may exceed the records that are left; it is set to none, so that they fit.
    other = (
        {"membership": evidence.membership.model_copy(update={"members_found": 0})}
        if name == "rebuilt"
        else {"calibrated_threshold": evidence.calibrated_threshold.model_copy(update={"members_leaked": 0})}
    )
    changes = {"members": n, "records": kept, field: part.model_copy(update=figures), **other}
    return evidence.model_copy(update=changes)
