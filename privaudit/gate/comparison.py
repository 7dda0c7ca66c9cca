"""Two results record by record: what leaks now and did not, what no longer does, and whether that is more than chance.

In: two results. Out: `Comparison`s. Must not know policies. Ids are salted hashes unless `--reveal`, so that two scans
can be compared only with the same PRIVAUDIT_SALT.
"""

from math import comb

from privaudit.errors import ResultError
from privaudit.gate_decision import Comparison
from privaudit.identifiers import comparable
from privaudit.result import AuditResult, EvidenceRecord

FINDINGS = ("rebuilt", "membership")


def compare(old: AuditResult, new: AuditResult) -> tuple[Comparison, Comparison]:
    """Rebuilt first, then membership; ids as the results spell them, in the order of the newer one."""
    return _compared(old, new, "rebuilt"), _compared(old, new, "membership")


def is_leak(record: EvidenceRecord, finding: str) -> bool:
    """Whether a record counts for a finding."""
    return record.leaked if finding == "rebuilt" else record.membership_found


def by_id(result: AuditResult) -> dict[str, EvidenceRecord]:
    """Records by their comparable id."""
    return {} if result.evidence is None else {comparable(record.id): record for record in result.evidence.records}


def n_shared(old: AuditResult, new: AuditResult) -> int:
    """Records that both results hold, by id."""
    return len(by_id(old).keys() & by_id(new).keys())


def mcnemar_p_value(n_new: int, n_gone: int) -> float:
    """Exact two-sided McNemar test: p in (0, 1] that as many records change either way.

    McNemar 1947 with the binomial distribution in place of chi squared: of the records that changed, each went one way
    or the other with probability 1/2. Whole numbers throughout, so that no library has to be loaded.
    """
    n = n_new + n_gone
    tail = sum(comb(n, k) for k in range(min(n_new, n_gone) + 1))
    doubled = 2 * tail
    return 1.0 if doubled >= 1 << n else doubled / (1 << n)


def require_comparable(old: AuditResult, new: AuditResult) -> None:
    """Refuse a pair that does not describe the same records.

    Raises:
        ResultError: one has no records, they share none, or they share fewer than half of either.
    """
    before, after = by_id(old), by_id(new)
    for name, records in (("older", before), ("newer", after)):
        if not records:
            raise ResultError(f"expected records in the {name} result, found none; scan with --reference and --control")
    shared = len(before.keys() & after.keys())
    if not shared:
        raise ResultError(
            f"expected the same ids in both results, found none of {len(after)} in common; "
            "set PRIVAUDIT_SALT to the same value for both scans, or --reveal"
        )
    if 2 * shared <= max(len(before), len(after)):
        raise ResultError(
            f"expected most records in both results, found {shared} of {len(before)} and {len(after)}; "
            "name a result on the same reference images"
        )


def _compared(old: AuditResult, new: AuditResult, finding: str) -> Comparison:
    before, after = by_id(old), by_id(new)
    leaked_before = {key for key, record in before.items() if is_leak(record, finding)}
    leaked_after = {key for key, record in after.items() if is_leak(record, finding)}
    shared = before.keys() & after.keys()
    changed_to = len((leaked_after - leaked_before) & shared)
    changed_from = len((leaked_before - leaked_after) & shared)
    return Comparison(
        finding="rebuilt" if finding == "rebuilt" else "membership",
        new=tuple(record.id for key, record in after.items() if key in leaked_after - leaked_before),
        gone=tuple(record.id for key, record in before.items() if key in leaked_before - leaked_after),
        unchanged=tuple(record.id for key, record in after.items() if key in leaked_after & leaked_before),
        p_value=mcnemar_p_value(changed_to, changed_from) if shared else None,
        shared=len(shared),
    )


def comparison_line(comparison: Comparison) -> str:
    """One sentence with the counts and the test."""
    if comparison.p_value is None:
        return (
            f"{comparison.finding}: {len(comparison.gone)} before and {len(comparison.new)} now (no records in common, "
            "so no test and no list)"
        )
    test = f"exact McNemar test on {comparison.shared} shared records: p = {comparison.p_value:.2g}"
    return (
        f"{comparison.finding}: {len(comparison.new)} new, {len(comparison.gone)} gone, "
        f"{len(comparison.unchanged)} unchanged ({test})"
    )
