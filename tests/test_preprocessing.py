"""Where mean and deviation come from, in which order, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from privaudit.adapters.interface import Preprocessing
from privaudit.data import ImageSet
from privaudit.errors import ConfigError, DataError
from privaudit.preprocessing import mean_file, resolve_preprocessing

SHAPE = (3, 2, 4)
SUBTRACTED = {"preprocessing": "pixels/255 minus the mean image of the training set"}
MODEL = Path("model.safetensors")


def reference(shape: tuple[int, int, int] = SHAPE) -> ImageSet:
    pixels = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0))
    return ImageSet(pixels, None, tuple("abcde"), "test")


def resolve(
    mean: str | None = None,
    std: str | None = None,
    metadata: dict[str, str] | None = None,
    images: ImageSet | None = None,
    path: Path = MODEL,
    shape: tuple[int, int, int] = SHAPE,
) -> Preprocessing:
    return resolve_preprocessing(mean, std, metadata or {}, shape, images, path)


def refused(*words: str, **arguments: Any) -> None:
    with pytest.raises(DataError) as caught:
        resolve(**arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("expected ") and "found" in message
    for word in words:
        assert word in message


def test_nothing_stated() -> None:
    found = resolve()
    assert found.source == "no normalisation stated: inputs assumed to be pixels in [0, 1]"
    assert found.mean.shape == found.std.shape == (3, 1, 1)
    pixels = torch.rand(2, *SHAPE)
    assert torch.equal(found.to_inputs(pixels), pixels)


def test_stated_but_not_understood_is_said() -> None:
    assert "'z-scored' is not understood" in resolve(metadata={"preprocessing": "z-scored"}).source
    assert "no normalisation" in resolve(metadata={"preprocessing": "pixels/255"}).source


def test_subtracted_mean_image(tmp_path: Path) -> None:
    images = reference()
    found = resolve(metadata=SUBTRACTED, images=images)
    assert found.source == (
        "mean image of the reference, given to the attacker because the checkpoint says its training mean was "
        "subtracted"
    )
    torch.testing.assert_close(found.mean, images.pixels.mean(0))
    assert torch.equal(found.std, torch.ones(SHAPE))
    guess = resolve(metadata=SUBTRACTED)
    assert "guess" in guess.source and float(guess.mean.min()) == float(guess.mean.max()) == 0.5
    path = tmp_path / "model.safetensors"
    np.save(tmp_path / "model.mean.npy", np.full(SHAPE, 0.25))
    sibling = resolve(metadata=SUBTRACTED, images=images, path=path)
    assert "model.mean.npy" in sibling.source and float(sibling.mean.max()) == 0.25


def test_mean_file_of_sharded_checkpoints() -> None:
    assert mean_file(Path("d/model.safetensors.index.json")) == Path("d/model.mean.npy")
    assert mean_file(Path("cifar10-v1.2.pt")) == Path("cifar10-v1.2.mean.npy")


def test_options_before_metadata() -> None:
    metadata = {"mean": "0.1,0.2,0.3", "std": "0.5"}
    stated = resolve(metadata=metadata)
    torch.testing.assert_close(stated.mean.flatten(), torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(stated.std.flatten(), torch.full((3,), 0.5))
    assert "metadata" in stated.source
    given = resolve("0.4", "1,2,3", metadata=metadata | SUBTRACTED)
    assert float(given.mean.max()) == pytest.approx(0.4) and given.std.flatten().tolist() == [1, 2, 3]
    assert "--mean" in given.source and "--std" in given.source and "metadata" not in given.source


def test_mean_of_the_reference_by_option() -> None:
    images = reference()
    found = resolve("reference", "0.5", images=images)
    torch.testing.assert_close(found.mean, images.pixels.mean(0))
    assert found.std.shape == found.mean.shape
    torch.testing.assert_close(found.to_pixels(found.to_inputs(images.pixels)), images.pixels)
    with pytest.raises(ConfigError, match="--reference"):
        resolve("reference")


@pytest.mark.parametrize("shape", [(3, 2, 4), (2, 4, 3), (3,)])
def test_files(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random(shape)
    np.save(tmp_path / "m.npy", values)
    found = resolve(str(tmp_path / "m.npy")).mean
    expected = values.transpose(2, 0, 1) if shape == (2, 4, 3) else values.reshape(3, -1, shape[-1] if shape[1:] else 1)
    torch.testing.assert_close(found, torch.from_numpy(expected).float())
    assert found.shape == (SHAPE if len(shape) == 3 else (3, 1, 1))


def test_grey_file(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.zeros((2, 4)))
    assert resolve(str(tmp_path / "m.npy"), shape=(1, 2, 4)).mean.shape == (1, 2, 4)
    refused("3x2x4", "found 2x4", mean=str(tmp_path / "m.npy"))


def test_bad_values(tmp_path: Path) -> None:
    refused("'black'", mean="black")
    refused("found 2", mean="0.1,0.2")
    refused("[0, 1]", "124", mean="124")
    refused("[0, 1]", mean="-0.1")
    refused("NaN", mean="nan")
    refused("above 0", std="0")
    refused("above 0", std="1,-1,1")
    refused("metadata mean", metadata={"mean": "120"})
    refused("'x.npy'", metadata={"mean": "x.npy"})
    refused("3x2x4", "found 3x9x9", metadata=SUBTRACTED, images=reference((3, 9, 9)))
    refused("no such file", mean=str(tmp_path / "none.npy"))


def test_bad_files(tmp_path: Path) -> None:
    file = tmp_path / "m.npy"
    np.save(file, np.full(SHAPE, 100, np.uint8))
    refused("divide by 255", mean=str(file))
    np.save(file, np.array({"a": 1}), allow_pickle=True)
    refused("m.npy", mean=str(file))
    file.write_bytes(b"")
    refused("m.npy", mean=str(file))
    np.save(file, np.ones((3, 9, 9)))
    refused("3x2x4", "3x9x9", std=str(file))
