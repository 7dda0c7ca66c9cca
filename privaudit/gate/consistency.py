"""Whether a result agrees with itself: every count, threshold and verdict is recomputed from its records and scores.

In: a result. Out: nothing, or a `ResultError` of one line. The seal (`self_sha256`) shows accidents and careless edits;
whoever seals a file again must still make all of this agree. What nobody can see from a file is whether its records are
the ones that a scan made: see docs/gate.md.
"""

from collections.abc import Iterator

from privaudit.errors import ResultError
from privaudit.gate.scores import ROUNDED, count_below, count_range, p_value_of, supports
from privaudit.gate.thresholds import BOUND, is_same, listing_problems, strictest_problems, threshold_problems
from privaudit.identifiers import is_plain, repeated
from privaudit.result import AuditResult, Evidence, Verdict
from privaudit.statistics import counts_interval, exchangeability_p_value, lower_bound_beyond_chance
from privaudit.text import one_line
from privaudit.verdict import P_VALUE_LIMIT, verdict_for

_RUN_STATUSES = ("finished", "budget_exhausted", "interrupted", "non_finite")


def require_consistent(result: AuditResult) -> None:
    """Recompute what can be recomputed.

    Raises:
        ResultError: two statements of the result contradict each other, or it holds no records.
    """
    for problem in _problems(result):
        raise ResultError(f"expected a result that agrees with itself, found {one_line(problem, 400)}; scan again")


def require_scanned(result: AuditResult) -> None:
    """Refuse a result of a scan that looked at nothing.

    Raises:
        ResultError: no attack ran and no reference was compared.
    """
    if result.evidence is None and not result.attack.runs:
        raise ResultError(
            "expected a result of something scanned, found neither an attack that ran nor reference images compared; "
            "scan with --reference and --control"
        )


def _problems(result: AuditResult) -> Iterator[str]:
    if len(result.model.sha256) != 64 or set(result.model.sha256) - set("0123456789abcdef"):
        yield f"{result.model.sha256!r} as the model's sha256"
    yield from _attack_problems(result)
    if result.evidence is not None:
        yield from _record_problems(result.evidence)
        yield from _rebuilt_problems(result.evidence)
        yield from _membership_problems(result.evidence)
    yield from _verdict_problems(result)


def _attack_problems(result: AuditResult) -> Iterator[str]:
    attack = result.attack
    numbers = (attack.restarts, attack.steps, attack.candidates, attack.reconstructions, attack.seconds)
    if min(numbers) < 0:
        yield "negative numbers of the attack's work"
    for run in attack.runs:
        if run.status not in _RUN_STATUSES:
            yield f"an attack run that ended as {run.status!r}"
    steps = sum(run.steps for run in attack.runs)
    if attack.steps != steps:
        yield f"{attack.steps} steps of attack, and {steps} in its runs"
    if attack.reconstructions and not attack.runs:
        yield f"{attack.reconstructions} reconstructions of an attack without a run"
    if attack.runs and not result.preflight.applicable:
        yield "attack runs on a network that no attack applies to"
    if any(run.status == "interrupted" for run in attack.runs) and not attack.interrupted:
        yield "an interrupted run in an attack that was not interrupted"


def _record_problems(evidence: Evidence) -> Iterator[str]:
    records = evidence.records
    if not records:
        yield "an empty list of records"
    if evidence.members != len(records):
        yield f"{evidence.members} members and {len(records)} records"
    for record in records:
        if not is_plain(record.id):
            yield f"the id {record.id!a}, blank or with control characters"
        if not (-1 <= record.ssim <= 1 and -1.0001 <= record.ncc <= 1.0001) or record.reconstruction < -1:
            yield f"a score out of range in record {record.id}"
    same = repeated(record.id for record in records)
    if same is not None:
        yield f"two records with the same id, {same[0]!a} and {same[1]!a}"
    decoys = {decoy.name for decoy in evidence.decoys}
    for record in records:
        if record.nearer_decoy is not None and record.nearer_decoy not in decoys:
            yield f"record {record.id} set aside for {record.nearer_decoy!r}, which is not among the decoys"


def _rebuilt_problems(evidence: Evidence) -> Iterator[str]:
    calibrated, published = evidence.calibrated_threshold, evidence.published_threshold
    if not 0 < calibrated.fpr < 1:
        yield f"a false-positive rate of {calibrated.fpr}"
    yield from listing_problems(evidence)
    scores = [record.ssim for record in evidence.records if record.nearer_decoy is None]
    every = [record.ssim for record in evidence.records]
    leaked = sum(record.leaked for record in evidence.records)
    if leaked != calibrated.members_leaked:
        yield f"{calibrated.members_leaked} members leaked and {leaked} leaked records"
    low, high = count_range(scores, published.ssim)[0], count_range(every, published.ssim)[1]
    if not low <= published.members_leaked <= high:
        yield f"{published.members_leaked} members above SSIM {published.ssim} and {high} such records"
    if calibrated.ssim is None:
        if leaked or calibrated.controls_leaked:
            yield "leaked records without a threshold"
        if any(record.reconstruction >= 0 for record in evidence.records) and supports(
            evidence.distributions.control_ssim, calibrated.fpr
        ):
            yield f"no threshold, where the scores of {evidence.controls} controls give one"
        return
    for record in evidence.records:
        bounds = count_range([record.ssim], calibrated.ssim)
        allowed = (0,) if record.nearer_decoy is not None else range(bounds[0], bounds[1] + 1)
        if int(record.leaked) not in allowed:
            said = "leaked" if record.leaked else "not leaked"
            yield f"record {record.id} {said} with SSIM {record.ssim} and a threshold of {calibrated.ssim:.4f}"
    low, high = count_range([r.ssim for r in evidence.records if r.nearer_decoy is not None], calibrated.ssim)
    if not low <= calibrated.members_set_aside <= high:
        yield f"{calibrated.members_set_aside} members set aside and {high} such records"
    yield from threshold_problems(evidence)
    yield from strictest_problems(evidence)
    yield from _figure_problems(
        "rebuilt", leaked, evidence, calibrated.controls_leaked, calibrated.fpr, calibrated.p_value,
        (calibrated.interval_low, calibrated.interval_high), calibrated.members_set_aside,
    )  # fmt: skip


def _membership_problems(evidence: Evidence) -> Iterator[str]:
    membership, listed = evidence.membership, evidence.distributions.membership_control
    found = sum(record.membership_found for record in evidence.records)
    if found != membership.members_found:
        yield f"{membership.members_found} memberships readable and {found} such records"
    if not membership.applicable or membership.threshold is None:
        if found or membership.controls_found:
            yield "readable memberships without a threshold"
        if not membership.applicable and (listed or any(r.membership_score is not None for r in evidence.records)):
            yield "membership distances where the test does not apply"
        if membership.applicable and supports(listed, membership.fpr):
            yield f"no membership threshold, where the distances of {evidence.controls} controls give one"
        return
    for record in evidence.records:
        score = record.membership_score
        if record.membership_found != (score is not None and score < membership.threshold):
            yield f"record {record.id} at a membership distance of {score}, threshold {membership.threshold:.6f}"
    if not listed:
        yield "a membership threshold without controls"
        return
    low, high = count_below(listed, membership.threshold)
    if len(listed) == evidence.controls and not low <= membership.controls_found <= high:
        yield f"{membership.controls_found} controls nearer than the membership threshold and {high} such distances"
    if membership.threshold < min(listed) - 2 * ROUNDED:
        yield f"a membership threshold of {membership.threshold:.4f} below every control, the nearest at {min(listed)}"
    yield from _figure_problems(
        "membership", found, evidence, membership.controls_found, membership.fpr, membership.p_value,
        (membership.interval_low, membership.interval_high),
    )  # fmt: skip


def _figure_problems(
    name: str,
    k: int,
    evidence: Evidence,
    controls_found: int,
    fpr: float,
    p_value: float | None,
    bounds: tuple[float, float],
    n_aside: int = 0,
) -> Iterator[str]:
    """Interval and p-value of counts that were checked before."""
    n = evidence.members
    if not (0 < fpr < 1 and 0 <= controls_found <= evidence.controls):
        yield f"a rate of {fpr} with {controls_found} of {evidence.controls} controls of {name}"
        return
    lowest, highest = lower_bound_beyond_chance(k, n, fpr), counts_interval(k, n).low
    if (
        not 0 <= n_aside <= n - k
        or abs(bounds[1] - counts_interval(k + n_aside, n).high) > BOUND
        or not lowest - BOUND <= bounds[0] <= highest + BOUND
    ):
        yield f"an interval of {bounds[0]:.4g} to {bounds[1]:.4g} for {k} of {n} records of {name}"
    # The tests take half a second to load, so a p-value is computed again only where it is what speaks against a leak.
    if p_value is not None and p_value > P_VALUE_LIMIT and lowest > 0:
        possible = (
            p_value_of(evidence, name, k, n),
            exchangeability_p_value(k, n, controls_found, evidence.controls),  # of version 0.1.0
        )
        if not any(is_same(p_value, p) for p in possible):
            against = f"{controls_found} of {evidence.controls} controls"
            yield f"a p-value of {p_value} for {k} of {n} records of {name} and {against}"


def _verdict_problems(result: AuditResult) -> Iterator[str]:
    """The stored verdict against the one that the stored evidence gives under the stored allowances."""
    stored = result.verdict
    if min(stored.max_leaked, stored.max_readable) < 0:
        yield "a negative allowance"
        return
    verdict = verdict_for(
        result.evidence,
        result.preflight,
        result.attack,
        result.instrument,
        max_leaked=stored.max_leaked,
        max_readable=stored.max_readable,
        fail_on=stored.fail_on,
    )
    if _names(stored) != _names(verdict):
        yield f"findings {', '.join(_names(stored))} in the verdict"
        return
    is_older = _is_older(stored, verdict)
    for one, other in zip(stored.findings, verdict.findings, strict=True):
        if (one.count, one.allowance) != (other.count, other.allowance):
            yield f"{one.name} with {one.count} records (allowance {one.allowance}), and {other.count} in the evidence"
        if not is_older and one.status != other.status:
            yield f"{one.name} called {one.status}, where the evidence says {other.status}"
        if (
            not is_older
            and abs(one.interval_low - other.interval_low) + abs(one.interval_high - other.interval_high) > 2 * BOUND
        ):
            yield f"other bounds of {one.name} in the verdict than in the evidence"
    if not is_older and stored.status != verdict.status:
        yield f"the verdict {stored.status}, where the evidence says {verdict.status}"


def _names(verdict: Verdict) -> list[str]:
    return [finding.name for finding in verdict.findings]


def _is_older(stored: Verdict, verdict: Verdict) -> bool:
    """Whether the verdict was written before findings carried their totals; the rule may have become stricter since.

    What is decided is decided by the rule of today, so that calling a verdict old gains nothing.
    """
    return not any(f.total for f in stored.findings) and any(f.total for f in verdict.findings)
