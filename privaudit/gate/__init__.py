"""Pass or fail from a finished result, without GPU or torch.

In: an `AuditResult`, the rules of a policy, what it is compared with. Out: a `GateDecision`. Nothing is measured again
and no count is believed: they are recomputed from the records first, and the verdict from them. The exit code is 1
where a check failed, else 3 where one could not be decided, else 0; what cannot be judged at all raises (exit 2).
"""

from dataclasses import dataclass
from datetime import datetime

from privaudit import __version__
from privaudit.errors import ConfigError, ExitCode, ResultError
from privaudit.gate.checks import all_checks
from privaudit.gate.clock import require_plausible, utc_now
from privaudit.gate.consistency import require_consistent, require_scanned
from privaudit.gate.policy import Policy, PolicyFile, records_allowed
from privaudit.gate_decision import GateCheck, GateDecision
from privaudit.model_digest import ModelDigest
from privaudit.result import AuditResult, Verdict
from privaudit.verdict import FailOn, exit_code, verdict_for

NO_POLICY = "command line and result"


@dataclass(frozen=True)
class Rules:
    """What decides.

    Attributes:
        policy: the file; None: the result's own allowances apply.
        max_leaked: records, over the policy; `max_readable` and `fail_on` likewise. None: the policy's.
        exit_zero: report only: exit 0 for 1 and 3, unless a check of the instrument did not run.
    """

    policy: PolicyFile | None = None
    max_leaked: int | None = None
    max_readable: int | None = None
    fail_on: FailOn | None = None
    exit_zero: bool = False


def gate(
    result: AuditResult,
    *,
    max_leaked: int | None = None,
    max_readable: int | None = None,
    fail_on: FailOn | None = None,
    exit_zero: bool = False,
) -> tuple[Verdict, ExitCode]:
    """Decide again with other allowances and no policy; None keeps the stored one.

    Raises:
        ConfigError: an allowance below zero.
        ResultError: a result that contradicts itself, holds nothing, or lies in this clock's future.
    """
    decision = decide(result, Rules(None, max_leaked, max_readable, fail_on, exit_zero))
    return decision.verdict, ExitCode(decision.exit_code)


def decide(
    result: AuditResult,
    rules: Rules,
    *,
    model: ModelDigest | None = None,
    baseline: AuditResult | None = None,
    now: datetime | None = None,
) -> GateDecision:
    """Judge a result by the rules.

    Args:
        result: as read; its seal was checked when it was.
        rules: allowances, demands, waivers.
        model: digest of the file that is about to be released; None: not given, and a check says so.
        baseline: an older result on the same reference; what leaked there already does not fail.
        now: the time, UTC; None asks the clock.

    Raises:
        ConfigError: an allowance below zero.
        ResultError: a result or baseline that contradicts itself, holds nothing, or does not fit the other, or
            one of another model.
    """
    now = utc_now() if now is None else now
    for one in (result,) if baseline is None else (result, baseline):
        require_scanned(one)
        require_consistent(one)
        require_plausible(now, one)
    about_model = _model_check(result, model)
    verdict = _verdict(result, rules)
    policy = Policy() if rules.policy is None else rules.policy.policy
    judged = all_checks(result, verdict, policy, baseline, now.date())
    checks = (about_model, *judged.checks)
    code = _code(checks)
    if code == ExitCode.NO_LEAK_FOUND and verdict.status != "no_leak_found" and not judged.is_excused:
        code = exit_code(verdict)  # whatever the checks do not know, the verdict does
    if rules.exit_zero and "not_run" not in (result.instrument.positive_control, result.instrument.negative_control):
        code = ExitCode.NO_LEAK_FOUND
    return GateDecision(
        verdict=verdict,
        exit_code=int(code),
        reasons=_reasons(checks, verdict),
        checks=checks,
        waivers=judged.waivers,
        comparisons=judged.comparisons,
        result_sha256=result.self_sha256,
        model_sha256=result.model.sha256,
        policy=NO_POLICY if rules.policy is None else rules.policy.name,
        policy_sha256=None if rules.policy is None else rules.policy.sha256,
        tool_version=__version__,
    )


def require_model(result: AuditResult, model: ModelDigest) -> None:
    """Refuse a result of another model.

    Raises:
        ResultError: the digests differ.
    """
    if model.sha256 != result.model.sha256:
        raise ResultError(
            f"expected the result of the model {model.sha256[:16]}… at {model.files[0].name}, found one of "
            f"{result.model.sha256[:16]}…; scan this file"
        )


def _model_check(result: AuditResult, model: ModelDigest | None) -> GateCheck:
    if model is None:
        message = "No --model was given, so it is not known whether the result is about the file that is released."
        return GateCheck(name="model-digest", status="skipped", message=message)
    require_model(result, model)
    return GateCheck(name="model-digest", status="passed", message=f"The model's sha256 is {model.sha256}.")


def _verdict(result: AuditResult, rules: Rules) -> Verdict:
    """Under the allowances of the command line, else the policy's, else (without a policy) the result's own."""
    stored = result.verdict
    policy = None if rules.policy is None else rules.policy.policy
    n_records = 0 if result.evidence is None else len(result.evidence.records)
    fallback = (
        (stored.max_leaked, stored.max_readable)
        if policy is None
        else (
            records_allowed(policy.allow.rebuilt or 0, n_records),
            records_allowed(policy.allow.readable or 0, n_records),
        )
    )
    allowances = {
        "--max-leaked": fallback[0] if rules.max_leaked is None else rules.max_leaked,
        "--max-readable": fallback[1] if rules.max_readable is None else rules.max_readable,
    }
    for option, allowance in allowances.items():
        if allowance < 0:
            raise ConfigError(
                f"expected {option} of 0 or more, found {allowance}; give the number of records you accept"
            )
    stated = stored.fail_on if policy is None else policy.fail_on or "any"
    return verdict_for(
        result.evidence,
        result.preflight,
        result.attack,
        result.instrument,
        max_leaked=allowances["--max-leaked"],
        max_readable=allowances["--max-readable"],
        fail_on=stated if rules.fail_on is None else rules.fail_on,
    )


def _code(checks: tuple[GateCheck, ...]) -> ExitCode:
    statuses = {check.status for check in checks}
    if "failed" in statuses:
        return ExitCode.LEAK_FOUND
    return ExitCode.INCONCLUSIVE if "error" in statuses else ExitCode.NO_LEAK_FOUND


def _reasons(checks: tuple[GateCheck, ...], verdict: Verdict) -> tuple[str, ...]:
    """What decided: the failures, else what is undecided, else what was excused and the grounds of the verdict."""
    for statuses in (("failed",), ("error",), ("waived",)):
        told = tuple(check.message for check in checks if check.status in statuses)
        if told:
            return told
    return verdict.reasons
