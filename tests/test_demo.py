import pytest
from typer.testing import CliRunner

from privaudit.checkpoint import load_checkpoint
from privaudit.cli.app import app
from privaudit.result_file import read_result


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The command as a user runs it."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PRIVAUDIT_CACHE", str(tmp_path_factory.getbasetemp() / "instrument-cache"))
    out = tmp_path_factory.mktemp("demo") / "results"
    run = CliRunner().invoke(app, ["demo", "--out", str(out), "--no-progress"])
    yield run, out
    patch.undo()


@pytest.mark.slow
def test_the_leak_is_found_and_the_twin_is_cleared(finished):
    run, out = finished
    assert run.exit_code == 0, run.output
    leaky, untrained = (read_result(out / name / "result.json") for name in ("leaky", "untrained"))
    assert leaky.verdict.status == "leak_found"
    assert [finding.status for finding in leaky.verdict.findings] == ["found", "found"]
    threshold = leaky.evidence.calibrated_threshold
    assert threshold.members_leaked >= 6 and threshold.p_value < 1e-6
    assert threshold.controls_leaked <= 0.01 * leaky.evidence.controls
    assert leaky.evidence.membership.members_found == leaky.evidence.members
    assert leaky.instrument.positive_control == leaky.instrument.negative_control == "passed"
    assert untrained.verdict.status == "inconclusive"
    assert untrained.evidence.calibrated_threshold.members_leaked == 0
    assert untrained.instrument.positive_control == untrained.instrument.negative_control == "passed"


@pytest.mark.slow
def test_what_was_made_can_be_scanned_again(finished):
    run, out = finished
    names = {"model", "untrained"}
    expected = {f"{name}{suffix}" for name in names for suffix in (".safetensors", ".mean.npy")}
    files = {path.name: path for path in out.iterdir() if path.is_file()}
    assert set(files) == expected | {"reference.npz", "control.npz"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files.values())
    assert (
        load_checkpoint(files["model.safetensors"]).metadata == load_checkpoint(files["untrained.safetensors"]).metadata
    )
    assert run.stdout.split() == [str(out / name / "report.html") for name in ("leaky", "untrained")]
    assert f"privaudit scan {out / 'model.safetensors'}" in read_result(out / "leaky" / "result.json").reproduce.command
