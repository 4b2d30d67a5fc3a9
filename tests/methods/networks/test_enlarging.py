"""Training crops of super-resolution are enlarged as images are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench.methods.networks.enlarging import enlarged

from bench.restorer import Observation


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_crops_are_enlarged_as_images_are(scale):
    images = np.random.default_rng(0).random((2, 5, 7, 1), dtype=np.float32)
    expected = np.stack([Observation(image, "superres", scale=scale).upscaled() for image in images])
    with torch.autocast("cpu", torch.bfloat16):
        got = enlarged(torch.from_numpy(images).permute(0, 3, 1, 2), scale)
    np.testing.assert_allclose(got.permute(0, 2, 3, 1), expected, atol=1e-6)
