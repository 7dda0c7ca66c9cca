"""SARIF 2.1.0: findings for code-scanning tools.

In: a result, and a gate's decision where there is one. Out: JSON text. Carries no pixels, no record names and no
absolute paths. One result for each rule that fires; every rule is listed so that a reader can tell "did not fire" from
"is not known". A waived finding is a suppressed result, not a missing one.
"""

import hashlib
import json
from typing import Any, ClassVar

from privaudit.gate_decision import GateDecision
from privaudit.report import words
from privaudit.report.advice import identifiers
from privaudit.report.decision import judged, record_hider, waiver_text, waivers_of
from privaudit.report.interface import AbstractReport, ReportOptions
from privaudit.report.pictures import Pictures
from privaudit.report.sarif_rules import RULES, Fired, Rule, fired
from privaudit.result import AuditResult
from privaudit.verdict import exit_code

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


class SarifReport(AbstractReport):
    """For GitHub code scanning and other readers of SARIF."""

    name: ClassVar[str] = "sarif"
    file_name: ClassVar[str] = "result.sarif"

    def render(self, result: AuditResult, pictures: Pictures | None, options: ReportOptions) -> str:
        """One run with one artifact, the checkpoint."""
        decision = options.decision
        result = judged(result, decision)
        uri = words.relative_uri(result.model.path)
        run = {
            "tool": {"driver": _driver(result)},
            # GitHub keeps the alerts of one category apart from those of another: a model's from the next one's.
            "automationDetails": {"id": f"privaudit/{uri}/"},
            "invocations": [_invocation(result, decision)],
            "artifacts": [
                {"location": {"uri": uri}, "roles": ["analysisTarget"], "hashes": {"sha-256": result.model.sha256}}
            ],
            "results": [_result(found, result, decision, uri) for found in fired(result, decision)],
            "properties": {
                "verdict": result.verdict.status,
                "resultSha256": result.self_sha256,
                "resultSchemaVersion": result.schema_version,
            },
        }
        document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
        return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _driver(result: AuditResult) -> dict[str, Any]:
    return {"name": "privaudit", "version": result.tool.version, "rules": [_descriptor(rule) for rule in RULES]}


def _descriptor(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": rule.text},
        "fullDescription": {"text": rule.description},
        "help": {"text": f"{rule.description} {rule.remedy}", "markdown": f"{rule.description}\n\n{rule.remedy}"},
        "defaultConfiguration": {"level": rule.level},
        "properties": {
            "tags": ["machine-learning", "privacy"],
            "relatedTo": [item.id for item in identifiers()],
        },
    }


def _invocation(result: AuditResult, decision: GateDecision | None) -> dict[str, Any]:
    code = int(exit_code(result.verdict)) if decision is None else decision.exit_code
    described = words.VERDICT_TITLE[result.verdict.status]
    return {"executionSuccessful": True, "exitCode": code, "exitCodeDescription": described}


def _result(found: Fired, result: AuditResult, decision: GateDecision | None, uri: str) -> dict[str, Any]:
    index = next(i for i, rule in enumerate(RULES) if rule.id == found.rule_id)
    # The model's contents are part of it: what was dismissed for one model is open again for the next.
    mark = hashlib.sha256(f"{result.model.sha256}:{found.rule_id}".encode()).hexdigest()
    document: dict[str, Any] = {
        "ruleId": found.rule_id,
        "ruleIndex": index,
        "level": found.level or RULES[index].level,
        "message": {"text": words.plain(found.message, 2000)},
        # A checkpoint has no lines; GitHub's reader wants a region all the same.
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri, "index": 0}, "region": {"startLine": 1}}}],
        "partialFingerprints": {
            "modelAndRule/v1": f"{result.model.sha256}:{found.rule_id}",
            # The only one that GitHub looks at; in its form, a hash and a count.
            "primaryLocationLineHash": f"{mark[:16]}:1",
        },
    }
    if decision is not None:
        # Once one result of a run has this property all must, by the standard: empty means "not suppressed".
        document["suppressions"] = _suppressions(found, result, decision)
    if found.properties:
        document["properties"] = found.properties
    return document


def _suppressions(found: Fired, result: AuditResult, decision: GateDecision) -> list[dict[str, str]]:
    hide = record_hider(result, decision)
    told: list[str] = []
    if found.finding is not None:
        told = [waiver_text(waiver, hide) for waiver in waivers_of(decision, found.finding)[:100]]
    elif found.rule_id == "PRIV002" and not any(check.status in ("failed", "error") for check in decision.checks):
        # Doubts that the policy tolerates, and findings that could not be confirmed and are waived.
        told = [hide(check.message) for check in decision.checks if check.status == "waived"]
    return [{"kind": "external", "status": "accepted", "justification": words.plain(said, 1000)} for said in told]
