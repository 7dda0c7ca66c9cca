"""The section that a Hugging Face model card wants: metadata to merge into its front matter, and prose.

In: a result. Out: a Markdown file that is a valid model card by itself. No pictures, names of records or paths: a card
is public. Counts go into `model-index`, where the Hub and leaderboards read them.
"""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, ClassVar

import yaml

from privaudit.report import advice, sentences, words
from privaudit.report.decision import judged
from privaudit.report.figures import FindingFigures, finding_figures
from privaudit.report.interface import AbstractReport, ReportOptions
from privaudit.report.markdown_text import code, escape, table
from privaudit.report.pictures import Pictures
from privaudit.result import AuditResult, Finding

METRIC_NAME = {"rebuilt": "Training images rebuilt", "membership": "Training images whose membership is readable"}
METRIC_TYPE = {"rebuilt": "privaudit_rebuilt", "membership": "privaudit_membership_readable"}


class ModelCardReport(AbstractReport):
    """For the README.md of a published model."""

    name: ClassVar[str] = "modelcard"
    file_name: ClassVar[str] = "modelcard.md"

    def render(self, result: AuditResult, pictures: Pictures | None, options: ReportOptions) -> str:
        """Front matter, then one section of the second level."""
        result = judged(result, options.decision)
        front = yaml.safe_dump(_metadata(result), sort_keys=False, allow_unicode=True, width=1000)
        return f"---\n{front}---\n\n" + "\n".join(_prose(result)) + "\n"


def _metadata(result: AuditResult) -> dict[str, Any]:
    counted = _counted(result)
    data: dict[str, Any] = {"tags": ["privacy-audit"]}
    if counted:
        # The Hub refuses an entry without a metric, so a model of which nothing was counted has none.
        is_regression = result.reproduce.config.get("task") == "regression"
        entry = {
            "task": {"type": "other" if is_regression else "image-classification", "name": "Training-data exposure"},
            "dataset": {
                "type": "training-data",
                "name": f"Training images given to the audit ({words.number(counted[0].total)})",
            },
            "metrics": [_metric(result, figures) for figures in counted],
        }
        data["model-index"] = [{"name": _model_name(result), "results": [entry]}]
    return data


def _model_name(result: AuditResult) -> str:
    """On one line: readers look for the end of the front matter line by line."""
    return " ".join(PurePath(words.file_name(result.model.path)).stem.split())


def _metric(result: AuditResult, figures: FindingFigures) -> dict[str, Any]:
    status = next(finding.status for finding in result.verdict.findings if finding.name == figures.name)
    properties = {key: value for key, value in figures.properties().items() if key != "count"}
    said = {"verdict": result.verdict.status, "finding": status, **properties, "resultSha256": result.self_sha256}
    return {
        "type": METRIC_TYPE[figures.name],
        "name": METRIC_NAME[figures.name],
        "value": figures.count,
        "args": said,
    }


def _counted(result: AuditResult) -> list[FindingFigures]:
    every = (finding_figures(result, finding) for finding in result.verdict.findings)
    return [figures for figures in every if figures is not None]


def _prose(result: AuditResult) -> Iterator[str]:
    yield from ("## Privacy audit", "")
    yield f"**{words.VERDICT_TITLE[result.verdict.status]}.** {escape(sentences.headline(result))}"
    yield ""
    heads = ("finding", "training images", "95 % bounds", "allowance", "controls", "p", "threshold")
    yield from table(heads, [_row(result, finding) for finding in result.verdict.findings])
    yield ""
    for finding in result.verdict.findings:
        yield f"- {words.FINDING_TITLE[finding.name]}: {escape(finding.reason, 600)}"
    yield from ("", "### Threat model", "")
    yield (
        "Rebuilt: an attacker who holds the checkpoint and none of the training images. Membership: an attacker who "
        "holds the checkpoint and an image, and asks whether it was trained on."
    )
    if result.attack.knowledge:
        yield f"The attacker was given: {escape('; '.join(result.attack.knowledge), 1000)}."
    yield from ("", "### Limits", "")
    yield from (f"- {escape(limit)}" for limit in advice.limits(result))
    yield from ("", "### How it was measured", "")
    yield (
        f"privaudit {escape(result.tool.version)}, attack {escape(sentences.attack_name(result))}, budget "
        f"{escape(sentences.budget(result))}. Checks of the instrument: positive control "
        f"{words.CONTROL_STATE[result.instrument.positive_control]}, negative control "
        f"{words.CONTROL_STATE[result.instrument.negative_control]}."
    )
    yield ""
    yield f"Model sha256 `{code(result.model.sha256)}`, result sha256 `{code(result.self_sha256)}`."


def _row(result: AuditResult, finding: Finding) -> tuple[str, ...]:
    figures = finding_figures(result, finding)
    title = f"{words.FINDING_TITLE[finding.name]} ({words.FINDING_STATUS[finding.status]})"
    if figures is None:
        absent = words.FINDING_STATUS[finding.status]
        absent = absent if finding.status in ("not_run", "not_applicable") else words.NOT_MEASURED
        return (title, *[absent] * 2, str(finding.allowance), *[absent] * 3)
    return (
        title,
        words.of(figures.count, figures.total),
        f"{figures.low:.1f} to {figures.high:.1f}",
        str(figures.allowance),
        words.of(figures.controls_found, figures.controls),
        words.p_value(figures.p_value),
        words.number(figures.threshold, 3),
    )
