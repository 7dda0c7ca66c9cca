"""The one definition of similarity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import structural_similarity

from privaudit.ssim import FROZEN

IMAGES = arrays(np.float32, (2, 9, 8), elements=st.floats(0, 1, width=32))


@settings(max_examples=50, deadline=None)
@given(IMAGES)
def test_an_image_is_itself(image):
    assert FROZEN.score(image, image) == pytest.approx(1, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(IMAGES, IMAGES)
def test_it_is_symmetric_and_bounded(one, other):
    score = FROZEN.score(one, other)
    assert -1 - 1e-6 <= score <= 1 + 1e-6
    assert score == pytest.approx(FROZEN.score(other, one), abs=1e-5)


@pytest.mark.parametrize(("shape", "window"), [((3, 32, 32), 7), ((1, 8, 8), 7), ((1, 7, 9), 7), ((2, 6, 6), 5)])
def test_it_is_scikit_image_with_these_settings(shape, window):
    generator = np.random.default_rng(0)
    one = generator.random(shape, dtype=np.float32)
    other = np.clip(one + 0.2 * generator.standard_normal(shape), -0.3, 1.3).astype(np.float32)
    expected = structural_similarity(
        np.moveaxis(one, 0, -1),
        np.moveaxis(np.clip(other, 0, 1), 0, -1),
        win_size=window,
        channel_axis=-1,
        data_range=1.0,
        gaussian_weights=False,
    )
    assert FROZEN.score(one, other) == pytest.approx(float(expected), abs=1e-5)
    assert 0.1 < expected < 0.99


def test_pixels_outside_the_range_are_clipped_and_nothing_is_rescaled():
    generator = np.random.default_rng(1)
    image = generator.random((1, 16, 16), dtype=np.float32)
    beyond = np.where(image > 0.9, 3.0, image).astype(np.float32)
    assert FROZEN.score(image, beyond) == pytest.approx(FROZEN.score(image, np.where(image > 0.9, 1.0, image)))
    assert FROZEN.score(image, (image / 2).astype(np.float32)) < 0.9


def test_the_definition_names_its_settings():
    text = FROZEN.describe()
    assert "7×7 uniform" in text and "data range 1" in text and "no rescaling" in text
