"""Metrics against printed figures, other libraries and their definitions.

What piq 0.8.0, pytorch-msssim 1.0.0 and sewar 0.4.10 gave was printed by tests/measure/libraries.py.
"""

import math

import numpy as np
import pytest
from bench.data import datasets
from bench.data.colour import luma, to_8bit
from bench.data.degrade import jpeg

from bench.measure.metrics.blocking import blocking_effect, psnr_b_db
from bench.measure.metrics.gmsd import gmsd
from bench.measure.metrics.haarpsi import haarpsi
from bench.measure.metrics.luma import psnr_y_db
from bench.measure.metrics.planes import gaussian, halved, inside
from bench.measure.metrics.structure import ms_ssim, ssim_8x8
from bench.measure.metrics.vif import vif
from bench.measure.quality import psnr_db
from bench.metric import DEFAULT, METRICS
from tests.measure.pictures import PAIRS

BESIDE = [name for name in METRICS if name not in DEFAULT and not METRICS[name].requires]
SIDES = {"psnrb": 16, "ssim8": 8, "ms_ssim": 161, "gmsd": 4, "vif": 41, "haarpsi": 16}
"""the smallest that each takes"""


def figures(metric):
    return [metric(x, y, peak=255) for x, y in PAIRS.values()]


class TestBesideOtherLibraries:
    """In the order of PAIRS: gray after JPEG 10, noise 25 and a blur of 1.6, colour after noise and blur."""

    def test_ms_ssim_is_that_of_piq(self):
        piq = [0.942792974007, 0.833012766682, 0.947787266415, 0.821999264297, 0.968887450936]
        assert figures(ms_ssim) == pytest.approx(piq, abs=1e-11)

    def test_ms_ssim_is_that_of_pytorch_msssim_but_for_its_window_of_single_precision(self):
        theirs = [0.942793830047, 0.833013912267, 0.947787844778, 0.822002494612, 0.968887772562]
        assert figures(ms_ssim) == pytest.approx(theirs, abs=4e-6)

    def test_gmsd_is_that_of_piq_which_divides_by_n_and_not_by_n_minus_1(self):
        piq = np.array([0.0953340641966, 0.173647965174, 0.129527348899, 0.127515283307, 0.0950144759392])
        n = 128 * 128
        assert figures(gmsd) == pytest.approx(piq * math.sqrt(n / (n - 1)), abs=1e-11)

    def test_vif_is_that_of_piq(self):
        piq = [0.353702260339, 0.242025772491, 0.340597200998, 0.336361494007, 0.412583644279]
        assert figures(vif) == pytest.approx(piq, abs=1e-9)

    def test_vif_of_gray_is_that_of_sewar(self):
        sewar = [0.353702260527, 0.242025772576, 0.340597201201]
        assert figures(vif)[:3] == pytest.approx(sewar, abs=1e-11)

    def test_haarpsi_of_gray_is_that_of_piq(self):
        piq = [0.69304291981, 0.544180521951, 0.605133064787]
        assert figures(haarpsi)[:3] == pytest.approx(piq, abs=1e-11)

    def test_haarpsi_of_colour_is_that_of_piq_but_for_a_digit_more_in_its_yiq(self):
        assert figures(haarpsi)[3:] == pytest.approx([0.689990805856, 0.758039514638], abs=5e-5)

    def test_ssim_of_8x8_is_that_of_sewar(self):
        sewar = [0.7763427271, 0.419504841754, 0.771561019632, 0.376503655197, 0.857056930225]
        assert figures(ssim_8x8) == pytest.approx(sewar, abs=1e-10)

    def test_psnr_b_is_that_of_sewar_but_for_how_many_steps_it_divides_by(self):
        x, y = PAIRS["gray, JPEG 10"]
        columns, rows = np.square(np.diff(x[..., 0], axis=1)), np.square(np.diff(x[..., 0], axis=0))
        at_blocks = columns[:, 7::8].sum() + rows[7::8].sum()
        n = 2 * (256 * 256 / 8 - 1)
        elsewhere = (columns.sum() + rows.sum() - at_blocks) / (2 * 256 * 255 - n)
        mse_b = np.mean((x - y) ** 2) + 3 / 8 * (at_blocks / n - elsewhere)
        assert 10 * math.log10(255**2 / mse_b) == pytest.approx(24.3646148691, abs=1e-9)  # sewar
        assert psnr_b_db(x, y, peak=255) == pytest.approx(24.2450761853, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "quality", "psnr_b", "ssim"),
    # JPEG in AR-CNN's tables (Dong et al., ICCV 2015), whose PSNR-B FBCNN prints too (Jiang et al., ICCV 2021,
    # Table 1), and whose SSIM NSR's Table 6 repeats
    [
        ("classic5", 10, 25.21, 0.7800),
        ("classic5", 20, 27.50, 0.8541),
        ("classic5", 30, 28.94, 0.8844),
        ("classic5", 40, 29.92, 0.9011),
        ("live1", 10, 25.33, 0.7905),
        ("live1", 20, 27.57, 0.8683),
        ("live1", 30, 28.92, 0.9000),
        ("live1", 40, 29.96, 0.9173),
    ],
)
def test_psnr_b_and_ssim_of_8x8_are_those_that_papers_print_to_the_last_digit(name, quality, psnr_b, ssim):
    dataset = datasets.get(name)
    measured = []
    for entry in dataset.entries:
        clean = luma(datasets.read(dataset, entry).pixels)
        x, y = (to_8bit(image).astype(float) for image in (jpeg(clean, quality), clean))
        measured.append((psnr_b_db(x, y, peak=255), ssim_8x8(x, y, peak=255)))
    found = np.mean(measured, axis=0)
    assert found[0] == pytest.approx(psnr_b, abs=0.005)
    assert found[1] == pytest.approx(ssim, abs=0.00005)


class TestPsnrB:
    def test_counts_only_the_steps_at_blocks_that_are_larger_than_others(self):
        ramp = np.add.outer(np.arange(32.0), np.arange(32.0))
        assert blocking_effect(ramp) == 0

    def test_of_two_flat_blocks_by_hand(self):
        x = np.zeros((16, 16))
        x[:, 8:] = 10  # 16 of the 32 steps between blocks are 10, and none of the others
        assert blocking_effect(x) == pytest.approx(3 / 4 * (16 * 100 / 32))

    def test_of_what_is_equal_is_infinite_where_there_are_no_blocks(self):
        x = np.full((16, 16, 1), 7.0)
        assert psnr_b_db(x, x.copy(), peak=255) == math.inf

    def test_of_what_is_equal_is_finite_where_there_are_blocks(self):
        x = np.kron(np.eye(2) * 200, np.ones((8, 8)))[..., None]
        assert psnr_b_db(x, x.copy(), peak=255) < 20


class TestPsnrOfLuma:
    def test_of_gray_is_the_psnr(self):
        x, y = PAIRS["gray, noise 25"]
        assert psnr_y_db(x, y, peak=255) == psnr_db(x, y, peak=255)

    def test_of_one_error_in_all_colours_is_1_32_db_more_than_the_psnr(self):
        _, y = PAIRS["colour, noise 25"]
        difference = psnr_y_db(y + 3, y, peak=255) - psnr_db(y + 3, y, peak=255)
        assert difference == pytest.approx(20 * math.log10(255 / 219), abs=1e-9)

    @pytest.mark.parametrize(("colour", "weight"), [(0, 65.481), (1, 128.553), (2, 24.966)])
    def test_weighs_colours_as_matlab_does(self, colour, weight):
        y = np.zeros((4, 4, 3))
        x = y.copy()
        x[..., colour] = 255
        assert psnr_y_db(x, y, peak=255) == pytest.approx(20 * math.log10(255 / weight))


class TestSsimOf8x8:
    def test_of_one_window_is_its_definition(self):
        random = np.random.RandomState(0)
        x, y = random.uniform(0, 255, (2, 8, 8))
        c1, c2 = 2.55**2, 7.65**2
        expected = (2 * x.mean() * y.mean() + c1) * (2 * np.mean((x - x.mean()) * (y - y.mean())) + c2)
        expected /= (x.mean() ** 2 + y.mean() ** 2 + c1) * (x.var() + y.var() + c2)
        assert ssim_8x8(x[..., None], y[..., None], peak=255) == pytest.approx(expected)


class TestPlanes:
    @pytest.mark.parametrize("k", [3, 4, 8])
    def test_windows_lie_inside_the_picture(self, k):
        x = np.random.RandomState(0).rand(11, 13)
        window = gaussian(k, 1.0)
        expected = [[window @ x[i : i + k, j : j + k] @ window for j in range(13 - k + 1)] for i in range(11 - k + 1)]
        assert np.allclose(inside(x, window), expected)

    def test_halving_an_odd_side_continues_it(self):
        x = np.array([[1.0, 3, 5]])
        assert halved(x, border="symmetric").tolist() == [[2, 5]]
        assert halved(x, border="constant").tolist() == [[1, 1.25]]


@pytest.mark.parametrize("name", BESIDE)
class TestEveryMetric:
    def test_of_equal_pictures_is_its_best(self, name):
        metric = METRICS[name]
        _, y = PAIRS["colour, noise 25"]
        best = metric.measure(y.copy(), y)
        assert metric.low <= best <= metric.high
        worse = metric.measure(*PAIRS["colour, noise 25"])
        assert best > worse if metric.better == "larger" else best < worse
        if metric.high == 1 or name == "vif":
            assert best == pytest.approx(1, abs=1e-9)

    def test_is_worse_where_there_is_more_noise(self, name):
        metric = METRICS[name]
        _, y = PAIRS["gray, noise 25"]
        noise = np.random.RandomState(0).normal(0, 1, y.shape)
        little, more = (metric.measure(np.clip(y + sigma * noise, 0, 255), y) for sigma in (10, 30))
        assert little > more if metric.better == "larger" else little < more

    def test_leaves_its_pictures_as_they_were(self, name):
        x, y = (image.copy() for image in PAIRS["colour, noise 25"])
        METRICS[name].measure(x, y)
        assert np.array_equal(x, PAIRS["colour, noise 25"][0])
        assert np.array_equal(y, PAIRS["colour, noise 25"][1])

    def test_takes_the_smallest_picture_that_it_says_and_is_no_number_below(self, name):
        side = SIDES.get(name, 1)
        x, y = np.random.RandomState(0).uniform(0, 255, (2, side, side, 3))
        assert math.isfinite(METRICS[name].measure(x, y))
        assert name not in SIDES or math.isnan(METRICS[name].measure(x[1:], y[1:]))

    @pytest.mark.parametrize("value", [0.0, 255.0])
    def test_of_flat_pictures_warns_of_nothing(self, name, value):
        flat = np.full((176, 176, 1), value)
        METRICS[name].measure(flat.copy(), flat)
        METRICS[name].measure(flat.copy(), PAIRS["gray, noise 25"][1][:176, :176])
