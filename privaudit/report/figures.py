"""The figures behind a finding, in the form that formats for programs carry: count, interval, threshold, p-value.

In: a result and one of its findings. Out: plain numbers and one sentence. Results written before findings had these
fields are read from their evidence instead. Must not know formats.
"""

from dataclasses import dataclass

from privaudit.report import words
from privaudit.result import AuditResult, Finding


@dataclass(frozen=True)
class FindingFigures:
    """What was counted, and against what. `low` and `high` are 95 % bounds in records, before any allowance.

    `threshold` is on SSIM for rebuilt images (counted above it) and on the distance for membership (counted below).
    Where controls were judged by thresholds that they had no part in, those counts are given, and `expected`: what
    chance alone gives there.
    """

    name: str
    count: int
    total: int
    low: float
    high: float
    allowance: int
    threshold: float
    fpr: float
    p_value: float | None
    controls_found: int
    controls: int
    expected: float | None = None

    def sentence(self) -> str:
        """All of it in words."""
        beyond = "SSIM above" if self.name == "rebuilt" else "distance below"
        chance = "" if self.expected is None else f" (by chance {self.expected:.1f})"
        tested = "" if self.p_value is None else f"; exact test p = {words.p_value(self.p_value)}"
        return (
            f"Counted {words.of(self.count, self.total)}, 95 % bounds {self.low:.1f} to {self.high:.1f}, allowance "
            f"{self.allowance}; threshold: {beyond} {words.number(self.threshold, 3)} at a false-positive "
            f"rate of {words.rate(self.fpr)}{tested}; controls "
            f"{words.of(self.controls_found, self.controls)}{chance}."
        )

    def properties(self) -> dict[str, int | float]:
        """The numbers by name, without those that were not measured."""
        named = {
            "count": self.count,
            "total": self.total,
            "intervalLow": self.low,
            "intervalHigh": self.high,
            "allowance": self.allowance,
            "threshold": self.threshold,
            "falsePositiveRate": self.fpr,
            "pValue": self.p_value,
            "controlsFound": self.controls_found,
            "controls": self.controls,
            "controlsExpected": self.expected,
        }
        return {name: value for name, value in named.items() if value is not None}


def finding_figures(result: AuditResult, finding: Finding) -> FindingFigures | None:
    """The figures of a finding; None where nothing was counted."""
    evidence = result.evidence
    if evidence is None or finding.status in ("not_run", "not_applicable"):
        return None
    calibrated, membership = evidence.calibrated_threshold, evidence.membership
    is_rebuilt = finding.name == "rebuilt"
    measured = calibrated if is_rebuilt else membership
    threshold = calibrated.ssim if is_rebuilt else membership.threshold
    if finding.threshold is not None:
        threshold = finding.threshold
    total = finding.total or evidence.members
    if threshold is None or not total:
        return None
    in_sample = calibrated.controls_leaked if is_rebuilt else membership.controls_found
    fitted = measured.cross_fit
    return FindingFigures(
        name=finding.name,
        count=finding.count,
        total=total,
        low=finding.interval_low,
        high=finding.interval_high,
        allowance=finding.allowance,
        threshold=threshold,
        fpr=measured.fpr if finding.fpr is None else finding.fpr,
        p_value=measured.p_value if finding.p_value is None else finding.p_value,
        controls_found=in_sample if fitted is None else fitted.controls_found,
        controls=evidence.controls if fitted is None else fitted.controls,
        expected=None if fitted is None else fitted.expected,
    )


def reason_with_figures(result: AuditResult, finding: Finding) -> str:
    """A finding's own sentence and its figures behind it."""
    figures = finding_figures(result, finding)
    return finding.reason if figures is None else f"{finding.reason} {figures.sentence()}"
