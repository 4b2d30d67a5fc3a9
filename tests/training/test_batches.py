"""Batches drawn on a device: crops of the training images, noise of the right size, a function of the step alone."""

import numpy as np
import pytest

from bench.plugins.registry import choose
from bench.tasks import Setting
from bench.training.crops import Crops
from bench.training.recipe import find_recipe
from tests.conftest import PLUGINS

torch = pytest.importorskip("torch")

from dataclasses import replace  # noqa: E402

from bench.training.batches import Drawn  # noqa: E402

NET = f"{PLUGINS}/net.py:Affine"


@pytest.fixture
def crops(tmp_path):
    """Of four pictures of different shapes in which every pixel has a value of its own; the last is held out."""
    from PIL import Image

    for n, (height, width) in enumerate([(12, 14), (14, 10), (9, 9), (12, 12)]):
        values = 60 * n + np.arange(height * width) % 60
        Image.fromarray(values.reshape(height, width).astype(np.uint8)).save(tmp_path / f"{n}.png")
    recipe = replace(
        find_recipe(choose(NET).info, None), data=str(tmp_path), held_out=1, crop=8, batch=200, levels=(10.0, 50.0)
    )
    return Crops(recipe, Setting("denoise", 50.0, 1))


@pytest.fixture
def mixed(crops):
    """The same pictures for three tasks, as DnCNN-3 learns them."""
    recipe = replace(crops.recipe, batch=2, also={"deblock": (10.0, 40.0), "superres": (2.0, 4.0)})
    return Crops(recipe, Setting("denoise", 50.0, 1))


def squares(image):
    """All 8x8 squares of an image (H, W), in all eight positions."""
    H, W = image.shape
    for i in range(H - 7):
        for j in range(W - 7):
            square = image[i : i + 8, j : j + 8]
            for k in range(4):
                yield np.rot90(square, k).tobytes()
                yield np.rot90(square.T, k).tobytes()


def test_every_crop_is_one_of_a_training_image_and_all_kinds_come_up(crops):
    known = [set(squares(image[:, :, 0])) for image in crops.training]
    drawn = [x[0].numpy().tobytes() for step in range(3) for x in Drawn(crops, torch.device("cpu")).batch(step).x]
    from_each = [sum(square in squares_of for square in drawn) for squares_of in known]
    assert sum(from_each) == len(drawn)
    assert min(from_each) > len(drawn) / 5
    assert len(set(drawn) & known[2]) > 20  # of the 32 that the smallest picture has


def test_the_noise_is_that_of_the_level_and_levels_take_turns(crops):
    batches = [Drawn(crops, torch.device("cpu")).batch(step) for step in range(12)]
    assert {batch.level for batch in batches} == {10.0, 50.0}
    for batch in batches:
        noise = 255 * (batch.y - batch.x)
        assert float(noise.std()) == pytest.approx(batch.level, rel=0.03)
        assert float(noise.mean()) == pytest.approx(0, abs=0.05 * batch.level)
        assert batch.seen.sigma == batch.level


def test_a_batch_is_a_function_of_the_step(crops):
    first, again = (Drawn(crops, torch.device("cpu")) for _ in range(2))
    first.batch(3)
    for step in (4, 5):
        a, b = first.batch(step), again.batch(step)
        assert torch.equal(a.y, b.y)
        assert torch.equal(a.x, b.x)
    assert not torch.equal(first.batch(4).x, first.batch(5).x)


def test_each_step_is_of_one_task_at_one_of_its_levels(mixed):
    drawn = [mixed.batch(step) for step in range(60)]
    kinds = {(batch.seen.task, batch.level) for batch in drawn}
    assert kinds == {(task, level) for task, levels in mixed.levels.items() for level in levels}
    counts = [sum(batch.seen.task == task for batch in drawn) for task in mixed.levels]
    assert min(counts) > 10  # tasks take turns, however many levels each has
    for batch in drawn:
        small = batch.seen.scale or 1
        assert batch.x.shape == (2, 8, 8, 1)
        assert batch.y.shape == (2, 8 // small, 8 // small, 1)
        assert batch.level in (batch.seen.sigma, batch.seen.quality, batch.seen.scale)


def test_each_task_is_validated_on_every_picture_held_out(mixed):
    batches = mixed.validation()
    assert [batch.seen.task for batch in batches] == ["denoise", "deblock", "superres"]
    assert all(np.array_equal(batch.x, batches[0].x) for batch in batches)


def test_a_task_beside_leaves_the_crops_of_one_task_as_they_were(crops, mixed):
    alone = replace(crops.recipe, batch=2)
    denoised = Crops(alone, crops.setting).validation()
    assert np.array_equal(denoised[0].y, mixed.validation()[0].y)


def test_what_is_not_one_task_of_noise_is_not_drawn_on_a_device(crops, mixed, monkeypatch):
    from bench.training import batches

    class OnDevice:
        def __init__(self, crops, device):
            pass

        def batch(self, step):
            return "drawn"

    monkeypatch.setattr(batches, "Drawn", OnDevice)
    monkeypatch.setattr(batches, "_from_threads", lambda crops, device, step: iter(["from threads"]))
    both = Crops(replace(crops.recipe, also={"denoise-blind": (5.0,)}), crops.setting)
    made = [next(batches.batches(some, torch.device("cuda"), 0)) for some in (crops, mixed, both)]
    assert made == ["drawn", "from threads", "from threads"]
