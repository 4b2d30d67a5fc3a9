"""On a CUDA device: the same answers as on the CPU, both of its times, and faults that cost their own cell.

BENCH_TEST_DEVICE names another device than cuda; with cpu these tests rehearse themselves.
"""

import os
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

import bench
from bench.errors import WeightsError
from bench.plugins.registry import choose, infos, load_class
from bench.plugins.weights import pick
from bench.tasks import Setting, get_task

pytestmark = pytest.mark.gpu

DEVICE = os.environ.get("BENCH_TEST_DEVICE", "cuda")
ON_CUDA = DEVICE.startswith("cuda")
SETTING = Setting("denoise", 25.0, 1)
CARDS = [card for card in infos().values() if not (card.adapts or card.takes_denoiser or card.unavailable)]
NETWORKS = [card.name for card in CARDS if card.needs_weights and "denoise" in card.tasks]

NET = """
from bench.restorer import TorchRestorer

class Net(TorchRestorer):
    name, tasks, needs_weights = "net", {"denoise"}, False

    def network(self, setting):
        import torch
        return torch.nn.Conv2d(setting.channels, setting.channels, 3, padding=1)
"""


def observation(size=64):
    from skimage import color, data

    picture = color.rgb2gray(data.astronaut())[100 : 100 + size, 180 : 180 + size, None].astype(np.float32)
    return get_task("denoise").observe(picture, 25.0, np.random.RandomState(0))


def answer(name, device, seen, *, trained=False):
    """Of a restorer with weights for SETTING, published ones or ours. If none are here: untrained, or an error."""
    spec = choose(name)
    try:
        weights = pick(spec, SETTING).file
    except WeightsError:
        if trained:
            raise
        weights = None
    restorer = load_class(spec.info.target)(spec.variant, weights)
    restorer.prepare(SETTING, device)
    return restorer.restore(seen)


@pytest.mark.parametrize("name", ["bm3d", "bm3d:lc", *NETWORKS])
def test_a_restorer_answers_as_on_the_cpu(name):
    """To 1e-4 of the range; or, where rounding alone moves it further (LIDIA chooses neighbours), as far as that."""
    if DEVICE.partition(":")[0] not in load_class(choose(name).info.target).devices:
        pytest.skip("it computes on the CPU")
    seen = observation()
    moved = seen.image * (1 + 1e-7 * np.random.RandomState(0).randn(*seen.image.shape))
    on_cpu = answer(name, "cpu", seen)
    by_rounding = np.abs(answer(name, "cpu", replace(seen, image=moved.astype(np.float32))) - on_cpu).max()
    difference = np.abs(answer(name, DEVICE, seen) - on_cpu).max()
    assert difference <= max(1e-4, 2 * by_rounding), f"{difference:.2e}, {by_rounding:.2e} by rounding"


@pytest.mark.parametrize(
    ("name", "grey_levels"), [("dncnn:bf16", 0.5), ("sc:bf16", 0.1), ("groupsc:bf16", 0.18), ("nlrn:bf16", 0.1)]
)
def test_a_fast_variant_stays_as_close_as_it_says(name, grey_levels):
    """With trained weights: untrained, NLRN changes nothing in any arithmetic, and DnCNN's bfloat16 is 1.6 away."""
    seen = observation()
    fast, exact = (255 * answer(n, DEVICE, seen, trained=True) for n in (name, name.partition(":")[0]))
    rms = float(np.sqrt(np.square(fast - exact).mean()))
    assert 0 < rms <= grey_levels


def test_a_network_is_timed_on_both_devices(photos, tmp_path):
    (tmp_path / "net.py").write_text(NET)
    on_cpu, there = (
        bench.run(f"{tmp_path}/net.py:Net", datasets=photos, device=device, store=tmp_path / f"{n}.sqlite").frame()
        for n, device in enumerate(("cpu", DEVICE))
    )
    assert there["psnr_db"].tolist() == pytest.approx(on_cpu["psnr_db"].tolist(), abs=1e-3)
    assert on_cpu["device_seconds"].isna().all()
    if ON_CUDA:
        assert (there["device_seconds"] <= there["seconds"]).all()
        assert there["environment"].str.contains('"gpu"').all()


@pytest.mark.skipif(not ON_CUDA, reason="events are CUDA's")
def test_events_agree_with_the_end_to_end_time_of_a_synchronised_loop():
    from bench.measure.clocks import clock_for

    A = torch.randn(4096, 4096, device=DEVICE)

    def products():
        for _ in range(20):
            torch.mm(A, A)

    clock = clock_for(DEVICE)
    clock.time(products)
    reading = clock.time(products)[1]
    torch.cuda.synchronize()
    start = time.perf_counter()
    products()
    torch.cuda.synchronize()
    loop = time.perf_counter() - start
    assert reading.device_seconds == pytest.approx(loop, rel=0.1)
    assert reading.device_seconds <= reading.seconds == pytest.approx(loop, rel=0.1)


@pytest.mark.skipif(not ON_CUDA, reason="the allocator is CUDA's")
def test_the_peak_is_what_was_allocated_at_once():
    from bench.measure.memory import peak_mib, reset_peak

    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated() / 2**20
    reset_peak(DEVICE)
    held = torch.empty(300 * 2**20, dtype=torch.uint8, device=DEVICE)
    del held
    held = torch.empty(200 * 2**20, dtype=torch.uint8, device=DEVICE)
    assert peak_mib(DEVICE) - before == pytest.approx(300, abs=4)
    del held


FAULTY = """
import torch
from bench.restorer import Restorer

class Faulty(Restorer):
    name, tasks, devices = "faulty", {"denoise"}, ("cpu", "cuda")

    def prepare(self, setting, device):
        self.device = device

    def restore(self, seen):
        if seen.image.shape[0] == 17:
            FAULT
        return torch.tensor(seen.image, device=self.device).cpu().numpy()
"""
FAULTS = {
    "memory": ("torch.empty(2**46, dtype=torch.uint8, device=self.device)", "memory"),
    "hang": ("torch.cuda._sleep(2**62); torch.cuda.synchronize()", "no answer within the time limit"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_on_the_device_costs_its_own_cell(fault, photos, tmp_path):
    if fault == "hang" and not ON_CUDA:
        pytest.skip("a kernel that hangs is CUDA's")
    line, words = FAULTS[fault]
    (tmp_path / "faulty.py").write_text(FAULTY.replace("FAULT", line))
    (photos / "3.png").rename(photos / "0.png")  # the faulty one first
    outcome = bench.run(
        f"{tmp_path}/faulty.py:Faulty",
        datasets=photos,
        sigma=25,
        device=DEVICE,
        store=tmp_path / "s.sqlite",
        time_limit=8 if fault == "hang" else 600,
    )
    (failure,) = outcome.failures
    assert failure.image == "0.png"
    assert words in failure.reason
    assert [record.status for record in outcome.records].count("ok") == 2


# --- training ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sc", "groupsc"])
def test_the_sparse_models_have_the_same_gradients_on_both_devices(name):
    restorer = load_class(choose(name).info.target)()
    torch.manual_seed(0)
    network = restorer.network(SETTING)
    y = torch.rand(2, 1, 24, 24)
    gradients = []
    for device in ("cpu", DEVICE):
        network.to(device).zero_grad()
        network(y.to(device)).square().sum().backward()
        gradients.append([p.grad.cpu() for p in network.parameters()])
    for on_cpu, there in zip(*gradients, strict=True):
        torch.testing.assert_close(there, on_cpu, rtol=1e-3, atol=1e-3 * float(on_cpu.abs().max()))


@pytest.mark.parametrize(
    ("name", "optimizer"), [("sc", "adam"), ("groupsc", "soap"), ("nlrn", "soap"), ("nsr", "soap")]
)
def test_recorded_steps_are_the_steps(name, optimizer, photos, tmp_path):
    """A training whose steps are replayed from a graph has the losses of one that makes them one by one."""
    from bench.training.crops import Crops
    from bench.training.graph import Graphs
    from bench.training.loop import Training
    from bench.training.recipe import find_recipe

    recipe = replace(
        find_recipe(choose(name).info, "gpu"),
        data=str(photos),
        held_out=1,
        crop=16,
        batch=2,
        optimizer=optimizer,
        turn_every=4,
        lr=1e-4,
        warm_up=0,
        options={"window": 8} if name == "groupsc" else {},
    )
    losses = []
    for recorded in (True, False):
        restorer = load_class(choose(name).info.target)()
        training = Training(
            restorer, recipe, SETTING, Crops(recipe, SETTING), tmp_path / str(recorded), device=DEVICE, steps=12
        )
        if training.graphs and not recorded:
            training.graphs.refused = "to compare"
        losses.append([now.loss for now in training.run()][-1])
        if recorded and ON_CUDA:
            assert isinstance(training.graphs, Graphs)
            assert not training.graphs.refused
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)
