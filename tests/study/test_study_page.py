"""study.html as a document: strict parsing, figures with alt text, failures, words, pictures."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import html5lib
import pytest
from result_builder import Case, write_audit
from study_cases import FIGURE_ROWS, GRID, counts, done, fill, rows, training

from privaudit.study.axes import axis_of
from privaudit.study.outcome import write_outcome
from privaudit.study.page import page_html, write_study
from privaudit.study.pareto import Choice, front
from privaudit.study.record import StudyRecord, cell_folder, record_of


def filled(out: Path, text: str = GRID) -> StudyRecord:
    some = rows(text)
    fill(out, some)
    return record_of(some, out, "A <b>bold</b> study", "small", "privaudit study grid.toml")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("study")
    return page_html(filled(out), out, reveal=False)


def parse(page: str) -> ET.Element:
    """Strict: the first parse error raises."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)


def text_of(element: ET.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def test_parses_strictly_with_the_sections_in_order(page: str):
    root = parse(page)
    assert [e.get("id") for e in root.iter() if e.tag in ("h1", "h2")] == [
        "study", "asked", "table", "row-decay", "row-losses", "pareto", "failed", "limits", "reproduce",
    ]  # fmt: skip
    targets = {e.get("id") for e in root.iter()}
    links = [e.get("href") for e in root.iter("a")]
    assert all(link[1:] in targets for link in links if link)
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))


def test_nothing_is_loaded_or_run(page: str):
    root = parse(page)
    assert not list(root.iter("script"))
    for element in root.iter():
        for name, value in element.attrib.items():
            if name in ("src", "href", "{http://www.w3.org/1999/xlink}href"):
                assert value.startswith(("#", "data:")), value
    assert "A &lt;b&gt;bold&lt;/b&gt; study" in page
    assert "<two>" not in page


def test_every_figure_has_words_and_numbers(page: str):
    root = parse(page)
    drawn = [e for e in root.iter("div") if e.get("role") == "img"]
    assert len(drawn) == 6  # two a row, and a front for each of the two tasks
    assert all(len(e.get("aria-label") or "") > 40 for e in drawn)
    assert "weight decay 0.01 92 %" in (drawn[0].get("aria-label") or "").replace("\u00a0", " ")  # 55 of 60
    assert page.count("<svg") == 6
    assert "#04040" not in page, "colours are the page's own"


def test_a_failed_cell_is_shown_with_its_reason(page: str):
    root = parse(page)
    (section,) = [e for e in root.iter("section") if e.get("aria-labelledby") == "failed"]
    assert "killed by signal 9 (SIGKILL), which the system sends when memory runs out" in text_of(section)
    assert "✕ failed" in text_of(section)
    assert "weight decay 0.0001" in text_of(section)


def test_differences_are_claimed_only_where_separated(page: str):
    root = parse(page)
    sections = {e.get("aria-labelledby"): text_of(e) for e in root.iter("section")}
    assert (
        "Separated from the baseline (weight decay 0) in the share rebuilt: weight decay 0.01 above."
        in (sections["row-decay"])
    )
    assert "separated: above the baseline" in sections["row-decay"]
    assert "not separated" in sections["row-decay"]
    assert "fewer than three seeds" in sections["row-decay"]
    assert "nothing is said about differences" in sections["row-losses"]


def test_limits_and_commands_are_there(page: str):
    text = text_of(parse(page))
    assert "This is the small version" in text
    assert "privaudit study grid.toml" in text
    assert "digits" in text
    assert not re.search(r"\b(safe|private)\b", text, re.IGNORECASE)


def test_a_study_that_has_not_begun_is_a_page(tmp_path: Path):
    page = page_html(record_of(rows(), tmp_path, "T", "full", ""), tmp_path, reveal=False)
    text = text_of(parse(page))
    assert "0 done, 0 failed, 14 not run" in text
    assert "No cell of this row is done." in text
    assert "No cell failed so far" in text
    assert "small version" not in text


def test_a_row_that_nothing_was_rebuilt_from(tmp_path: Path):
    some = rows()
    for cell in some[0].cells:
        empty = counts(0, ssim_threshold=None, threshold_reason="Nothing was reconstructed.", reconstructions=0,
                       ssim=(), ssim_median=None, membership_applicable=False)  # fmt: skip
        write_outcome(cell_folder(tmp_path, cell.digest), done(cell, counts=empty))
    text = text_of(parse(page_html(record_of(some, tmp_path, "T", "small", ""), tmp_path, reveal=False)))
    assert "Nothing was reconstructed." in text
    assert f"0 of {3 * counts(0).members}" in text  # nothing rebuilt is a count, whatever the threshold would have been


def test_regression_has_no_accuracy(tmp_path: Path):
    some = rows()
    for cell in some[0].cells:
        bare = training(accuracy=None, held_out_accuracy=None)
        write_outcome(cell_folder(tmp_path, cell.digest), done(cell, training=bare))
    page = page_html(record_of(some, tmp_path, "T", "small", ""), tmp_path, reveal=False)
    assert "No task has two settings" in text_of(parse(page))


def test_axes_of_rows(tmp_path: Path):
    decay, losses = filled(tmp_path).rows
    axis = axis_of(decay)
    assert axis is not None
    assert axis.words == "weight decay"
    assert axis.values == (0.0, 1e-4, 1e-2)
    assert [(series.label, series.is_line, len(series.points)) for series in axis.series] == [
        ("", True, 3),
        ("weight decay 0, small first layer", False, 1),
    ]
    assert axis_of(losses) is None
    wide, width = filled(tmp_path, FIGURE_ROWS).rows
    axis = axis_of(wide)
    assert axis is not None
    assert axis.words == "images per class"
    assert [series.label for series in axis.series] == ["hidden 30", "hidden 300"]
    axis = axis_of(width)
    assert axis is not None
    assert axis.words == "width"
    assert [series.label for series in axis.series] == [""]


def test_figures_of_several_lines_are_drawn(tmp_path: Path, recwarn: pytest.WarningsRecorder):
    page = page_html(filled(tmp_path, FIGURE_ROWS), tmp_path, reveal=False)
    assert page.count("<svg") == 5
    assert "What could be rebuilt against width" in page
    assert not [str(w.message) for w in recwarn if "layout" in str(w.message)]
    parse(page)


def test_the_front_is_what_nothing_beats():
    a, b, c, d = (
        Choice("r", str(i), x, y) for i, (x, y) in enumerate([(0.9, 0.8), (0.8, 0.3), (0.7, 0.4), (0.6, 0.1)])
    )
    assert front([c, d, a, b]) == (a, b, d)
    assert front([a, a]) == (a,)
    assert front([]) == ()


@pytest.mark.parametrize("reveal", [False, True])
def test_pairs_are_hidden_unless_revealed(tmp_path: Path, reveal: bool):
    record = filled(tmp_path)
    for cell in record.cells:
        write_audit(cell_folder(tmp_path, cell.digest) / "audit", Case(n_members=12, n_rebuilt=6, side=16))
    page = page_html(record, tmp_path, reveal)
    images = list(parse(page).iter("img"))
    assert len(images) == 4  # baseline and most of the first row, baseline and one more of the second
    assert all((e.get("alt") or "").endswith("(blurred)") is not reveal for e in images)
    assert all((e.get("src") or "").startswith("data:image/webp;base64,") for e in images)
    hidden, shown = (page_html(record, tmp_path, shows) for shows in (False, True))
    assert len(shown) > len(hidden)


def test_a_cell_without_pictures_costs_only_its_pictures(tmp_path: Path):
    record = filled(tmp_path)
    folder = cell_folder(tmp_path, record.cells[0].digest) / "audit"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{")
    assert "<img" not in page_html(record, tmp_path, reveal=True)


def test_files_are_the_owners_alone(tmp_path: Path):
    paths = write_study(tmp_path, filled(tmp_path), reveal=False)
    assert [path.name for path in paths] == ["study.html", "study.json", "study.csv", "study.parquet"]
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
