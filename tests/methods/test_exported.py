"""`onnx:FILE` and `torchscript:FILE`: each option by networks whose answers are known, and what is asked for."""

from __future__ import annotations

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from bench.methods.dncnn import DnCNN
from bench.methods.exported import Onnx, TorchScript
from bench.methods.networks.foreign import continued
from bench.methods.networks.programs import _is_map, macs_of
from torch import nn

from bench.errors import TrainingError, WeightsError
from bench.plugins.registry import choose
from bench.plugins.weights import check_origin, pick
from bench.restorer import Observation, RestorerError, Setting
from bench.runner.contract import check, observe_disc
from bench.training.session import train
from tests.methods.exported_files import (
    KINDS,
    AddsNumber,
    AddsSigma,
    convolution,
    gain,
    graph,
    saved,
    script,
    weights_of,
)

CLASSES = {"onnx": Onnx, "torchscript": TorchScript}


def observed(channels=1, size=(7, 10), sigma=25.0, task="denoise", **told):
    image = np.random.default_rng(0).random((*size, channels), dtype=np.float32)
    return Observation(image, task, sigma=sigma, **told)


def restored(kind, file, seen, level=25.0, **options):
    """What the network answers; why it is not for this setting, if that is so."""
    restorer = CLASSES[kind](weights=file, **options)
    setting = Setting(seen.task, level, seen.restored_shape[2])
    reason = restorer.why_not(setting)
    if reason is not None:
        return reason
    restorer.prepare(setting, "cpu")
    return restorer.restore(seen)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


# --- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("range_", "threshold"), [(1, 0.5), (255, 127.5)])
def test_values_are_of_the_range_that_is_told(kind, tmp_path, range_, threshold):
    file, seen = saved(kind, tmp_path, nn.Sequential(gain([1.0], bias=-threshold), nn.ReLU())), observed()
    x_hat = restored(kind, file, seen, range=range_)
    np.testing.assert_allclose(x_hat, np.maximum(seen.image - 0.5, 0), atol=1e-6)
    assert x_hat.dtype == np.float32


def test_answers_may_be_of_another_range(kind, tmp_path):
    file, seen = saved(kind, tmp_path, gain([255.0])), observed()
    np.testing.assert_allclose(restored(kind, file, seen, range=1, answers=255), seen.image, atol=1e-6)
    with pytest.raises(RestorerError, match=r"values 255 times too large: write answers=255"):
        restored(kind, file, seen, range=1)
    shrinks = saved(kind, tmp_path, gain([1 / 255]))
    np.testing.assert_allclose(restored(kind, shrinks, seen, range=255, answers=1), seen.image, atol=1e-6)
    with pytest.raises(RestorerError, match=r"values 255 times too small: write answers=1"):
        restored(kind, shrinks, seen, range=255)


@pytest.mark.parametrize(("order", "factors"), [("rgb", (1, 2, 4)), ("bgr", (4, 2, 1))])
def test_colours_come_in_the_order_that_is_told(kind, tmp_path, order, factors):
    file, seen = saved(kind, tmp_path, gain([1.0, 2.0, 4.0])), observed(3)
    x_hat = restored(kind, file, seen, range=1, order=order)
    np.testing.assert_allclose(x_hat, seen.image * np.float32(factors), rtol=1e-6)


def test_a_residual_is_subtracted(kind, tmp_path):
    file, seen = saved(kind, tmp_path, gain([0.25])), observed()
    np.testing.assert_allclose(restored(kind, file, seen, range=255, residual=True), 0.75 * seen.image, rtol=1e-5)


# --- the noise level ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "added"), [({}, 51 / 255), ({"sigma_range": 255}, 51.0)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_noise_level_is_a_channel(kind, tmp_path, channels, options, added):
    file = saved(kind, tmp_path, gain([1.0] * channels, n_in=channels + 1))
    seen = observed(channels, sigma=51.0)
    x_hat = restored(kind, file, seen, range=1, sigma_channel=True, **options)
    np.testing.assert_allclose(x_hat, seen.image + added, rtol=1e-5)


def test_in_range_255_the_noise_level_is_as_it_is(kind, tmp_path):
    file, seen = saved(kind, tmp_path, gain([1.0], n_in=2)), observed(sigma=51.0)
    x_hat = restored(kind, file, seen, range=255, sigma_channel=True)
    np.testing.assert_allclose(x_hat, seen.image + 0.2, rtol=1e-5)


def test_a_further_channel_is_asked_about(kind, tmp_path):
    gray = saved(kind, tmp_path, gain([1.0], n_in=2))
    for channels in (1, 3):
        with pytest.raises(RestorerError, match=r"takes 2 channels\. If the last is the noise level, write sigma"):
            restored(kind, gray, observed(channels), range=1)
    assert restored(kind, gray, observed(3), range=1, sigma_channel=True).endswith("is for gray images")
    plain = saved(kind, tmp_path, gain([1.0]))
    with pytest.raises(RestorerError, match="takes 1 channels, and none for the noise level: leave "):
        restored(kind, plain, observed(), range=1, sigma_channel=True)
    odd = saved(kind, tmp_path, gain([1.0], n_in=6))
    with pytest.raises(RestorerError, match="does not run on 1x1x64x64: "):
        restored(kind, odd, observed(), range=1)


@pytest.mark.parametrize("level", [(), (1,), (1, 1, 1, 1), (1, 1, "H", "W")])
def test_the_second_input_of_a_graph_has_the_shape_that_it_says(tmp_path, level):
    graph(tmp_path / "net.onnx", AddsSigma(), level=level)
    file, seen = weights_of(tmp_path / "net.onnx"), observed(sigma=51.0)
    np.testing.assert_allclose(restored("onnx", file, seen, range=1), seen.image + 0.2, rtol=1e-5)
    with pytest.raises(RestorerError, match="leave sigma_map out"):
        restored("onnx", file, seen, range=1, sigma_map="H" not in level)


def test_the_second_input_of_a_program_is_asked_about(tmp_path):
    file, seen = saved("torchscript", tmp_path, AddsSigma()), observed(sigma=51.0)
    with pytest.raises(RestorerError, match="write sigma_map=true; if it is one number, sigma_map=false"):
        restored("torchscript", file, seen, range=1)
    for is_map in (True, False):
        x_hat = restored("torchscript", file, seen, range=1, sigma_map=is_map)
        np.testing.assert_allclose(x_hat, seen.image + 0.2, rtol=1e-5)


def test_a_number_is_given_as_one(tmp_path):
    file, seen = saved("torchscript", tmp_path, AddsNumber()), observed(sigma=51.0)
    np.testing.assert_allclose(restored("torchscript", file, seen, range=1), seen.image + 0.2, rtol=1e-5)


def test_who_is_told_the_noise_level_is_not_for_blind_tasks(kind, tmp_path):
    file = saved(kind, tmp_path, gain([1.0], n_in=2))
    seen = observed(sigma=None, task="denoise-blind")
    assert "which denoise-blind does not give" in restored(kind, file, seen, range=1, sigma_channel=True)


# --- sides -------------------------------------------------------------------------------------------


def test_sides_are_continued_to_a_multiple_and_cut_again(kind, tmp_path):
    halves = nn.Sequential(nn.PixelUnshuffle(2), nn.ReLU(), nn.PixelShuffle(2))
    file = saved(kind, tmp_path, halves)
    with pytest.raises(RestorerError, match=r"does not run on 61x67 pixels, .* multiples of 2: write multiple=2"):
        restored(kind, file, observed(), range=1)
    for size in ((1, 1), (7, 10), (9, 3)):
        seen = observed(size=size)
        assert np.array_equal(restored(kind, file, seen, range=1, multiple=8), seen.image)


def test_the_image_is_mirrored_beyond_its_end(kind, tmp_path):
    """A mean over three rows: in the last one, what is beyond it is the row before."""
    rows = np.zeros((1, 1, 3, 3))
    rows[0, 0, :, 1] = 1 / 3
    file, seen = saved(kind, tmp_path, convolution(rows)), observed(size=(7, 8))
    x_hat = restored(kind, file, seen, range=1, multiple=8)
    y = seen.image
    np.testing.assert_allclose(x_hat[-1], (2 * y[-2] + y[-1]) / 3, rtol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_side_is_continued_as_often_as_need_be(n):
    y = torch.arange(n).float().expand(1, 1, 2, n)
    there_and_back = [*range(n), *range(n - 2, 0, -1)] or [0]
    expected = [float(there_and_back[i % len(there_and_back)]) for i in range(16)]
    assert continued(y, 3, 16)[0, 0, 2].tolist() == expected


def test_a_graph_of_fixed_sides_takes_what_fits_into_them(tmp_path):
    graph(tmp_path / "net.onnx", gain([1.0]), sides=(16, 24))
    file, seen = weights_of(tmp_path / "net.onnx"), observed(size=(9, 24))
    assert np.array_equal(restored("onnx", file, seen, range=1), seen.image)
    with pytest.raises(RestorerError, match="takes images of 16x24 pixels at most, this one has 17x8"):
        restored("onnx", file, observed(size=(17, 8)), range=1)


# --- what it is for ------------------------------------------------------------------------------------


def test_a_network_that_enlarges_is_for_its_scale(kind, tmp_path):
    doubles = nn.Sequential(convolution(np.ones((4, 1, 1, 1))), nn.PixelShuffle(2))
    file, seen = saved(kind, tmp_path, doubles), observed(sigma=None, task="superres", scale=2)
    expected = seen.image.repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(restored(kind, file, seen, 2.0, range=1), expected)
    assert restored(kind, file, observed(sigma=None, task="superres", scale=3), 3.0, range=1).endswith("--scale 2")
    assert restored(kind, file, observed(), range=1).endswith("it is for superres --scale 2")


def test_a_network_may_start_from_the_bicubic_enlargement(kind, tmp_path):
    file, seen = saved(kind, tmp_path, gain([1.0])), observed(sigma=None, task="superres", scale=3)
    assert restored(kind, file, seen, 3.0, range=1).endswith("write enlarged=true")
    np.testing.assert_allclose(restored(kind, file, seen, 3.0, range=1, enlarged=True), seen.upscaled(), atol=1e-6)


def test_a_colour_network_may_be_given_gray_thrice(kind, tmp_path):
    file, seen = saved(kind, tmp_path, gain([1.0, 2.0, 6.0])), observed()
    assert restored(kind, file, seen, range=1).endswith("with repeat_gray=true it is given gray ones thrice")
    np.testing.assert_allclose(restored(kind, file, seen, range=1, repeat_gray=True), 3 * seen.image, rtol=1e-6)
    gray = saved(kind, tmp_path, gain([1.0]))
    assert restored(kind, gray, observed(3), range=1).endswith("is for gray images")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"levels": 15}, "is for 15"),
        ({"levels": (0, 20)}, "is for 0 to 20"),
        ({"levels": (20, 25)}, None),
        ({"task": "deblock"}, "is for deblock"),
        ({"task": "denoise", "levels": 25.0}, None),
    ],
)
def test_what_it_was_trained_for_bounds_what_it_is_measured_at(tmp_path, options, reason):
    restorer = TorchScript(weights=saved("torchscript", tmp_path, gain([1.0])), range=1, **options)
    said = restorer.why_not(Setting("denoise", 25.0, 1))
    assert said is None if reason is None else said.endswith(reason)


# --- what is said -----------------------------------------------------------------------------------


def test_the_range_is_asked_for(kind):
    file = {"onnx": "folder/net.onnx", "torchscript": "folder/net.pt"}[kind]
    with pytest.raises(RestorerError) as said:
        choose(f"{kind}:{file}")
    name = f"{kind}:{file.removeprefix('folder/')}"
    assert str(said.value) == f"{name} needs range: ask for it as {name}(range=…), range 1 or 255."


def test_all_values_that_will_not_do_are_named(tmp_path):
    file = saved("torchscript", tmp_path, gain([1.0]))
    with pytest.raises(RestorerError) as said:
        TorchScript(weights=file, range=2, order="gbr", residual=1, multiple=True, task="denoize")
    assert str(said.value) == (
        "torchscript:net.pt: range=2, expected 1 or 255; order=gbr, expected rgb or bgr; residual=1, expected true or"
        " false; multiple=true, expected 1 or 2 or 4 or 8 or 16 or 32 or 64 or 128; task=denoize, expected deblock or"
        " denoise or denoise-blind or superres."
    )


@pytest.mark.parametrize("levels", ["high", (1,), (30, 10), (True, 2), (1, 2, 3)])
def test_levels_are_one_or_two_numbers(tmp_path, levels):
    with pytest.raises(RestorerError, match=r"as levels=25, or from and to as levels=\(0, 55\)"):
        TorchScript(weights=saved("torchscript", tmp_path, gain([1.0])), range=1, levels=levels)


def test_a_file_is_asked_for(kind):
    with pytest.raises(RestorerError, match=f"{kind} runs a network in a file: ask for it as {kind}:FILE"):
        choose(kind)
    with pytest.raises(RestorerError, match=f"{kind} runs a network in a file: {kind}:FILE"):
        CLASSES[kind](range=1)


def test_it_is_not_trained():
    with pytest.raises(
        TrainingError, match=r"^torchscript:net\.pt\(range=1\) is a network in a file: it is measured"
    ):
        train("torchscript:net.pt(range=1)", {"sigma": "25"})


def test_a_file_that_is_not_there_is_named(kind, tmp_path):
    file = tmp_path / {"onnx": "gone.onnx", "torchscript": "gone.pt"}[kind]
    with pytest.raises(WeightsError, match=f"^{kind}:{file}: there is no file '{file}'"):
        check_origin(choose(f"{kind}:{file}(range=1)"))


def test_another_kind_of_file_is_called_what_it_is_not(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(gain([1.0]).state_dict(), path)
    setting = Setting("denoise", 25.0, 1)
    with pytest.raises(RestorerError, match="is no TorchScript program"):
        TorchScript(weights=weights_of(path), range=1).why_not(setting)
    with pytest.raises(RestorerError, match="is no ONNX graph"):
        Onnx(weights=weights_of(path), range=1).why_not(setting)


class Runs:
    """What Python's unpickling would make a folder of."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_pickle_in_a_program_is_not_run(tmp_path):
    whole = saved("torchscript", tmp_path, gain([1.0])).path
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / "worse.pt", "w") as new:
        for name in old.namelist():
            is_pickle = name.endswith("data.pkl")
            new.writestr(name, pickle.dumps(Runs(tmp_path / "made"), 2) if is_pickle else old.read(name))
    with pytest.raises(RestorerError, match="is no TorchScript program"):
        restored("torchscript", weights_of(tmp_path / "worse.pt"), observed(), range=1)
    assert not (tmp_path / "made").exists()


def test_weights_outside_of_the_file_are_refused(tmp_path):
    path = tmp_path / "net.onnx"
    graph(path, gain([1.0]), external="net.data")
    with pytest.raises(RestorerError, match=r"keeps weights in a file of their own \(net\.data\)"):
        restored("onnx", weights_of(path), observed(), range=1)


def test_parameters_are_counted(kind, tmp_path):
    network = nn.Sequential(
        convolution(np.full((4, 1, 3, 3), 0.1)), nn.ReLU(), convolution(np.full((1, 4, 3, 3), 0.1))
    )
    restorer = CLASSES[kind](weights=saved(kind, tmp_path, network), range=1)
    restorer.prepare(Setting("denoise", 25.0, 1), "cpu")
    assert restorer.n_params() == 4 * 9 + 4 + 4 * 9 + 1
    assert restorer.macs_per_pixel(observed(size=(40, 50))) == 72


def test_products_at_half_the_sides_count_a_quarter(kind, tmp_path):
    halves = nn.Sequential(nn.PixelUnshuffle(2), convolution(np.full((4, 4, 3, 3), 0.03)), nn.PixelShuffle(2))
    restorer = CLASSES[kind](weights=saved(kind, tmp_path, halves), range=1, multiple=2)
    restorer.prepare(Setting("denoise", 25.0, 1), "cpu")
    assert restorer.macs_per_pixel(observed(size=(40, 50))) == 4 * 4 * 9 / 4


def test_a_pixel_of_an_enlarged_image_costs_its_share(kind, tmp_path):
    doubles = nn.Sequential(convolution(np.ones((4, 1, 1, 1))), nn.PixelShuffle(2))
    restorer = CLASSES[kind](weights=saved(kind, tmp_path, doubles), range=1)
    restorer.prepare(Setting("superres", 2.0, 1), "cpu")
    assert restorer.macs_per_pixel(observed(sigma=None, task="superres", scale=2, size=(40, 50))) == 1


def test_products_of_matrices_are_counted():
    helper = pytest.importorskip("onnx", reason="onnx is not installed: no ONNX graph is tried").helper
    numbers, value = 1, helper.make_tensor_value_info
    nodes = [
        helper.make_node("MatMul", ["y", "b"], ["m"]),
        helper.make_node("ConvTranspose", ["m", "k"], ["x"], strides=[2, 2]),
    ]
    inputs = [value("y", numbers, [1, 2, "H", "W"]), value("b", numbers, [7, 3]), value("k", numbers, [2, 5, 2, 2])]
    made = helper.make_graph(nodes, "net", inputs, [value("x", numbers, None)])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    assert macs_of(model, (4, 7)) == 2 * 4 * 3 * 7 + 2 * 4 * 3 * 5 * 2 * 2
    assert macs_of(model, (4, 6)) is None  # no product of such matrices: nothing is told of the sizes behind it


def test_constants_of_a_frozen_program_are_its_parameters(tmp_path):
    path = tmp_path / "net.pt"
    script(gain([1.0, 2.0, 3.0]), frozen=True).save(str(path))
    restorer = TorchScript(weights=weights_of(path), range=1)
    restorer.prepare(Setting("denoise", 25.0, 3), "cpu")
    assert restorer.n_params() == 9 + 3


def test_a_network_of_ours_gives_the_same_psnr_from_a_file(kind, tmp_path):
    """DnCNN's body, which answers with the noise."""
    clean = observe_disc(Setting("denoise", 0.0, 1), (40, 52)).image
    noise = np.random.default_rng(0).normal(0, 25 / 255, clean.shape)
    seen = Observation(np.float32(clean + noise), "denoise", sigma=25.0)
    ours = DnCNN(weights=pick(choose("dncnn@ours"), Setting("denoise", 25.0, 1)).file)
    ours.prepare(Setting("denoise", 25.0, 1), "cpu")
    file = saved(kind, tmp_path, ours.plain.body)
    answers = ours.restore(seen), restored(kind, file, seen, range=1, residual=True)
    psnr_db, of_file_db = (-10 * np.log10(np.mean(np.square(x_hat - clean))) for x_hat in answers)
    assert psnr_db > 30
    assert abs(of_file_db - psnr_db) < 1e-4


# --- as users ask for it -----------------------------------------------------------------------------


def test_it_keeps_to_the_contract(kind, tmp_path):
    network = nn.Sequential(gain([1.0], n_in=2), nn.ReLU())
    file = saved(kind, tmp_path, network)
    findings = list(check(choose(f"{kind}:{file.path}(range=1, sigma_channel=true)")))
    assert not [finding for finding in findings if not finding.ok]
    assert sum("denoise sigma 25 gray: " in finding.what for finding in findings) == 5


@pytest.mark.parametrize(
    ("level", "is_map"),
    [
        ([1], False),
        ([1, 1, 1, 1], False),
        ([1, 1, 64, 64], True),
        (["n", 1, "H", "W"], True),
        (["n", 1, "h", "w"], None),
        ([None, 1, None, None], None),
    ],
)
def test_free_sides_do_not_say_whether_an_input_is_a_map(level, is_map):
    image = [None, 1, None, None] if None in level else ["n", 1, "H", "W"]
    assert _is_map(level, image) is is_map
