"""A company's own templates before the shipped ones, and what happens where they are wrong."""

from pathlib import Path

import pytest
from result_builder import write_audit

from privaudit.errors import ConfigError
from privaudit.report import write_reports

OWN = """{% extends "privaudit/report.html.j2" %}
{% block brand %}<span>Example Ltd., model risk, <b>{{ model_name }}</b></span>{% endblock %}
{% block more_css %}.verdict { border-radius: 0; }{% endblock %}
{% block footer %}{{ super() }}<footer>Internal use</footer>{% endblock %}
"""


def page_with(tmp_path: Path, name: str, text: str) -> str:
    own = tmp_path / "own"
    own.mkdir()
    (own / name).parent.mkdir(exist_ok=True)
    (own / name).write_text(text, encoding="utf-8")
    (page,) = write_reports(write_audit(tmp_path / "audit"), ["html"], templates=own)
    return page.read_text(encoding="utf-8")


def test_blocks_are_overridden_and_the_rest_stays(tmp_path: Path) -> None:
    page = page_with(tmp_path, "report.html.j2", OWN)
    assert "Example Ltd., model risk, <b>model.safetensors</b>" in page
    assert ".verdict { border-radius: 0; }" in page
    assert page.index("Rendered by privaudit") < page.index("Internal use")
    assert 'id="verdict"' in page


def test_a_part_is_replaced_by_its_name(tmp_path: Path) -> None:
    page = page_with(tmp_path, "partials/next.html.j2", '<section><h2 id="next">Call the privacy office</h2></section>')
    assert "Call the privacy office" in page
    assert "What to do next</h2>" not in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '{% extends "privaudit/report.html.j2" %}{% block brand %}{{ nothing }}{% endblock %}',
            "'nothing' is undefined",
        ),
        ('{% extends "privaudit/report.html.j2" %}{% block brand %}', "end of template"),
        ('{% extends "privaudit/other.html.j2" %}', "other.html.j2"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ],
)
def test_templates_that_fail_are_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        page_with(tmp_path, "report.html.j2", text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "audit" / "report.html").exists()


def test_a_folder_without_templates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected one of base\.html\.j2"):
        page_with(tmp_path, "letter.html", "")
    with pytest.raises(ConfigError, match="folder of templates"):
        write_reports(write_audit(tmp_path / "two"), ["html"], templates=tmp_path / "none")
    with pytest.raises(ConfigError, match="expected html"):
        write_reports(write_audit(tmp_path / "three"), ["markdown"], templates=tmp_path)
