"""GroupSC: the authors' blocks against the paper's equations, their checkpoints, odd sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bench.data.datasets import get, read
from bench.methods.groupsc import GroupSC, merged_blocks, read_authors
from bench.methods.networks.sparse_coding import SparseCoding
from bench.methods.sc import SC
from PIL import Image

from bench.restorer import WeightsFile
from bench.task import Observation
from bench.tasks import Setting

GRAY, COLOUR = Setting("denoise", 25, 1), Setting("denoise", 25, 3)


def network(**options):
    """A network whose parameters are all different from what they start from."""
    torch.manual_seed(0)
    net = SparseCoding(**{"window": 48, **options})
    with torch.no_grad():
        for name, x in net.named_parameters():
            x.add_(torch.randn_like(x), alpha={"lmbda": 0.003, "kappa": 0.1, "nu": 0.2}.get(name, 0.002))
    return net.requires_grad_(False)


@pytest.mark.parametrize(("setting", "n_params"), [(GRAY, 68_434), (COLOUR, 119_188)])
def test_it_has_as_many_parameters_as_the_authors_say(setting, n_params):
    restorer = GroupSC()
    restorer.prepare(setting, "cpu")
    assert restorer.n_params() == n_params


@pytest.mark.parametrize("options", [{"penalty": "l1"}, {"window": 0}], ids=str)
def test_without_similar_patches_it_is_sc(options):
    groupsc, sc, image = GroupSC(), SC(), np.random.default_rng(0).random((12, 15, 1), dtype=np.float32)
    groupsc.options, sc.options = {**options, "n_atoms": 16, "n_steps": 3}, {"n_atoms": 16, "n_steps": 3}
    answers, counts = [], []
    seen = Observation(image, "denoise", sigma=25)
    for restorer in (groupsc, sc):
        restorer.prepare(GRAY, "cpu")
        answers.append(restorer.restore(seen))
        counts.append((restorer.n_params(), restorer.macs_per_pixel(seen)))
    assert np.array_equal(*answers)
    assert counts[0] == counts[1]


@pytest.mark.parametrize("variant", ["", "blocks48"])
@pytest.mark.parametrize("options", [{"penalty": "centred"}, {"penalty": "l1"}, {"freq": 0}], ids=str)
def test_with_other_options_pictures_of_any_size_are_restored(variant, options):
    restorer = GroupSC(variant)
    restorer.options = {"window": 6, "patch_size": 5, "n_atoms": 8, "n_steps": 9, **options}
    restorer.prepare(GRAY, "cpu")
    for size in ((1, 1), (7, 9)):
        seen = Observation(np.full((*size, 1), 0.4, np.float32), "denoise", sigma=25)
        np.testing.assert_allclose(restorer.restore(seen), seen.image, atol=1e-5)
        assert restorer.macs_per_pixel(seen) > 0


def test_each_refresh_costs_the_similarities_and_an_estimate():
    seen = Observation(np.zeros((96, 96, 1), np.float32), "denoise", sigma=25)

    def macs(freq):
        restorer = GroupSC()
        restorer.options = {"freq": freq, "window": 8}
        restorer.prepare(GRAY, "cpu")
        return restorer.macs_per_pixel(seen)

    never, every_12, every_6, every_3 = map(macs, (0, 12, 6, 3))
    assert never < every_12 < every_6 < every_3
    assert every_6 - never == pytest.approx(3 * (every_12 - never))
    assert every_3 - never == pytest.approx(7 * (every_12 - never))


# --- the paper's equations, patch by patch, in NumPy and float64 ---


def block_by_the_paper(y, net, s, window, K, freq):
    """Algorithm 1 for one block (h, w)."""
    D, C, W, lmbda, kappa = (getattr(net, name).double().numpy() for name in ("D", "C", "W", "lmbda", "kappa"))
    nu = 1 / (1 + np.exp(-net.nu.item()))
    places = [(i, j) for i in range(y.shape[0] - s + 1) for j in range(y.shape[1] - s + 1)]

    def patches(image):
        return np.stack([image[i : i + s, j : j + s].ravel() for i, j in places])  # a patch a row

    def averaged(estimates):  # Eq. 6
        total, count = np.zeros(y.shape), np.zeros(y.shape)
        for (i, j), estimate in zip(places, estimates, strict=True):
            total[i : i + s, j : j + s] += estimate.reshape(s, s)
            count[i : i + s, j : j + s] += 1
        return total / count

    offset = np.array(places)[None] - np.array(places)[:, None]  # [b, a] = place of a - place of b
    neighbours = ((offset >= -(window // 2)) & (offset < window - window // 2)).all(2)

    def similarities(x):  # Eq. 12
        u = x * kappa
        distance = (u**2).sum(1)[:, None] + (u**2).sum(1)[None] - 2 * u @ u.T
        return np.exp(-np.maximum(distance, 0)) * neighbours

    Y = patches(y)
    mu = Y.mean(1, keepdims=True)
    Y = Y - mu  # Eq. 5
    Sigma = similarities(Y)
    A = np.zeros((len(Y), D.shape[1]))
    for k in range(K):
        if k > 1 and (k - 1) % freq == 0:
            Sigma = (1 - nu) * Sigma + nu * similarities(patches(averaged(A @ W.T + mu)) - mu)
        B = A + (Y - A @ D.T) @ C  # Eq. 11
        norm = np.sqrt(Sigma @ B**2 + 1e-8)
        A = np.maximum(1 - lmbda[k] * np.sqrt(Sigma.sum(1, keepdims=True)) / norm, 0) * B
    return averaged(A @ W.T + mu)


def image_by_the_paper(y, net, s, window, K, freq, size, stride):
    """The authors' block inference of an image (H, W)."""
    H, W = y.shape
    more = [stride - (n + 2 * (size - 1) - size) % stride for n in (H, W)]
    x = np.pad(y, [(size - 1, size - 1 + extra) for extra in more], mode="reflect")
    total, count = np.zeros(x.shape), np.zeros(x.shape)
    one = np.zeros((size, size))
    for i in range(size - s + 1):
        for j in range(size - s + 1):
            one[i : i + s, j : j + s] += 1
    # a last block that begins beyond the image has no pixel of it
    for i in range(0, min(x.shape[0] - size + 1, size - 1 + H), stride):
        for j in range(0, min(x.shape[1] - size + 1, size - 1 + W), stride):
            block = slice(i, i + size), slice(j, j + size)
            total[block] += one * block_by_the_paper(x[block], net, s, window, K, freq)
            count[block] += one
    inside = slice(size - 1, size - 1 + H), slice(size - 1, size - 1 + W)
    return total[inside] / count[inside]


def check_against_the_paper(H, W, s, window, K, freq, n_atoms, size, stride):
    net = network(patch_size=s, window=window, n_steps=K, freq=freq, n_atoms=n_atoms)
    image = np.random.default_rng(0).random((H, W)).astype(np.float32)
    image[: H // 2] = image[: H // 2] * 0.1 + 0.5  # with a part where patches resemble each other
    ours = merged_blocks(net, torch.from_numpy(image)[None, None], stride, size)[0, 0].numpy()
    assert np.abs(ours - image).max() > 0.01
    np.testing.assert_allclose(ours, image_by_the_paper(image, net, s, window, K, freq, size, stride), atol=1e-4)


def test_small_blocks_equal_a_naive_evaluation_of_the_papers_equations():
    check_against_the_paper(H=30, W=33, s=5, window=10, K=8, freq=3, n_atoms=40, size=20, stride=10)


@pytest.mark.slow
def test_the_authors_blocks_at_stride_48_equal_a_naive_evaluation_of_the_papers_equations():
    check_against_the_paper(H=64, W=41, s=9, window=48, K=24, freq=6, n_atoms=256, size=56, stride=48)


# --- on images ---


@pytest.mark.slow  # half a minute: 64 to 100 blocks each
@pytest.mark.parametrize("size", [(1, 1), (7, 9)])
@pytest.mark.parametrize("variant", ["blocks48", "blocks"])
def test_blocks_take_images_of_any_size_and_leave_constant_ones_alone(size, variant):
    restorer = GroupSC(variant)
    restorer.options = {"n_atoms": 8, "n_steps": 2, "window": 5, "tile": 8}
    for setting in (GRAY, COLOUR):
        restorer.prepare(setting, "cpu")
        image = np.full((*size, setting.channels), 0.4, np.float32)
        np.testing.assert_allclose(restorer.restore(Observation(image, "denoise", sigma=25)), image, atol=1e-5)


def test_multiply_accumulates_are_the_authors_and_tiles_and_sliding_spare_most_of_them():
    seen = Observation(np.zeros((256, 256, 1), np.float32), "denoise", sigma=25)

    def macs(variant, **options):
        restorer = GroupSC(variant)
        restorer.options = options
        restorer.prepare(GRAY, "cpu")
        return restorer.macs_per_pixel(seen) * 256**2

    # one tile a block, as the authors have it: 73.5 GFLOP; 26 x 26 of their 27 x 27 blocks touch the image
    assert macs("blocks", tile=48) == pytest.approx(26**2 * 73.5e9 / 2, rel=0.02)
    assert macs("blocks") < 0.85 * macs("blocks", tile=48)
    assert macs("") < macs("blocks48") < macs("blocks") / 10


# --- the authors' checkpoints ---


def authors_checkpoint(net):
    """The same parameters under the names and shapes of github.com/bruno-31/groupsc."""
    p = net.D.shape[1]
    state = {
        "apply_A.weight": net.C.T[:, :, None, None],
        "apply_D.weight": net.D[:, :, None, None],
        "apply_W.weight": net.W[:, :, None, None],
        "std.0": net.kappa[None, :, None, None],
        "nu.0": net.nu,
        "simLayer.0.mask": torch.zeros(1, 4, 4),  # (1, 2304, 2304) in theirs
    }
    state |= {f"lmbda.{k}": net.lmbda[k].view(1, p, 1, 1) for k in range(len(net.lmbda))}
    return {name: x.clone() for name, x in state.items()}


def test_their_checkpoint_has_the_shapes_of_the_facts():
    shapes = {name: tuple(x.shape) for name, x in authors_checkpoint(network()).items()}
    assert shapes["apply_A.weight"] == (256, 81, 1, 1)
    assert shapes["apply_D.weight"] == shapes["apply_W.weight"] == (81, 256, 1, 1)
    assert shapes["lmbda.23"] == (1, 256, 1, 1)
    assert shapes["std.0"] == (1, 81, 1, 1)


@pytest.mark.parametrize("setting", [GRAY, COLOUR])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_checkpoint_of_the_authors_is_read_parameter_by_parameter(tmp_path, setting, wrapped):
    net, path = network(channels=setting.channels), tmp_path / "ckpt"
    state = authors_checkpoint(net)
    if wrapped:
        state = {"epoch": 300, "state_dict": {f"module.{name}": x for name, x in state.items()}}
    torch.save(state, path)
    restorer = GroupSC("blocks48", WeightsFile(path, "published:ckpt", "", "groupsc-authors"))
    restorer.prepare(setting, "cpu")
    for name, x in net.state_dict().items():
        assert torch.equal(restorer.plain.state_dict()[name], x)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: state.pop("std.0"), r"lacks \['std.0'\]"),
        (lambda state: state.update({"nu_var": torch.ones(1)}), r"also has \['nu_var'\]"),
        (lambda state: state.pop("apply_A.weight"), "no checkpoint of GroupSC's authors"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_with_what_differs(tmp_path, change, says):
    state = authors_checkpoint(network(n_atoms=8))
    change(state)
    torch.save(state, tmp_path / "ckpt")
    with pytest.raises(ValueError, match=says):
        read_authors(tmp_path / "ckpt")


@pytest.mark.slow
def test_with_weights_of_ours_similar_patches_help_at_every_sigma(tmp_path):
    import bench

    folder, store = middles(tmp_path / "middles"), tmp_path / "s.sqlite"
    frame = bench.run("sc@ours,groupsc@ours", "denoise", folder, sigma=[15, 25, 50], jobs=2, store=store).frame()
    mean = frame.groupby(["level", "weights"])["psnr_db"].mean().groupby("level").agg(list)
    for sigma, (groupsc_db, sc_db) in mean.items():
        assert groupsc_db > sc_db + 0.03, sigma


def middles(folder, side=128):
    """The middle of each picture of `sample`, as files: a quarter of the work, and the gates measure them whole."""
    folder.mkdir()
    sample = get("sample")
    for entry in sample.entries:
        x = read(sample, entry).pixels
        top, left = ((n - side) // 2 for n in x.shape[:2])
        crop = np.rint(255 * x[top : top + side, left : left + side, 0]).astype(np.uint8)
        Image.fromarray(crop).save(folder / f"{Path(entry.name).stem}.png")
    return folder
