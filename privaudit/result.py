"""The schema of `result.json`: what a scan found, in the names that other programs rely on.

Knows no tensors and imports no torch, so that `gate` and `report` run where only Python is. No field may be NaN or
infinite. `privaudit.result_file` reads and writes it.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION = "1"
VerdictStatus = Literal["no_leak_found", "leak_found", "inconclusive"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class Tool(_Record):
    """What produced the result."""

    name: Literal["privaudit"] = "privaudit"
    version: str


class Layer(_Record):
    """One layer of the audited network."""

    name: str
    kind: str
    shape: tuple[int, ...]
    has_bias: bool


class Model(_Record):
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


class SpectrumCut(_Record):
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


class Preflight(_Record):
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


class BudgetPoint(_Record):
    """Leaked records counted after `seconds` of attack, at both thresholds."""

    seconds: float
    reconstructions: int
    members_published: int
    members_calibrated: int


class AttackRun(_Record):
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


class Attack(_Record):
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


class PublishedThreshold(_Record):
    """The literature's fixed threshold, SSIM > 0.4. `placebo_leaked`: members above it by unoptimised draws (mean)."""

    ssim: float
    members_leaked: int
    controls_leaked: int
    placebo_leaked: float | None


class CalibratedThreshold(_Record):
    """The threshold at the stated false-positive rate: the larger of the control and the placebo quantile.

    `ssim` is None, and the counts 0, where no false-positive rate can be given; `reason` then says why.
    `interval_low`/`interval_high`: Clopper–Pearson 95 % bounds on the number of leaked records in a population like the
    reference, scaled to the reference's size. `p_value`: exact test that members and controls are exchangeable.
    """

    ssim: float | None
    fpr: float
    members_leaked: int
    controls_leaked: int
    interval_low: float
    interval_high: float
    p_value: float | None
    control_quantile: float | None
    placebo_quantile: float | None
    reason: str


class OperatingPoint(_Record):
    """Members found at one rate, with Clopper–Pearson 95 % bounds in records; None, and why, where controls are few."""

    fpr: float
    members_found: int | None
    tpr: float | None
    interval_low: float | None
    interval_high: float | None
    reason: str


class MembershipPart(_Record):
    """One statistic of the membership test by itself."""

    name: str
    auc: float | None
    operating_points: tuple[OperatingPoint, ...]


class Membership(_Record):
    """Membership readable from the weights: row spaces and kinks, combined on a scale that controls set.

    `threshold` is on the distance, in (0, 1]: members lie below it. The last two fields were added later.
    """

    method: str
    applicable: bool
    reason: str
    fpr: float
    threshold: float | None
    members_found: int
    controls_found: int
    interval_low: float
    interval_high: float
    p_value: float | None
    auc: float | None
    parts: tuple[MembershipPart, ...] = ()
    operating_points: tuple[OperatingPoint, ...] = ()


class EvidenceRecord(_Record):
    """One training image of the reference and the best reconstruction of it.

    `id` is a salted hash unless `--reveal`; `reconstruction` indexes `images` in reconstructions.safetensors.
    """

    id: str
    label: int | None
    ssim: float
    ncc: float
    reconstruction: int
    leaked: bool
    membership_score: float | None
    membership_found: bool


class Distributions(_Record):
    """Scores behind the counts, for plots and for whoever wants to check them.

    `control_ssim`: best SSIM of every control; `placebo_ssim`: best SSIM of members over the placebo's draws;
    `membership_control`: the controls' membership distances.
    """

    control_ssim: tuple[float, ...]
    placebo_ssim: tuple[float, ...]
    membership_control: tuple[float, ...]


class Evidence(_Record):
    """Members against controls, both through the same code. Counts are of images."""

    members: int
    controls: int
    published_threshold: PublishedThreshold
    calibrated_threshold: CalibratedThreshold
    membership: Membership
    records: tuple[EvidenceRecord, ...]
    distributions: Distributions
    ssim_definition: str
    excluded_duplicates: tuple[str, ...]
    warnings: tuple[str, ...]


class Instrument(_Record):
    """Checks of the instrument itself; `not_run` where a scan did not run one."""

    positive_control: Literal["passed", "failed", "not_run"]
    negative_control: Literal["passed", "failed", "not_run"]


class Finding(_Record):
    """One of the two findings, never mixed. `status` includes `not_applicable` (with the reason) and `not_run`."""

    name: Literal["rebuilt", "membership"]
    status: Literal["found", "not_found", "inconclusive", "not_applicable", "not_run"]
    count: int
    interval_low: float
    interval_high: float
    allowance: int
    reason: str


class Verdict(_Record):
    """The decision and every reason for it. Its rule is `privaudit.verdict.decide`."""

    status: VerdictStatus
    reasons: tuple[str, ...]
    max_leaked: int
    max_readable: int
    fail_on: Literal["rebuilt", "membership", "any"]
    findings: tuple[Finding, ...]


class Reproduce(_Record):
    """How to run it again."""

    command: str
    config: dict[str, Any]
    versions: dict[str, str]
    seeds: tuple[int, ...]
    started: str
    machine: str


class AuditResult(_Record):
    """The whole of `result.json`. `evidence` is None without a reference."""

    schema_version: Literal["1"] = "1"
    tool: Tool
    model: Model
    preflight: Preflight
    attack: Attack
    evidence: Evidence | None
    instrument: Instrument
    verdict: Verdict
    reproduce: Reproduce
    self_sha256: str = ""
