"""Arrays restored: what a restorer is asked for each task, in gray and in colour, and what becomes of its answer."""

import numpy as np
import pytest
from bench.data.degrade import awgn, bayer, bicubic

import bench
from bench.errors import BenchError
from bench.restoring import arrays
from bench.restoring.arrays import Restoring, as_pictures
from bench.runner.messages import Failure
from bench.runner.worker import Limits
from tests.conftest import PLUGINS
from tests.plugins.simple import box
from tests.runner.here import Here

SIMPLE = PLUGINS / "simple.py"


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(arrays, "RestorerProcess", Here)


def image(channels, height=24, width=30, seed=0):
    return np.random.default_rng(seed).random((height, width, channels), dtype=np.float32)


def restored(name, task="denoise", picture=None, words=None, quality=None, **options):
    with Restoring(f"{SIMPLE}:{name}", task, words or {}, **options) as one:
        return one.restore(picture, quality=quality)


pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize("task", ["poisson", "inpaint", "denoise8", "real", "./photons.py:Photons"])
def test_a_task_that_only_a_run_knows_is_refused(task):
    with pytest.raises(BenchError, match=r"is for `bench run` alone. A picture .* at: denoise, denoise-blind, deb"):
        Restoring("noisy", task)


class TestNoise:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_the_answer_is_the_restorers(self, channels):
        y = image(channels)
        assert np.array_equal(restored("Box", picture=y, words={"sigma": 25}).image, box(y))

    def test_a_restorer_of_gray_is_given_each_channel_and_that_is_said(self):
        y = image(3)
        answer = restored("GrayBox", picture=y, words={"sigma": 25})
        assert np.array_equal(answer.image, box(y))
        assert answer.remarks == (
            "each channel was restored alone, as a gray picture: gray-box is for gray pictures",
        )

    def test_sigma_is_what_was_asked_for(self):
        assert restored("Told", picture=image(1), words={"sigma": "20.5"}).image[0, 0, 0] * 255 == pytest.approx(20.5)

    def test_a_blind_restorer_is_told_nothing(self):
        assert (restored("Told", "denoise-blind", image(1)).image == -1).all()

    def test_the_noise_is_estimated_and_told(self):
        y = awgn(np.full((128, 128, 1), 0.5, np.float32), 20.0, np.random.RandomState(0))
        answer = restored("Told", picture=y, words={"sigma": "auto"})
        assert answer.image[0, 0, 0] * 255 == pytest.approx(20, rel=0.1)
        assert answer.remarks[0].startswith("sigma is estimated at ")

    def test_networks_are_told_the_nearest_level_that_they_have_weights_for(self):
        with Restoring("dncnn@ours", "denoise", {"sigma": "auto"}) as one:
            nearest = one._nearest(arrays.Setting("denoise", 22.3, 1))
        assert nearest.level == 25


class TestJpeg:
    def test_quality_is_the_files_unless_asked_for(self):
        y = image(1)
        assert restored("Told", "deblock", y, quality=30).image[0, 0, 0] * 255 == pytest.approx(30)
        asked = restored("Told", "deblock", y, {"quality": 40}, quality=30)
        assert asked.image[0, 0, 0] * 255 == pytest.approx(40)

    def test_luma_is_restored_and_chroma_kept(self):
        y = image(3)
        x_hat = restored("Box", "deblock", y, quality=30).image
        luma = y @ np.array([0.299, 0.587, 0.114])
        assert np.allclose(x_hat @ np.array([0.299, 0.587, 0.114]), box(luma[..., None])[..., 0], atol=1e-6)
        assert np.allclose(x_hat[..., 0] - x_hat[..., 1], y[..., 0] - y[..., 1], atol=1e-6)


def test_small_pictures_are_enlarged_in_luma_and_their_chroma_by_bicubic_interpolation():
    y = image(3)
    x_hat = restored("Box", "superres", y, {"scale": 2}).image
    plain = bicubic(y, 2)
    weights = np.array([65.481, 128.553, 24.966]) / 219
    assert x_hat.shape == (48, 60, 3)
    assert np.allclose(x_hat[..., 0] - x_hat[..., 1], plain[..., 0] - plain[..., 1], atol=1e-5)
    assert np.allclose(x_hat @ weights, box((plain @ weights)[..., None].astype(np.float32))[..., 0], atol=1e-5)


def test_a_mosaic_is_given_with_its_mask():
    clean = image(3)
    mosaic, mask = bayer(clean, "GRBG")
    x_hat = restored("Box", "demosaick", mosaic, {"pattern": "grbg"}).image
    assert np.array_equal(x_hat, box(np.where(mask, mosaic, np.float32(0))) * np.float32([4, 2, 4]))


@pytest.mark.parametrize(
    ("task", "channels", "words"),
    [
        ("denoise", 1, {"sigma": 25}),
        ("denoise", 3, {"sigma": 25}),
        ("deblock", 3, {"quality": 20}),
        ("superres", 3, {"scale": 3}),
        ("demosaick", 1, {}),
    ],
)
def test_tiles_that_overlap_by_the_reach_give_the_same_picture(task, channels, words):
    y = image(channels, 37, 43)
    whole = restored("Box", task, y, words).image
    done = []
    with Restoring(f"{SIMPLE}:Box", task, words, tile=16, overlap=1) as one:
        tiled = one.restore(y, watch=done.append).image
    least = 1e-6 if task == "superres" else 0  # bicubic weights differ in the last bit from place to place
    assert np.abs(tiled - whole).max() <= least
    assert sum(done) == pytest.approx(1)


def test_tiles_that_do_not_meet_are_said():
    y = np.zeros((16, 32, 1), np.float32)
    y[:, 16:] = 0.5
    answer = restored("Mean", picture=y, words={"sigma": 25}, tile=16, overlap=8)
    assert answer.remarks == (
        "tiles differ by up to 42.5 grey levels of 255 where they meet; a larger --overlap may help",
    )


class TestAPictureThatTheMemoryDoesNotHold:
    def test_is_restored_in_the_largest_tiles_that_it_holds_and_that_is_said(self):
        y, done = image(1, 240, 260), []
        with Restoring(f"{SIMPLE}:Cramped", "denoise", {"sigma": 25}, tile="auto") as one:
            answer = one.restore(y, watch=done.append)
        assert np.array_equal(answer.image, box(y))
        assert answer.remarks == ("in tiles of 128 pixels, for the memory does not hold the whole picture",)
        assert sum(done) == pytest.approx(1)

    def test_a_next_one_of_its_shape_begins_with_those_tiles(self, monkeypatch):
        shown, restore = [], Here.restore

        def noted(process, seen):
            shown.append(seen.image.shape)
            return restore(process, seen)

        monkeypatch.setattr(Here, "restore", noted)
        with Restoring(f"{SIMPLE}:Cramped", "denoise", {"sigma": 25}, tile="auto") as one:
            one.restore(image(1, 240, 260))
            first, shown[:] = shown[:], []
            one.restore(image(1, 240, 260))
        assert first[:2] == [(240, 260, 1), (240, 168, 1)]
        assert first[2:] == shown

    def test_fails_where_the_smallest_tiles_are_too_large_too(self):
        with pytest.raises(BenchError, match=r"failing: MemoryError: no room\.$"):
            restored("Failing", picture=image(1, 200, 140) + 1, words={"sigma": 25}, tile="auto")

    def test_is_whole_or_not_at_all_where_that_is_asked_for(self):
        with pytest.raises(BenchError, match=r"no room; --tile auto restores a picture in pieces\.$"):
            restored("Cramped", picture=image(1, 240, 260), words={"sigma": 25})
        with pytest.raises(BenchError, match=r"no room; a smaller --tile takes less\.$"):
            restored("Cramped", picture=image(1, 240, 260), words={"sigma": 25}, tile=240)

    def test_other_failures_are_not_tried_again(self, monkeypatch):
        monkeypatch.setattr(Here, "restore", lambda self, seen: Failure("no answer within the time limit of 5 s"))
        with pytest.raises(BenchError, match=r"time limit of 5 s; --time-limit gives it more\.$"):
            restored("Box", picture=image(1, 200, 140), words={"sigma": 25}, tile="auto")


@pytest.mark.parametrize(("words", "seconds"), [({}, np.inf), ({"time_limit": 5}, 5)])
def test_a_picture_may_take_its_time_unless_a_limit_is_named(monkeypatch, words, seconds):
    class Noted(Here):
        def __init__(self, spec, device, threads, limits):
            super().__init__(spec, device, threads, limits)
            given.append(limits.seconds)

    given = []
    monkeypatch.setattr(arrays, "RestorerProcess", Noted)
    bench.restore(image(1), f"{SIMPLE}:Box", sigma=25, **words)
    assert given == [seconds]


@pytest.mark.parametrize(
    ("named", "there", "limit"),
    [(None, 1000.4, 800), (None, None, None), (300, 1000.4, 300), (None, 1.0, None), (None, 319.0, None)],
)
def test_without_a_limit_a_restorer_has_a_share_of_the_memory_that_is_there(monkeypatch, named, there, limit):
    monkeypatch.setattr(arrays, "available_mib", lambda: there)
    assert arrays._with_memory(Limits(5, named)) == Limits(5, limit)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"name": "Box"}, "denoise must be told --sigma S, or --sigma auto"),
        ({"name": "Box", "task": "superres"}, "superres must be told --scale"),
        ({"name": "Box", "task": "deblock"}, "deblock must be told --quality"),
        ({"name": "Box", "words": {"sigma": "15,25"}}, "--sigma 15,25: a picture is restored at one level"),
        ({"name": "Box", "words": {"sigma": 256}}, "--sigma 256: denoise takes"),
        ({"name": "Box", "words": {"quality": 10}}, "--quality does not concern denoise"),
        ({"name": "Box", "task": "denoise-blind", "words": {"sigma": 10}}, "--sigma does not concern denoise-blind"),
        ({"name": "Box", "task": "deblock", "words": {"quality": "auto"}}, "--quality auto: deblock takes"),
        ({"name": "Failing", "task": "deblock"}, "failing does not deblock"),
        ({"name": "Failing", "words": {"sigma": 5}}, "failing: MemoryError: no room; --tile auto restores a picture"),
        ({"name": "Box", "task": "demosaick", "picture": image(3)}, "demosaick takes a mosaic, of one channel"),
        ({"name": "Box", "words": {"sigma": 5}, "threads": 0}, "--threads 0: expected"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ",
)
def test_what_will_not_do_is_one_line(words, says):
    with pytest.raises(BenchError) as raised:
        restored(**{"picture": image(1) + np.float32(0.1), **words})
    assert says in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_dncnn_in_tiles_gives_the_whole_pictures_answer(monkeypatch, channels):
    monkeypatch.undo()  # the process of a run
    y = awgn(image(channels, 150, 200), 25.0, np.random.RandomState(1))
    whole, tiled = (bench.restore(y, "dncnn", sigma=25, tile=tile, threads=1) for tile in (None, 64))
    assert np.abs(tiled - whole).max() <= 1e-6


class TestArrays:
    @pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32, np.float64, np.float16])
    def test_whole_numbers_are_divided_by_their_largest(self, kind):
        most = np.iinfo(kind).max if np.issubdtype(kind, np.integer) else 1
        [picture], dimensions = as_pictures(np.full((4, 5), most, kind))
        assert (picture.dtype, picture.shape, dimensions) == (np.float32, (4, 5, 1), 2)
        assert (picture == 1).all()

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            (np.zeros(5), r"shape \(5,\)"),
            (np.zeros((4, 5, 2)), r"shape \(4, 5, 2\)"),
            (np.zeros((0, 5)), r"shape \(0, 5\)"),
            (np.zeros((4, 5), int), "of int64"),
            (np.full((4, 5), np.nan), "not finite"),
            (np.full((4, 5), 128.0), "divide by 255"),
            (np.zeros((0, 4, 5, 3)), r"shape \(0, 4, 5, 3\)"),
            (np.zeros((2, 4, 5, 4)), r"shape \(2, 4, 5, 4\).*or \(N, H, W, C\)"),
            (np.stack([np.zeros((4, 5, 1)), np.full((4, 5, 1), np.inf)]), "Picture 1 of the stack has values"),
            (np.stack([np.full((4, 5, 1), 9.0), np.zeros((4, 5, 1))]), "Picture 0 of the stack has a mean of 9"),
        ],
        ids=range(10),
    )
    def test_others_are_refused(self, given, says):
        with pytest.raises(BenchError, match=says):
            as_pictures(given)

    def test_a_flat_array_gives_a_flat_one_and_is_left_alone(self):
        y = image(1)[..., 0]
        before = y.copy()
        x_hat = bench.restore(y, f"{SIMPLE}:Box", sigma=25)
        assert np.array_equal(x_hat, box(y[..., None])[..., 0])
        assert np.array_equal(y, before)
        assert bench.restore(y, f"{SIMPLE}:Box", "demosaick").shape == (24, 30, 3)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_a_stack_is_its_pictures_one_by_one(self, channels):
        stack = np.stack([image(channels), image(channels)[::-1] / 2])
        x_hat = bench.restore(stack, f"{SIMPLE}:Box", sigma=25)
        assert x_hat.dtype == np.float32
        assert np.array_equal(x_hat, np.stack([box(picture) for picture in stack]))

    def test_a_stack_of_mosaics_becomes_one_of_colour(self):
        assert bench.restore(np.stack(2 * [image(1)]), f"{SIMPLE}:Box", "demosaick").shape == (2, 24, 30, 3)
