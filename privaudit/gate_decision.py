"""The schema of `gate.json`: what a gate decided, by which rules, and what was waived.

Knows no tensors and imports no torch. `privaudit.gate` fills it, report formats render it beside the result.
"""

from typing import Literal

from privaudit.result import Verdict
from privaudit.result_evidence import Record

GATE_SCHEMA_VERSION = "1.0"

CheckStatus = Literal["passed", "failed", "error", "skipped", "waived"]
WaiverStatus = Literal["applied", "expired", "unmatched", "refused"]


class GateCheck(Record):
    """One rule of the gate and what came of it.

    Attributes:
        name: stable identifier, such as `rebuilt`, `membership`, `minimum-controls`, `model-digest`, `waivers`.
        status: `failed` where the rule is broken, `error` where it cannot be decided (inconclusive), `waived` where it
            would have failed but for a waiver.
        message: one sentence with the figures.
    """

    name: str
    status: CheckStatus
    message: str


class WaiverState(Record):
    """One waiver of the policy.

    Attributes:
        target: `rebuilt`, `membership`, or the id of a record.
        owner: who answers for it.
        reason: why it was granted.
        expires: last day on which it holds, ISO 8601.
        model_sha256: of the model it was granted for.
        status: `refused` where it lacks a reason or owner or was granted for another model.
        message: one sentence.
    """

    target: str
    owner: str
    reason: str
    expires: str
    model_sha256: str
    status: WaiverStatus
    message: str


class Comparison(Record):
    """Leaked records of two results, by id.

    Attributes:
        finding: `rebuilt` or `membership`.
        new: leaked now and not before; `gone` the reverse; `unchanged` in both.
        p_value: exact matched test (McNemar) on records that both results hold; None where they share none.
        shared: records that both hold.
    """

    finding: Literal["rebuilt", "membership"]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    unchanged: tuple[str, ...]
    p_value: float | None
    shared: int


class GateDecision(Record):
    """The whole of `gate.json`.

    Attributes:
        verdict: the verdict under the policy's allowances, waivers and baseline not regarded.
        exit_code: what the process returns, with them.
        reasons: why it is that; one sentence each.
        result_sha256: `self_sha256` of the result decided on.
        policy: where the rules came from: a file's name or `command line and result`.
    """

    schema_version: Literal["1.0"] = "1.0"
    verdict: Verdict
    exit_code: int
    reasons: tuple[str, ...]
    checks: tuple[GateCheck, ...]
    waivers: tuple[WaiverState, ...]
    comparisons: tuple[Comparison, ...]
    result_sha256: str
    model_sha256: str
    policy: str
    policy_sha256: str | None
    tool_version: str
