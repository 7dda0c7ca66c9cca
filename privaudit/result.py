"""The schema of `result.json`: what a scan found, in the names that other programs rely on.

Knows no tensors and imports no torch, so that `gate` and `report` run where only Python is. No field may be NaN or
infinite. `privaudit.result_file` reads and writes it, `privaudit.json_schema` publishes it.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from privaudit.result_evidence import (
    CalibratedThreshold,
    ClassMatch,
    CrossFit,
    Decoy,
    Distributions,
    Evidence,
    EvidenceRecord,
    Exposure,
    Membership,
    MembershipPart,
    OperatingPoint,
    PublishedThreshold,
    Record,
    StrictestThreshold,
)  # fmt: skip

__all__ = [
    "SCHEMA_VERSION",
    "Attack",
    "AttackRun",
    "AuditResult",
    "BudgetPoint",
    "CalibratedThreshold",
    "ClassMatch",
    "CrossFit",
    "Decoy",
    "Distributions",
    "Evidence",
    "EvidenceRecord",
    "Exposure",
    "Finding",
    "Instrument",
    "Layer",
    "Membership",
    "MembershipPart",
    "Model",
    "OperatingPoint",
    "Preflight",
    "PublishedThreshold",
    "Reproduce",
    "SpectrumCut",
    "StrictestThreshold",
    "Tool",
    "Verdict",
    "VerdictStatus",
]

SCHEMA_VERSION = "1.1"
"""MAJOR.MINOR. A new field, always with a default, raises the minor version; anything else would raise the major one.

Version 1 (no minor) is 1.0, of the first results.
"""

VerdictStatus = Literal["no_leak_found", "leak_found", "inconclusive"]


class Tool(Record):
    """What produced the result."""

    name: Literal["privaudit"] = "privaudit"
    version: str


class Layer(Record):
    """One layer of the audited network."""

    name: str
    kind: str
    shape: tuple[int, ...]
    has_bias: bool


class Model(Record):
    """The audited file. `path` is as the user typed it."""

    path: str
    sha256: str
    format: str
    adapter: str
    parameters: int
    input_shape: tuple[int, int, int]
    outputs: int
    layers: tuple[Layer, ...]
    metadata: dict[str, str]


class SpectrumCut(Record):
    """Where the singular values of a linear layer stop being signal.

    Attributes:
        layer: its name.
        singular_values: descending, at most 1,024 of them, relative to the largest.
        rank: number of directions kept.
        low: smallest and `high` largest defensible number of directions.
        cliff_ratio: the singular value at `rank` over the next one.
        rule: `cliff`, `noise_edge`, `full` or `none`.
    """

    layer: str
    singular_values: tuple[float, ...]
    rank: int
    low: int
    high: int
    cliff_ratio: float
    rule: str


class Preflight(Record):
    """What can be attacked and why not.

    Attributes:
        applicable: whether at least one reconstruction objective applies.
        reasons: one sentence each, also when applicable.
        estimated_training_images: from the spectrum; None where it shows no cliff.
        explained_by_reference: share of the first layer's squared weights inside the span of the reference images, in
            [0, 1]; None without a reference or a linear first layer.
        homogeneity_error: relative deviation of the network from positive homogeneity in its weights; None: not
            measured.
        objectives: registry names of what applies.
    """

    applicable: bool
    reasons: tuple[str, ...]
    estimated_training_images: int | None
    explained_by_reference: float | None
    homogeneity_error: float | None
    objectives: tuple[str, ...]
    spectra: tuple[SpectrumCut, ...]


class BudgetPoint(Record):
    """Leaked records counted after `seconds` of attack, at both thresholds."""

    seconds: float
    reconstructions: int
    members_published: int
    members_calibrated: int


class AttackRun(Record):
    """One objective's share of the attack. `status`: finished, budget_exhausted, interrupted or non_finite."""

    objective: str
    status: str
    restarts: int
    steps: int
    candidates: int
    reconstructions: int
    seconds: float
    loss: float | None
    explained: float | None


class Attack(Record):
    """What was run. `explained`: share of the squared weights that the best sum of gradients explains, in [0, 1]."""

    mode: str
    mode_reason: str
    device: str
    restarts: int
    steps: int
    seconds: float
    candidates: int
    seed: int
    explained: float | None
    interrupted: bool
    runs: tuple[AttackRun, ...]
    knowledge: tuple[str, ...]
    budget_curve: tuple[BudgetPoint, ...]
    reconstructions: int


class Instrument(Record):
    """Checks of the instrument itself; `not_run` where a scan did not run one, and `reason` says why or what failed."""

    positive_control: Literal["passed", "failed", "not_run"]
    negative_control: Literal["passed", "failed", "not_run"]
    seconds: float | None = None
    reason: str = ""


class Finding(Record):
    """One of the two findings, never mixed. `status` includes `not_applicable` (with the reason) and `not_run`.

    `count` of `total` records lie beyond `threshold` (SSIM above it, or distance below it), which a picture never
    trained on does at most at the rate `fpr`; `p_value`: exact test against controls. None where nothing was measured.
    """

    name: Literal["rebuilt", "membership"]
    status: Literal["found", "not_found", "inconclusive", "not_applicable", "not_run"]
    count: int
    interval_low: float
    interval_high: float
    allowance: int
    reason: str
    total: int = 0
    threshold: float | None = None
    fpr: float | None = None
    p_value: float | None = None


class Verdict(Record):
    """The decision and every reason for it. Its rule is `privaudit.verdict.decide`."""

    status: VerdictStatus
    reasons: tuple[str, ...]
    max_leaked: int
    max_readable: int
    fail_on: Literal["rebuilt", "membership", "any"]
    findings: tuple[Finding, ...]


class Reproduce(Record):
    """How to run it again."""

    command: str
    config: dict[str, Any]
    versions: dict[str, str]
    seeds: tuple[int, ...]
    started: str
    machine: str


class AuditResult(Record):
    """The whole of `result.json`. `evidence` is None without a reference.

    `schema_version` is that of the file, which a reader keeps: 1 or 1.x.
    """

    schema_version: Annotated[str, Field(pattern=r"^1(\.[0-9]{1,6})?$")] = SCHEMA_VERSION
    tool: Tool
    model: Model
    preflight: Preflight
    attack: Attack
    evidence: Evidence | None
    instrument: Instrument
    verdict: Verdict
    reproduce: Reproduce
    self_sha256: str = ""
