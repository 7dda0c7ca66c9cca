import numpy as np
import pytest
import torch

from privaudit.errors import ConfigError, DataError
from privaudit.study.images import choose_images
from privaudit.study.recipe import Recipe


def archive(path, n_each=6, n_classes=4, **more):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(n_classes) * 3, n_each)  # numbers with gaps
    images = rng.integers(0, 256, (len(labels), 5, 5), dtype=np.uint8)
    np.savez(path, images=images, labels=labels, **more)
    return images, labels


def test_the_same_number_of_each_class_and_nothing_on_both_sides(tmp_path):
    images, _ = archive(tmp_path / "x.npz")
    chosen = choose_images(Recipe(data=str(tmp_path / "x.npz"), images_per_class=2))
    assert chosen.shape == (1, 5, 5) and chosen.n_outputs == 4
    assert torch.bincount(chosen.members.labels).tolist() == [2, 2, 2, 2]
    assert torch.bincount(chosen.held_out.labels).tolist() == [4, 4, 4, 4]
    stored = {image.tobytes() for image in images}
    sides = [{p.numpy().tobytes() for p in part.pixels} for part in (chosen.members, chosen.held_out)]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == stored
    assert chosen.members.targets.tolist() == chosen.members.labels.tolist()


def test_controls_take_turns_among_classes(tmp_path):
    archive(tmp_path / "x.npz")
    chosen = choose_images(Recipe(data=str(tmp_path / "x.npz"), images_per_class=2, controls=8))
    assert chosen.n_controls == 8
    assert torch.bincount(chosen.held_out.first(8).labels).tolist() == [2, 2, 2, 2]


def test_data_seed_chooses_the_images_and_seed_does_not(tmp_path):
    archive(tmp_path / "x.npz")

    def pixels(**changes):
        return choose_images(Recipe(data=str(tmp_path / "x.npz"), images_per_class=2, **changes)).members.pixels

    assert torch.equal(pixels(), pixels(seed=5))
    assert not torch.equal(pixels(), pixels(data_seed=5))


def test_two_groups_are_signs_for_one_output_and_classes_for_cross_entropy(tmp_path):
    archive(tmp_path / "x.npz")
    recipe = Recipe(data=str(tmp_path / "x.npz"), images_per_class=2, labels="two_groups", loss="mse", positive=(0, 3))
    chosen = choose_images(recipe)
    assert chosen.n_outputs == 1
    assert chosen.members.targets.tolist() == [1.0] * 4 + [-1.0] * 4
    softmax = choose_images(recipe.model_copy(update={"loss": "cross_entropy"}))
    assert softmax.n_outputs == 2
    assert softmax.members.targets.tolist() == [1] * 4 + [0] * 4
    assert softmax.members.labels.tolist() == [1] * 4 + [-1] * 4
    upper = choose_images(recipe.model_copy(update={"positive": ()}))
    assert upper.members.targets.tolist() == [-1.0] * 4 + [1.0] * 4


def test_fewer_classes_are_the_first_ones(tmp_path):
    archive(tmp_path / "x.npz")
    chosen = choose_images(Recipe(data=str(tmp_path / "x.npz"), images_per_class=1, classes=2))
    assert chosen.n_outputs == 2
    assert set(chosen.held_out.labels.tolist()) == {0, 1}


def test_regression_takes_stored_targets_or_spreads_classes(tmp_path):
    archive(tmp_path / "spread.npz")
    recipe = Recipe(data=str(tmp_path / "spread.npz"), images_per_class=1, labels="regression", loss="mse")
    assert choose_images(recipe).members.targets.tolist() == pytest.approx([-1, -1 / 3, 1 / 3, 1])
    values = np.linspace(5, 7, 24)
    images, _ = archive(tmp_path / "own.npz", targets=values)
    chosen = choose_images(recipe.model_copy(update={"data": str(tmp_path / "own.npz")}))
    by_image = {image.tobytes(): value for image, value in zip(images, values, strict=True)}
    for pixels, target in zip(chosen.members.pixels, chosen.members.targets, strict=True):
        assert float(target) == pytest.approx(by_image[pixels.numpy().tobytes()])
    archive(tmp_path / "bad.npz", targets=np.full(24, np.nan))
    with pytest.raises(DataError, match="expected 24 finite numbers as targets"):
        choose_images(recipe.model_copy(update={"data": str(tmp_path / "bad.npz")}))


def test_label_noise_changes_that_share_of_the_training_labels_and_no_others(tmp_path):
    archive(tmp_path / "x.npz")
    recipe = Recipe(data=str(tmp_path / "x.npz"), images_per_class=5)
    clean, noisy = choose_images(recipe), choose_images(recipe.model_copy(update={"label_noise": 0.3}))
    assert torch.equal(clean.members.pixels, noisy.members.pixels)
    assert int((clean.members.labels != noisy.members.labels).sum()) == 6
    assert torch.equal(clean.held_out.labels, noisy.held_out.labels)


def test_label_noise_turns_that_share_of_two_groups(tmp_path):
    archive(tmp_path / "x.npz")
    recipe = Recipe(data=str(tmp_path / "x.npz"), images_per_class=5, labels="two_groups", loss="mse")
    clean, noisy = choose_images(recipe), choose_images(recipe.model_copy(update={"label_noise": 0.3}))
    assert int((clean.members.targets != noisy.members.targets).sum()) == 6
    assert torch.equal(clean.held_out.targets, noisy.held_out.targets)


def test_early_stopping_looks_at_images_of_its_own(tmp_path):
    archive(tmp_path / "x.npz")
    recipe = Recipe(data=str(tmp_path / "x.npz"), images_per_class=2, early_stopping=5, optimiser="adam")
    chosen = choose_images(recipe)
    parts = [
        {p.numpy().tobytes() for p in part.pixels} for part in (chosen.members, chosen.held_out, chosen.validation)
    ]
    assert [len(part) for part in parts] == [8, 11, 5]
    assert len(set.union(*parts)) == 24 and chosen.n_controls == 11
    assert len(choose_images(recipe.model_copy(update={"early_stopping": 0})).validation) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 5}, "--classes of at most 4"),
        ({"images_per_class": 6}, "more than 6 images of every class"),
        ({"labels": "two_groups", "positive": (0, 3, 6, 9), "loss": "mse"}, "found all labels on one side"),
        ({"data": "nowhere.npz"}, "found no such file"),
        ({"labels": "two_groups", "positive": (0, 1), "loss": "mse"}, "--positive among the labels 0,3,6,9, found 1"),
        ({"classes": 1}, "two classes or more to tell apart"),
        ({"classes": 1, "label_noise": 0.5}, "two classes or more beside --label-noise"),
    ],
)
def test_one_line_for_what_cannot_be_drawn(tmp_path, changes, message):
    archive(tmp_path / "x.npz")
    with pytest.raises((ConfigError, DataError), match=message):
        choose_images(Recipe(**{"data": str(tmp_path / "x.npz"), **changes}))


def test_images_without_labels_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros((4, 5, 5), np.uint8))
    with pytest.raises(DataError, match="expected labels with the images"):
        choose_images(Recipe(data=str(tmp_path / "x.npz")))


@pytest.mark.parametrize(("name", "shape", "n_outputs"), [("faces", (1, 25, 25), 2), ("digits", (1, 8, 8), 10)])
def test_shipped_images(name, shape, n_outputs):
    chosen = choose_images(Recipe(data=name))
    assert chosen.shape == shape and chosen.n_outputs == n_outputs
    assert chosen.n_controls > 0 and len(chosen.members) > 90
    assert int(chosen.members.pixels.max()) > 200
