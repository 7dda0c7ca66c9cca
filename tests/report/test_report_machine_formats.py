"""What every format for machines has in common, and Markdown: nothing personal, foreign text harmless, sizes."""

import pytest
from formats_cases import CASES, named_records, render, rendered
from result_builder import LEAK, build, decision

from privaudit.errors import ResultError
from privaudit.report import REPORTS
from privaudit.text import one_line

MACHINE = ("markdown", "sarif", "junit", "modelcard")


@pytest.mark.parametrize("name", CASES)
def test_markdown_fits_a_comment_and_shows_both_findings(name: str) -> None:
    text = render("markdown", CASES[name])
    assert len(text) < 8_000
    assert "| Rebuilt images |" in text
    assert "| Membership readable |" in text
    tables = [line for line in text.splitlines() if line.startswith("| Rebuilt") or line.startswith("| Member")]
    assert {line.replace("\\|", "").count("|") for line in tables if "images" in line or "readable" in line} <= {8, 3}


def test_markdown_escapes_foreign_text() -> None:
    hostile = "<img src=x onerror=1> [a](http://b) @maintainer | `c` *d*"
    result = build(LEAK)
    verdict = result.verdict.model_copy(update={"reasons": (hostile,)})
    text = rendered("markdown", result.model_copy(update={"verdict": verdict}))
    assert "<img" not in text
    assert "@maintainer" not in text
    assert "\\[a\\](http" in text
    assert "\\`c\\` \\*d\\*" in text


@pytest.mark.parametrize("is_decided", [False, True])
@pytest.mark.parametrize("format_name", MACHINE)
def test_no_pixels_and_no_record_names(format_name: str, is_decided: bool) -> None:
    result = build(LEAK)
    text = render(format_name, LEAK, is_decided)
    assert result.evidence is not None
    assert not any(record.id in text for record in result.evidence.records)
    assert "base64" not in text


@pytest.mark.parametrize("format_name", MACHINE)
def test_names_in_a_decision_are_hidden(format_name: str) -> None:
    result = named_records()
    decided = decision(result, reasons=("New since the baseline: cats/Jane Doe (1).png, cats/Jane Doe (11).png.",))
    text = rendered(format_name, result, decided)
    assert "Jane" not in text and "cats" not in text
    if format_name in ("markdown", "junit"):
        assert "New since the baseline: no. 2, no. 12." in text


def test_records_of_another_result_are_hidden_too() -> None:
    result = build(LEAK)
    base = decision(result)
    waiver = base.waivers[0].model_copy(update={"target": "dogs/John.png", "message": "dogs/John.png is no record."})
    text = rendered("markdown", result, base.model_copy(update={"waivers": (waiver,)}))
    assert "John" not in text and "record of another result" in text


@pytest.mark.parametrize("lead", ["", "rebuilt:", "membership:"])
def test_long_names_are_hidden_where_a_message_shortens_them(lead: str) -> None:
    result = build(LEAK)
    assert result.evidence is not None
    name = "cats/" + "Jane " * 30 + "0.png"
    records = (result.evidence.records[0].model_copy(update={"id": name}), *result.evidence.records[1:])
    result = result.model_copy(update={"evidence": result.evidence.model_copy(update={"records": records})})
    base = decision(result)
    message = f"The waiver of {one_line(lead + name, 80)} matches nothing."
    waiver = base.waivers[3].model_copy(update={"target": lead + name, "message": message})
    check = base.checks[0].model_copy(update={"message": message})
    decided = base.model_copy(update={"waivers": (waiver,), "checks": (check,), "reasons": (message,)})
    for format_name in MACHINE:
        assert "Jane" not in rendered(format_name, result, decided)


def test_numbers_as_ids_do_not_change_counts() -> None:
    result = named_records()
    assert result.evidence is not None
    records = tuple(r.model_copy(update={"id": str(i)}) for i, r in enumerate(result.evidence.records))
    result = result.model_copy(update={"evidence": result.evidence.model_copy(update={"records": records})})
    assert "30 rebuilt, 0 allowed." in rendered("markdown", result, decision(result))


@pytest.mark.parametrize("format_name", MACHINE)
def test_a_decision_on_another_result_is_refused(format_name: str) -> None:
    result = build(LEAK)
    with pytest.raises(ResultError, match="gate this result again"):
        rendered(format_name, result, decision(result, result_sha256="0" * 64))


@pytest.mark.parametrize("format_name", MACHINE)
@pytest.mark.parametrize("name", CASES)
def test_texts_promise_nothing(name: str, format_name: str) -> None:
    text = render(format_name, CASES[name]).lower().replace("unsafecheckpointformat", "").replace("safetensors", "")
    assert not {"safe", "private", "secure"} & set(text.replace('"', " ").replace(".", " ").split())


def test_markdown_shows_checks_waivers_and_changes() -> None:
    text = render("markdown", LEAK, is_decided=True)
    assert "**The gate does not pass**: exit code 1, rules from privaudit-policy.toml." in text
    assert "| membership | waived | 50 readable, 0 allowed; waived. |" in text
    assert "| rebuilt | expired | 2027-01-31 | Privacy office | Public pictures |" in text
    assert "| Rebuilt images | 1 | 2 | 0 | 50 | 0.02 |" in text
    assert "exit code" not in render("markdown", LEAK)


def test_markdown_gives_a_reason_once() -> None:
    result = build(LEAK)
    text = rendered("markdown", result, decision(result, reasons=result.verdict.reasons, checks=()))
    assert text.count("30 of 50 records rebuilt") == 1


def test_markdown_says_what_a_waiver_does_not_state() -> None:
    result = build(LEAK)
    base = decision(result)
    waiver = base.waivers[3].model_copy(update={"owner": "", "reason": "", "expires": ""})
    text = rendered("markdown", result, base.model_copy(update={"waivers": (waiver,)}))
    assert "| rebuilt | refused | not stated | not stated | not stated |" in text


def test_markdown_of_a_thousand_waivers_still_fits_a_comment() -> None:
    result = build(LEAK)
    base = decision(result)
    long = base.waivers[1].model_copy(update={"reason": "because " * 1000, "owner": "|" * 5000})
    check = base.checks[0].model_copy(update={"message": "figures " * 1000})
    text = rendered(
        "markdown",
        result,
        base.model_copy(
            update={"waivers": (long,) * 1000, "checks": (check,) * 1000, "reasons": ("why " * 999,) * 999}
        ),
    )
    assert len(text) < 65_536
    assert "… and 980 more in gate.json." in text


def test_markdown_makes_no_links_and_no_formulas() -> None:
    result = build(LEAK)
    hostile = "see https://evil.example and www.evil.example or mailto:a@b for $x$"
    verdict = result.verdict.model_copy(update={"reasons": (hostile,)})
    text = rendered("markdown", result.model_copy(update={"verdict": verdict}))
    assert "https://" not in text and "www." not in text and "mailto:" not in text and "\\$x\\$" in text


def test_every_format_but_html_is_tested_here() -> None:
    assert set(MACHINE) == set(REPORTS) - {"html"}
