"""Reference and control sets: folders, arrays, torchvision, duplicates; one test for each bad input."""

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.datasets
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from torch import Tensor

from privaudit import data
from privaudit.data import ImageSet, find_duplicates, load_images, without
from privaudit.errors import DataError

SHAPE = (3, 4, 5)


def picture(seed: int, mode: str = "RGB", size: tuple[int, int] = (5, 4)) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    return Image.fromarray(values[..., 0] if mode == "L" else values[..., :3], mode)


def refused(source: object, *words: str, shape: tuple[int, int, int] | None = SHAPE, role: str = "reference") -> None:
    with pytest.raises(DataError) as caught:
        load_images(str(source), input_shape=shape, role=role)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("expected ") and "found" in message
    for word in words:
        assert word in message


def image_set(pixels: Tensor) -> ImageSet:
    return ImageSet(pixels, torch.arange(len(pixels)), tuple(str(i) for i in range(len(pixels))), "test")


def test_class_folders(tmp_path: Path) -> None:
    for index, name in enumerate(["cat/2.png", "cat/10.bmp", "dog/deep/1.webp", "dog/.hidden.png", "cat/notes.txt"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".txt"):
            (tmp_path / name).write_text("x")
        else:
            picture(index).save(tmp_path / name, lossless=True)
    images = load_images(str(tmp_path), input_shape=SHAPE, role="reference")
    assert images.names == ("cat/2.png", "cat/10.bmp", "dog/deep/1.webp")
    assert images.labels is not None and images.labels.tolist() == [0, 0, 1]
    assert images.labels.dtype == torch.int64
    expected = torch.from_numpy(np.array(picture(0))).permute(2, 0, 1) / 255
    assert torch.equal(images.pixels[0], expected)
    assert images.pixels.dtype == torch.float32 and images.source == str(tmp_path)


def test_flat_folder_has_no_labels(tmp_path: Path) -> None:
    picture(0, "L").save(tmp_path / "a.png")
    picture(1, "L").save(tmp_path / "b.jpg")
    images = load_images(str(tmp_path), input_shape=None, role="control")
    assert images.labels is None and images.pixels.shape == (2, 1, 4, 5)


def test_lossless_modes_only(tmp_path: Path) -> None:
    rgb = picture(0)
    rgba = rgb.convert("RGBA")
    cases = {"p": rgb.quantize(16), "opaque": rgba, "bits": rgb.convert("1")}
    for name, image in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        image.save(folder / "a.png")
        n_channels = 1 if name == "bits" else 3
        loaded = load_images(str(folder), input_shape=(n_channels, 4, 5), role="reference")
        mode = "L" if name == "bits" else "RGB"
        expected = torch.from_numpy(np.array(image.convert(mode), dtype=np.uint8)).reshape(4, 5, n_channels)
        assert torch.equal(loaded.pixels[0], expected.permute(2, 0, 1) / 255)
    rgba.putalpha(100)
    for name, image in {"clear": rgba, "cmyk": rgb.convert("CMYK"), "deep": Image.new("I;16", (5, 4))}.items():
        folder = tmp_path / name
        folder.mkdir()
        image.save(folder / ("a.jpg" if name == "cmyk" else "a.png"))
        refused(folder, f"mode {image.mode}", "a.")


def test_animation(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "a.webp", save_all=True, append_images=[picture(1)], lossless=True)
    refused(tmp_path, "animation", "a.webp")


def test_wrong_size_or_channels(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "a.png")
    picture(1, size=(6, 4)).save(tmp_path / "b.png")
    refused(tmp_path, "reference images of 3x4x5", "4x6", "b.png")
    refused(tmp_path, "b.png", shape=None)
    (tmp_path / "b.png").unlink()
    refused(tmp_path, "1x4x5", "found 3x4x5", "a.png", shape=(1, 4, 5))


def test_corrupt_image_among_good_ones_is_named(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        picture(0, size=(64, 64)).save(tmp_path / name)
    whole = (tmp_path / "b.png").read_bytes()
    for broken in (whole[: len(whole) // 2], b"text", b"", whole[:100] + b"\0" * 50 + whole[150:]):
        (tmp_path / "b.png").write_bytes(broken)
        refused(tmp_path, "b.png", "corrupt", shape=(3, 64, 64))


def test_empty_mixed_and_missing(tmp_path: Path) -> None:
    refused(tmp_path, "no PNG")
    (tmp_path / "class").mkdir()
    (tmp_path / ".x.png").write_bytes(b"")
    refused(tmp_path, "no PNG")
    picture(0).save(tmp_path / "class" / "a.png")
    picture(0).save(tmp_path / "b.png")
    refused(tmp_path, "both", "b.png")
    refused(tmp_path / "none", "no such file")
    refused(tmp_path / "b.png", "another type")
    refused(tmp_path / "none.npz", "no such file")


UINT8 = arrays(np.uint8, (3, 2, 4, 5))


@given(stored=UINT8, layout=st.sampled_from(["first", "last", "grey"]), is_float=st.booleans(), known=st.booleans())
@settings(max_examples=40, deadline=None)
def test_npz_layouts(stored: np.ndarray[Any, Any], layout: str, is_float: bool, known: bool) -> None:
    stored = stored[:, :1] if layout == "grey" else np.concatenate([stored, stored[:, :1]], axis=1)
    laid_out = {"first": stored, "last": stored.transpose(0, 2, 3, 1), "grey": stored[:, 0]}[layout]
    values = (laid_out / np.float64(255)) if is_float else laid_out
    shape = tuple(stored.shape[1:]) if known else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        np.savez(path, images=values, labels=np.arange(3, dtype=np.int32))
        images = load_images(str(path), input_shape=shape, role="reference")
    torch.testing.assert_close(images.pixels, torch.from_numpy(stored).float() / 255)
    assert images.pixels.is_contiguous() and images.pixels.dtype == torch.float32
    assert images.labels is not None and images.labels.tolist() == [0, 1, 2]
    assert images.names == ("0", "1", "2")


def npz(folder: Path, **contents: Any) -> Path:
    path = folder / "a.npz"
    np.savez(path, **contents)
    return path


def test_npz_names(tmp_path: Path) -> None:
    grey = np.zeros((2, 4, 5), np.uint8)
    one, two = np.zeros(2, np.int64), np.array([[1.0], [-1.0]])
    path = npz(tmp_path, member_images=grey, member_labels=two, control_images=grey, x=grey, y=one)
    assert load_images(f"{path}", input_shape=None, role="reference").labels is not None
    member = load_images(f"{path}:member", input_shape=(1, 4, 5), role="reference")
    assert member.labels is not None and member.labels.tolist() == [1, -1]
    assert load_images(f"{path}:control", input_shape=None, role="control").labels is None
    refused(f"{path}:test", "test_images", "member_images")
    refused(npz(tmp_path, member_images=grey), "a.npz:member")


def test_npz_bad_arrays(tmp_path: Path) -> None:
    good = np.zeros((2, 4, 5, 3), np.uint8)
    refused(npz(tmp_path, images=good.astype(np.int64)), "int64")
    refused(npz(tmp_path, images=good + 2.0), "[2, 2]", "divided by 255")
    refused(npz(tmp_path, images=np.full((1, 4, 5, 3), np.nan)), "nan")
    refused(npz(tmp_path, images=good[0, 0]), "5x3")
    refused(npz(tmp_path, images=good), "3x9x9", "4x5x3", shape=(3, 9, 9))
    refused(npz(tmp_path, images=good[:0]), "none")
    refused(npz(tmp_path, images=good, labels=np.arange(3)), "2 labels", "found 3")
    refused(npz(tmp_path, images=good, labels=np.array([0.5, 1])), "whole numbers")
    refused(npz(tmp_path, images=np.zeros((2, 3, 3, 3), np.uint8)), "3x3x3", shape=(3, 3, 3))
    refused(npz(tmp_path, images=np.zeros((2, 4, 5, 7), np.uint8)), "1 or 3 channels", shape=None)


def test_npz_that_is_none_or_would_run_code(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"no archive")
    refused(path, "a.npz")
    refused(npz(tmp_path, images=np.array([{"a": 1}], dtype=object)), "allow_pickle")
    whole = io.BytesIO()
    np.savez_compressed(whole, images=np.random.default_rng(0).integers(0, 255, (9, 4, 5, 3), dtype=np.uint8))
    path.write_bytes(whole.getvalue()[:-200])
    refused(path, "a.npz")


class Tiny:
    """Stands for a torchvision data set."""

    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        print("Files already downloaded")
        assert download
        self.root, self.train = root, train

    def __len__(self) -> int:
        return 3 if self.train else 2

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return picture(index), index


class Unreachable(Tiny):
    def __init__(self, root: str, split: str = "train") -> None:
        raise RuntimeError("Dataset not found or\ncorrupted")


def test_torchvision(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr(torchvision.datasets, "Tiny", Tiny, raising=False)
    monkeypatch.setattr(torchvision.datasets, "Unreachable", Unreachable, raising=False)
    monkeypatch.setenv("PRIVAUDIT_DATA", str(tmp_path))
    reference = load_images("torchvision:Tiny", input_shape=SHAPE, role="reference")
    assert len(reference) == 3 and reference.labels is not None and reference.labels.tolist() == [0, 1, 2]
    assert len(load_images("torchvision:Tiny", input_shape=SHAPE, role="control")) == 2
    assert capsys.readouterr().out == ""
    refused("torchvision:Tiny", "3x9x9", shape=(3, 9, 9))
    refused("torchvision:Unreachable", str(tmp_path), "Dataset not found", "PRIVAUDIT_DATA")
    refused("torchvision:CIFAR11", "CIFAR10")


def test_without() -> None:
    images = image_set(torch.rand(4, *SHAPE))
    rest = without(images, [2, 0, 2])
    assert rest.names == ("1", "3") and rest.labels is not None and rest.labels.tolist() == [1, 3]
    assert torch.equal(rest.pixels, images.pixels[[1, 3]])
    assert len(without(images, [])) == 4
    for index in (-1, 4):
        with pytest.raises(IndexError):
            without(images, [index])


def slow_duplicates(reference: Tensor, control: Tensor) -> list[tuple[int, int]]:
    """The definition, pair by pair in float64."""
    found = []
    for i, one in enumerate(reference.double()):
        for j, other in enumerate(control.double()):
            a, b = one.flatten() - one.mean(), other.flatten() - other.mean()
            is_near = float(a.norm() * b.norm()) > 1e-9 and float(a @ b / (a.norm() * b.norm())) > 0.995
            if is_near or torch.equal(one, other):
                found.append((i, j))
    return found


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 4, 5), (1, 11, 19)])
@pytest.mark.parametrize("tile", [7, 2048])
def test_duplicates_against_the_definition(
    shape: tuple[int, int, int], tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "_TILE", tile)
    generator = torch.Generator().manual_seed(0)
    reference = torch.rand(20, *shape, generator=generator)
    control = torch.rand(15, *shape, generator=generator)
    noise = torch.randn(shape, generator=generator)
    control[3] = reference[11]
    control[4] = (reference[11] * 0.8 + 0.1).clamp(0, 1)
    control[5] = reference[2] + 0.01 * noise
    control[6] = reference[2] + 0.3 * noise
    control[7], reference[8], reference[9] = 0.5, 0.5, 0.6
    found = find_duplicates(image_set(reference), image_set(control))
    assert list(found) == slow_duplicates(reference, control)
    assert {(11, 3), (11, 4), (2, 5), (8, 7)} <= set(found) and (9, 7) not in found


def test_duplicates_of_nothing() -> None:
    empty, some = image_set(torch.rand(0, *SHAPE)), image_set(torch.rand(2, *SHAPE))
    assert find_duplicates(empty, some) == find_duplicates(some, empty) == ()
