"""The tasks beside the papers' five: their levels, what is seen, what is told, and which restorers may be asked."""

import numpy as np
import pytest
from bench.data.blur import blurred, gaussian
from bench.data.degrade import awgn
from bench.data.errors import DataError
from bench.data.noise import poisson_gaussian

from bench.errors import BenchError
from bench.protocol import get_protocol, stream_of
from bench.task import parse_levels
from bench.tasks import TASKS, Setting

NEW = ("denoise8", "poisson", "poisson-gaussian", "salt-pepper", "speckle", "inpaint", "deblur")
CLEAN = np.random.RandomState(0).uniform(0.1, 0.9, (24, 28, 3)).astype(np.float32)


def shown(task, level, seed=(1, 2, 3)):
    return get_protocol("standard-v1").degrade(CLEAN, Setting(task, level, 3), seed)


@pytest.mark.parametrize("task", NEW)
def test_a_picture_keeps_its_size_and_is_compared_with_itself(task):
    for level in TASKS[task].levels:
        clean, seen = shown(task, level)
        assert np.array_equal(clean, CLEAN)
        assert seen.image.shape == CLEAN.shape
        assert not np.array_equal(seen.image, CLEAN)


@pytest.mark.parametrize("task", NEW)
def test_the_same_seed_shows_the_same_picture_and_another_seed_another(task):
    level = TASKS[task].levels[0]
    assert np.array_equal(shown(task, level)[1].image, shown(task, level)[1].image)
    assert not np.array_equal(shown(task, level)[1].image, shown(task, level, seed=(4, 5))[1].image)


@pytest.mark.parametrize(
    ("task", "level", "known"),
    [
        ("denoise8", 25.0, {}),
        ("poisson", 4.0, {"peak": 4, "a": 0.25, "b": 0}),
        ("poisson-gaussian", "0.1/0.01", {"a": 0.1, "b": 0.01}),
        ("salt-pepper", 0.1, {"share": 0.1}),
        ("speckle", 4.0, {"looks": 4}),
    ],
)
def test_a_restorer_is_told_the_level(task, level, known):
    assert shown(task, level)[1].known == known


def test_of_8_bits_a_restorer_is_told_the_sigma_before_clipping():
    assert shown("denoise8", 25.0)[1].sigma == 25


def test_of_holes_a_restorer_is_told_the_mask():
    _, seen = shown("inpaint", 0.5)
    assert seen.mask.shape == (24, 28, 1)
    assert np.array_equal(seen.image, np.where(seen.mask, CLEAN, 0))


def test_of_a_blur_a_restorer_is_told_kernel_and_noise():
    _, seen = shown("deblur", "gaussian-1.6/2")
    assert seen.sigma == 2
    assert np.array_equal(seen.known["kernel"], gaussian(1.6))
    assert np.array_equal(seen.image, awgn(blurred(CLEAN, gaussian(1.6)), 2, stream_of((1, 2, 3))))


def test_the_two_numbers_of_poisson_gaussian_are_a_and_b():
    expected = poisson_gaussian(CLEAN, 0.1, 0.01, stream_of((1, 2, 3)))
    assert np.array_equal(shown("poisson-gaussian", "0.1/0.01")[1].image, expected)


@pytest.mark.parametrize("task", NEW)
def test_blind_restorers_may_be_asked(task):
    assert "denoise-blind" in TASKS[task].like


@pytest.mark.parametrize(
    ("task", "text", "level"),
    [
        ("poisson", "0.5", 0.5),
        ("poisson-gaussian", " 0.010/4e-4 ", "0.01/0.0004"),
        ("poisson-gaussian", "0/0", "0/0"),
        ("deblur", "uniform-9/0", "uniform-9/0"),
        ("deblur", "gaussian-1.6/2.0", "gaussian-1.6/2"),
    ],
)
def test_levels_are_read(task, text, level):
    assert parse_levels(TASKS[task], text) == (level,)


@pytest.mark.parametrize(
    ("task", "text", "words"),
    [
        ("denoise8", "-1", "--sigma -1: denoise8 takes a noise standard deviation from 0 to 255"),
        ("poisson", "-4", "--level -4: poisson takes a peak above 0, at most 1e+15: how many photons white is."),
        ("poisson", "0", "--level 0: poisson takes a peak above 0, at most 1e+15: how many photons white is."),
        ("poisson", "1e19", "--level 1e19: poisson takes a peak above 0, at most 1e+15: how many photons white is."),
        ("poisson-gaussian", "1e-20/0", "--level 1e-20/0: poisson-gaussian takes a gain and a variance A/B"),
        ("inpaint", "~nobody-of-ours/m.png", "~nobody-of-ours/m.png: there is no user of that name."),
        ("deblur", "~nobody-of-ours/k.npy/2", "~nobody-of-ours/k.npy: there is no user of that name."),
        ("poisson-gaussian", "0.1", "--level 0.1: poisson-gaussian takes a gain and a variance A/B, both 0 or more"),
        ("poisson-gaussian", "-1/0", "--level -1/0: poisson-gaussian takes a gain and a variance A/B"),
        ("salt-pepper", "1.1", "--level 1.1: salt-pepper takes a share of lost values from 0 to 1."),
        ("speckle", "0", "--level 0: speckle takes a number of looks above 0."),
        ("inpaint", "2", "--level 2: inpaint takes a share of missing pixels from 0 to 1, or the file of a mask"),
        ("inpaint", "./none.png", "none.png cannot be read"),
        (
            "deblur",
            "gaussian-1.6",
            "--level gaussian-1.6: deblur takes a kernel and the noise after it, KERNEL/SIGMA",
        ),
        ("deblur", "gauss-1.6/2", "No kernel named 'gauss-1.6'. Did you mean 'gaussian'? Known: "),
        ("deblur", "gaussian-0/2", "A Gaussian blur of 0.0 pixels"),
        ("deblur", "gaussian-1.6/-2", "--level gaussian-1.6/-2: deblur takes"),
        ("deblur", "./none.npy/2", "none.npy cannot be read: No such file or directory."),
    ],
)
def test_a_level_that_will_not_do_is_one_line(task, text, words):
    with pytest.raises(BenchError) as raised:
        parse_levels(TASKS[task], text)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_kernel_and_a_mask_in_files_are_part_of_what_the_task_is(tmp_path):
    kernel, mask = tmp_path / "k.npy", tmp_path / "m.npy"
    np.save(kernel, np.eye(3))
    np.save(mask, np.arange(24 * 28).reshape(24, 28) % 2 == 0)
    [blur] = parse_levels(TASKS["deblur"], f"{kernel}/2")
    [holes] = parse_levels(TASKS["inpaint"], f"{mask}")
    assert shown("deblur", blur)[1].known["kernel"].tolist() == (np.eye(3) / 3).tolist()
    assert shown("inpaint", holes)[1].mask[0, :4, 0].tolist() == [True, False, True, False]
    assert TASKS["deblur"].files(blur) == (kernel,)
    assert TASKS["inpaint"].files(holes) == (mask,)
    assert TASKS["deblur"].files("gaussian-1.6/2") == TASKS["inpaint"].files(0.5) == ()


def test_a_kernel_that_sums_to_zero_is_one_line(tmp_path):
    np.save(tmp_path / "k.npy", np.array([[1.0, -1.0]]))
    with pytest.raises(DataError, match=r"k\.npy sums to 0: a blur that keeps brightness has a sum above 0\.$"):
        parse_levels(TASKS["deblur"], f"{tmp_path}/k.npy/2")


def test_a_mask_of_another_size_is_one_line(tmp_path):
    np.save(tmp_path / "m.npy", np.eye(5))
    [level] = parse_levels(TASKS["inpaint"], f"{tmp_path}/m.npy")
    with pytest.raises(DataError, match=r"^The mask is 5x5 and the picture 28x24: they must be of one size\.$"):
        shown("inpaint", level)
