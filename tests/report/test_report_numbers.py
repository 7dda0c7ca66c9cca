"""Every number on the page is one of the result, or follows from it by a rule written down here a second time."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import html5lib
import numpy as np
import pytest
from result_builder import INCONCLUSIVE, LEAK, NO_LEAK, NO_REFERENCE, Case, write_audit
from safetensors.numpy import load_file

from privaudit.report import words, write_reports

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
OWN_TEXTS = (ROOT / "templates", ROOT / "privaudit" / "report" / "data")
CASES = {"leak": LEAK, "no_leak": NO_LEAK, "inconclusive": INCONCLUSIVE, "no_reference": NO_REFERENCE}
SCORES = ("control_ssim", "placebo_ssim")
SKIPPED = ("svg", "style", "pre", "code")
"""Drawn charts (their data tables are walked), and the command as it was typed."""


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def tokens(text: str) -> set[str]:
    return {token.rstrip(",") for token in NUMBER.findall(text.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))}


def forms(number: float) -> Iterator[str]:
    """Every way in which a report may write a number of the result."""
    yield from (f"{number:,}", f"{number:g}", f"{number:.4g}", f"{number:.3g}", f"{number:.2g}", str(number))
    yield from (f"{number:.{digits}f}" for digits in range(5))
    yield from (f"{100 * number:.{digits}f}" for digits in range(2))
    yield from (f"{100 * number:.3g}", words.scientific(number), words.p_value(number), words.duration(abs(number)))


def from_result(result: dict[str, Any]) -> set[str]:
    """Tokens of all numbers and texts in the file."""
    known: set[str] = set()
    for leaf in leaves(result):
        if isinstance(leaf, str):
            known |= tokens(leaf)
        elif isinstance(leaf, int | float) and not isinstance(leaf, bool):
            for form in forms(leaf):
                known |= tokens(form)
    return known


def derived(result: dict[str, Any]) -> set[str]:
    """Counts that the page makes of the records, computed again."""
    numbers: set[float] = {len(result["model"]["layers"])}
    evidence = result["evidence"]
    for cut in result["preflight"]["spectra"]:
        numbers |= set(range(1, len(cut["singular_values"]) + 1))
    if evidence is None:
        return {token for n in numbers for form in forms(n) for token in tokens(form)}
    records, scores = evidence["records"], evidence["distributions"]
    n, calibrated = len(records), evidence["calibrated_threshold"]
    by_class = Counter(r["label"] for r in records)
    numbers |= set(by_class.values()) | {n, min(12, n), len(scores["placebo_ssim"])}
    for name in ("leaked", "membership_found"):
        numbers |= set(Counter(r["label"] for r in records if r[name]).values()) | {sum(r[name] for r in records)}
    numbers |= set(Counter(r["label"] for r in records if r["ssim"] > 0.4).values())
    numbers |= {n - sum(r["leaked"] for r in records)}
    numbers.add(sum(score > (calibrated["ssim"] or 2) for score in scores["placebo_ssim"]))
    numbers.add(sum(r["q_value"] is not None and r["q_value"] <= 0.05 for r in records))
    numbers.add(sum(d["is_above"] for d in evidence["decoys"]))
    numbers.add(len(evidence["decoys"]))
    upper = sorted((r for r in records if r["multiplier"] is not None), key=lambda r: -r["multiplier"])
    half = max(1, len(upper) // 2)
    numbers |= {half, len(upper) - half, sum(r["leaked"] for r in upper[:half]), sum(r["leaked"] for r in upper[half:])}
    n_all = evidence["members"] + evidence["controls"]
    numbers |= {evidence["members"] ** 2 / max(n_all, 1), min(evidence["members"], evidence["controls"])}
    numbers.add(sum((r["exposure_rank"] or n_all) <= evidence["members"] for r in records))
    ranks = [r["lineup_rank"] for r in records if r["lineup_rank"] is not None]
    sizes = [r["lineup_size"] for r in records if r["lineup_size"] is not None]
    if ranks:
        numbers |= {sum(rank == 1 for rank in ranks), len(ranks), max(sizes) - 1, len(ranks) / max(sizes)}
    for finding in result["verdict"]["findings"]:
        numbers |= {finding["count"], finding["total"]}
    return {token for number in numbers for form in forms(number) for token in tokens(form)} | histograms(result)


def histograms(result: dict[str, Any]) -> set[str]:
    """Bins and counts of the data tables, medians, and points of the curves."""
    evidence = result["evidence"]
    records, scores = evidence["records"], evidence["distributions"]
    groups = [
        ([r["ssim"] for r in records], scores["control_ssim"], scores["placebo_ssim"]),
        ([r["membership_score"] for r in records if r["membership_score"] is not None], scores["membership_control"]),
        ([r["multiplier"] for r in records if r["multiplier"] is not None], scores["multiplier_control"]),
    ]
    found: set[str] = set()
    for group in groups:
        for values in group:
            found |= {str(count) for count in range(len(values) + 1)}  # counts of bins: at most all of the group
            if len(values):
                found |= {t for form in forms(float(np.median(values))) for t in tokens(form)}
            shares = [k / max(len(values), 1) for k in range(len(values) + 1)]
            found |= {t for share in shares for form in forms(share) for t in tokens(form)}
    return found


def shown_text(page: str) -> Iterator[tuple[str, str]]:
    """Texts of the page with the section that they are in; rows of histogram bins left to their own test."""
    root = html5lib.parse(page, namespaceHTMLElements=False)
    section = ""

    def walk(element: Any) -> Iterator[tuple[str, str]]:
        nonlocal section
        section = element.get("id") or section
        if not isinstance(element.tag, str) or element.tag.rpartition("}")[2] in SKIPPED:
            return
        for key in ("alt", "aria-label"):
            if element.get(key):
                yield section, element.get(key)
        yield section, element.text or ""
        for child in element:
            yield from walk(child)
            yield section, child.tail or ""

    body = root.find("body")
    assert body is not None
    yield from walk(body)


def own_texts() -> set[str]:
    files = [file for folder in OWN_TEXTS for file in folder.rglob("*") if file.suffix in (".j2", ".toml")]
    return {token for file in files for token in tokens(file.read_text(encoding="utf-8"))}


def of_pictures(path: Path) -> set[str]:
    """Confidences, which lie beside the pictures and not in the result."""
    if not path.is_file():
        return set()
    confidence = load_file(str(path))["confidence"]
    return {f"{value:.2f}" for value in confidence} | {str(place) for place in range(1, 49)}


def unexplained(page: str, result: dict[str, Any], others: Set[str] = frozenset()) -> list[tuple[str, str]]:
    """Numbers on the page that are neither the result's nor those of privaudit's own fixed texts."""
    known = from_result(result) | derived(result) | own_texts() | others
    known |= tokens("95 % 99 97.5 5 0.05 1 0.01 0 0.1 0.001 2 3 4 32 72 100 % 1,000")  # the rule, the axes, the seeds
    return [
        (section, text.strip()[:80] + f" [{token}]")
        for section, text in shown_text(page)
        for token in sorted(tokens(text))
        if token not in known and not re.fullmatch(r"chart-(ssim|distance|multiplier|roc).*|ref-.*", section)
    ]


@pytest.fixture(params=[*CASES, "leaking", "not-leaking"])
def rendered(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any], set[str]]:
    name = request.param
    path = write_audit(tmp_path, CASES[name]) if name in CASES else ROOT / "examples" / name / "result.json"
    (page,) = write_reports(path, ["html"], out=tmp_path)
    others = of_pictures(path.with_name("reconstructions.safetensors"))
    return page.read_text(encoding="utf-8"), json.loads(path.read_text(encoding="utf-8")), others


def test_every_number_on_the_page_is_the_results(rendered: tuple[str, dict[str, Any], set[str]]) -> None:
    page, result, others = rendered
    assert unexplained(page, result, others) == []


def test_tables_behind_histograms_are_those_of_the_scores(rendered: tuple[str, dict[str, Any], set[str]]) -> None:
    page, result, _ = rendered
    evidence = result["evidence"]
    root = html5lib.parse(page, namespaceHTMLElements=False)
    chart = next(e for e in root.iter("div") if e.get("id") == "chart-ssim")
    rows = [["".join(cell.itertext()) for cell in row] for row in chart.iter("tr")][1:]
    if evidence is None:
        assert rows == []
        return
    groups = ([r["ssim"] for r in evidence["records"]], *(evidence["distributions"][k] for k in SCORES))
    lowest = min(0.0, *(score for group in groups for score in group))
    edges = np.linspace(lowest, 1.0, len(rows) + 1)
    for place, group in enumerate(groups, start=1):
        expected = np.histogram(group, bins=edges)[0] if group else [words.NOT_RUN] * len(rows)
        assert [row[place] for row in rows] == [str(count) for count in expected]


@pytest.mark.parametrize(
    ("field", "old"),
    [("verdict", "30 of 50"), ("figures", "0 of 500"), ("audited", "parameters in")],
)
def test_a_number_that_is_nobodys_is_seen(field: str, old: str, tmp_path: Path) -> None:
    path = write_audit(tmp_path, Case())
    (written,) = write_reports(path, ["html"])
    page = written.read_text(encoding="utf-8")
    assert old in page
    changed = page.replace(old, "87,654 " + old, 1)
    found = unexplained(changed, json.loads(path.read_text(encoding="utf-8")))
    assert any("[87,654]" in text for _, text in found)


def test_key_figures_change_with_the_result(tmp_path: Path) -> None:
    """The walk would not see a number of the result in the wrong place, so the chief ones are looked up by place."""
    for case in (Case(n_rebuilt=30), Case(n_rebuilt=17, n_readable=41)):
        path = write_audit(tmp_path / str(case.n_rebuilt), case)
        result = json.loads(path.read_text(encoding="utf-8"))
        (written,) = write_reports(path, ["html"])
        root = html5lib.parse(written.read_text(encoding="utf-8"), namespaceHTMLElements=False)
        lines = {
            "".join(line.find("dt").itertext()): "".join(line.find("dd").itertext())
            for line in root.findall(".//dl[@class='counts']/div")
        }
        rebuilt, membership = result["verdict"]["findings"]
        for name, finding in (("Rebuilt images", rebuilt), ("Membership readable", membership)):
            assert lines[name].startswith(
                f"{finding['count']} of {finding['total']} training images, 95 % bounds "
                f"{finding['interval_low']:.1f} to {finding['interval_high']:.1f}, allowance {finding['allowance']}"
            )
