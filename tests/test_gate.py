"""The gate decides from a file what the scan would have decided."""

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_builder import INCONCLUSIVE, LEAK, NO_LEAK, NO_REFERENCE, Case, build

from privaudit.errors import ConfigError, ExitCode
from privaudit.gate import gate

SEVERITY = {"no_leak_found": 0, "inconclusive": 1, "leak_found": 2}


@pytest.mark.parametrize("case", [LEAK, NO_LEAK, INCONCLUSIVE, NO_REFERENCE])
def test_without_overrides_the_gate_repeats_the_scan(case: Case) -> None:
    result = build(case)
    assert gate(result)[0] == result.verdict


def test_an_allowance_turns_inconclusive_into_no_leak() -> None:
    result = build(INCONCLUSIVE)
    assert gate(result)[1] == ExitCode.INCONCLUSIVE
    assert gate(result, max_leaked=4, max_readable=4)[1] == ExitCode.NO_LEAK_FOUND
    assert gate(result, max_leaked=3, max_readable=4)[1] == ExitCode.INCONCLUSIVE


def test_fail_on_selects_the_finding() -> None:
    result = build(LEAK, n_rebuilt=0, max_leaked=4)
    assert gate(result)[1] == ExitCode.LEAK_FOUND
    assert gate(result, fail_on="rebuilt")[1] == ExitCode.INCONCLUSIVE
    assert gate(result, fail_on="rebuilt", max_readable=50)[1] == ExitCode.NO_LEAK_FOUND


def test_exit_zero_only_changes_the_code() -> None:
    verdict, code = gate(build(LEAK), exit_zero=True)
    assert (verdict.status, code) == ("leak_found", ExitCode.NO_LEAK_FOUND)


def test_negative_allowance_is_refused() -> None:
    with pytest.raises(ConfigError, match="--max-leaked of 0 or more, found -1"):
        gate(build(LEAK), max_leaked=-1)


@given(
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(0, 10),
    st.sampled_from(["rebuilt", "membership", "any"]),
)
def test_more_allowance_is_never_worse(
    n_rebuilt: int, n_readable: int, max_leaked: int, max_readable: int, more: int, fail_on: str
) -> None:
    result = build(replace(LEAK, n_members=40, n_controls=100, n_rebuilt=n_rebuilt, n_readable=n_readable))

    def severity(leaked: int, readable: int) -> int:
        return SEVERITY[gate(result, max_leaked=leaked, max_readable=readable, fail_on=fail_on)[0].status]

    before = severity(max_leaked, max_readable)
    assert severity(max_leaked + more, max_readable) <= before
    assert severity(max_leaked, max_readable + more) <= before


@pytest.mark.parametrize("module", ["report", "gate", "verdict", "statistics", "result"])
def test_runs_where_there_is_no_torch(module: str) -> None:
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; import privaudit.{module}; "
        "sys.exit(any(name.split('.')[0] == 'torch' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
