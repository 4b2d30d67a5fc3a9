"""A function is a restorer: its signature says what it is given, and which tasks it is for."""

import numpy as np
import pytest

from bench.errors import RestorerError
from bench.plugins.functions import NAMES, OF_ANY, TOLD, restorer_of, tasks_of
from bench.plugins.registry import choose, load_class, made
from bench.protocol import get_protocol
from bench.task import Observation
from bench.tasks import TASKS, Setting

IMAGE = np.random.default_rng(0).random((24, 20, 3), np.float32)


def observed(task, channels=None):
    protocol = get_protocol("standard-v1")
    setting = Setting(task, TASKS[task].levels[0], channels or TASKS[task].channels or 3)
    clean = IMAGE if setting.channels == 3 else IMAGE[..., :1]
    return protocol.degrade(clean, setting, protocol.seed(setting, "x", "y", 0))[1]


@pytest.mark.parametrize("task", TOLD)
def test_what_a_function_for_a_task_is_given_is_what_the_task_tells(task):
    seen = observed(task)
    there = {name for name in NAMES if seen.known.get(name, getattr(seen, name, None)) is not None}
    assert TOLD[task].any_of | TOLD[task].others <= there


@pytest.mark.parametrize("task", sorted(OF_ANY))
def test_what_needs_to_be_told_nothing_keeps_its_size(task):
    seen = observed(task)
    assert seen.restored_shape == seen.image.shape


@pytest.mark.parametrize(
    ("names", "tasks"),
    [
        ([], OF_ANY),
        (["sigma"], {"denoise", "denoise8"}),
        (["scale"], {"superres"}),
        (["kernel", "sigma"], {"deblur"}),
        (["mask"], {"inpaint", "demosaick"}),
        (["mask", "pattern"], {"demosaick"}),
        (["scale", "sigma"], set()),
    ],
)
def test_tasks_follow_from_what_is_told(names, tasks):
    assert tasks_of(names) == tasks


SOURCE = '''
def plain(image, sigma, weight, amount=2):
    """Scales.

    At length."""
    return image * (sigma / 255 * amount * weight)

def whole(seen):
    return seen.image

def maybe(image, sigma=None):
    return image

def open_(image, sigma, **more): ...

def nothing(): ...

def odd(image, scale, sigma): ...

class Other: ...
def Other(image, sigma): return image
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "functions_under_test.py"
    path.write_text(SOURCE)
    return path


def test_a_function_in_a_file_is_described_without_being_run(file):
    info = choose(f"{file}:plain(weight=1)").info
    assert (info.name, info.summary, info.tasks) == ("plain", "Scales.", {"denoise", "denoise8"})
    assert dict(info.takes.names) == {"weight": "", "amount": "2"}
    assert choose(f"{file}:whole").info.tasks == {*TASKS}
    assert choose(f"{file}:maybe").info.tasks == {"denoise", "denoise8", *OF_ANY}
    assert choose(f"{file}:Other").info.tasks == {"denoise", "denoise8"}
    assert not choose(f"{file}:open_(any=1)").info.takes.is_known


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("plain", r"plain needs weight: ask for it as plain\(weight=…\)"),
        ("plain(weight=1, amont=2)", "plain has no parameter 'amont'. Did you mean 'amount'"),
        ("nothing", r"nothing takes nothing; expected nothing\(image, sigma\)"),
        ("odd", "odd takes scale and sigma, which no task tells together"),
        ("plian", "No class or function named 'plian'. Did you mean 'plain'"),
    ],
)
def test_what_will_not_do_is_said_before_anything_runs(file, asked, says):
    with pytest.raises(RestorerError, match=says):
        choose(f"{file}:{asked}")


def test_it_is_called_with_what_it_asks_for(file):
    spec = choose(f"{file}:plain(weight=0.5)")
    restorer = made(load_class(spec.info.target), "", None, spec.parameters)
    seen = observed("denoise")
    x_hat = restorer.restore(seen)
    assert x_hat.dtype == np.float32
    np.testing.assert_allclose(x_hat, seen.image * (15 / 255), rtol=1e-6)
    with pytest.raises(RestorerError, match="plain has no parameter 'x'"):
        made(type(restorer), "", None, {"weight": 1, "x": 2})


def answer(function, seen):
    return made(restorer_of(function, "f"), "", None, {}).restore(seen)


def test_what_it_may_do_without_is_left_out_where_it_is_not_told():
    assert answer(lambda image, sigma=7: image * 0 + sigma, observed("denoise-blind")).max() == 7
    assert answer(lambda image, sigma=7: image * 0 + sigma, observed("denoise")).max() == 15


def test_the_whole_observation_goes_to_seen():
    assert isinstance(answer(lambda seen: seen, observed("denoise")), Observation)


def test_a_lone_channel_may_be_dropped_and_doubles_are_made_single():
    x_hat = answer(lambda image: image[..., 0].astype(float), observed("denoise", 1))
    assert (x_hat.shape, x_hat.dtype) == ((24, 20, 1), np.float32)
    assert answer(lambda image: image > 0, observed("denoise")).dtype == bool  # left to be refused


def test_a_signature_that_cannot_be_read_is_said():
    with pytest.raises(RestorerError, match="What f takes cannot be read"):
        restorer_of(min, "f")
