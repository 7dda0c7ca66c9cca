"""Every picture once, none on both sides, classes in equal shares."""

import pytest
import torch

from privaudit.data import ImageSet, without
from privaudit.errors import DataError
from privaudit.held_images import held_images


def pictures(n: int, seed: int, labels: list[int] | None = None, side: int = 16) -> ImageSet:
    coarse = torch.rand(n, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    pixels = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    names = tuple(f"{seed}/{i}" for i in range(n))
    return ImageSet(pixels, None if labels is None else torch.tensor(labels), names, f"set-{seed}")


def with_pixels(images: ImageSet, at: int, pixels: torch.Tensor) -> ImageSet:
    changed = images.pixels.clone()
    changed[at] = pixels
    return ImageSet(changed, images.labels, images.names, images.source)


DISGUISES = {
    "copy": lambda x: x,
    "mirrored": lambda x: x.flip(-1),
    "brighter": lambda x: 0.5 * x + 0.3,
    "noisy": lambda x: (x + 0.01 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1),
    "shifted": lambda x: x.roll((1, -1), (-2, -1)),
    "mirrored and shifted": lambda x: x.flip(-1).roll(1, -1),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_members_among_the_controls_are_left_out_and_named(disguise):
    reference, control = pictures(20, 0), pictures(30, 1)
    held = held_images(reference, with_pixels(control, 7, DISGUISES[disguise](reference.pixels[3])), 0.01, 0)
    assert held.duplicates == ("1/7",)
    assert held.control is not None and len(held.control) == 29 and "1/7" not in held.control.names
    assert len(held.reference) == 20 and held.near_duplicates == ()


def test_other_pictures_stay():
    held = held_images(pictures(50, 0), pictures(200, 1), 0.01, 0)
    assert held.control is not None and (len(held.reference), len(held.control)) == (50, 200)
    assert held.duplicates == held.near_duplicates == () and held.class_match is None


def test_repeated_records_count_once():
    reference, control = pictures(10, 0), pictures(20, 1)
    for at in (4, 9):
        reference = with_pixels(reference, at, reference.pixels[1])
    held = held_images(reference, with_pixels(control, 5, control.pixels[2]), 0.01, 0)
    assert held.near_duplicates == (("0/1", "0/4", "0/9"), ("1/2", "1/5"))
    assert held.reference.names == without(reference, [4, 9]).names
    assert held.control is not None and len(held.control) == 19
    assert held_images(reference, None, 0.01, 0).near_duplicates == (("0/1", "0/4", "0/9"),)


def test_controls_that_are_all_members_are_refused():
    reference = pictures(10, 0)
    mirrored = ImageSet(reference.pixels.flip(-1), None, reference.names, "mirror/")
    with pytest.raises(DataError, match="found every one of its 10 images also in the reference set-0"):
        held_images(reference, mirrored, 0.01, 0)


def test_classes_get_the_shares_of_the_reference():
    reference = pictures(6, 0, [0, 0, 0, 0, 1, 1])
    control = pictures(80, 1, [0] * 40 + [1] * 30 + [2] * 10)
    held = held_images(reference, control, 0.1, 0)
    assert held.control is not None and held.control.labels is not None and held.class_match is not None
    assert held.control.labels.bincount().tolist() == [40, 20]  # 2 to 1
    assert (held.class_match.matched, held.class_match.given, held.class_match.kept) == (True, 80, 60)
    assert "60 of 80 controls" in held.class_match.reason
    again, other = held_images(reference, control, 0.1, 0), held_images(reference, control, 0.1, 1)
    assert again.control is not None and again.control.names == held.control.names
    assert other.control is not None and other.control.names != held.control.names


def test_controls_too_few_to_match_are_all_kept_and_that_is_said():
    held = held_images(pictures(4, 0, [0, 0, 1, 1]), pictures(40, 1, [0] * 38 + [1] * 2), 0.1, 0)
    assert held.control is not None and len(held.control) == 40
    assert held.class_match is not None and not held.class_match.matched
    assert held.class_match.reason.startswith("Only 4 of 40 controls")


def test_matched_already_says_nothing():
    held = held_images(pictures(4, 0, [0, 0, 1, 1]), pictures(40, 1, [0, 1] * 20), 0.1, 0)
    assert held.class_match is not None and held.class_match.matched and held.class_match.reason == ""


def test_one_rare_class_does_not_cost_most_controls():
    held = held_images(pictures(101, 0, [0] * 100 + [1]), pictures(400, 1, [0] * 400), 0.01, 0)
    assert held.control is not None and len(held.control) == 400
    assert held.class_match is not None and held.class_match.matched


def test_controls_of_other_classes_match_nothing():
    held = held_images(pictures(30, 0, [0] * 30), pictures(300, 1, [2] * 300), 0.01, 0)
    assert held.class_match is not None and not held.class_match.matched
    assert held.class_match.reason.startswith("Only 0 of 300 controls")


def named(images: ImageSet, *classes: str) -> ImageSet:
    return ImageSet(images.pixels, images.labels, images.names, images.source, classes)


def test_classes_of_folders_are_the_same_by_name_and_not_by_number():
    reference = named(pictures(40, 0, [0] * 20 + [1] * 20), "cat", "dog")
    control = named(pictures(300, 1, [0] * 100 + [1] * 100 + [2] * 100), "bird", "cat", "dog")
    held = held_images(reference, control, 0.01, 0)
    assert held.control is not None and held.control.labels is not None and held.class_match is not None
    assert held.class_match.matched and held.class_match.kept >= 200
    birds = [name for name in held.control.names if int(name.split("/")[1]) < 100]
    assert len(birds) <= 0.06 * len(held.control)
    only_birds = named(pictures(300, 1, [0] * 300), "bird")
    held = held_images(reference, only_birds, 0.01, 0)
    assert held.class_match is not None and not held.class_match.matched


def test_names_on_one_side_alone_match_nothing_to_nothing():
    reference = named(pictures(40, 0, [0] * 20 + [1] * 20), "cat", "dog")
    held = held_images(reference, pictures(300, 1, [0, 1, 1] * 100), 0.01, 0)
    assert held.control is not None and held.control.labels is None and held.class_match is None


def test_a_chain_of_frames_keeps_its_ends():
    """Neighbours are alike beyond 0.995 and the ends are different pictures."""
    one, other = pictures(2, 0).pixels
    frames = torch.stack([torch.lerp(one, other, k / 39) for k in range(40)])
    chain = ImageSet(frames, None, tuple(map(str, range(40))), "film")
    held = held_images(chain, None, 0.01, 0)
    assert 4 < len(held.reference) < 40
    assert held.reference.names[0] == "0" and sum(map(len, held.near_duplicates)) >= 30


def test_thousands_of_blank_images_cost_nothing():
    blank = ImageSet(torch.zeros(20_000, 1, 16, 16), None, tuple(map(str, range(20_000))), "blank")
    held = held_images(blank, None, 0.01, 0)
    assert len(held.reference) == 1 and len(held.near_duplicates[0]) == 20_000


def test_what_was_not_looked_for_is_said(monkeypatch):
    small = held_images(pictures(3, 0, side=6), pictures(9, 1, side=6), 0.5, 0)
    assert "6 pixels are too few" in small.not_searched
    monkeypatch.setattr("privaudit.held_images._MOST_PAIRS", 10)
    assert "3 × 9 pairs" in held_images(pictures(3, 0), pictures(9, 1), 0.5, 0).not_searched


def test_labels_that_number_the_images_are_no_classes():
    held = held_images(pictures(20, 0, list(range(20))), pictures(300, 1, [0] * 300), 0.01, 0)
    assert held.class_match is None and held.control is not None and len(held.control) == 300
