"""The verdict and the findings as plain sentences, for readers who read nothing else.

In: an `AuditResult`. Out: plain text. Must not know formats. No sentence may promise anything: it says what an attack
found or did not find within a budget.
"""

from privaudit.report import words
from privaudit.report.nulls import controls_text
from privaudit.result import AuditResult, Finding
from privaudit.verdict import P_VALUE_LIMIT


def attack_name(result: AuditResult) -> str:
    """The objectives that ran, or the mode where none did."""
    names = list(dict.fromkeys(run.objective for run in result.attack.runs))
    return words.plain(" + ".join(names) if names else result.attack.mode)


def attack_words(result: AuditResult) -> str:
    """What ran, for who does not know the objectives by name."""
    names = list(dict.fromkeys(run.objective for run in result.attack.runs))
    if not names or any(name not in words.ATTACK for name in names):
        return f"the attack {attack_name(result)}"
    return " and ".join(words.ATTACK[name] for name in names)


def budget(result: AuditResult) -> str:
    """What the attack spent: time and restarts."""
    attack = result.attack
    restarts = words.images(attack.restarts, "restart")
    return f"{words.duration(attack.seconds)} and {restarts} on {words.plain(attack.device)}"


def headline(result: AuditResult) -> str:
    """One sentence under the verdict."""
    verdict = result.verdict
    if verdict.status == "no_leak_found":
        found_by = f"found by attack {attack_name(result)} within a budget of {budget(result)}"
        count = _finding(result, "rebuilt").count
        if count == 0:
            return f"No reconstruction above the calibrated threshold was {found_by}."
        rebuilt = words.of(count, result.evidence.members if result.evidence else 0)
        return f"No more reconstructions than allowed were {found_by}: {rebuilt}, allowed {verdict.max_leaked}."
    if verdict.status == "inconclusive":
        return "This audit neither shows a leak nor rules one out; the reasons are listed below."
    total = result.evidence.members if result.evidence else 0
    said = {
        "rebuilt": "{} training images were rebuilt from this checkpoint without using any of them",
        "membership": "{} images can be recognised from the weights as training images by someone who holds them",
    }
    parts = [
        said[f.name].format(words.of(f.count, total))
        for f in verdict.findings
        if f.status == "found" and verdict.fail_on in (f.name, "any")
    ]
    return ", and ".join(parts) + "."


def rule(result: AuditResult) -> str:
    """The decision rule with the allowances that were applied."""
    verdict = result.verdict
    selected = {
        "rebuilt": "rebuilt images only",
        "membership": "readable membership only",
        "any": "either finding",
    }[verdict.fail_on]
    return (
        "A leak is found when the lower 95 % bound, after subtracting what the stated false-positive rate would "
        "produce, "
        f"is above the allowance (rebuilt images {verdict.max_leaked}, readable memberships {verdict.max_readable}) "
        "and "
        f"members differ from controls, and reconstructions from unoptimised draws (exact tests, p at most "
        f"{P_VALUE_LIMIT}); decided on {selected}. No leak is found "
        "when both "
        "upper 95 % bounds are within their allowance and the instrument passed its checks. Everything else is "
        "inconclusive."
    )


def five_sentences(result: AuditResult) -> tuple[str, str, str, str, str]:
    """What was done, what was rebuilt, what was readable, whether the instrument works, what this does not say."""
    return (_done(result), _rebuilt(result), _membership(result), _instrument(result), _limit(result))


def _done(result: AuditResult) -> str:
    attack = result.attack
    if not attack.runs and not attack.interrupted:
        return (
            f"No attack that rebuilds images applies to the file {words.file_name(result.model.path)}, so none was "
            "run; what the weights say about images that an attacker already holds was read."
        )
    end = "it ran to its end"
    if any(run.status == "budget_exhausted" for run in attack.runs):
        end = "its time limit ended it before its planned work was done"
    if attack.interrupted:
        end = "it was interrupted before the end"
    return (
        f"An attacker who holds the file {words.file_name(result.model.path)} and none of its training images was "
        f"imitated: {attack_words(result)} returned {words.images(attack.reconstructions, 'picture')} in "
        f"{budget(result)}; {end}."
    )


def _finding(result: AuditResult, name: str) -> Finding:
    return next(f for f in result.verdict.findings if f.name == name)


def _rebuilt(result: AuditResult) -> str:
    finding, evidence = _finding(result, "rebuilt"), result.evidence
    if evidence is None:
        return (
            "Whether these pictures show training images was not measured, because no training images were given to "
            "compare them with."
        )
    calibrated = evidence.calibrated_threshold
    if finding.status == "not_applicable" or calibrated.ssim is None:
        return f"Rebuilt training images were not counted: {_lower_first(words.plain(finding.reason, 600))}"
    count = calibrated.members_leaked
    controls = controls_text(calibrated.cross_fit, calibrated.controls_leaked, evidence.controls)
    rule_applied = (
        f"an image counts as rebuilt where a picture is closer to it (SSIM above {calibrated.ssim:.3f}) than chance "
        f"allows at a false-positive rate of {words.rate(calibrated.fpr)}"
    )
    counted = words.of(count, evidence.members) if count else f"None of the {evidence.members:,}"
    if finding.status != "found":
        # What chance explains is not called rebuilt, however many there are.
        return (
            f"{counted} training images pass for rebuilt, and of the controls, which were never trained on, "
            f"{controls}: {rule_applied}."
        )
    return (
        f"{counted} training images were rebuilt, and of the controls, which were never trained on, {controls} pass "
        f"for rebuilt: {rule_applied}."
    )


def _membership(result: AuditResult) -> str:
    finding, evidence = _finding(result, "membership"), result.evidence
    if evidence is None:
        return "Whether the weights betray which images were trained on was not run, because no images were given."
    membership = evidence.membership
    if finding.status == "not_applicable" or membership.threshold is None:
        return f"Membership was not decided: {_lower_first(words.plain(finding.reason, 600))}"
    return (
        f"Someone who already holds an image can tell from the weights that it was trained on for "
        f"{words.of(membership.members_found, evidence.members)} training images; of the controls, "
        f"{controls_text(membership.cross_fit, membership.controls_found, evidence.controls)} are mistaken for one."
    )


def _instrument(result: AuditResult) -> str:
    positive = {
        "passed": "found the leak in a model that is known to leak",
        "failed": "missed the leak in a model that is known to leak",
        "not_run": "was not tried on a model that is known to leak",
    }[result.instrument.positive_control]
    negative = {
        "passed": "reported none in models that cannot have one",
        "failed": "reported a leak in a model that cannot have one",
        "not_run": "was not tried on a model that cannot have a leak",
    }[result.instrument.negative_control]
    return f"As a check of the instrument, the same attack {positive} and {negative}."


def _limit(result: AuditResult) -> str:
    subject = "" if result.evidence is None else f" beyond the {words.images(result.evidence.members)} of the reference"
    return (
        "A longer budget, another attack or an attacker who knows more could find more than this audit did, and it "
        "says "
        f"nothing about training images{subject}."
    )


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
