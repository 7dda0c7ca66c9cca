"""Settings: what contradicts, and which of four sources wins."""

from pathlib import Path

import pytest

from privaudit.adapters.libraries import LIBRARIES
from privaudit.config import ScanSettings, check_options, load_settings
from privaudit.config_sources import _LIBRARIES, runs_code
from privaudit.errors import ConfigError

MODEL = Path("model.safetensors")


@pytest.fixture
def load(tmp_path):
    def load_it(options=None, environ=None, model=MODEL):
        return load_settings(model, options or {}, environ or {}, tmp_path)

    return load_it


def one_line_about(raised, *words):
    message = str(raised.value)
    assert "\n" not in message
    assert "Input should" not in message
    assert "validation error" not in message
    for word in words:
        assert word in message
    return message


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"fpr": 0.0}, "--fpr"),
        ({"fpr": 1.0}, "--fpr"),
        ({"fpr": float("nan")}, "--fpr"),
        ({"restarts": 0}, "--restarts"),
        ({"candidates": -1}, "--candidates"),
        ({"time_limit_s": 0.0}, "--time-limit"),
        ({"time_limit_s": float("inf")}, "--time-limit"),
        ({"time_limit_s": float("nan")}, "--time-limit"),
        ({"max_leaked": -1}, "--max-leaked"),
        ({"max_readable": -1}, "--max-readable"),
        ({"seed": -1}, "--seed"),
        ({"input_shape": (3, 0, 32)}, "--input-shape"),
        ({"input_shape": "3,32"}, "--input-shape"),
        ({"input_shape": "3,32,-2"}, "--input-shape"),
        ({"format": ""}, "--format"),
        ({"format": ()}, "--format"),
        ({"control": "held"}, "--reference"),
        ({"mean": "reference"}, "--reference"),
        ({"reference": "a", "control": "a"}, "--control"),
        ({"reference": "a", "control": "b/../a/"}, "--control"),
    ],
)
def test_contradictions_are_refused_in_one_line(values, word, load):
    with pytest.raises(ConfigError) as raised:
        ScanSettings(model=MODEL, **values)
    one_line_about(raised, word)
    with pytest.raises(ConfigError) as raised:
        load(values)
    one_line_about(raised, word)


@pytest.mark.parametrize(
    "values",
    [
        {"reference": "a.npz:members", "control": "a.npz:controls"},
        {"reference": "torchvision:MNIST", "control": "torchvision:MNIST"},  # its training and its test part
        {"reference": "a", "mean": "reference"},
        {"exit_zero": True},
        {"time_limit_s": 1.0, "budget": "quick"},
    ],
)
def test_what_goes_together_is_accepted(values):
    assert ScanSettings(model=MODEL, **values).model


@pytest.mark.parametrize("text", ["3,32,16", "3x32x16", "3X32X16", " 3 , 32 , 16 ", "3×32×16"])
def test_shapes_as_people_write_them(text):
    assert ScanSettings(model=MODEL, input_shape=text).input_shape == (3, 32, 16)


@pytest.mark.parametrize("value", ["html,sarif", ["html", "sarif"], ["html,sarif", "html"], "HTML, sarif,"])
def test_formats_repeated_or_separated_by_commas(value):
    assert ScanSettings(model=MODEL, format=value).format == ("html", "sarif")


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_default(load, tmp_path):
    file = tmp_path / "privaudit.toml"
    file.write_text("[scan]\nseed = 1\nfpr = 0.2\nmax_leaked = 3\n")
    settings, origins = load({"seed": 9, "out": None}, {"PRIVAUDIT_SEED": "8", "PRIVAUDIT_FPR": "0.3"})
    assert (settings.seed, settings.fpr, settings.max_leaked, settings.max_readable) == (9, 0.3, 3, 0)
    assert {name: origins[name] for name in ("seed", "fpr", "max_leaked", "max_readable", "out")} == {
        "seed": "command line",
        "fpr": "PRIVAUDIT_FPR",
        "max_leaked": str(file),
        "max_readable": "default",
        "out": "default",
    }
    assert set(origins) == set(ScanSettings.model_fields)


def test_auto_on_the_command_line_undoes_a_number_in_the_file(load, tmp_path):
    (tmp_path / "privaudit.toml").write_text("[scan]\ncandidates = 5\n")
    assert load()[0].candidates == 5
    settings, origins = load({"candidates": "auto"})
    assert (settings.candidates, origins["candidates"]) == (None, "command line")


def test_the_nearest_file_counts(load, tmp_path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "privaudit.toml").write_text("[scan]\nseed = 1\n")
    assert load(model=Path("a/b/m.safetensors"))[0].seed == 1
    (tmp_path / "a" / "privaudit.toml").write_text("[scan]\nseed = 2\n")
    assert load(model=Path("a/b/m.safetensors"))[0].seed == 2
    (deep / "privaudit.toml").write_text("[scan]\nseed = 3\n")
    assert load(model=deep / "m.safetensors")[0].seed == 3
    assert load(model=Path("a/b/../m.safetensors"))[0].seed == 2
    assert load(model=Path("m.safetensors"))[0].seed == 1


def test_paths_in_a_file_are_relative_to_it(load, tmp_path):
    (tmp_path / "privaudit.toml").write_text(
        '[scan]\nreference = "train"\ncontrol = "held.npz:x"\nmean = "mean.npy"\nstd = "/abs/std.npy"\nout = "audit"\n'
    )
    (tmp_path / "sub").mkdir()
    settings, _ = load(model=Path("sub/m.safetensors"))
    assert settings.reference == str(tmp_path / "train")
    assert settings.control == f"{tmp_path}/held.npz:x"
    assert settings.mean == str(tmp_path / "mean.npy")
    assert settings.std == "/abs/std.npy"
    assert settings.out == tmp_path / "audit"


def test_values_that_are_no_paths_stay_as_they_are(load, tmp_path):
    (tmp_path / "privaudit.toml").write_text(
        '[scan]\nreference = "torchvision:CIFAR10"\nmean = "reference"\nstd = [0.5, 0.25, 1]\ninput_shape = [3, 4, 5]\n'
    )
    settings, _ = load()
    assert (settings.reference, settings.mean, settings.std) == ("torchvision:CIFAR10", "reference", "0.5,0.25,1")
    assert settings.input_shape == (3, 4, 5)
    (tmp_path / "privaudit.toml").write_text('[scan]\nmean = "0.5, 0.25"\nstd = 0.5\n')
    assert (load()[0].mean, load()[0].std) == ("0.5, 0.25", "0.5")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[scan]\nrefrence = 'a'", ("refrence", "'reference'")),
        ("[scan]\nmax-leaked = 1", ("max-leaked", "'max_leaked'")),
        ("[scan]\ntime_limit = 1", ("'time_limit_s'",)),
        ("[scan]\nmodel = 'm'", ("'model'", "nearest")),
        ("[scan]\nadapter = 'net.py:make'", ("adapter", "run code", "command line")),
        ("[scan]\nadapter = 'net.py'", ("run code",)),
        ("[scan]\nexit_zero = true", ("exit_zero", "--exit-zero", "PRIVAUDIT_EXIT_ZERO")),
        ("[scan]\nexit_zero = false", ("exit_zero",)),
        ("[scan]\ninstrument_check = false", ("--no-instrument-check", "PRIVAUDIT_INSTRUMENT_CHECK")),
        ("seed = 1", ("seed", "[scan]")),
        ("[scna]\nseed = 1", ("scna", "[scan]")),
        ("scan = 1", ("[scan]",)),
        ("[scan", ("TOML",)),
        ("[scan]\nseed = 'x'", ("seed", "whole number", "'x'")),
        ("[scan]\nreveal = 'perhaps'", ("reveal", "true or false")),
        ("[scan]\ntask = 'bin'", ("task", "'binary'", "'bin'")),
        ("[scan]\nformat = ['html', 'pdf']", ("format", "'pdf'")),
        ("[scan]\nformat = 3", ("format",)),
        ("[scan]\nreference = 3", ("reference", "text")),
        ("[scan]\nout = 3", ("out", "path")),
        ("[scan]\ninput_shape = [3, 4]", ("input_shape", "three whole numbers")),
        ("[scan]\nmean = [true]", ("mean", "text")),
        ("[scan]\ncontrol = 'held'", ("--reference", "control from")),
    ],
)
def test_a_file_that_is_wrong_is_named(text, words, load, tmp_path):
    file = tmp_path / "privaudit.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load()
    one_line_about(raised, str(file), *words)


def test_a_file_that_is_no_text_is_refused(load, tmp_path):
    (tmp_path / "privaudit.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError):
        load()


def test_a_folder_of_that_name_is_no_settings_file(load, tmp_path):
    (tmp_path / "privaudit.toml").mkdir()
    assert load()[0].seed == 0


def test_variables_are_parsed(load):
    environ = {
        "PRIVAUDIT_REVEAL": "true",
        "PRIVAUDIT_INPUT_SHAPE": "3x4x5",
        "PRIVAUDIT_FORMAT": "sarif,junit",
        "PRIVAUDIT_CANDIDATES": "auto",
        "PRIVAUDIT_TIME_LIMIT_S": "3.5",
        "PRIVAUDIT_REFERENCE": "",
        "PRIVAUDIT_VERSION": "0.1.0",
        "HOME": "/",
    }
    settings, origins = load(environ=environ)
    assert settings.reveal
    assert settings.input_shape == (3, 4, 5)
    assert settings.format == ("sarif", "junit")
    assert settings.time_limit_s == 3.5
    assert origins["reference"] == "default"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PRIVAUDIT_REFRENCE", "a", ("PRIVAUDIT_REFRENCE", "'reference'")),
        ("PRIVAUDIT_ADAPTER", "net.py:make", ("PRIVAUDIT_ADAPTER", "run code")),
        ("PRIVAUDIT_SEED", "x", ("PRIVAUDIT_SEED", "whole number")),
        ("PRIVAUDIT_FPR", "7", ("--fpr", "fpr from PRIVAUDIT_FPR")),
    ],
)
def test_a_variable_that_is_wrong_is_named(name, value, words, load):
    with pytest.raises(ConfigError) as raised:
        load(environ={name: value})
    one_line_about(raised, *words)


def test_variables_may_decide_what_a_file_may_not(load):
    assert load(environ={"PRIVAUDIT_EXIT_ZERO": "true"})[0].exit_zero
    assert not load({"instrument_check": False})[0].instrument_check


def test_a_byte_order_mark_is_no_part_of_the_settings(load, tmp_path):
    (tmp_path / "privaudit.toml").write_text("\ufeff[scan]\nseed = 4\n", encoding="utf-8")
    assert load()[0].seed == 4


def test_code_runs_when_the_command_line_names_it(load):
    assert load({"adapter": "net.py:make"})[0].adapter == "net.py:make"


def test_single_options_are_checked_as_a_scan_would():
    assert check_options(max_leaked="3", fail_on=None) == {"max_leaked": 3, "fail_on": None}
    with pytest.raises(ConfigError) as raised:
        check_options(max_leaked="x")
    one_line_about(raised, "--max-leaked", "'x'")


@pytest.mark.parametrize(
    ("adapter", "is_code"),
    [
        ("auto", False),
        ("mlp", False),
        ("torchvision:resnet18", False),
        ("timm:resnet18", False),
        ("torchvision:net.py", True),
        ("net.py:factory", True),
        ("net.py", True),
        ("folder:factory", True),
        ("C:torchvision", True),
    ],
)
def test_networks_of_libraries_are_no_code_of_the_user(adapter: str, is_code: bool) -> None:
    assert runs_code(adapter) == is_code


def test_the_libraries_named_here_are_those_of_the_adapters() -> None:
    assert set(_LIBRARIES) == set(LIBRARIES)


def test_an_unchecked_instrument_never_exits_0(tmp_path):
    with pytest.raises(ConfigError, match="--exit-zero or --no-instrument-check, found both"):
        ScanSettings(model=tmp_path, exit_zero=True, instrument_check=False)
