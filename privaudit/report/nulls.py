"""What the counts are held against: controls judged by the other half, unoptimised draws, mean images, line-ups.

In: `Evidence` of a result. Out: plain text. Must not know markup, pictures or files.
"""

from privaudit.report import words
from privaudit.result import CrossFit, Evidence

DISCOVERY_RATE = 0.05
"""False-discovery rate up to which a record counts as surprising on its own (Benjamini & Hochberg 1995)."""


def controls_text(cross_fit: CrossFit | None, in_sample: int, total: int) -> str:
    """Controls above a threshold that they had no part in; results of older versions have the other count alone."""
    if cross_fit is None:
        return words.of(in_sample, total)
    return words.of(cross_fit.controls_found, cross_fit.controls)


def cross_fit_details(cross_fit: CrossFit | None) -> tuple[tuple[str, str], ...]:
    """How the controls were judged."""
    if cross_fit is None:
        return ()
    judged = (
        f"{words.of(cross_fit.controls_found, cross_fit.controls)} above the threshold of the other "
        f"{'half' if cross_fit.folds == 2 else 'folds'}, where chance gives {cross_fit.expected:.1f}"
    )
    return (("Controls", judged),)


def rebuilt_null_details(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    """The nulls of the first finding, each with its own line."""
    calibrated = evidence.calibrated_threshold
    details = list(cross_fit_details(calibrated.cross_fit))
    if calibrated.placebo_p_value is not None:
        details.append(("Exact test, against unoptimised draws", f"p = {words.p_value(calibrated.placebo_p_value)}"))
    if calibrated.strictest is not None:
        strictest = calibrated.strictest
        counted = words.of(strictest.members_leaked, evidence.members)
        details.append(
            (
                f"Above every control and placebo score (SSIM {strictest.ssim:.3f})",
                f"{counted}, at least "
                f"{strictest.interval_low:.1f} beyond chance; p = {words.p_value(strictest.p_value)}",
            )
        )
    q_values = [record.q_value for record in evidence.records if record.q_value is not None]
    if q_values:
        surprising = sum(q <= DISCOVERY_RATE for q in q_values)
        name = f"Corrected for looking at {words.images(len(q_values), 'record')}"
        rate = words.rate(DISCOVERY_RATE)
        details.append((name, f"{surprising:,} at a false-discovery rate of {rate} (Benjamini and Hochberg)"))
    return (*details, *_line_ups(evidence), *_decoys(evidence))


def _line_ups(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    ranks = [record.lineup_rank for record in evidence.records if record.lineup_rank is not None]
    sizes = [record.lineup_size for record in evidence.records if record.lineup_size is not None]
    if not ranks:
        return ()
    first = sum(rank == 1 for rank in ranks)
    n_others = max(sizes) - 1
    return (
        (
            f"Line-ups with {n_others} controls, those of the class first",
            f"{words.of(first, len(ranks))} records come first, where chance gives {len(ranks) / (n_others + 1):.1f}",
        ),
    )


def _decoys(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    if not evidence.decoys:
        return ()
    above = sum(decoy.is_above for decoy in evidence.decoys)
    marked = evidence.calibrated_threshold.members_set_aside
    text = f"{words.of(above, len(evidence.decoys))} above the threshold"
    if marked:
        text += f"; {words.images(marked, 'record')} set aside because a mean is as near; the upper bound counts them"
    return (("Mean images (nobody's)", text),)


def left_out(evidence: Evidence) -> tuple[str, ...]:
    """What of the user's images was not counted, a sentence each, with names as the result has them."""
    sentences = []
    if evidence.excluded_duplicates:
        n = len(evidence.excluded_duplicates)
        named = _named(evidence.excluded_duplicates)
        sentences.append(
            f"{words.images(n, 'control')} left out, because the reference holds the same picture: {named}."
        )
    for group in evidence.near_duplicates[:10]:
        kept, *repeated = group
        sentences.append(f"Shown once and counted once: {_name(kept)}; left out: {_named(tuple(repeated))}.")
    if len(evidence.near_duplicates) > 10:
        sentences.append(f"{len(evidence.near_duplicates) - 10} more groups of near-duplicates, named in result.json.")
    return tuple(sentences)


def _named(names: tuple[str, ...]) -> str:
    shown = ", ".join(_name(name) for name in names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more, named in result.json"


def _name(name: str) -> str:
    return words.plain(name, 40)
