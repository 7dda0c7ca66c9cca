"""Synthetic results and pictures for tests: every number generated, no third-party image."""

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from privaudit.gate_decision import Comparison, GateCheck, GateDecision, WaiverState
from privaudit.membership.table import operating_points
from privaudit.result import (
    Attack,
    AttackRun,
    AuditResult,
    BudgetPoint,
    CalibratedThreshold,
    Distributions,
    Evidence,
    EvidenceRecord,
    Exposure,
    Instrument,
    Layer,
    Membership,
    MembershipPart,
    Model,
    OperatingPoint,
    Preflight,
    PublishedThreshold,
    Reproduce,
    SpectrumCut,
    Tool,
)
from privaudit.result_file import sealed, to_json
from privaudit.statistics import auc, counts_interval, exchangeability_p_value, quantile_threshold
from privaudit.verdict import FailOn, verdict_for


@dataclass(frozen=True)
class Case:
    """What a synthetic audit finds. `n_rebuilt` records get a high SSIM, the rest and the controls a low one."""

    n_members: int = 50
    n_controls: int = 500
    n_rebuilt: int = 30
    n_readable: int = 50
    has_reference: bool = True
    has_labels: bool = True
    membership_applicable: bool = True
    exposure: str = "solved"
    applicable: bool = True
    interrupted: bool = False
    is_saturated: bool = True
    positive: str = "passed"
    negative: str = "passed"
    max_leaked: int = 0
    max_readable: int = 0
    fail_on: FailOn = "any"
    path: str = "models/model.safetensors"
    format: str = "safetensors"
    metadata: tuple[tuple[str, str], ...] = (("activation", "relu"),)
    side: int = 16
    channels: int = 3
    seed: int = 0


LEAK = Case()
NO_LEAK = Case(n_rebuilt=0, n_readable=0, max_leaked=4, max_readable=4)
INCONCLUSIVE = Case(n_rebuilt=0, n_readable=0)
NO_REFERENCE = Case(has_reference=False)


def build(case: Case = LEAK, **changes: Any) -> AuditResult:
    """A sealed result whose verdict is the one `verdict_for` gives."""
    case = replace(case, **changes)
    evidence = _evidence(case) if case.has_reference else None
    preflight, attack = _preflight(case), _attack(case, evidence)
    instrument = Instrument(positive_control=case.positive, negative_control=case.negative)
    allowed = {"max_leaked": case.max_leaked, "max_readable": case.max_readable, "fail_on": case.fail_on}
    verdict = verdict_for(evidence, preflight, attack, instrument, **allowed)
    return sealed(
        AuditResult(
            tool=Tool(version="0.1.0"),
            model=_model(case),
            preflight=preflight,
            attack=attack,
            evidence=evidence,
            instrument=instrument,
            verdict=verdict,
            reproduce=Reproduce(
                command=f"privaudit scan {case.path} --reference train/ --control heldout/ --out audit/",
                config={"budget": "standard", "fpr": 0.01, "seed": case.seed},
                versions={"privaudit": "0.1.0", "python": "3.11"},
                seeds=(case.seed,),
                started="2026-01-02T03:04:05+00:00",
                machine="2 cores, Linux",
            ),
        )
    )


def decision(result: AuditResult, **changes: Any) -> GateDecision:
    """What a gate with a policy, a baseline and waivers of every status may decide; `changes` replace fields."""
    record = result.evidence.records[0].id if result.evidence and result.evidence.records else "gone"
    waiver = {"owner": "Privacy office", "reason": "Public pictures", "expires": "2027-01-31"}
    waiver["model_sha256"] = result.model.sha256
    told = {
        "applied": ("membership", "Membership is waived until 2027-01-31."),
        "expired": ("rebuilt", "The waiver of rebuilt ended on 2027-01-31."),
        "unmatched": (record, f"Record {record} does not leak, so nothing is waived."),
        "refused": ("rebuilt", "The waiver names no owner."),
    }
    fields: dict[str, Any] = {
        "verdict": result.verdict,
        "exit_code": 1,
        "reasons": ("Rebuilt images are above the allowance.",),
        "checks": (
            GateCheck(name="rebuilt", status="failed", message="30 rebuilt, 0 allowed."),
            GateCheck(name="membership", status="waived", message="50 readable, 0 allowed; waived."),
            GateCheck(name="minimum-controls", status="passed", message="500 controls, 100 asked for."),
            GateCheck(name="baseline", status="skipped", message="No baseline was named."),
            GateCheck(name="model-digest", status="error", message="The model's file could not be read."),
        ),
        "waivers": tuple(
            WaiverState(target=target, status=status, message=message, **waiver)
            for status, (target, message) in told.items()
        ),
        "comparisons": (
            Comparison(
                finding="rebuilt", new=(record,), gone=("a" * 12, "b" * 12), unchanged=(), p_value=0.02, shared=50
            ),
        ),
        "result_sha256": result.self_sha256,
        "model_sha256": result.model.sha256,
        "policy": "privaudit-policy.toml",
        "policy_sha256": "c" * 64,
        "tool_version": "0.1.0",
    }
    return GateDecision(**{**fields, **changes})


def picture_arrays(result: AuditResult, case: Case = LEAK) -> dict[str, np.ndarray]:
    """Arrays of `reconstructions.safetensors` that fit `result`: smooth random blobs, noisier where SSIM is low."""
    generator = np.random.default_rng(case.seed)
    shape = (case.channels, case.side, case.side)
    records = result.evidence.records if result.evidence else ()
    n_images = max(len(records) + 10, 60)
    images = generator.random((n_images, *shape), dtype=np.float32)
    arrays: dict[str, np.ndarray] = {
        "multipliers": generator.random(n_images, dtype=np.float32),
        "restart": np.arange(n_images, dtype=np.int64) % 4,
        "objective": np.zeros(n_images, dtype=np.int64),
        "confidence": generator.random(n_images, dtype=np.float32),
        "best_match": np.full(n_images, -1, dtype=np.int64),
    }
    if records:
        truth = generator.random((len(records), *shape), dtype=np.float32)
        for i, record in enumerate(records):
            images[record.reconstruction] = record.ssim * truth[i] + (1 - record.ssim) * images[record.reconstruction]
            arrays["best_match"][record.reconstruction] = i
        arrays["record_index"] = np.arange(len(records), dtype=np.int64)
        arrays["record_images"] = (255 * truth).astype(np.uint8)
        arrays["control_images"] = generator.integers(0, 255, truth.shape).astype(np.uint8)
    return {"images": images, **arrays}


def write_audit(directory: Path, case: Case = LEAK, with_pictures: bool = True) -> Path:
    """`result.json` and its pictures in a folder; returns the path of the former."""
    directory.mkdir(parents=True, exist_ok=True)
    result = build(case)
    path = directory / "result.json"
    path.write_text(to_json(result), encoding="utf-8")
    if with_pictures:
        save_file(picture_arrays(result, case), str(directory / "reconstructions.safetensors"))
    return path


def _model(case: Case) -> Model:
    pixels = case.channels * case.side**2
    return Model(
        path=case.path,
        sha256=sha256(case.path.encode("utf-8", "replace")).hexdigest(),
        format=case.format,
        adapter="mlp",
        parameters=pixels * 1000 + 1000 * 1000 + 10_000,
        input_shape=(case.channels, case.side, case.side),
        outputs=10,
        layers=(
            Layer(name="layers.0", kind="linear", shape=(1000, pixels), has_bias=True),
            Layer(name="layers.1", kind="linear", shape=(10, 1000), has_bias=False),
        ),
        metadata=dict(case.metadata),
    )


def _preflight(case: Case) -> Preflight:
    n = case.n_members
    values = np.concatenate([np.geomspace(1, 0.05, max(n - 1, 1)), np.geomspace(3e-4, 1e-5, 2 * n + 10)])
    bounds = {"rank": max(n - 1, 1), "low": max(n - 1, 1), "high": n + 1, "cliff_ratio": 171.0, "rule": "cliff"}
    shown = tuple(float(f"{v:.6g}") for v in values[:1024])
    cut = SpectrumCut(layer="layers.0", singular_values=shown, **bounds)
    return Preflight(
        applicable=case.applicable,
        reasons=("All layers are linear and homogeneous.",) if case.applicable else ("Batch norm follows layers.0.",),
        estimated_training_images=n,
        explained_by_reference=0.998 if case.has_reference else None,
        homogeneity_error=2e-7,
        objectives=("general", "feature_span") if case.applicable else (),
        spectra=(cut,),
    )


def _attack(case: Case, evidence: Evidence | None) -> Attack:
    leaked = evidence.calibrated_threshold.members_leaked if evidence else 0
    published = evidence.published_threshold.members_leaked if evidence else 0
    shares = (0.4, 0.8, 0.97, 1.0, 1.0, 1.0) if case.is_saturated else (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    curve = tuple(
        BudgetPoint(
            seconds=14.0 * (i + 1),
            reconstructions=50 * (i + 1),
            members_published=round(share * published),
            members_calibrated=round(share * leaked),
        )
        for i, share in enumerate(shares)
    )
    spent = {"restarts": 12, "steps": 6000, "candidates": 50, "reconstructions": 250, "seconds": 70.0}
    run = AttackRun(objective="general", status="finished", **spent, loss=0.0123, explained=0.98)
    runs = (run, run.model_copy(update={"objective": "feature_span", "seconds": 14.0}))
    return Attack(
        mode="general",
        mode_reason="ten outputs and weight decay in the metadata",
        device="cpu",
        restarts=24,
        steps=12000 if case.applicable else 0,
        seconds=84.0,
        candidates=50,
        seed=case.seed,
        explained=0.98,
        interrupted=case.interrupted,
        runs=runs if case.applicable else (),
        knowledge=("the input range [0, 1]", "the mean image of the training set (metadata)", "ten classes"),
        budget_curve=curve if evidence else (),
        reconstructions=300 if case.applicable else 0,
    )


def _evidence(case: Case) -> Evidence:
    generator = np.random.default_rng(case.seed)
    n, m = case.n_members, case.n_controls
    low = np.clip(generator.normal(0.2, 0.06, n), 0, 0.36)
    ssim = np.where(np.arange(n) < case.n_rebuilt, np.clip(generator.normal(0.65, 0.12, n), 0.45, 0.97), low)
    control = np.clip(generator.normal(0.2, 0.06, m), 0.0, 0.39)
    placebo = np.clip(generator.normal(0.25, 0.06, 4 * n), 0.0, 0.43)
    distance = np.where(
        np.arange(n) < case.n_readable, 10 ** generator.normal(-3.2, 0.3, n), generator.uniform(0.25, 0.7, n)
    )
    control_distance = generator.uniform(0.22, 0.75, m)
    thresholds = [quantile_threshold(scores, 0.01) for scores in (control, placebo)]
    values = [t.value for t in thresholds if t.value is not None]
    threshold = max(values) if m and thresholds[0].value is not None else None
    near = quantile_threshold(-control_distance, 0.01).value
    order = generator.permutation(n)
    is_solved = case.exposure == "solved"
    multipliers = np.concatenate([generator.normal(0.4, 0.1, n), generator.normal(0, 0.1, m)])
    records = tuple(
        EvidenceRecord(
            id=sha256(f"{case.seed}/{i}".encode()).hexdigest()[:12],
            label=int(i % 10) if case.has_labels else None,
            ssim=float(ssim[i]),
            ncc=float(min(1.0, ssim[i] + 0.15)),
            reconstruction=int(order[i]),
            leaked=threshold is not None and bool(ssim[i] > threshold),
            membership_score=float(distance[i]) if case.membership_applicable else None,
            membership_found=case.membership_applicable and near is not None and bool(distance[i] < -near),
            multiplier=float(multipliers[i]) if is_solved else None,
            exposure_rank=int((multipliers > multipliers[i]).sum()) + 1 if is_solved else None,
        )
        for i in range(n)
    )
    return Evidence(
        members=n,
        controls=m,
        published_threshold=PublishedThreshold(
            ssim=0.4,
            members_leaked=sum(r.ssim > 0.4 for r in records),
            controls_leaked=int((control > 0.4).sum()),
            placebo_leaked=1.5,
        ),
        calibrated_threshold=_calibrated(records, control, threshold, thresholds[0].value, thresholds[1].value),
        membership=_membership(case, records, control_distance, near),
        records=records,
        distributions=Distributions(
            control_ssim=tuple(control.tolist()),
            placebo_ssim=tuple(placebo.tolist()),
            membership_control=tuple(control_distance.tolist()) if case.membership_applicable else (),
            multiplier_control=tuple(multipliers[n:].tolist()) if is_solved else (),
        ),
        ssim_definition="scikit-image structural_similarity, 7 x 7 uniform window, data_range 1, mean over channels",
        excluded_duplicates=(),
        warnings=(),
    )


def _calibrated(
    records: tuple[EvidenceRecord, ...],
    control: np.ndarray,
    threshold: float | None,
    control_quantile: float | None,
    placebo_quantile: float | None,
) -> CalibratedThreshold:
    k = sum(r.leaked for r in records)
    found = 0 if threshold is None else int((control > threshold).sum())
    bounds = counts_interval(k, len(records))
    return CalibratedThreshold(
        ssim=threshold,
        fpr=0.01,
        members_leaked=k,
        controls_leaked=found,
        interval_low=bounds.low,
        interval_high=bounds.high,
        p_value=None if threshold is None else exchangeability_p_value(k, len(records), found, len(control)),
        control_quantile=control_quantile,
        placebo_quantile=placebo_quantile,
        reason="" if threshold is not None else f"At least 100 controls are needed; there are {len(control)}.",
    )


def _membership(
    case: Case, records: tuple[EvidenceRecord, ...], control_distance: np.ndarray, near: float | None
) -> Membership:
    is_measured = case.membership_applicable and near is not None
    k = sum(r.membership_found for r in records)
    found = int((control_distance < -near).sum()) if is_measured and near is not None else 0
    bounds = counts_interval(k, len(records))
    distances = [r.membership_score for r in records if r.membership_score is not None]
    points = operating_points(-np.array(distances), -control_distance) if is_measured else ()
    listed = tuple(OperatingPoint(**vars(point)) for point in points)
    return Membership(
        method="share of the image outside the span of the first layer",
        applicable=case.membership_applicable,
        reason="" if case.membership_applicable else "The first layer is a convolution, not a linear layer.",
        fpr=0.01,
        threshold=-near if is_measured and near is not None else None,
        members_found=k,
        controls_found=found,
        interval_low=bounds.low if is_measured else 0.0,
        interval_high=bounds.high if is_measured else 0.0,
        p_value=exchangeability_p_value(k, len(records), found, len(control_distance)) if is_measured else None,
        auc=auc(distances, control_distance) if is_measured else None,
        parts=tuple(
            MembershipPart(name=name, auc=0.9, operating_points=listed) for name in ("row space of x", "kinks of x")
        )
        if is_measured
        else (),
        operating_points=listed,
        exposure=_exposure(case),
    )


def _exposure(case: Case) -> Exposure | None:
    """As scanned, not solved for, or of a version that had none."""
    if case.exposure == "none":
        return None
    is_solved = case.exposure == "solved"
    return Exposure(
        applicable=is_solved,
        reason="" if is_solved else "Torch cannot differentiate this network both ways: an operation.",
        explained=0.9 if is_solved else None,
        explained_by_members=0.85 if is_solved else None,
        explained_by_controls=0.1 if is_solved else None,
        iterations=20 if is_solved else 0,
    )
