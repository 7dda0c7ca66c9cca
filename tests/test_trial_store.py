"""An interrupted attack, saved and resumed, ends where an uninterrupted one does; other files are refused."""

import stat

import pytest
import torch
from test_trials import PLAN, Planted, feature_span, searches

from privaudit.errors import ConfigError
from privaudit.progress import SilentListener
from privaudit.trial_store import SavedTrials, fingerprint, read_trials, save_trials
from privaudit.trials import attack

MARK = fingerprint("model", 1)


class _Killed(BaseException):
    """The process ends without another word."""


def attacked(finished=None, on_finished=lambda _: None):
    return attack(searches(Planted(4), feature_span()), PLAN, 3, SilentListener(), finished, on_finished)


@pytest.mark.parametrize("n_saved", [1, 2, 3, 4])
def test_resumed_ends_as_uninterrupted(tmp_path, n_saved):
    path = tmp_path / "trials.safetensors"
    saves = 0

    def save_and_die(saved: SavedTrials) -> None:
        nonlocal saves
        save_trials(path, saved, MARK)
        saves += 1
        if saves == n_saved:
            raise _Killed

    with pytest.raises(_Killed):
        attacked(on_finished=save_and_die)
    finished = read_trials(path, MARK)
    assert finished is not None and finished.rounds == min(n_saved, 3) and finished.chunks == max(n_saved - 3, 0)
    whole, resumed = attacked(), attacked(finished)
    assert torch.equal(whole.reconstructions.pixels, resumed.reconstructions.pixels)
    assert torch.equal(whole.reconstructions.restart, resumed.reconstructions.restart)
    assert [run.objective for run in resumed.runs] == [run.objective for run in whole.runs]
    assert resumed.runs[0].restarts == whole.runs[0].restarts == 12


def test_no_file_is_no_trials(tmp_path):
    assert read_trials(tmp_path / "trials.safetensors", MARK) is None


def test_files_are_the_owners_only(tmp_path):
    save_trials(tmp_path / "t", SavedTrials(), MARK)
    assert stat.S_IMODE((tmp_path / "t").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\x08\0\0\0\0\0\0\0{}      "])
def test_damaged_or_foreign_files_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "t"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="--resume") as caught:
        read_trials(path, MARK)
    assert "\n" not in str(caught.value)


def test_trials_of_other_settings_are_refused(tmp_path):
    save_trials(tmp_path / "t", SavedTrials(rounds=1), MARK)
    with pytest.raises(ConfigError, match="others; leave out --resume"):
        read_trials(tmp_path / "t", fingerprint("model", 2))
