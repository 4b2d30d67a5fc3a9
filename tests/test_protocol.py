"""Tasks and protocols: what is degraded how, and that the noise depends on nothing but what it is named after."""

import numpy as np
import pytest
from bench.data import BAYER_PATTERNS
from bench.data.degrade import fingerprint
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import DataError, RequestError
from bench.level import format_level
from bench.protocol import PROTOCOLS, get_protocol
from bench.task import parse_levels
from bench.tasks import TASKS, Setting, get_task

STANDARD = get_protocol("standard-v1")
DENOISE = Setting("denoise", 25.0, 1)


def flat(value=0.5, shape=(40, 50, 1)):
    return np.full(shape, value, np.float32)


def observe(setting=DENOISE, protocol=STANDARD, dataset="set12", image="01.png", repeat=0, clean=None):
    clean = flat() if clean is None else clean
    return protocol.degrade(clean, setting, protocol.seed(setting, dataset, image, repeat))[1]


def test_the_same_cell_gives_the_same_bits_on_every_machine():
    # the digest was printed by this code once; it changes only with a new version of the protocol
    digest = "afadd04826cd348bcde8d732b5b0a7b8e21af0608cc97bdd47b52e0281a0662d"
    assert fingerprint(observe().image) == digest


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": "bsd68"},
        {"image": "02.png"},
        {"repeat": 1},
        {"setting": Setting("denoise", 25.5, 1)},
        {"setting": Setting("denoise-blind", 25.0, 1)},
    ],
    ids=str,
)
def test_noise_changes_with_each_thing_it_is_named_after(other):
    assert not np.array_equal(observe(**other).image, observe().image)


def test_noise_does_not_depend_on_what_was_drawn_before():
    first = observe().image
    np.random.RandomState(3).normal(size=100)
    observe(image="02.png")
    assert np.array_equal(observe().image, first)


def test_noise_is_white_gaussian_of_the_given_sigma_and_not_clipped():
    noise = 255 * (observe(clean=flat(0.99, (200, 200, 1))).image - 0.99)
    assert noise.std() == pytest.approx(25, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=0.5)
    assert observe(clean=flat(0.99, (200, 200, 1))).image.max() > 1.1


def test_kair_draws_the_same_noise_for_every_image():
    kair = get_protocol("kair-v1")
    first, second = observe(protocol=kair), observe(protocol=kair, image="02.png", dataset="bsd68")
    assert np.array_equal(first.image, second.image)
    expected = flat() + np.random.RandomState(0).normal(0, 25 / 255, (40, 50, 1))
    assert np.allclose(first.image, expected, atol=1e-6)


@pytest.mark.parametrize("repeat", [1, 2])
def test_kair_draws_other_noise_for_each_repeat(repeat):
    seen = observe(protocol=get_protocol("kair-v1"), repeat=repeat)
    expected = flat() + np.random.RandomState(repeat).normal(0, 25 / 255, (40, 50, 1))
    assert np.allclose(seen.image, expected, atol=1e-6)


def test_a_blind_observation_does_not_carry_sigma():
    assert observe().sigma == 25
    assert observe(Setting("denoise-blind", 25.0, 1)).sigma is None


def test_rounding_to_8_bits_is_what_the_protocols_differ_in():
    clean = flat(100 / 255)
    x_hat = flat(100.4 / 255)
    assert STANDARD.score(x_hat, clean, DENOISE).psnr_db == float("inf")
    assert get_protocol("groupsc-v1").score(x_hat, clean, DENOISE).psnr_db == pytest.approx(
        20 * np.log10(255 / 0.4), abs=1e-3
    )


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_groupsc_rounds_the_answer_of_no_task(task):
    setting = Setting(task.name, task.levels[0], task.channels or 1)
    clean, x_hat = flat(100 / 255), flat(100.4 / 255)
    exact = pytest.approx(20 * np.log10(255 / 0.4), abs=1e-3)
    assert get_protocol("groupsc-v1").score(x_hat, clean, setting).psnr_db == exact
    assert STANDARD.score(x_hat, clean, setting).psnr_db == float("inf")


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda protocol: protocol.name)
@pytest.mark.parametrize(("outside", "nearest"), [(1.7, 1.0), (-0.3, 0.0)])
def test_the_answer_is_clipped_to_0_and_1_before_scoring(protocol, outside, nearest):
    assert protocol.score(flat(outside), flat(nearest), DENOISE).psnr_db == float("inf")


def test_dncnn_makes_the_small_picture_in_8_bit_rgb_and_rounds_no_luma():
    white = np.ones((24, 24, 3), np.float32)
    white[:, 12:] = np.float32([51, 230, 26]) / 255  # beside an edge bicubic overshoots, which 8 bits clip
    setting = Setting("superres", 2.0, 1)
    clean, seen = get_protocol("dncnn-v1").degrade(white, setting, (0,))
    assert STANDARD.degrade(white, setting, (0,))[1].image.max() > seen.image.max() == pytest.approx(235 / 255)
    green = 16 + (65.481 * 51 + 128.553 * 230 + 24.966 * 26) / 255
    assert 255 * clean[0, -1, 0] == pytest.approx(green, abs=1e-4)
    assert 255 * seen.image[0, -1, 0] == pytest.approx(green, abs=1e-4)


def test_dncnn_keeps_gray_pictures_in_8_bits_when_they_are_enlarged():
    setting, edge = Setting("superres", 2.0, 1), flat(0, (24, 24, 1))
    edge[:, 12:] = 1
    _, seen = get_protocol("dncnn-v1").degrade(edge, setting, (0,))
    grey = 255 * seen.upscaled()
    assert np.abs(grey - np.rint(grey)).max() < 1e-4
    assert (grey.min(), grey.max()) == (0, 255)
    _, standard = STANDARD.degrade(edge, setting, (0,))
    assert standard.upscaled().max() > 1


def test_dncnn_rounds_answers_of_every_task_but_superres():
    protocol = get_protocol("dncnn-v1")
    clean, x_hat = flat(100 / 255), flat(100.4 / 255)
    assert protocol.score(x_hat, clean, DENOISE).psnr_db == float("inf")
    assert protocol.score(x_hat, clean, Setting("superres", 2.0, 1)).psnr_db < 60


def test_superres_leaves_out_a_border_of_the_scale():
    clean = flat(0.5, (24, 24, 1))
    x_hat = clean.copy()
    x_hat[:3] = x_hat[-3:] = x_hat[:, :3] = x_hat[:, -3:] = 0
    assert STANDARD.score(x_hat, clean, Setting("superres", 3.0, 1)).psnr_db == float("inf")
    assert STANDARD.score(x_hat, clean, Setting("superres", 2.0, 1)).psnr_db < 40


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("height", range(1, 15))
@pytest.mark.parametrize("scale", [2.0, 3.0, 4.0])
def test_a_picture_of_which_the_border_leaves_nothing_is_known_and_not_scored(protocol, height, scale):
    setting = Setting("superres", scale, 1)
    size = protocol.scored_size(height, 40, setting)
    if height < scale:
        assert size[0] == 0  # there is no small picture of it
        return
    clean, _ = protocol.degrade(flat(0.5, (height, 40, 1)), setting, (0,))
    if all(size):
        assert protocol.score(clean, clean, setting).psnr_db == float("inf")
        assert size[0] == len(clean) - 2 * scale
    else:
        with pytest.raises(DataError, match="no pixel is left to compare"):
            protocol.score(clean, clean, setting)


def test_other_tasks_score_every_pixel():
    for task in ("denoise", "deblock", "demosaick"):
        assert STANDARD.scored_size(1, 3, Setting(task, 10.0, 1)) == (1, 3)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_task_shows_an_image_from_which_the_clean_one_s_shape_follows(task):
    level = task.levels[-1]
    image = np.random.RandomState(0).uniform(size=(26, 29, 3)).astype(np.float32)
    clean, seen = STANDARD.degrade(image, Setting(task.name, level, task.channels or 3), (1, 2))
    assert seen.task == task.name
    assert seen.image.dtype == clean.dtype == np.float32
    assert seen.restored_shape == clean.shape


def test_a_mosaic_shows_one_value_a_pixel_and_says_which_colour():
    seen = observe(Setting("demosaick", "GBRG", 3), clean=np.dstack([flat(0.1), flat(0.5), flat(0.9)]))
    assert seen.image[:2, :2, 0].ravel() == pytest.approx([0.5, 0.9, 0.1, 0.5])
    assert seen.mask.sum(axis=2).max() == 1
    assert seen.pattern == "GBRG"


@pytest.mark.parametrize(
    ("task", "text", "levels"),
    [
        ("denoise", "15, 25,15", (15.0, 25.0)),
        ("denoise", "2.5", (2.5,)),
        ("deblock", "10", (10.0,)),
        ("superres", "4", (4.0,)),
        ("demosaick", "rggb,BGGR", ("RGGB", "BGGR")),
    ],
)
def test_levels_are_read(task, text, levels):
    assert parse_levels(get_task(task), text) == levels


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("denoise", "inf"),
        ("denoise", ""),
        ("deblock", "0"),
        ("deblock", "101"),
        ("superres", "5"),
        ("demosaick", "RGB"),
    ],
)
def test_levels_out_of_range_are_refused_with_what_was_expected(task, text):
    task = get_task(task)
    with pytest.raises(RequestError, match=f"--{task.level.name} {text}: {task.name} takes an? "):
        parse_levels(task, text)


@given(sigma=st.decimals(0, 255, places=3))
def test_a_level_is_read_back_as_it_is_written(sigma):
    level = float(sigma)
    assert parse_levels(get_task("denoise"), format_level(level)) == (level,)


@given(level=st.floats(0, 255))
def test_and_so_is_every_number(level):
    for number in (level, np.float64(level)):
        text = format_level(number)
        assert parse_levels(get_task("denoise"), text) == (level,)
        assert not text.startswith("-")


@pytest.mark.parametrize(
    ("level", "text"),
    [
        (25.0, "25"),
        (np.float32(2.5), "2.5"),
        (25, "25"),
        (-0.0, "0"),
        (0.1 + 0.2, "0.30000000000000004"),
        (25.1234567, "25.1234567"),
        (1e-7, "1e-07"),
        ("RGGB", "RGGB"),
    ],
)
def test_a_level_is_written_as_shortly_as_keeps_it(level, text):
    assert format_level(level) == text


@pytest.mark.parametrize(
    ("task", "known"),
    [
        ("deblock", [float(n) for n in range(1, 101)]),
        ("superres", [2.0, 3.0, 4.0]),
        ("demosaick", list(BAYER_PATTERNS)),
    ],
    ids=["deblock", "superres", "demosaick"],
)
@given(data=st.data())
def test_whole_levels_and_patterns_are_read_back_in_their_order(task, known, data):
    levels = data.draw(st.lists(st.sampled_from(known), min_size=1, unique=True))
    assert parse_levels(get_task(task), ", ".join(map(format_level, levels))) == tuple(levels)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_the_levels_of_every_task_are_read_back(task):
    assert parse_levels(task, ",".join(map(format_level, task.levels))) == task.levels


def test_protocols_are_named_with_their_version():
    assert list(PROTOCOLS) == ["standard-v1", "groupsc-v1", "kair-v1", "dncnn-v1"]
