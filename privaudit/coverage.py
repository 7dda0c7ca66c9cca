"""What of the planned work was done, read off a stored result. Pure Python over the schema, like the verdict."""

from privaudit.result import Attack, Preflight


def shortfalls_of(preflight: Preflight, attack: Attack) -> tuple[str, ...]:
    """What the attack should have done and did not, a sentence each: nothing searched is never `no_leak_found`."""
    sentences = []
    if preflight.applicable and not attack.reconstructions:
        sentences.append("The attack handed on no reconstruction, so there was nothing to compare.")
    ran = {run.objective for run in attack.runs}
    missing = [name for name in preflight.objectives if name not in ran]
    if missing and not attack.interrupted:
        sentences.append(f"Planned but not run within the time: {', '.join(missing)}.")
    for run in attack.runs:
        if run.status == "budget_exhausted":
            sentences.append(f"The time limit ended {run.objective} before its planned work was done.")
        if run.status == "non_finite":
            sentences.append(f"{run.objective} diverged: its numbers are not finite.")
    return tuple(sentences)
