"""SARIF 2.1.0: findings for code-scanning tools.

In: a result. Out: JSON text. Carries no pixels, no record names and no absolute paths. One result for each rule that
fires; every rule is listed so that a reader can tell "did not fire" from "is not known".
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from privaudit.report import sentences, words
from privaudit.report.advice import identifiers
from privaudit.report.interface import AbstractReport, ReportOptions
from privaudit.report.pictures import Pictures
from privaudit.result import AuditResult, Finding
from privaudit.verdict import exit_code

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Rule:
    """A SARIF reporting descriptor; ids never change their meaning."""

    id: str
    name: str
    level: Level
    text: str


RULES = (
    Rule("PRIV001", "TrainingImagesReconstructed", "error", "Training images were reconstructed from the checkpoint."),
    Rule("PRIV002", "Inconclusive", "warning", "The audit neither shows a leak nor rules one out."),
    Rule("PRIV003", "AttackNotApplicable", "warning", "The reconstruction attack does not apply to the checkpoint."),
    Rule("PRIV004", "InstrumentCheckFailed", "error", "A check of the instrument itself failed."),
    Rule("PRIV005", "UnsafeCheckpointFormat", "warning", "Readers of the checkpoint's format may execute code in it."),
    Rule("PRIV006", "WaiverExpired", "warning", "A waiver of a finding has expired."),
    Rule("PRIV007", "TrainingMembershipReadable", "error", "The weights tell which images were trained on."),
)


class SarifReport(AbstractReport):
    """For GitHub code scanning and other readers of SARIF."""

    name: ClassVar[str] = "sarif"
    file_name: ClassVar[str] = "result.sarif"

    def render(self, result: AuditResult, pictures: Pictures | None, options: ReportOptions) -> str:
        """One run with one artifact, the checkpoint."""
        location = {"uri": words.relative_uri(result.model.path), "index": 0}
        run = {
            "tool": {"driver": _driver(result)},
            "invocations": [{"executionSuccessful": True, "exitCode": int(exit_code(result.verdict))}],
            "artifacts": [
                {
                    "location": {"uri": location["uri"]},
                    "roles": ["analysisTarget"],
                    "hashes": {"sha-256": result.model.sha256},
                }
            ],
            "results": [_result(rule_id, message, result, location) for rule_id, message in _fired(result)],
            "properties": {"verdict": result.verdict.status, "resultSha256": result.self_sha256},
        }
        document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
        return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _driver(result: AuditResult) -> dict[str, Any]:
    return {
        "name": "privaudit",
        "version": result.tool.version,
        "rules": [
            {
                "id": rule.id,
                "name": rule.name,
                "shortDescription": {"text": rule.text},
                "defaultConfiguration": {"level": rule.level},
                "properties": {"tags": ["privacy"], "relatedTo": [item.id for item in identifiers()]},
            }
            for rule in RULES
        ],
    }


def _fired(result: AuditResult) -> Iterator[tuple[str, str]]:
    """Rules that fire and their messages, at most one each, in the order of `RULES`."""
    verdict = result.verdict
    found: dict[str, Finding] = {f.name: f for f in verdict.findings if f.status == "found"}
    if "rebuilt" in found:
        yield "PRIV001", found["rebuilt"].reason
    if verdict.status == "inconclusive":
        yield "PRIV002", " ".join(verdict.reasons) or sentences.headline(result)
    if not result.preflight.applicable:
        yield "PRIV003", " ".join((RULES[2].text, *result.preflight.reasons))
    failed = [name for name in ("positive_control", "negative_control") if getattr(result.instrument, name) == "failed"]
    if failed:
        yield "PRIV004", f"Failed: {' and '.join(name.replace('_', ' ') for name in failed)}."
    if result.model.format.startswith("torch"):
        yield "PRIV005", f"The checkpoint's format is {result.model.format}; publish weights as safetensors."
    if "membership" in found:
        yield "PRIV007", found["membership"].reason


def _result(rule_id: str, message: str, result: AuditResult, location: dict[str, Any]) -> dict[str, Any]:
    index = next(i for i, rule in enumerate(RULES) if rule.id == rule_id)
    return {
        "ruleId": rule_id,
        "ruleIndex": index,
        "level": RULES[index].level,
        "message": {"text": words.plain(message, 2000)},
        # A checkpoint has no lines; GitHub's reader wants a region all the same.
        "locations": [{"physicalLocation": {"artifactLocation": location, "region": {"startLine": 1}}}],
        "partialFingerprints": {"modelAndRule/v1": f"{result.model.sha256}:{rule_id}"},
    }
