"""Does a verdict hold what it promises? Audits with nothing to find, and audits with planted leaks.

    python benchmarks/false_alarms.py audits CHECKPOINTS DATA RECORDS.npz [--only KIND]
    python benchmarks/false_alarms.py simulate RECORDS.npz [--audits N]
    python benchmarks/false_alarms.py power RECORDS.npz [--audits N]

`audits` runs real audits that have nothing to find, every stage of `privaudit scan --budget quick` in memory, on
CIFAR-10, MNIST (DATA holds the subsets), faces and digits (from scikit-image and scikit-learn), prints each verdict and
writes the scores: networks attacked with zero steps, so that only unoptimised draws are handed on; untrained networks;
references that a network was not trained on; members and controls shuffled. It also audits CHECKPOINTS that do leak,
whose scores `power` plants. `simulate` draws audits under the null from the recorded scores and distances and counts
`leak_found`; a second time with made-up statistics of membership, combined as a scan combines its own.
"""

import argparse
import dataclasses
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.data import lfw_subset
from sklearn.datasets import load_digits

from privaudit import assessment
from privaudit.adapters import build_target, resolve_input_options
from privaudit.adapters.interface import Preprocessing
from privaudit.assessment import Assessment, assess
from privaudit.calibration import calibrated, published
from privaudit.checkpoint import Checkpoint
from privaudit.config import ScanSettings
from privaudit.data import ImageSet
from privaudit.evidence import membership_of
from privaudit.held_images import held_images
from privaudit.loading import Loaded, load
from privaudit.matching import MatchTable, Scores, best_scores
from privaudit.membership.combination import Part, combined_distance
from privaudit.membership.table import MembershipTable, judged
from privaudit.progress import SilentListener
from privaudit.result import Attack, Distributions, Evidence, Instrument, Preflight
from privaudit.statistics import monte_carlo_p_value
from privaudit.training import TrainingSettings, train, untrained_tensors
from privaudit.verdict import verdict_for

PASSED = Instrument(positive_control="passed", negative_control="passed")
LEAKING = ("cifar10-ce-wd-50", "cifar10-mse-wd-50", "cifar10-bce-50", "cifar10-cnn-ce-wd-20", "cifar10-ce-wd-500")
N_MEMBERS, WIDTH, DECAY = 20, 300, 1e-2
DRAWS = 220  # placebo sets recorded of each leaking network


@dataclass(frozen=True)
class Case:
    """One audit: `is_zero` hands on unoptimised draws, and then only rebuilt images are nothing to find."""

    kind: str
    data: str
    loaded: Loaded
    is_zero: bool = False
    seed: int = 0


# ------------------------------------------------------------------------------------------------------ real audits


def pictures(name: str, data: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(N, C, H, W) in [0, 1] and labels."""
    if name == "faces":
        return np.clip(lfw_subset(), 0, 1).astype(np.float32)[:, None], np.repeat([0, 1], 100)
    if name == "digits":
        held = load_digits()
        return (held.images / 16).astype(np.float32)[:, None], held.target.astype(np.int64)
    archive = np.load(data / f"{'cifar10' if name == 'cifar' else 'mnist'}_subset.npz")
    images = archive["test_images"].astype(np.float32) / 255
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images), archive["test_labels"].astype(np.int64)


def image_set(images: NDArray[np.float32], labels: NDArray[np.int64] | None, name: str) -> ImageSet:
    """As a user's source would be read."""
    names = tuple(map(str, range(len(images))))
    return ImageSet(
        torch.from_numpy(images.copy()), None if labels is None else torch.from_numpy(labels.copy()), names, name
    )


def network(name: str, data: Path, seed: int, is_trained: bool) -> Iterator[Case]:
    """The audits of one small network: trained on some images, or not trained at all."""
    images, _ = pictures(name, data)
    order = np.random.default_rng(seed).permutation(len(images))
    members, rest = order[:N_MEMBERS], order[N_MEMBERS : N_MEMBERS + 420]
    mean = torch.from_numpy(images[members].mean(0))
    widths = (images[0].size, WIDTH, WIDTH, N_MEMBERS)
    settings = TrainingSettings(widths, "cross_entropy", DECAY, 100, seed=seed)
    if is_trained:
        inputs = torch.from_numpy(images[members]) - mean
        tensors = train(inputs, torch.arange(N_MEMBERS), settings, None).tensors
    else:
        tensors = untrained_tensors(settings)
    metadata = {
        "architecture": "-".join(map(str, widths)),
        "input_shape": ",".join(map(str, images.shape[1:])),
        "activation": "relu",
        "loss": "cross_entropy",
        "weight_decay": str(DECAY),
    }

    def case(kind: str, ref: NDArray[np.int64], con: NDArray[np.int64], zero: bool = False) -> Case:
        checkpoint = Checkpoint(Path(f"{name}.safetensors"), tensors, "", "safetensors", metadata)
        target = build_target(checkpoint, "auto", resolve_input_options(checkpoint))
        preprocessing = Preprocessing(mean, torch.ones_like(mean), "mean image of the members")
        held = held_images(image_set(images[ref], None, name), image_set(images[con], None, name), 0.01, seed)
        return Case(kind, name, Loaded(checkpoint, target, held, preprocessing, torch.device("cpu")), zero, seed)

    if not is_trained:
        yield case("untrained", members, rest)
        return
    yield case("zero steps", members, rest, zero=True)
    half = len(rest) // 3
    for k in range(2):
        strangers = rest[k * N_MEMBERS : (k + 1) * N_MEMBERS]
        yield case("other images", strangers, np.setdiff1d(rest, strangers))
    pooled = np.random.default_rng(seed + 1).permutation(np.concatenate([members, rest[:half]]))
    yield case("shuffled", pooled[: len(pooled) // 6], pooled[len(pooled) // 6 :])


def shared(checkpoints: Path, data: Path, name: str) -> Iterator[Case]:
    """The audits of one shared checkpoint that have nothing to find."""
    base = checkpoints / name
    settings = ScanSettings(
        model=base.with_suffix(".safetensors"),
        reference=f"{base}.images.npz:member",
        control=f"{base}.images.npz:control",
    )
    loaded = load(settings, SilentListener())
    held = loaded.held
    assert held is not None and held.control is not None
    for seed in range(2):
        yield Case("zero steps", name, loaded, True, seed)
    images, _ = pictures("cifar", data)
    order = np.random.default_rng(5).permutation(len(images))
    n = len(held.reference)
    strangers = image_set(images[order[:n]], None, "other")
    controls = image_set(images[order[n : n + 500]], None, "controls")
    yield Case("other images", name, dataclasses.replace(loaded, held=held_images(strangers, controls, 0.01, 0)))
    if n > 50:
        return
    pixels = torch.cat([held.reference.pixels, held.control.pixels[:200]]).numpy()
    mixed = np.random.default_rng(6).permutation(len(pixels))
    part = image_set(pixels[mixed[:n]], None, "shuffled"), image_set(pixels[mixed[n:]], None, "shuffled controls")
    yield Case("shuffled", name, dataclasses.replace(loaded, held=held_images(*part, 0.01, 0)))


ATTACK = assessment.attack


def run(case: Case) -> Assessment:
    """Every stage of a quick scan; no refinement of the clock, no files."""

    def without_steps(searches, plan, seed, listener, *rest):
        return ATTACK(
            searches,
            dataclasses.replace(plan, steps=0, span_steps=0, refined_steps=0, proposed_steps=0),
            seed,
            listener,
            *rest,
        )

    assessment.attack = without_steps if case.is_zero else ATTACK
    settings = ScanSettings(model=Path(case.data), budget="quick", restarts=4, seed=case.seed)
    return assess(case.loaded, settings, SilentListener())


def audits(checkpoints: Path, data: Path, records: Path, only: str | None) -> None:
    """All real audits, a line each."""
    cases = [case for seed in range(3) for name in ("faces", "digits", "mnist", "cifar") for case in (
        *network(name, data, seed, is_trained=True), *network(name, data, seed, is_trained=False)
    )]  # fmt: skip
    cases += [case for name in LEAKING for case in shared(checkpoints, data, name)]
    tally: Counter[str] = Counter()
    arrays: dict[str, NDArray] = {}
    for number, case in enumerate(cases):
        if only is not None and case.kind != only:
            continue
        begun = time.monotonic()
        found = run(case)
        settings = ScanSettings(model=Path(case.data), fail_on="rebuilt" if case.is_zero else "any")
        verdict = found.verdict(settings, PASSED)
        rebuilt, membership = verdict.findings
        tally[f"{case.kind}: {verdict.status}"] += 1
        print(
            f"{case.kind:14} {case.data:20} seed {case.seed}  {verdict.status:12} rebuilt {rebuilt.status} "
            f"{rebuilt.count}/{rebuilt.total}, membership {membership.status} {membership.count}/{membership.total}, "
            f"{time.monotonic() - begun:.0f} s",
            flush=True,
        )
        if not case.is_zero and found.table is not None and found.table.controls is not None:
            arrays |= recorded(f"null{number}", found)
    for name in LEAKING[:3]:
        case = next(iter(shared(checkpoints, data, name)))
        found = run(dataclasses.replace(case, is_zero=False))
        arrays |= recorded(f"leak-{name}", found)
        arrays |= draws(f"draws-{name}", case, found)
    np.savez_compressed(records, **arrays)
    print(dict(tally))


def recorded(key: str, found: Assessment) -> dict[str, NDArray]:
    """Scores of one audit."""
    assert found.table is not None and found.evidence is not None and found.table.controls is not None
    arrays = {
        f"{key}/members": found.table.members.ssim,
        f"{key}/controls": found.table.controls.ssim,
        f"{key}/leaked": np.array([record.leaked for record in found.evidence.records]),
        f"{key}/distance": np.array([record.membership_score or np.nan for record in found.evidence.records]),
        f"{key}/control_distance": np.array(found.evidence.distributions.membership_control),
    }
    if found.table.placebo_ssim is not None:
        arrays[f"{key}/placebo"] = found.table.placebo_ssim
    return arrays


def draws(key: str, case: Case, found: Assessment) -> dict[str, NDArray]:
    """SSIM and correlation of every member with many placebo sets."""
    from privaudit.inspection import survey_of
    from privaudit.searches import build_searches

    settings = ScanSettings(model=Path(case.data))
    loaded = case.loaded
    searches = build_searches(
        loaded.target, survey_of(loaded, settings), loaded.knowledge, None, torch.float32, loaded.device
    )
    placebo = assessment._placebo(searches, found.reconstructions)
    assert placebo is not None and loaded.reference is not None
    scores = [
        best_scores(loaded.reference.pixels, placebo(torch.Generator().manual_seed(10_000 + k))) for k in range(DRAWS)
    ]
    return {f"{key}/ssim": np.stack([s.ssim for s in scores]), f"{key}/ncc": np.stack([s.ncc for s in scores])}


# ------------------------------------------------------------------------------------------------- simulated audits


def smooth(generator: np.random.Generator, values: NDArray, n: int) -> NDArray:
    """`n` draws from recorded scores, with a kernel so narrow that only ties go."""
    return generator.choice(values, n) + generator.normal(0, 0.003, n)


def scores(values: NDArray) -> Scores:
    """As the matching stage hands them on."""
    return Scores(values, values, np.zeros(len(values), dtype=np.int64))


def decided(table: MatchTable, membership: MembershipTable | None, seed: int) -> tuple[str, tuple[str, str]]:
    """The verdict that the product gives on these scores."""
    n, n_controls = len(table.members.ssim), len(table.controls.ssim)
    threshold = calibrated(table, 0.01, seed)
    evidence = Evidence(
        members=n,
        controls=n_controls,
        published_threshold=published(table),
        calibrated_threshold=threshold,
        membership=membership_of(membership) if membership is not None else NO_MEMBERSHIP,
        records=(),
        distributions=Distributions(control_ssim=(), placebo_ssim=(), membership_control=()),
        ssim_definition="",
        excluded_duplicates=(),
        warnings=(),
    )
    verdict = verdict_for(evidence, APPLIES, RAN, PASSED, max_leaked=0, max_readable=0, fail_on="any")
    return verdict.status, tuple(finding.status for finding in verdict.findings)


NO_MEMBERSHIP = membership_of(
    dataclasses.replace(
        judged("none", "", (), np.array([0.5]), np.linspace(0.4, 0.6, 100), 0.01), applicable=False, reason="Not read."
    )
)
APPLIES = Preflight(
    applicable=True, reasons=(), estimated_training_images=None, explained_by_reference=None, homogeneity_error=None,
    objectives=(), spectra=(),
)  # fmt: skip
RAN = Attack(
    mode="", mode_reason="", device="cpu", restarts=1, steps=1, seconds=1, candidates=1, seed=0, explained=None,
    interrupted=False, runs=(), knowledge=(), budget_curve=(), reconstructions=1,
)  # fmt: skip


def drawn_distances(
    generator: np.random.Generator, nulls: list[dict[str, NDArray]], n_members: int, n_controls: int
) -> MembershipTable:
    """The membership test on distances of controls as some null audit recorded them."""
    recorded = [group["control_distance"] for group in nulls if len(group["control_distance"])]
    values = recorded[generator.integers(len(recorded))]
    drawn = generator.choice(values, n_members + n_controls) * np.exp(generator.normal(0, 0.01, n_members + n_controls))
    return judged("simulated", "", (), drawn[:n_members], drawn[n_members:], 0.01)


def parts_of(generator: np.random.Generator, n_members: int, n_controls: int, k: int, rho: float) -> tuple[Part, ...]:
    """`k` dependent statistics of exchangeable images, two of them heavy-tailed."""
    n = n_members + n_controls
    common = generator.normal(size=n)
    columns = [rho * common + np.sqrt(1 - rho**2) * generator.normal(size=n) for _ in range(k)]
    columns = [np.sign(c) * np.abs(c) ** 1.5 if i % 2 else c for i, c in enumerate(columns)]
    return tuple(Part(str(i), c[:n_members], c[n_members:]) for i, c in enumerate(columns))


def grouped(records: Path) -> dict[str, dict[str, NDArray]]:
    """Recorded arrays by audit."""
    groups: dict[str, dict[str, NDArray]] = {}
    with np.load(records) as archive:
        for name in archive.files:
            key, field = name.rsplit("/", 1)
            groups.setdefault(key, {})[field] = archive[name]
    return groups


SIZES = [(n, m) for n in (10, 20, 50, 100, 500) for m in (100, 200, 500, 1000)]


def simulate(records: Path, n_audits: int) -> None:
    """Share of `leak_found` where members are one more draw of the controls, or reconstructions one more placebo."""
    groups = grouped(records)
    nulls = [g for key, g in groups.items() if key.startswith("null")]
    zero = [(groups[f"leak-{key[6:]}"], g) for key, g in groups.items() if key.startswith("draws-")]
    generator = np.random.default_rng(0)
    tally: dict[str, Counter[str]] = {}
    for i in range(n_audits):
        n, m = SIZES[i % len(SIZES)]
        group = nulls[generator.integers(len(nulls))]
        placebo = None if "placebo" not in group else smooth(generator, group["placebo"].ravel(), 1000).reshape(-1, 1)
        # The placebo's exact test is taken to be passed: an optimised search that finds no member still optimises.
        everything = smooth(generator, group["controls"], n + m)
        table = MatchTable(scores(everything[:n]), scores(everything[n:]), placebo, None, 0.01)
        parts = parts_of(generator, n, m, 4, 0.5)
        combined = judged("simulated", "", parts, *combined_distance(parts), 0.01)
        count(tally, "members like controls, made-up membership", decided(table, combined, i), n, m)
        count(tally, "members like controls", decided(table, drawn_distances(generator, nulls, n, m), i), n, m)
        leak, group = zero[generator.integers(len(zero))]
        count(tally, "reconstructions like placebo", decided(zero_steps(generator, leak, group, n, m), None, i), n, m)
    for kind, found in tally.items():
        total = sum(found[s] for s in ("leak_found", "inconclusive", "no_leak_found"))
        share = found["leak_found"] / total
        print(f"{kind}: leak_found {found['leak_found']} of {total} ({share:.2%}); by finding: "
              f"rebuilt {found['rebuilt']}, membership {found['membership']}; worst size "
              f"{max((found[f'{n}/{m}'], n, m) for n, m in SIZES)} of {total // len(SIZES)}")  # fmt: skip


def zero_steps(
    generator: np.random.Generator, leak: dict[str, NDArray], group: dict[str, NDArray], n: int, m: int
) -> MatchTable:
    """One recorded placebo set as the reconstructions, others as the placebo."""
    order = generator.permutation(len(group["ssim"]))
    rows = generator.choice(group["ssim"].shape[1], n)
    noise = generator.normal(0, 0.003, (len(order), n))
    ssim, ncc = group["ssim"][order][:, rows] + noise, group["ncc"][order][:, rows] + noise
    ncc = ncc[:100]
    excess = np.clip(ncc - np.quantile(ncc, 0.99), 0, None).sum(1)
    n_scored = min(max(1000 // n, 3), 20)
    return MatchTable(
        scores(ssim[0]),
        scores(smooth(generator, leak["controls"], m)),
        ssim[1 : 1 + n_scored],
        None,
        monte_carlo_p_value(float(excess[0]), excess[1:]),
    )


def count(tally: dict[str, Counter[str]], kind: str, outcome: tuple[str, tuple[str, str]], n: int, m: int) -> None:
    """Add one simulated audit."""
    status, findings = outcome
    counter = tally.setdefault(kind, Counter())
    counter[status] += 1
    counter[f"{n}/{m}"] += status == "leak_found"
    for name, finding in zip(("rebuilt", "membership"), findings, strict=True):
        counter[name] += finding == "found"


def power(records: Path, n_audits: int) -> None:
    """Share of audits that find planted leaks, by members, controls and leak rate; a Markdown table."""
    groups = grouped(records)
    leaks = np.concatenate([g["members"][g["leaked"]] for key, g in groups.items() if key.startswith("leak-")])
    quiet = np.concatenate([g["controls"] for key, g in groups.items() if key.startswith("leak-")])
    placebo = np.concatenate([g["placebo"].ravel() for key, g in groups.items() if key.startswith("leak-")])
    generator = np.random.default_rng(0)
    rates = (0.02, 0.05, 0.1, 0.2, 0.5)
    print("| members | controls | " + " | ".join(f"{rate:.0%} leak" for rate in rates) + " |")
    print("|---|---|" + "---|" * len(rates))
    for n, m in SIZES:
        cells = []
        for rate in rates:
            k = round(rate * n)
            if k == 0:
                cells.append("–")
                continue
            found = 0
            for i in range(n_audits):
                members = np.concatenate([smooth(generator, leaks, k), smooth(generator, quiet, n - k)])
                draws = smooth(generator, placebo, 20 * n).reshape(20, n)
                table = MatchTable(scores(members), scores(smooth(generator, quiet, m)), draws, None, 0.01)
                found += decided(table, None, i)[1][0] == "found"
            cells.append(f"{found / n_audits:.0%}")
        print(f"| {n} | {m} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """One of three commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    audit = commands.add_parser("audits")
    for name in ("checkpoints", "data", "records"):
        audit.add_argument(name, type=Path)
    audit.add_argument("--only")
    for name, default in (("simulate", 4000), ("power", 200)):
        command = commands.add_parser(name)
        command.add_argument("records", type=Path)
        command.add_argument("--audits", type=int, default=default)
    given = parser.parse_args()
    if given.command == "audits":
        audits(given.checkpoints, given.data, given.records, given.only)
    else:
        {"simulate": simulate, "power": power}[given.command](given.records, given.audits)


if __name__ == "__main__":
    main()
