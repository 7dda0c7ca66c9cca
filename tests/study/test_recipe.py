import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privaudit.errors import ConfigError
from privaudit.study.recipe import Recipe, absolute, checked_recipe, runs_code
from privaudit.study.text import as_toml


@pytest.mark.parametrize("text", ["300,200", "300-200", "300 200", (300, 200), [300, 200]])
def test_widths_in_any_spelling(text):
    assert Recipe(hidden=text).hidden == (300, 200)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": "hinge"}, "--loss as one of cross_entropy"),
        ({"architecture": "resnet"}, "--architecture as mlp, convnet"),
        ({"labels": "regression"}, "--loss mse, huber or power:P"),
        ({"loss": "logistic"}, "--labels two_groups for --loss logistic"),
        ({"loss": "mse"}, "--loss cross_entropy for --labels classes"),
        ({"positive": "1,2"}, "--labels two_groups beside --positive"),
        ({"weight_decay": -1}, "--weight-decay of at least 0"),
        ({"weight_decay": float("nan")}, "--weight-decay of at least 0"),
        ({"epochs": 0}, "--epochs of at least 1"),
        ({"images_per_class": 0}, "--images-per-class of at least 1"),
        ({"label_noise": 1.0}, r"--label-noise in \[0, 1\)"),
        ({"learning_rate": 0.0}, "--learning-rate above 0"),
        ({"dp_clip": float("inf")}, "--dp-clip above 0"),
        ({"dp_noise": 1e-200, "optimiser": "sgd"}, "--dp-noise of 0 or at least 0.01"),
        ({"seed": 10**20}, r"--seed below 2\^62"),
        ({"hidden": "10 -20"}, "widths and channels of at least 1"),
        ({"hidden": 10**9}, "at most 100000"),
        ({"loss": "power:0", "labels": "regression"}, "a power of at least 1"),
        ({"dp_clip": 0.0}, "--dp-clip above 0"),
        ({"hidden": (0,)}, "widths and channels of at least 1"),
        ({"batch_size": 5}, "--optimiser sgd, adam or adamw beside --batch-size"),
        ({"dp_noise": 1.0}, "--optimiser sgd, adam or adamw beside --dp-noise"),
        ({"augmentation": "flip"}, "another --optimiser beside --augmentation"),
        ({"learning_rate": 0.1}, "another --optimiser beside --learning-rate, found lbfgs"),
        ({"schedule": "cosine", "optimiser": "gd"}, "--optimiser sgd, adam or adamw beside --schedule, found gd"),
        ({"channels": 8}, "--architecture convnet beside --channels, found mlp"),
        ({"architecture": "a.py:net", "hidden": 8}, "--architecture mlp or convnet beside --hidden"),
        ({"dp_clip": 2.0}, "--dp-noise beside --dp-clip, found none"),
        ({"momentum": 0.9}, "--optimiser gd or sgd beside --momentum"),
        ({"optimiser": "sgd", "dp_noise": 1.0, "augmentation": "flip"}, "no --augmentation beside --dp-noise"),
        ({"label_noise": 0.1, "labels": "regression", "loss": "mse"}, "no --label-noise for --labels regression"),
        ({"wieght_decay": 1}, "found 'wieght_decay'"),
        ({"epochs": "many"}, "for epochs in here, found 'many'"),
        ({"labels": "both"}, "for labels in here, found 'both'"),
    ],
)
def test_one_line_for_what_cannot_be(values, message):
    with pytest.raises(ConfigError, match=message) as caught:
        checked_recipe(values, "here")
    assert "\n" not in str(caught.value)
    assert "here" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "is_code"),
    [("a/b.py:net", True), ("b.py:", False), ("mlp", False), ("power:2.5", False), ("x.py", False)],
)
def test_what_runs_code_is_told_by_its_form(value, is_code):
    assert runs_code(value) is is_code


def test_relative_paths_are_resolved_and_names_are_not(tmp_path):
    assert absolute("data", "x.npz:train", tmp_path) == f"{tmp_path}/x.npz:train"
    assert absolute("loss", "l.py:f", tmp_path) == f"{tmp_path}/l.py:f"
    for name, value in [("data", "faces"), ("data", "torchvision:MNIST"), ("loss", "mse"), ("hidden", (3,))]:
        assert absolute(name, value, tmp_path) == value
    assert absolute("data", "/a/b", tmp_path) == "/a/b"


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
        st.one_of(st.text(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans(),
                  st.lists(st.integers(0, 9))),
    )
)  # fmt: skip
def test_toml_is_read_back(values):
    assert tomllib.loads(as_toml({"": values})) == values
