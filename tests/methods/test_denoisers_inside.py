"""`vst:` and `pnp:`: what the denoiser inside is shown, and that the data's part is the minimum that it says."""

from __future__ import annotations

import numpy as np
import pytest
from bench.data.blur import blurred, gaussian
from bench.data.degrade import bicubic
from bench.data.holes import pierced
from bench.data.noise import poisson
from bench.methods.anscombe import Anscombe
from bench.methods.pnp import PROBLEMS, PlugAndPlay, _turned
from bench.methods.vst import VST

from bench.restorer import Denoiser, Observation, RestorerError, Setting

CLEAN = np.random.default_rng(0).random((12, 9, 1), dtype=np.float32)
MASK = np.random.default_rng(1).random((12, 9, 1)) > 0.4
KERNEL = gaussian(0.8)[9:14, 10:15]  # not in the middle, and not symmetric


class Fake(Denoiser):
    """Answers with `answer(image)` and keeps what it was shown."""

    def __init__(self, level=None, answer=lambda image: image):
        self.level, self.answer, self.calls = level, answer, []

    def __call__(self, image, sigma):
        self.calls.append((image, sigma))
        return self.answer(image)

    def nearest(self, sigma):
        return self.level or sigma

    def n_params(self):
        return 0

    def macs(self, do):
        return None


def blur(x):
    return blurred(x, KERNEL)


def holes(x):
    return pierced(x, MASK)


def reduction(x):
    return bicubic(x, 1 / 3)


A = {"deblur": blur, "inpaint": holes, "superres": reduction}


def seen_of(task, image):
    told = {"deblur": {"kernel": KERNEL, "sigma": 2.0}, "inpaint": {"mask": MASK}, "superres": {"scale": 3}}[task]
    return Observation(image, task, known=told)


@pytest.mark.parametrize("task", A)
@pytest.mark.parametrize("alpha", [1e-3, 0.5])
def test_the_datas_part_is_the_minimum(task, alpha):
    """The gradient A'(A x - y) + alpha (x - z) is 0; A' from A of every unit picture."""
    forward, y = A[task], A[task](CLEAN)
    units = np.eye(CLEAN.size, dtype=np.float32).reshape(-1, *CLEAN.shape)
    matrix = np.array([forward(unit).ravel() for unit in units], np.float64).T
    z = np.random.default_rng(2).random(CLEAN.shape)
    x = PROBLEMS[task](seen_of(task, y)).solve(z, alpha)
    gradient = matrix.T @ (matrix @ x.ravel() - y.ravel()) + alpha * (x - z).ravel()
    assert np.abs(gradient).max() < 1e-5
    assert np.abs(x - z).max() > 0.01


@pytest.mark.parametrize("task", A)
def test_the_clean_picture_is_where_it_stays(task):
    problem = PROBLEMS[task](seen_of(task, A[task](CLEAN)))
    np.testing.assert_allclose(problem.solve(CLEAN.astype(np.float64), 0.1), CLEAN, atol=1e-6)


@pytest.mark.parametrize("k", range(8))
def test_pictures_come_back_as_they_were_turned(k):
    fake = Fake()
    np.testing.assert_array_equal(_turned(fake, CLEAN.astype(np.float64), 5, k), CLEAN)
    turned = fake.calls[0][0]
    assert turned.flags["C_CONTIGUOUS"]
    assert turned.dtype == np.float32


def test_eight_turns_are_eight_views():
    fake = Fake()
    for k in range(8):
        _turned(fake, CLEAN.astype(np.float64), 5, k)
    assert len({(image.shape, image.tobytes()) for image, _ in fake.calls}) == 8


def test_levels_fall_to_that_of_the_noise():
    pnp = PlugAndPlay(steps=5, sigma_1=40)
    pnp.denoiser = Fake()
    pnp.restore(seen_of("deblur", blur(CLEAN)))
    levels = [sigma for _, sigma in pnp.denoiser.calls]
    assert (len(levels), levels[0], levels[-1]) == (5, 40, pytest.approx(2))
    assert np.ptp(np.diff(np.log(levels))) < 1e-9


def test_levels_never_rise():
    pnp = PlugAndPlay(steps=3)
    pnp.denoiser = Fake()
    pnp.restore(Observation(blur(CLEAN), "deblur", known={"kernel": KERNEL, "sigma": 60.0}))
    assert [sigma for _, sigma in pnp.denoiser.calls] == pytest.approx([60, 60, 60])


@pytest.mark.parametrize("parameters", [{"steps": 1}, {"steps": -1}, {"sigma_1": 0}, {"weight": -1.0}])
def test_parameters_that_will_not_do_are_named(parameters):
    with pytest.raises(RestorerError, match=next(iter(parameters))):
        PlugAndPlay(**parameters)


def test_holes_begin_with_what_is_around_them():
    flat = np.full((30, 30, 3), 0.6, np.float32)
    mask = np.zeros((30, 30, 1), bool)
    mask[::7, ::7] = True
    start = PROBLEMS["inpaint"](Observation(pierced(flat, mask), "inpaint", known={"mask": mask})).start()
    np.testing.assert_allclose(start, 0.6, atol=1e-6)


@pytest.mark.parametrize("task", A)
@pytest.mark.parametrize("channels", [1, 3])
def test_colours_keep_their_places(task, channels):
    picture = np.concatenate([CLEAN * (1 - 0.3 * c) for c in range(channels)], axis=2)
    pnp = PlugAndPlay(steps=2)
    pnp.denoiser = Fake()
    seen = seen_of(task, A[task](picture))
    alone = [pnp.restore(seen_of(task, A[task](picture[..., [c]]))) for c in range(channels)]
    np.testing.assert_allclose(pnp.restore(seen), np.concatenate(alone, axis=2), atol=1e-5)


@pytest.mark.parametrize("level", [None, 25])
def test_the_denoiser_is_shown_noise_of_the_level_that_it_is_told(level):
    flat = np.full((200, 200, 1), 0.5, np.float32)
    y = poisson(flat, 30.0, np.random.RandomState(0))
    vst = VST()
    vst.denoiser = Fake(level, answer=lambda image: np.full_like(image, image.mean()))
    vst.prepare(Setting("poisson", 30.0, 1), "cpu")
    x_hat = vst.restore(Observation(y, "poisson", known={"peak": 30.0, "a": 1 / 30, "b": 0.0}))
    image, sigma = vst.denoiser.calls[0]
    assert 255 * image.std() == pytest.approx(sigma, rel=0.02)
    assert sigma == level or level is None
    assert x_hat.mean() == pytest.approx(y.mean(), abs=1e-3)


@pytest.mark.parametrize("level", [None, 51])
def test_noise_without_a_poisson_part_needs_no_transform(level):
    vst = VST()
    vst.denoiser = Fake(level)
    vst.prepare(Setting("poisson-gaussian", "0/0.01", 1), "cpu")
    vst.restore(Observation(CLEAN, "poisson-gaussian", known={"a": 0.0, "b": 0.01}))
    [(image, sigma)] = vst.denoiser.calls
    np.testing.assert_allclose(image, CLEAN * (2 if level else 1), rtol=1e-6)
    assert sigma == pytest.approx(level or 25.5)


def test_the_transform_of_one_noise_is_made_once(monkeypatch):
    made = []
    monkeypatch.setattr("bench.methods.vst.Anscombe", lambda a, b: made.append((a, b)) or Anscombe(a, b))
    vst = VST()
    vst.denoiser = Fake()
    vst.prepare(Setting("poisson", 30.0, 1), "cpu")
    for _ in range(2):
        vst.restore(Observation(CLEAN, "poisson", known={"peak": 30.0, "a": 1 / 30, "b": 0.0}))
    assert made == [(1 / 30, 0.0)]
