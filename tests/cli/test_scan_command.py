"""`scan`, `inspect`, `demo` and `doctor` with the stages behind them replaced."""

import json
import stat
import types
from pathlib import Path

import pytest
from result_builder import LEAK, build

from privaudit.cli import run
from privaudit.cli.options import SCAN_OPTIONS
from privaudit.config import ScanSettings
from privaudit.inspection import Inspection
from privaudit.progress import TrialProgress
from privaudit.result_file import to_json


def outcome(result, *files):
    return types.SimpleNamespace(result=result, files=tuple(Path(file) for file in files))


@pytest.fixture
def scanned(fake_stage, make_result):
    """A scan that finds what it is told to and remembers what it was asked."""
    asked = types.SimpleNamespace(status="inconclusive", is_interrupted=False, settings=None, command=None)

    def scan(settings, listener, command):
        asked.settings, asked.command = settings, command
        listener.stage("load", "reading")
        listener.note("an assumption")
        listener.stage("attack", "one objective")
        listener.trial(TrialProgress("margin", 1.0, 0.5, 1, 1, 0.0))
        result = make_result(asked.status, asked.is_interrupted)
        return outcome(result, settings.out / "result.json", settings.out / "report.html")

    fake_stage("audit", scan=scan)
    return asked


def test_the_options_are_exactly_the_settings():
    assert set(SCAN_OPTIONS) == set(ScanSettings.model_fields) - {"model"}


@pytest.mark.parametrize(
    ("status", "options", "code"),
    [
        ("no_leak_found", [], 0),
        ("leak_found", [], 1),
        ("inconclusive", [], 3),
        ("leak_found", ["--exit-zero"], 0),
        ("inconclusive", ["--exit-zero"], 0),
    ],
)
def test_the_verdict_is_the_exit_code(status, options, code, scanned, capsys, in_folder):
    scanned.status = status
    assert run(["scan", "model.safetensors", *options]) == code
    captured = capsys.readouterr()
    assert captured.out == "audit/result.json\n"
    last = captured.err.splitlines()[-1]
    assert f"verdict: {status}" in last and f"exit {code}" in last
    assert "rebuilt" in captured.err
    assert "membership readable" in captured.err
    assert "wrote     audit/report.html" in captured.err


def test_findings_come_with_their_intervals(scanned, capsys, in_folder):
    scanned.status = "leak_found"
    run(["scan", "model.safetensors"])
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "▲ verdict: leak_found (rebuilt and membership readable), exit 1"
    assert "▲ FOUND  rebuilt              27 of 50  20.1 to 36.0         0         –" in lines
    assert "doubts    Because." in lines


@pytest.mark.parametrize("options", [[], ["--exit-zero"]])
def test_an_interrupted_scan_ends_with_130_and_says_how_to_go_on(options, scanned, capsys, in_folder):
    scanned.status, scanned.is_interrupted = "leak_found", True
    assert run(["scan", "model.safetensors", *options]) == 130
    assert "--resume" in capsys.readouterr().err


def test_json_is_the_result_and_nothing_else(scanned, make_result, capsysbinary, in_folder):
    (in_folder / "privaudit.toml").write_text("[scan]\nseed = 4\n")
    scanned.status = "leak_found"
    assert run(["scan", "model.safetensors", "--json"]) == 1
    captured = capsysbinary.readouterr()
    assert captured.out == to_json(make_result("leak_found")).encode()
    assert captured.err == b""


def test_exit_zero_never_hides_an_error(capsys, in_folder):
    assert run(["scan", "model.safetensors", "--exit-zero", "--fpr", "2"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_every_option_reaches_the_settings(scanned, in_folder):
    text = (
        "--adapter mlp --task binary --reference a --control b --input-shape 3x8x9 --mean 0.5 --std 0.25 --out there "
        "--format html,sarif --format junit --budget quick --time-limit 5 --restarts 2 --candidates 7 --seed 3 "
        "--device cpu --dtype float64 --engine local --fpr 0.05 --max-leaked 1 --max-readable 2 --fail-on rebuilt "
        "--exit-zero --reveal --resume"
    )
    options = text.split()
    assert run(["scan", "model.safetensors", *options]) == 0
    assert scanned.settings == ScanSettings(
        model=Path("model.safetensors"),
        adapter="mlp",
        task="binary",
        reference="a",
        control="b",
        input_shape=(3, 8, 9),
        mean="0.5",
        std="0.25",
        out=Path("there"),
        format=("html", "sarif", "junit"),
        budget="quick",
        time_limit_s=5.0,
        restarts=2,
        candidates=7,
        seed=3,
        device="cpu",
        dtype="float64",
        engine="local",
        fpr=0.05,
        max_leaked=1,
        max_readable=2,
        fail_on="rebuilt",
        exit_zero=True,
        reveal=True,
        resume=True,
    )
    assert scanned.command == "privaudit scan model.safetensors " + " ".join(options)


def test_no_options_are_the_defaults(scanned, in_folder):
    run(["scan", "model.safetensors"])
    assert scanned.settings == ScanSettings(model=Path("model.safetensors"))


def test_progress_is_logged_for_the_owner_only(scanned, in_folder):
    run(["scan", "model.safetensors", "-q"])
    path = in_folder / "audit" / "progress.jsonl"
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["stage", "note", "stage", "trial"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_quiet_leaves_only_the_result(scanned, capsys, in_folder):
    assert run(["scan", "model.safetensors", "-q"]) == 3
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("audit/result.json\n", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mean = 0.5", "mean = 0.5"),
        ("candidates = 1", "candidates = 1"),
        ("restarts = 1", "restarts = 1"),
        ("time_limit_s = 1", "time_limit_s = 1.0"),
        ("fpr = 0.0001", "fpr = 0.0001"),
        ('budget = "quick"', "budget = quick"),
        ('reference = "/a"', "reference = /a"),
        ("max_leaked = 50", "max_leaked = 50"),
        ('fail_on = "rebuilt"', "fail_on = rebuilt"),
    ],
)
def test_a_file_beside_the_model_is_named_with_what_it_decided(text, shown, scanned, capsys, in_folder):
    """It may have come with the model, so nothing in it can weaken an audit unseen."""
    file = in_folder / "privaudit.toml"
    file.write_text(f"[scan]\n{text}\n")
    run(["scan", "model.safetensors"])
    assert f"setting {shown} (from: {file})" in capsys.readouterr().err.splitlines()
    run(["scan", "model.safetensors", "-q"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", ["exit_zero = true", "instrument_check = false"])
def test_a_file_beside_the_model_cannot_make_failures_pass(text, scanned, capsys, in_folder):
    (in_folder / "privaudit.toml").write_text(f"[scan]\n{text}\n")
    scanned.status = "leak_found"
    assert run(["scan", "model.safetensors"]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1 and text.split()[0] in said


def test_an_adapter_that_runs_code_is_announced(scanned, capsys, in_folder):
    run(["scan", "model.safetensors", "--adapter", "net.py:make"])
    assert "running code from net.py:make" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--control", "b"], "--reference"),
        (["--reference", "a", "--control", "./a"], "--control to differ"),
        (["--mean", "reference"], "--mean reference"),
        (["--fpr", "0"], "--fpr"),
        (["--restarts", "0"], "--restarts"),
        (["--time-limit", "-1"], "--time-limit"),
    ],
)
def test_contradictory_options(options, words, run_process, refused, in_folder):
    refused(run_process("scan", "model.safetensors", *options), words)
    assert list(in_folder.iterdir()) == []


def test_out_that_cannot_be_written(run_process, refused, in_folder):
    (in_folder / "file").write_text("")
    refused(run_process("scan", "model.safetensors", "--out", "file/audit"), "file/audit", "--out")
    refused(run_process("scan", "model.safetensors", "--out", "file"), "--out")
    assert [path.name for path in in_folder.iterdir()] == ["file"]


def test_checking_out_leaves_nothing(fake_stage, in_folder):
    def scan(*_):
        assert list(in_folder.iterdir()) == []
        raise ValueError

    fake_stage("audit", scan=scan)
    assert run(["scan", "model.safetensors", "--out", "a/b/c"]) == 2
    assert list(in_folder.iterdir()) == []


@pytest.mark.parametrize("command", ["scan", "inspect"])
def test_a_missing_checkpoint(command, run_process, refused, in_folder):
    refused(run_process(command, "nowhere.safetensors", "-q"), "nowhere.safetensors")
    assert list(in_folder.iterdir()) == []


def inspection(**changes):
    result = build(LEAK)
    fields = {
        "path": "model.safetensors",
        "format": "safetensors",
        "sha256": "0" * 64,
        "adapter": "mlp",
        "parameters": 10,
        "input_shape": (1, 2, 2),
        "outputs": 1,
        "layers": result.model.layers,
        "knowledge": ("Assumed.",),
        "equation": "margin",
        "equation_reason": "one output",
        "preflight": result.preflight,
        "membership": result.evidence.membership,
    }
    return Inspection(**{**fields, **changes})


def test_inspect_prints_a_screen_for_people_or_json_for_machines(fake_stage, capsys, in_folder):
    fake_stage("inspection", inspect_model=lambda settings, listener: inspection())
    assert run(["inspect", "model.safetensors"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert "weights   suggest 50 training images; the reference explains 100 % of the first" in lines
    assert lines[-2] == "✓ rebuilding images can be tried by: general, feature_span"
    assert lines[-1].startswith("▲ membership readable: 50 images, ")
    assert run(["inspect", "model.safetensors", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == inspection().model_dump(mode="json")
    assert captured.err == ""


def test_inspect_says_what_cannot_be_attacked(fake_stage, capsys, in_folder):
    preflight = build(LEAK, applicable=False).preflight
    fake_stage("inspection", inspect_model=lambda *_: inspection(preflight=preflight, membership=None))
    assert run(["inspect", "model.safetensors"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert "because   Batch norm follows layers.0." in lines
    assert lines[-2:] == [
        "— rebuilding images does not apply",
        "○ membership: not tested without --reference and --control",
    ]


def test_verbose_inspect_prints_every_field(fake_stage, capsys, in_folder):
    fake_stage("inspection", inspect_model=lambda settings, listener: inspection())
    assert run(["inspect", "model.safetensors", "-v"]) == 0
    lines = capsys.readouterr().err.splitlines()
    for line in ("format: safetensors", "preflight.applicable: yes", "input_shape: 1 2 2"):
        assert line in lines
    assert "- name layers.0, kind linear, shape 1000 768, has_bias yes" in lines
    assert any("in all)" in line for line in lines)


@pytest.mark.parametrize(
    ("leaky", "untrained", "code"),
    [("leak_found", "inconclusive", 0), ("leak_found", "leak_found", 2), ("inconclusive", "inconclusive", 2)],
)
def test_demo_fails_when_a_known_case_comes_out_wrong(
    leaky, untrained, code, fake_stage, make_result, capsys, in_folder
):
    def run_demo(out, listener, time_limit_s):
        assert (out, time_limit_s) == (Path("there"), 4.0)
        return types.SimpleNamespace(
            leaky=outcome(make_result(leaky), out / "leaky/result.json", out / "leaky/report.html"),
            untrained=outcome(make_result(untrained), out / "untrained/result.json", out / "untrained/report.html"),
        )

    fake_stage("demo", run_demo=run_demo)
    assert run(["demo", "--out", "there", "--time-limit", "4"]) == code
    captured = capsys.readouterr()
    assert captured.out.splitlines() == ["there/leaky/report.html", "there/untrained/report.html"]
    assert ("privaudit: error: " in captured.err) == (code == 2)
    assert ("demo: the leak was found" in captured.err.splitlines()[-1]) == (code == 0)
    assert run(["demo", "--out", "there", "--time-limit", "4", "--json"]) == code
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert [document[name]["verdict"]["status"] for name in ("leaky", "untrained")] == [leaky, untrained]
    assert len(captured.err.splitlines()) == (1 if code else 0)


@pytest.mark.parametrize(("oks", "code"), [([True, True], 0), ([True, False], 2), ([], 2)])
def test_doctor_passes_only_if_every_check_ran_and_passed(oks, code, fake_stage, capsys, in_folder):
    checks = tuple(types.SimpleNamespace(name=f"check {i}", ok=ok, detail="[bold]x") for i, ok in enumerate(oks))
    fake_stage("doctor", run_doctor=lambda listener: checks)
    assert run(["doctor"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "[bold]x" in captured.err or not oks
    assert ("doctor: all 2 checks passed, exit 0" in captured.err.splitlines()[-1]) == (code == 0)
    assert run(["doctor", "--json"]) == code
    assert [check["ok"] for check in json.loads(capsys.readouterr().out)] == oks
