"""What K-SVD and LSSC have in common: what they leave alone and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.ksvd import KSVD
from bench.methods.lssc import LSSC

from bench.restorer import Observation, Restorer, Setting

pytestmark = [
    pytest.mark.parametrize("channels", [1, 3]),
    pytest.mark.parametrize("kind", [KSVD, LSSC]),
]


def prepared(kind: type[KSVD] | type[LSSC], channels: int) -> Restorer:
    restorer = kind()
    restorer.prepare(Setting("denoise", 25.0, channels), "cpu")
    return restorer


def test_without_noise_there_is_nothing_to_remove(kind, channels, noisy_edge):
    seen = noisy_edge(20, 20, 0, channels)
    assert np.array_equal(prepared(kind, channels).restore(seen), seen.image)


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (8, 8), (9, 9), (20, 3)], ids=str)
def test_images_of_any_size_are_answered_and_constant_ones_stay_so(kind, channels, shape):
    image = np.full((*shape, channels), [0.3, 0.5, 0.7][:channels], np.float32)
    x_hat = prepared(kind, channels).restore(Observation(image, "denoise", sigma=25.0))
    np.testing.assert_allclose(x_hat, image, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_with_a_value_that_is_not_finite_is_refused(kind, channels, value, noisy_edge):
    seen = noisy_edge(20, 20, 25, channels)
    seen.image[3, 4, 0] = value
    with pytest.raises(ValueError, match=f"1 of the image's {400 * channels} values are NaN or infinite"):
        prepared(kind, channels).restore(seen)
