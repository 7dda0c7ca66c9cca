"""The HTML report as a document: strict parsing, order, offline, words, pictures, size."""

import base64
import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import html5lib
import numpy as np
import pytest
from PIL import Image
from result_builder import INCONCLUSIVE, LEAK, NO_LEAK, NO_REFERENCE, Case, build, picture_arrays, write_audit

from privaudit.report import ReportOptions, write_reports
from privaudit.report.html import HtmlReport
from privaudit.report.pictures import HIDDEN_SIDE, SHEET_BYTES, Pictures, sheet_uri
from privaudit.result import AuditResult

NO_CONTROLS = Case(n_controls=0)
NOT_APPLICABLE = Case(applicable=False, membership_applicable=False, n_rebuilt=0, format="torch-zip")
HOSTILE_TEXT = "<script>alert(1)</script>{{7*7}}{% raw %}\u202egnp.exe&\"'" + "x" * 10_000
HOSTILE = Case(path=HOSTILE_TEXT, metadata=((HOSTILE_TEXT, HOSTILE_TEXT),))
CASES = {
    "leak": LEAK,
    "no_leak": NO_LEAK,
    "inconclusive": INCONCLUSIVE,
    "no_reference": NO_REFERENCE,
    "no_controls": NO_CONTROLS,
    "not_applicable": NOT_APPLICABLE,
    "interrupted": Case(interrupted=True, positive="failed", negative="failed", is_saturated=False),
    "one_record": Case(n_members=1, n_rebuilt=1, n_readable=1, has_labels=False),
    "empty": Case(n_members=0, n_rebuilt=0, n_readable=0),
    "grey": Case(channels=1, side=28),
    "hostile": HOSTILE,
}
SECTIONS = [
    "verdict", "summary", "audited", "figures", "evidence", "exposure", "distributions", "classes", "method",
    "coverage", "limits", "next", "reproduce", "references", "glossary",
]  # fmt: skip
SVG = "{http://www.w3.org/2000/svg}"


def pictures_of(result: AuditResult, case: Case) -> Pictures:
    return Pictures(**picture_arrays(result, case))


def render(case: Case, reveal: bool = False, with_pictures: bool = True) -> str:
    result = build(case)
    pictures = pictures_of(result, case) if with_pictures else None
    return HtmlReport().render(result, pictures, ReportOptions(reveal=reveal))


@pytest.fixture(scope="module", params=CASES)
def page(request: pytest.FixtureRequest) -> str:
    return render(CASES[request.param])


def parse(page: str) -> ET.Element:
    """Strict: the first parse error raises."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)


def text_of(page: str) -> str:
    body = parse(page).find("body")
    assert body is not None
    return " ".join("".join(body.itertext()).split())


def test_parses_strictly_with_the_sections_in_order(page: str) -> None:
    root = parse(page)
    assert [e.get("id") for e in root.iter() if e.tag in ("h1", "h2")] == SECTIONS


def test_the_parser_is_strict() -> None:
    with pytest.raises(html5lib.html5parser.ParseError):
        parse(render(NO_REFERENCE, with_pictures=False).replace("</section>", "</div>", 1))


def test_ids_are_unique_and_links_lead_somewhere(page: str) -> None:
    root = parse(page)
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    inner = [value for e in root.iter() for key, value in e.items() if key.endswith("href") and value.startswith("#")]
    assert inner
    assert {link[1:] for link in inner} <= set(ids)


def test_loads_nothing_and_runs_nothing(page: str) -> None:
    root = parse(page)
    for element in root.iter():
        assert element.tag not in ("script", "link", "iframe", "object", "embed", "form")
        for key, value in element.items():
            assert not key.lower().startswith("on")
            if key == "src":
                assert value.startswith("data:image/webp;base64,")
            if key.endswith("href") and not value.startswith("#"):
                assert element.tag == "a"
                assert value.startswith("https://")
    assert not re.search(r"@import|url\((?!#)", page)


def test_every_picture_has_a_description(page: str) -> None:
    root = parse(page)
    assert all(image.get("alt") for image in root.iter("img"))
    assert all(e.get("aria-label") for e in root.iter() if e.get("role") in ("img", "region"))
    assert all(svg.get("aria-hidden") == "true" for svg in root.iter(f"{SVG}svg"))


def test_words_promise_nothing(page: str) -> None:
    assert not re.search(r"\b(safe|private|secure|guarantee[sd]?)\b", text_of(page), re.IGNORECASE)


@pytest.mark.parametrize("name", CASES)
def test_rendering_is_deterministic(name: str) -> None:
    assert render(CASES[name]) == render(CASES[name])


def test_charts_have_real_text_and_a_table() -> None:
    root = parse(render(LEAK))
    charts = [e for e in root.iter("div") if e.get("class") == "chart"]
    assert [c.get("id") for c in charts] == [
        "chart-ssim", "chart-roc", "chart-distance", "chart-multiplier", "chart-leakers", "chart-budget",
        "chart-spectrum0", "chart-classes",
    ]  # fmt: skip
    for chart in charts:
        assert any(e.tag.endswith("text") for e in chart.iter())
        rows = list(chart.iter("tr"))
        assert len(rows) > 2
        assert chart.find(".//figcaption") is not None
    assert "#0" not in "".join(re.findall(r"<svg.*?</svg>", render(LEAK), re.DOTALL))


def test_golden_banner_and_summary() -> None:
    root = parse(render(LEAK))
    banner = root.find(".//section")
    assert banner is not None
    assert banner.get("class") == "verdict leak_found"
    assert [" ".join("".join(p.itertext()).split()) for p in banner.iter("li")] == list(build(LEAK).verdict.reasons)
    assert len(root.findall(".//ol[@class='sentences']/li")) == 5


def test_no_leak_is_said_in_the_agreed_words() -> None:
    assert (
        "No reconstruction above the calibrated threshold was found by attack general + feature_span within a budget "
        "of 1 min 24 s and 24 restarts on cpu."
    ) in text_of(render(NO_LEAK))


def test_reconstructions_within_the_allowance_are_not_called_none() -> None:
    said = text_of(render(Case(n_rebuilt=2, n_readable=0, max_leaked=10, max_readable=4)))
    assert "No more reconstructions than allowed were found" in said
    assert "2 of 50, allowed 10" in said


def test_key_figures_are_those_of_the_result() -> None:
    evidence = build(LEAK).evidence
    assert evidence is not None
    said = text_of(render(LEAK))
    calibrated = evidence.calibrated_threshold
    for number in (
        f"{calibrated.members_leaked} of {evidence.members}",
        f"{calibrated.controls_leaked} of {evidence.controls}",
        f"SSIM above {calibrated.ssim:.3f}",
        f"{calibrated.interval_low:.1f} to {calibrated.interval_high:.1f} records",
        f"{evidence.published_threshold.placebo_leaked:.1f} of {evidence.members} (mean)",
    ):
        assert number in said
    rows = [row for row in parse(render(LEAK)).iter("tr") if row.find("th[@class='mono']") is not None]
    assert [rows[i].findall("td")[1].text for i in range(50)] == [f"{r.ssim:.3f}" for r in evidence.records]


def test_zero_not_run_and_not_applicable_look_different() -> None:
    cards = {
        name: next(e for e in parse(render(case)).iter("article") if e.get("id") == "finding-membership")
        for name, case in {"zero": INCONCLUSIVE, "not_run": NO_REFERENCE, "not_applicable": NOT_APPLICABLE}.items()
    }
    assert "0 of 50 training images" in " ".join("".join(cards["zero"].itertext()).split())
    for name in ("not_run", "not_applicable"):
        states = {e.get("class") for e in cards[name].iter("span")}
        assert f"state {name}" in states
        assert "0 of" not in "".join(cards[name].itertext())


def _embedded(page: str) -> list[Image.Image]:
    """Pictures of single images, in the order of the page; sheets have a test of their own."""
    page = re.sub(r'<figure class="sheet">.*?</figure>', "", page, flags=re.DOTALL)
    uris = re.findall(r'src="data:image/webp;base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(uri))) for uri in uris]


@pytest.mark.parametrize("case", [LEAK, NO_REFERENCE, Case(side=8), Case(side=2)])
def test_hidden_pixels_are_not_in_the_file(case: Case) -> None:
    hidden = _embedded(render(case))
    assert hidden
    assert all(max(image.size) <= min(HIDDEN_SIDE, case.side - 1) for image in hidden)


def test_revealed_pictures_are_the_stored_ones() -> None:
    result = build(LEAK)
    pictures = pictures_of(result, LEAK)
    assert result.evidence is not None
    shown = _embedded(render(LEAK, reveal=True))
    assert len(shown) == 2 * 12 * 3
    best = max(range(50), key=lambda i: result.evidence.records[i].ssim)
    rebuilt = np.rint(255 * pictures.images[result.evidence.records[best].reconstruction])
    assert np.array_equal(np.asarray(shown[0]), rebuilt.transpose(1, 2, 0))
    assert np.array_equal(np.asarray(shown[1]), pictures.record_images[best].transpose(1, 2, 0))
    assert np.array_equal(np.asarray(shown[2]), pictures.control_images[best].transpose(1, 2, 0))


def _sheets(page: str) -> list[Image.Image]:
    uris = re.findall(r'<figure class="sheet">.*?src="data:image/webp;base64,([^"]+)"', page, re.DOTALL)
    return [Image.open(io.BytesIO(base64.b64decode(uri))) for uri in uris]


def test_sheets_hold_every_record_best_first() -> None:
    result = build(LEAK)
    pictures = pictures_of(result, LEAK)
    assert result.evidence is not None
    counted, others = _sheets(render(LEAK, reveal=True))
    for sheet, leaked in ((counted, True), (others, False)):
        order = sorted(
            (i for i, r in enumerate(result.evidence.records) if r.leaked == leaked),
            key=lambda i: -result.evidence.records[i].ssim,
        )
        pixels = np.asarray(sheet.convert("RGBA"))
        for place in (0, len(order) - 1):
            row, column = divmod(place, 25)
            tile = pixels[row * 34 :, column * 17 :][:32, :16]
            assert (tile[..., 3] == 255).all()
            assert np.array_equal(tile[16:, :, :3], pictures.record_images[order[place]].transpose(1, 2, 0))
    assert np.asarray(counted.convert("RGBA"))[-1, -1, 3] == 0  # nothing is drawn where no record is


def test_sheets_hide_pixels_too() -> None:
    counted, _ = _sheets(render(LEAK))
    assert counted.size[0] <= 25 * (HIDDEN_SIDE + 1)


def test_sheets_of_noise_give_up_being_lossless() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (500, 3, 48, 48)).astype(np.uint8)
    uri = sheet_uri([(image, image) for image in noise], reveal=True)
    assert len(uri) < 1.4 * SHEET_BYTES


def test_random_records_do_not_depend_on_the_score() -> None:
    page = render(LEAK, reveal=True)
    best, drawn = re.findall(r'<ol class="triples">(.*?)</ol>', page, re.DOTALL)
    assert best.count("<li>") == drawn.count("<li>") == 12
    assert "below threshold" in drawn


@pytest.mark.parametrize("case", [LEAK, NO_REFERENCE])
def test_renders_without_pictures(case: Case) -> None:
    page = render(case, with_pictures=False)
    assert "<img" not in page
    assert "was not found beside result.json" in text_of(page)


def test_size_at_five_hundred_records(tmp_path: Path) -> None:
    path = write_audit(tmp_path, Case(n_members=500, n_rebuilt=80, n_readable=500, side=32))
    (written,) = write_reports(path, ["html"], reveal=True)
    assert written.stat().st_size < 3_000_000


def test_large_noise_is_reduced_to_the_bound() -> None:
    case = replace(LEAK, side=224, n_members=24, n_rebuilt=12, n_readable=24)
    assert len(render(case, reveal=True).encode()) < 3_000_000


def test_hostile_names_stay_text() -> None:
    page = render(HOSTILE)
    assert "<script" not in page
    assert "{{7*7}}" in page
    assert "\u202e" not in page
    assert "x" * 1000 not in page
