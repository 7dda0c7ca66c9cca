"""What of the planned work was done, read off a stored result. Pure Python over the schema, like the verdict."""

from privaudit.result import Attack, Evidence, Preflight

_STANDS_FOR = {"tied_equation": "feature_span"}
"""Where restarts of the equation agree they are refined by the first, and the second is not needed."""


_EXPLAINED = 0.5
"""Share of the weights that the true training data explain at least, where the equation holds (METHOD 5: 0.9)."""

_FITS = 0.99
"""Share of the first layer that the true data explain at least where its spectrum has a cliff: 0.9998 and more on every
network of benchmarks/RESULTS.md with one; as many other pictures explain 0.9 to 0.95."""

_SPAN = "feature_span"
"""The search that rests on row spaces alone, which need no stationary point."""


def unexplained(evidence: Evidence | None, attack: Attack) -> tuple[str, ...]:
    """Why an attack that found nothing in the reference proves nothing, if it does not; at most one sentence.

    Where neither the reference nor what the attack found explains the weights, the equation does not hold for this
    network or the reference is not what it was trained on. Where the attack explains them and the reference does not,
    the attack worked and it is the reference.
    """
    exposure = None if evidence is None else evidence.membership.exposure
    ran = {run.objective for run in attack.runs}
    if exposure is None or exposure.explained_by_members is None or not ran:
        return ()
    by_members, by_attack = exposure.explained_by_members, attack.explained or 0.0
    if by_members < _EXPLAINED <= by_attack:
        return (
            f"The reference explains {by_members:.1%} of the weights and what the attack rebuilt {by_attack:.1%}: the "
            "reference is not what this network was trained on, or a small part of it.",
        )
    if _SPAN in ran or max(by_members, by_attack) >= _EXPLAINED:
        return ()
    return (
        f"The reference explains {by_members:.1%} of the weights: the multiplier equation does not "
        "hold for this network, or the reference is not what it was trained on, so a failed attack proves nothing.",
    )


def unfit_reference(evidence: Evidence, preflight: Preflight) -> tuple[str, ...]:
    """Why nothing follows from finding nothing: the weights were made by other images; at most one sentence.

    A spectral cliff says how many images a layer was made of, and those span it. A reference that does not is another
    set of images, or a part of the set.
    """
    n, explained = preflight.estimated_training_images, preflight.explained_by_reference
    if n is None or explained is None or explained >= _FITS:
        return ()
    return (
        f"About {n} images made the first layer and the {evidence.members} of the reference explain {explained:.1%} of "
        "it: the reference is not what the network was trained on, or only a part of it.",
    )


def refined_instead(preflight: Preflight, attack: Attack) -> tuple[str, ...]:
    """Objectives that apply and were not run because another stood for them and handed something on."""
    ran = {run.objective for run in attack.runs}
    stood = {_STANDS_FOR.get(run.objective) for run in attack.runs if run.reconstructions}
    return tuple(name for name in preflight.objectives if name in stood - ran)


def not_run(preflight: Preflight, attack: Attack) -> tuple[str, ...]:
    """Objectives that apply and should have run and did not."""
    done = {run.objective for run in attack.runs} | set(refined_instead(preflight, attack))
    return tuple(name for name in preflight.objectives if name not in done)


def shortfalls_of(preflight: Preflight, attack: Attack) -> tuple[str, ...]:
    """What the attack should have done and did not, a sentence each: nothing searched is never `no_leak_found`."""
    sentences = []
    if preflight.applicable and not attack.reconstructions:
        sentences.append("The attack handed on no reconstruction, so there was nothing to compare.")
    missing = not_run(preflight, attack)
    if missing and not attack.interrupted:
        sentences.append(f"Planned but not run within the time: {', '.join(missing)}.")
    for run in attack.runs:
        if run.status == "budget_exhausted":
            sentences.append(f"The time limit ended {run.objective} before its planned work was done.")
        if run.status == "non_finite":
            sentences.append(f"{run.objective} diverged: its numbers are not finite.")
    return tuple(sentences)
