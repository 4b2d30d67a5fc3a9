"""`--start`: safetensors and state dicts; anything else is told in one line."""

from pathlib import Path

import pytest

from bench.errors import TrainingError

torch = pytest.importorskip("torch")

from bench.tasks import Setting  # noqa: E402
from bench.training.start import begin_with, read_weights  # noqa: E402

GRAY_25 = Setting("denoise", 25.0, 1)


def given():
    net = torch.nn.Conv2d(1, 1, 3)
    return net, {name: torch.randn_like(tensor) for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"params": {name: 0 * tensor for name, tensor in state.items()}, "params_ema": state},
        lambda state: {**state, "of another part": torch.zeros(3)},
    ],
    ids=["plain", "entry", "wrapper", "running mean", "more"],
)
def test_a_state_dict_of_torch_is_taken(tmp_path, wrap):
    net, state = given()
    torch.save(wrap(state), tmp_path / "w.pth")
    read_weights(net, tmp_path / "w.pth", 25.0)
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"weight": torch.zeros(1, 1, 5, 5)}, r"weight has shape \(1, 1, 5, 5\), expected \(1, 1, 3, 3\)"),
        ({"weight": torch.zeros(1, 1, 3, 3, dtype=torch.int8)}, "'weight' is int8 in the file and float32"),
        ({"weight": torch.empty(1, 1, 3, 3, device="meta")}, "'weight' has a shape and no values"),
        ({"other": torch.zeros(3)}, r"has no tensor of this network \(weight, bias, …\)"),
        ({"epoch": 3}, "has no tensor of this network"),
        (torch.nn.Conv2d(1, 1, 3), "is a whole model"),
    ],
    ids=["shape", "whole numbers", "meta", "names", "no tensors", "a model"],
)
def test_what_does_not_fit_is_named(tmp_path, content, says):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(TrainingError, match=f"^--start {tmp_path}/w.pth.*{says}"):
        read_weights(given()[0], tmp_path / "w.pth", 25.0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"words", "is text, which begins 'words'"),
        (b"PK\x03\x04cut", "is a zip file that is cut off"),
        (b"\x10\0\0\0\0\0\0\0{", "is a safetensors file that is cut off"),
        (None, "Cannot read the weights file .*No such file"),
    ],
    ids=["empty", "text", "zip", "safetensors", "missing"],
)
def test_a_file_of_another_kind_is_named(tmp_path, content, says):
    if content is not None:
        (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(TrainingError, match=f"^--start .*{says}"):
        read_weights(given()[0], tmp_path / "w.bin", 25.0)


@pytest.mark.parametrize("levels", [3, "many", ["a", "b"], None])
def test_levels_that_are_none_are_not_taken_for_some(tmp_path, levels):
    net, state = given()
    several = {"weight": torch.stack([state["weight"]] * 2)}
    torch.save({"params": several, "options": {"levels": levels}}, tmp_path / "w.pth")
    with pytest.raises(TrainingError, match="weights of another architecture"):
        read_weights(net, tmp_path / "w.pth", 25.0)


def test_weights_that_a_restorer_has_are_read_as_it_reads_them():
    """Those of a network that is here in the package, of the level that is asked for."""
    from bench.plugins.registry import choose, load_class
    from bench.plugins.weights import pick

    spec = choose("deep-ksvd@ours")
    made = load_class(spec.info.target)("", pick(spec, GRAY_25).file)
    made.prepare(GRAY_25, "cpu")
    network = made.network(GRAY_25)
    assert begin_with(network, "deep-ksvd@ours", GRAY_25) == made.weights.sha256
    expected = made.plain.state_dict()
    assert expected.keys() == network.state_dict().keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("start", "setting", "says"),
    [
        ("deep-ksvd@ours", Setting("denoise", 25.0, 3), "--start deep-ksvd@ours: "),
        ("dncnn@ours", GRAY_25, r"--start dncnn@ours: has no tensor of this network \(weight, bias, …\)"),
        ("bm3d@ours", GRAY_25, "--start bm3d@ours: expected a network"),
        ("dncm@ours", GRAY_25, "No restorer named 'dncm'. Did you mean 'dncnn'"),
    ],
)
def test_a_restorer_whose_weights_will_not_do_is_named(start, setting, says):
    from bench.errors import BenchError

    with pytest.raises(BenchError, match=says):
        begin_with(given()[0], start, setting)


def test_a_file_with_an_at_in_its_name_is_a_file(tmp_path, monkeypatch):
    from bench.training.session import _beginning

    monkeypatch.chdir(tmp_path)
    (tmp_path / "a@b.pth").write_bytes(b"")
    assert _beginning("a@b.pth") == Path("a@b.pth")
    assert _beginning("gone.pth") == Path("gone.pth")
    assert _beginning("dncnn@published") == "dncnn@published"
    assert _beginning(None) is None


def test_a_restorer_is_made_as_it_was_asked_for(tmp_path):
    """With its parameters, and though its own `__init__` knows nothing of variants and weights."""
    (tmp_path / "wide.py").write_text(
        "import torch\nfrom bench.restorer import TorchRestorer\n\n\nclass Wide(TorchRestorer):\n"
        "    name, tasks = 'wide', {'denoise'}\n\n    def __init__(self, size=3):\n        self.size = size\n\n"
        "    def network(self, setting):\n        return torch.nn.Conv2d(1, 1, self.size, padding='same')\n"
    )
    weights = torch.nn.Conv2d(1, 1, 5).state_dict()
    torch.save(weights, tmp_path / "w.pth")
    network = torch.nn.Conv2d(1, 1, 5)
    begin_with(network, f"{tmp_path}/wide.py:Wide(size=5)@{tmp_path}/w.pth", GRAY_25)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())
