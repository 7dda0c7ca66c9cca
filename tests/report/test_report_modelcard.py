"""The model card section: Hugging Face's own parser reads the metadata, prose says what counts and what does not."""

import re
from typing import Any

import pytest
import yaml
from formats_cases import CASES, render, rendered
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import EvalResult, eval_results_to_model_index
from result_builder import LEAK, NO_REFERENCE, Case, build, decision


def results_of(text: str) -> list[EvalResult]:
    card = ModelCard(text)
    assert "privacy-audit" in card.data.tags
    return card.data.eval_results or []


@pytest.mark.parametrize("name", CASES)
def test_the_hub_reads_it(name: str) -> None:
    text = render("modelcard", CASES[name])
    read = results_of(text)
    counted = {
        finding.name for finding in build(CASES[name]).verdict.findings if finding.status in ("found", "not_found")
    }
    assert {result.metric_type for result in read} >= {
        {"rebuilt": "privaudit_rebuilt", "membership": "privaudit_membership_readable"}[name] for name in counted
    }
    for result in read:
        assert isinstance(result.metric_value, int)
        assert isinstance(result.metric_args, dict)
        assert isinstance(result.metric_args.get("pValue", 0.0), float)
        assert result.metric_args["resultSha256"] == build(CASES[name]).self_sha256
    if read:
        written = yaml.safe_load(text.split("---\n")[1])["model-index"]
        assert eval_results_to_model_index(written[0]["name"], read) == written
    assert "## Privacy audit" in ModelCard(text).text


def test_values_and_figures() -> None:
    rebuilt, membership = results_of(render("modelcard", LEAK))
    assert (rebuilt.metric_value, membership.metric_value) == (30, 50)
    assert rebuilt.task_type == "image-classification"
    assert rebuilt.dataset_name == "Training images given to the audit (50)"
    args: dict[str, Any] = rebuilt.metric_args or {}
    assert args["verdict"] == "leak_found" and args["finding"] == "found" and args["controls"] == 500
    assert args["intervalLow"] < 30 < args["intervalHigh"] and args["pValue"] < 1e-30


@pytest.mark.parametrize("value", [1e-05, 1e-300, 1.5e-7, 1.0, 0.0, 1e22])
def test_numbers_stay_numbers_in_yaml(value: float) -> None:
    result = build(LEAK)
    findings = tuple(f.model_copy(update={"threshold": 0.5, "p_value": value}) for f in result.verdict.findings)
    verdict = result.verdict.model_copy(update={"findings": findings})
    (first, _) = results_of(rendered("modelcard", result.model_copy(update={"verdict": verdict})))
    assert first.metric_args is not None and first.metric_args["pValue"] == value


@pytest.mark.parametrize(
    "name",
    ["a\n---\nlicense: mit", 'a": {b: c}', "yes", "null", "#", "a\u2028- b\x85c", "'\\\"", "😀 {{x}}", "...", "---"],
)
def test_names_of_files_stay_text(name: str) -> None:
    text = render("modelcard", Case(path=f"{name}.safetensors"))
    card = ModelCard(text)
    assert set(card.data.to_dict()) == {"tags", "model-index"}
    assert isinstance(card.data.model_name, str) and len(card.data.eval_results or []) == 2


def test_what_was_not_measured_has_no_metric_and_says_so() -> None:
    text = render("modelcard", NO_REFERENCE)
    assert "model-index" not in text and "| Rebuilt images (not run) | not run |" in text
    assert ModelCard(text).data.eval_results is None


@pytest.mark.parametrize("name", CASES)
def test_prose_has_threat_model_limits_and_seal_and_no_other_heading_of_its_rank(name: str) -> None:
    result = build(CASES[name])
    text = render("modelcard", CASES[name]).split("---\n", 2)[2]
    assert re.findall(r"^#{1,2} .*", text, re.MULTILINE) == ["## Privacy audit"]
    for heading in ("### Threat model", "### Limits", "### How it was measured"):
        assert heading in text
    assert result.self_sha256 in text and result.model.sha256 in text
    assert result.verdict.findings[0].reason[:20] in text


def test_it_shows_the_verdict_of_the_gate() -> None:
    result = build(LEAK)
    verdict = result.verdict.model_copy(update={"status": "inconclusive"})
    assert "**Inconclusive.**" in rendered("modelcard", result, decision(result, verdict=verdict))
