"""What a study says while it runs: lines, a bar, nothing."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "study"))

from study_cases import counts, done, failed, rows

from privaudit.cli.study_progress import RichStudy, SilentStudy, ended_text, study_listener_for
from privaudit.study.resources import Places
from privaudit.study.run import StudyProgress

PLACES = Places(2, 3, "limited by cores")


def tell(listener) -> None:
    cells = rows()[0].cells
    listener.planned(12, 4, PLACES)
    listener.begun(cells[0])
    listener.ended(cells[0], done(cells[0], 7), StudyProgress(5, 12, 0, 125.0))
    listener.begun(cells[1])
    listener.ended(cells[1], failed(cells[1], "expected this, found that\nand more"), StudyProgress(6, 12, 1, None))


@pytest.mark.parametrize("verbosity", [0, 1])
def test_lines(verbosity: int, capsys: pytest.CaptureFixture[str]):
    with study_listener_for(False, verbosity, True) as listener:
        tell(listener)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == "study: 12 cells, 4 done before, 2 at a time with 3 threads each (limited by cores)"
    assert ("  begins: decay, weight decay 0, seed 0" in lines) is (verbosity > 0)
    assert (
        "  ✓ [5/12] decay, weight decay 0, seed 0: 7 of 20 rebuilt, held-out accuracy 80%, 20 s; about 2:05 left"
        in lines
    )
    assert lines[-1] == "  ✕ [6/12] decay, weight decay 0, seed 1: failed: expected this, found that and more"


def test_a_bar_on_a_terminal_ends_with_the_block(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("privaudit.cli.study_progress.is_interactive", lambda: True)
    with pytest.raises(KeyError), study_listener_for(False, 0, False) as listener:
        assert isinstance(listener, RichStudy)
        tell(listener)
        raise KeyError
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "12 cells" in captured.err
    assert "7 of 20 rebuilt" in captured.err
    assert "6/12" in captured.err
    listener.close()


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]):
    with study_listener_for(True, 3, True) as listener:
        assert isinstance(listener, SilentStudy)
        tell(listener)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("n", "words"), [(0, "nothing reconstructed"), (9, "no threshold")])
def test_no_threshold_is_no_count(n: int, words: str):
    cell = rows()[0].cells[0]
    outcome = done(cell, counts=counts(0, ssim_threshold=None, reconstructions=n), training=None)
    assert (
        ended_text(cell, outcome, StudyProgress(1, 1, 0, None))
        == f"✓ [1/1] decay, weight decay 0, seed 0: {words}, 20 s"
    )
