import dataclasses
from pathlib import Path

import pytest
from result_builder import LEAK, NO_LEAK, build

from privaudit import assessment, audit, instrument
from privaudit.config import ScanSettings
from privaudit.planted import plant
from privaudit.progress import SilentListener
from privaudit.reconstructions import united
from privaudit.verdict import verdict_for


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """One cache for the module, so that the network is trained once."""
    folder = tmp_path_factory.getbasetemp() / "instrument-cache"
    monkeypatch.setenv("PRIVAUDIT_CACHE", str(folder))
    return folder


class Listener:
    def __init__(self):
        self.notes = []

    def stage(self, name, message):
        pass

    def trial(self, progress):
        pass

    def note(self, message):
        self.notes.append(message)


def test_catches_the_leak_and_clears_what_cannot_leak():
    check = instrument.run_controls(SilentListener())
    assert check.positive.status == "passed", check.positive.detail
    assert check.negative.status == "passed", check.negative.detail
    assert "rebuilt found" in check.positive.detail and "membership found" in check.positive.detail
    assert check.instrument.positive_control == check.instrument.negative_control == "passed"


def test_an_attack_that_finds_nothing_fails_the_positive_control(monkeypatch):
    def nothing(searches, plan, seed, listener, *rest):
        outcome = attack(searches, dataclasses.replace(plan, steps=1, rounds=1, span_steps=1), seed, listener, *rest)
        shape = tuple(searches.knowledge.mean.shape)
        return dataclasses.replace(outcome, reconstructions=united([], shape, searches.n_outputs), history=())

    attack = assessment.attack
    monkeypatch.setattr(assessment, "attack", nothing)
    listener = Listener()
    found = instrument.check_instrument(listener)
    assert (found.positive_control, found.negative_control) == ("failed", "passed")
    assert any("positive control" in note for note in listener.notes)


def test_a_threshold_that_everything_passes_fails_the_negative_control(monkeypatch):
    def generous(*args, **kwargs):
        evidence = evidence_of(*args, **kwargs)
        n = evidence.members
        threshold = evidence.calibrated_threshold.model_copy(
            update={
                "ssim": -1.0,
                "members_leaked": n,
                "interval_low": float(n),
                "interval_high": float(n),
                "p_value": 1e-9,
                "placebo_p_value": None,
            }
        )
        return evidence.model_copy(update={"calibrated_threshold": threshold})

    evidence_of = assessment.evidence_of
    monkeypatch.setattr(assessment, "evidence_of", generous)
    monkeypatch.setattr(instrument, "_SETTINGS", instrument._SETTINGS.model_copy(update={"restarts": 1}))
    monkeypatch.setattr(assessment, "attack", _short(assessment.attack))
    found = instrument.check_instrument(SilentListener())
    assert found.negative_control == "failed"
    assert found.reason.startswith("Negative control: Untrained") and found.seconds is not None and found.seconds > 0


def _short(attack):
    def run(searches, plan, seed, listener, *rest):
        return attack(searches, dataclasses.replace(plan, steps=5, rounds=1, span_steps=5), seed, listener, *rest)

    return run


def test_interrupted_is_not_run(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(instrument, "assess", interrupt)
    found = instrument.check_instrument(SilentListener())
    assert (found.positive_control, found.negative_control) == ("not_run", "not_run")


@pytest.fixture
def small():
    return plant(n_members=4, width=8, weight_decay=1e-2, max_steps=20)


@pytest.mark.parametrize("damage", ["flip", "truncate", "no digest", "wrong digest", "empty"])
def test_a_damaged_cache_is_made_again(small, tmp_path, monkeypatch, damage):
    monkeypatch.setenv("PRIVAUDIT_CACHE", str(tmp_path))
    first = instrument.positive_tensors(small, SilentListener())
    file, digest = next(tmp_path.glob("*.safetensors")), next(tmp_path.glob("*.sha256"))
    assert file.stat().st_mode & 0o777 == 0o600
    data = file.read_bytes()
    if damage == "flip":
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "truncate":
        file.write_bytes(data[:100])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "no digest":
        digest.unlink()
    else:
        digest.write_text("é")
    listener = Listener()
    again = instrument.positive_tensors(small, listener)
    assert len(listener.notes) == 1
    assert all((again[name] == first[name]).all() for name in first)
    assert file.stat().st_size == len(data)  # the header orders its strings at random
    assert instrument.positive_tensors(small, listener).keys() == first.keys()
    assert len(listener.notes) == 1


def test_a_cache_that_cannot_be_written_is_no_error(small, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("PRIVAUDIT_CACHE", str(blocked / "cache"))
    assert instrument.positive_tensors(small, SilentListener())
    assert list(tmp_path.iterdir()) == [blocked]


def test_another_recipe_is_another_file(small, tmp_path, monkeypatch):
    monkeypatch.setenv("PRIVAUDIT_CACHE", str(tmp_path))
    instrument.positive_tensors(small, SilentListener())
    instrument.positive_tensors(plant(n_members=4, width=9, weight_decay=1e-2, max_steps=20), SilentListener())
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_a_scan_told_not_to_check_says_so_and_clears_nothing(monkeypatch):
    def forbidden(*_):
        raise AssertionError("the check ran")

    monkeypatch.setattr(audit, "check_instrument", forbidden)
    settings = ScanSettings(model=Path("model.safetensors"), instrument_check=False)
    found = audit._instrument(settings, SilentListener(), False)
    assert found == instrument.SKIPPED
    quiet = build(NO_LEAK)
    verdict = verdict_for(
        quiet.evidence, quiet.preflight, quiet.attack, found, max_leaked=50, max_readable=50, fail_on="any"
    )
    assert verdict.status == "inconclusive" and verdict.reasons[-1].endswith("--no-instrument-check was given.")
    loud = build(LEAK)
    verdict = verdict_for(
        loud.evidence, loud.preflight, loud.attack, found, max_leaked=0, max_readable=0, fail_on="any"
    )
    assert verdict.status == "leak_found"
