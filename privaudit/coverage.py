"""What of the planned work was done, read off a stored result. Pure Python over the schema, like the verdict."""

from privaudit.result import Attack, Preflight

_STANDS_FOR = {"tied_equation": "feature_span"}
"""Where restarts of the equation agree they are refined by the first, and the second is not needed."""


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
