"""The rules of the SARIF report and which of them a result breaks.

In: a result as it was judged, and a gate's decision. Out: rules that fire, with message and figures. Must not know
SARIF's own structure.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from privaudit.gate_decision import GateDecision
from privaudit.report import sentences
from privaudit.report.decision import FINDINGS, lapsed, record_hider, waiver_text
from privaudit.report.figures import finding_figures, reason_with_figures
from privaudit.result import AuditResult

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Rule:
    """A SARIF reporting descriptor; ids never change their meaning.

    Attributes:
        text: one sentence, at most 1,024 characters like `description`, which GitHub cuts there.
        remedy: what to do.
    """

    id: str
    name: str
    level: Level
    text: str
    description: str
    remedy: str


@dataclass(frozen=True)
class Fired:
    """A rule that fires.

    Attributes:
        finding: the finding it reports, whose waivers then suppress it.
        level: where it is not the rule's own.
    """

    rule_id: str
    message: str
    finding: str | None = None
    properties: dict[str, int | float] = field(default_factory=dict)
    level: Level | None = None


RULES = (
    Rule(
        "PRIV001",
        "TrainingImagesReconstructed",
        "error",
        "Training images were reconstructed from the checkpoint.",
        "An attacker who holds the checkpoint and none of the images obtains pictures that resemble training images "
        "more closely than images never trained on and unoptimised draws do at the stated false-positive rate.",
        "Withhold the checkpoint, or train it again with differential privacy or without these images.",
    ),
    Rule(
        "PRIV002",
        "Inconclusive",
        "warning",
        "The audit neither shows a leak nor rules one out.",
        "Bounds lie on both sides of an allowance, or something that a verdict needs is missing; the message says "
        "what.",
        "Follow the reasons: give reference and control images, more of them, or a larger budget.",
    ),
    Rule(
        "PRIV003",
        "AttackNotApplicable",
        "warning",
        "The reconstruction attack does not apply to the checkpoint.",
        "No equation that rebuilds images fits the network, so nothing can be said about rebuilt images.",
        "Take this as not audited. The membership findings may apply all the same.",
    ),
    Rule(
        "PRIV004",
        "InstrumentCheckFailed",
        "error",
        "A check of the instrument itself failed.",
        "The attack missed a leak in a network known to leak, or reported one in a network that cannot leak.",
        "Run privaudit doctor on the machine, then scan again.",
    ),
    Rule(
        "PRIV005",
        "UnsafeCheckpointFormat",
        "warning",
        "Readers of the checkpoint's format may execute code in it.",
        "The file is a pickle. The audit read it without executing anything; other readers may not be so careful.",
        "Publish the weights as safetensors.",
    ),
    Rule(
        "PRIV006",
        "WaiverExpired",
        "warning",
        "A waiver of a finding has expired or does not hold.",
        "A waiver of the gate's policy is past its last day, lacks an owner or a reason, was granted for another "
        "model, or is about something that does not leak.",
        "Renew the waiver for this model or remove it from the policy.",
    ),
    Rule(
        "PRIV007",
        "TrainingMembershipReadable",
        "error",
        "The weights tell which images were trained on.",
        "Someone who already holds an image can tell from the weights that it was trained on, more often than for "
        "images that never were.",
        "Withhold the checkpoint, or train it again for a shorter time or with differential privacy.",
    ),
    Rule(
        "PRIV008",
        "GatePolicyNotMet",
        "error",
        "A rule of the gate's policy is not met.",
        "The gate failed, or could not decide, for a reason other than the two findings; the message names each check.",
        "See the checks in gate.json, then change what they name or, on purpose, the policy.",
    ),
)


_OF_WAIVERS = ("waiver", "waivers")
"""Checks that PRIV006 reports."""


def fired(result: AuditResult, decision: GateDecision | None) -> Iterator[Fired]:
    """Rules that fire, at most once each, in the order of `RULES`."""
    every = [*_findings(result), *_of_the_audit(result), *(_of_the_gate(result, decision) if decision else ())]
    order = [rule.id for rule in RULES]
    yield from sorted(every, key=lambda found: order.index(found.rule_id))


def _findings(result: AuditResult) -> Iterator[Fired]:
    for finding in result.verdict.findings:
        if finding.status == "found":
            figures = finding_figures(result, finding)
            yield Fired(
                "PRIV001" if finding.name == "rebuilt" else "PRIV007",
                reason_with_figures(result, finding),
                finding.name,
                {} if figures is None else figures.properties(),
            )


def _of_the_audit(result: AuditResult) -> Iterator[Fired]:
    verdict = result.verdict
    if verdict.status == "inconclusive":
        yield Fired("PRIV002", " ".join(verdict.reasons) or sentences.headline(result))
    if not result.preflight.applicable:
        yield Fired("PRIV003", " ".join((RULES[2].text, *result.preflight.reasons)))
    failed = [name for name in ("positive_control", "negative_control") if getattr(result.instrument, name) == "failed"]
    if failed:
        why = f" {result.instrument.reason}" if result.instrument.reason else ""
        yield Fired("PRIV004", f"Failed: {' and '.join(name.replace('_', ' ') for name in failed)}.{why}")
    if result.model.format.startswith("torch"):
        yield Fired("PRIV005", f"The checkpoint's format is {result.model.format}; publish weights as safetensors.")


def _of_the_gate(result: AuditResult, decision: GateDecision) -> Iterator[Fired]:
    hide = record_hider(result, decision)
    if waivers := lapsed(decision):
        told = [f"{waiver_text(waiver, hide)}; {waiver.status}: {hide(waiver.message)}" for waiver in waivers[:10]]
        more = f" And {len(waivers) - 10} more." if len(waivers) > 10 else ""
        yield Fired("PRIV006", " ".join(told) + more, properties={"waivers": len(waivers)})
    broken = [
        check
        for check in decision.checks
        if check.status in ("failed", "error") and check.name not in (*FINDINGS, *_OF_WAIVERS)
    ]
    if broken:
        told = [f"{check.name} {check.status}: {hide(check.message)}" for check in broken[:20]]
        # What could not be decided is a doubt, as an inconclusive verdict is.
        level: Level = "error" if any(check.status == "failed" for check in broken) else "warning"
        yield Fired("PRIV008", " ".join(told), properties={"checks": len(broken)}, level=level)
