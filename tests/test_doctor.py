import pytest

from privaudit import doctor
from privaudit.instrument import ControlCheck, InstrumentCheck
from privaudit.progress import SilentListener


@pytest.fixture
def controls(monkeypatch):
    def pretend(positive, negative):
        check = InstrumentCheck(ControlCheck(positive, "9 of 10."), ControlCheck(negative, "0 of 10."))
        monkeypatch.setattr(doctor, "run_controls", lambda *_: check)

    return pretend


def test_every_part_is_checked(controls, tmp_path, monkeypatch):
    controls("passed", "passed")
    monkeypatch.setenv("PRIVAUDIT_CACHE", str(tmp_path / "new"))
    checks = {check.name: check for check in doctor.run_doctor(SilentListener())}
    assert list(checks)[:6] == ["python", "torch", "torchvision", "processor", "cuda", "memory"]
    assert list(checks)[6:] == ["cache", "positive control", "negative control"]
    assert all(checks[name].ok for name in checks if name != "memory")
    assert checks["cache"].detail == str(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert all(check.detail for check in checks.values())


@pytest.mark.parametrize("status", ["failed", "not_run"])
def test_a_control_that_did_not_pass_is_not_ok(controls, status):
    controls("passed", status)
    checks = {check.name: check for check in doctor.run_doctor(SilentListener())}
    assert checks["positive control"].ok and not checks["negative control"].ok
    assert checks["negative control"].detail.startswith(status.replace("_", " "))


def test_a_cache_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    check = doctor._cache(tmp_path / "file" / "cache")
    assert check.ok and "trained anew" in check.detail
