"""Answers that may stand, and those of which something is to be said."""

import numpy as np
import pytest
from skimage import data

from bench.protocol import get_protocol
from bench.runner.answer import remark_on
from bench.task import Observation
from bench.tasks import TASKS, Setting

PICTURES = {
    "camera": data.camera()[100:228, 100:228, None] / 255,
    "colour": data.astronaut()[100:228, 100:228] / 255,
    "dark": 0.05 * data.camera()[100:228, 100:228, None] / 255,
    "black": np.zeros((40, 50, 1)),
    "bright": 1 - 0.02 * data.camera()[100:228, 100:228, None] / 255,
    "white": np.ones((40, 50, 3)),
    "night": np.where(np.random.RandomState(0).rand(64, 64, 1) > 0.97, 0.9, 0.0),
    "tiny": np.full((1, 1, 1), 0.9),
}


def seen_of(name, sigma=100.0):
    protocol, clean = get_protocol("standard-v1"), PICTURES[name].astype(np.float32)
    setting = Setting("denoise", sigma, clean.shape[2])
    return protocol.degrade(clean, setting, protocol.seed(setting, "pictures", name, 0))


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("sigma", [0.0, 25.0, 100.0, 255.0])
def test_of_a_right_answer_nothing_is_said_nor_of_the_noisy_picture_itself(name, sigma):
    clean, seen = seen_of(name, sigma)
    assert remark_on(clean, seen) == remark_on(seen.image, seen) == ""


@pytest.mark.parametrize("name", [name for name in PICTURES if name != "black"])
@pytest.mark.parametrize("sigma", [0.0, 25.0, 100.0, 255.0])
def test_an_answer_on_the_scale_of_255_is_noticed(name, sigma):
    clean, seen = seen_of(name, sigma)
    assert remark_on(255 * clean, seen) == "its answer looks like 0-255, expected 0-1"
    assert remark_on(np.rint(255 * clean).astype(np.float32), seen)


@pytest.mark.parametrize("task", ["deblock", "demosaick", "superres"])
def test_whatever_the_task(task):
    protocol, clean = get_protocol("standard-v1"), PICTURES["colour"].astype(np.float32)
    setting = Setting(task, TASKS[task].levels[0], TASKS[task].channels or 3)
    reference, seen = protocol.degrade(clean, setting, (0,))
    assert remark_on(reference, seen) == ""
    assert remark_on(255 * reference, seen) != ""


def test_noise_that_makes_a_tiny_picture_bright_is_answered_on_its_own_scale():
    seen = Observation(np.full((1, 1, 1), 3, np.float32), "denoise", sigma=255)
    assert remark_on(seen.image, seen) == ""
    assert remark_on(255 * seen.image, seen) != ""


def test_a_few_values_that_went_astray_are_not_another_scale():
    clean, seen = seen_of("camera")
    for astray in (1e30, -1e30):
        x_hat = clean.copy()
        x_hat[3, 4] = astray
        assert remark_on(x_hat, seen) == ""
