"""Pass or fail from a finished result, without GPU or torch.

In: an `AuditResult` and allowances that override the stored ones. Out: the verdict those allowances give and the exit
code. Nothing is measured again: the counts, the instrument's state and the attack's state are the stored ones.
"""

from privaudit.errors import ConfigError, ExitCode
from privaudit.result import AuditResult, Verdict
from privaudit.verdict import FailOn, exit_code, verdict_for


def gate(
    result: AuditResult,
    *,
    max_leaked: int | None = None,
    max_readable: int | None = None,
    fail_on: FailOn | None = None,
    exit_zero: bool = False,
) -> tuple[Verdict, ExitCode]:
    """Decide again with other allowances; None keeps the stored one.

    Raises:
        ConfigError: an allowance below zero.
    """
    stored = result.verdict
    allowances = {
        "--max-leaked": stored.max_leaked if max_leaked is None else max_leaked,
        "--max-readable": stored.max_readable if max_readable is None else max_readable,
    }
    for option, allowance in allowances.items():
        if allowance < 0:
            raise ConfigError(
                f"expected {option} of 0 or more, found {allowance}; give the number of records you accept"
            )
    verdict = verdict_for(
        result.evidence,
        result.preflight,
        result.attack,
        result.instrument,
        max_leaked=allowances["--max-leaked"],
        max_readable=allowances["--max-readable"],
        fail_on=stored.fail_on if fail_on is None else fail_on,
    )
    return verdict, exit_code(verdict, exit_zero)
