"""The part of `result.json` that compares members with controls: thresholds, membership, exposure, records.

Knows no tensors and imports no torch. `privaudit.result` holds the rest of the schema and exports these names too.
"""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of the schema: frozen, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class PublishedThreshold(Record):
    """The literature's fixed threshold, SSIM > 0.4. `placebo_leaked`: members above it by unoptimised draws (mean)."""

    ssim: float
    members_leaked: int
    controls_leaked: int
    placebo_leaked: float | None


class CrossFit(Record):
    """Controls judged by thresholds that they had no part in: what a count of members is to be held against.

    Attributes:
        folds: parts that the controls were split into; each is judged by the threshold of the other ones.
        fpr: rate those thresholds stand for; coarser than the stated one where the controls are few.
        controls: images judged; `controls_found` lie above their threshold, `expected` would by chance alone.
    """

    folds: int
    fpr: float
    controls: int
    controls_found: int
    expected: float


class OperatingPoint(Record):
    """Members found at one rate, with Clopper–Pearson 95 % bounds in records; None, and why, where controls are few."""

    fpr: float
    members_found: int | None
    tpr: float | None
    interval_low: float | None
    interval_high: float | None
    reason: str


class StrictestThreshold(Record):
    """Above every control and every score of the placebo: what few images rebuilt well are seen by.

    Attributes:
        ssim: the largest score of a control or of the placebo.
        fpr: rate at which a picture never trained on exceeds it at most.
        members_leaked: records above it, at least `interval_low` of them beyond chance at 97.5 % confidence.
        p_value: exact test that members and controls are exchangeable.
    """

    ssim: float
    fpr: float
    members_leaked: int
    interval_low: float
    p_value: float | None


class CalibratedThreshold(Record):
    """The threshold at the stated false-positive rate: the larger of the control and the placebo quantile.

    `ssim` is None, and the counts 0, where no false-positive rate can be given; `reason` then says why.
    `interval_low`/`interval_high`: Clopper–Pearson 95 % bounds on the number of leaked records in a population like the
    reference, scaled to the reference's size. `p_value`: exact test that members and controls are exchangeable;
    `placebo_p_value`: that the reconstructions are one more set of unoptimised draws. `auc` and `operating_points`
    compare the best SSIM of members with that of controls alone. `strictest`: a second look, which the verdict corrects
    for. `members_set_aside`: above the threshold and not counted, because a mean image is as near; the upper bound
    counts them all the same.
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
    placebo_p_value: float | None = None
    cross_fit: CrossFit | None = None
    auc: float | None = None
    operating_points: tuple[OperatingPoint, ...] = ()
    strictest: StrictestThreshold | None = None
    members_set_aside: int = 0


class MembershipPart(Record):
    """One statistic of the membership test by itself."""

    name: str
    auc: float | None
    operating_points: tuple[OperatingPoint, ...]


class Exposure(Record):
    """Multipliers with which reference and controls, held fixed, explain the weights (METHOD 5).

    Attributes:
        applicable: whether they were solved for; `reason` why not, or what limits the reading.
        explained: share of the relative squared weights that all images explain together, at most 1.
        explained_by_members: that the reference alone explains: 1 minus its squared stationarity residual.
        explained_by_controls: that as many controls explain alone.
        iterations: of LSQR; 0 where the problem was solved directly.
    """

    applicable: bool
    reason: str
    explained: float | None
    explained_by_members: float | None
    explained_by_controls: float | None
    iterations: int


class Membership(Record):
    """Membership readable from the weights: row spaces, kinks and multipliers, combined on a scale that controls set.

    `threshold` is on the distance, in (0, 1]: members lie below it. The last four fields were added later.
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
    exposure: Exposure | None = None
    cross_fit: CrossFit | None = None


class EvidenceRecord(Record):
    """One training image of the reference and the best reconstruction of it.

    `id` is a salted hash unless `--reveal`; `reconstruction` indexes `images` in reconstructions.safetensors.
    `multiplier` is in units of a typical gradient, `exposure_rank` its place among reference and controls, 1 the most
    exposed; both None where exposure was not solved for.

    `p_value`: chance that a picture never trained on scores as high, by controls and placebo; `q_value`: corrected for
    looking at every record (Benjamini & Hochberg). `lineup_rank`: place of the record among `lineup_size` pictures
    (itself and controls, those of its class first) by best SSIM, 1 the highest. `nearer_decoy`: the mean image that
    the reconstruction resembles at least as much as the record, in which case the record does not count as leaked.
    """

    id: str
    label: int | None
    ssim: float
    ncc: float
    reconstruction: int
    leaked: bool
    membership_score: float | None
    membership_found: bool
    multiplier: float | None = None
    exposure_rank: int | None = None
    p_value: float | None = None
    q_value: float | None = None
    lineup_rank: int | None = None
    lineup_size: int | None = None
    nearer_decoy: str | None = None


class Decoy(Record):
    """An image that is nobody's: a mean of the reference, scored like a record.

    `is_above`: whether it exceeds the calibrated threshold, in which case the attack found that mean.
    """

    name: str
    ssim: float
    is_above: bool


class ClassMatch(Record):
    """Whether the controls' classes have the shares of the reference's; `kept` of `given` controls are used."""

    matched: bool
    given: int
    kept: int
    reason: str


class Distributions(Record):
    """Scores behind the counts, for plots and for whoever wants to check them.

    `control_ssim`: best SSIM of every control; `placebo_ssim`: best SSIM of members over the placebo's draws;
    `membership_control`: the controls' membership distances; `multiplier_control`: their multipliers.
    """

    control_ssim: tuple[float, ...]
    placebo_ssim: tuple[float, ...]
    membership_control: tuple[float, ...]
    multiplier_control: tuple[float, ...] = ()


class Evidence(Record):
    """Members against controls, both through the same code. Counts are of images.

    `excluded_duplicates`: controls left out because the reference holds the same image. `near_duplicates`: groups of
    records that show the same picture.
    """

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
    decoys: tuple[Decoy, ...] = ()
    near_duplicates: tuple[tuple[str, ...], ...] = ()
    class_match: ClassMatch | None = None
