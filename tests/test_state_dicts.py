"""Tensors of a file into a network: of all kinds of files, and what is said of those that do not fit."""

import os
from itertools import pairwise

import pytest
import torch
from torch import nn

from bench.errors import WeightsError
from bench.state_dicts import explained, load_into, options_in
from tests.checkpoint_files import BROKEN, FOREIGN, READ, WAS_HERE, network, safetensors, saved, values, write


def put(tmp_path, content, name="x.pth"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def emptied(net=None):
    """A network all of whose numbers are another than those of any file."""
    net = net or network()
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.fill_(77)
    return net


def said(net, path, load=load_into):
    with pytest.raises(WeightsError) as caught:
        load(net, path)
    [line] = str(caught.value).splitlines()
    assert str(path) in line
    assert "weights_only" not in line
    assert len(line) < 600
    return line


@pytest.mark.parametrize("kind", READ)
def test_tensors_are_read_wherever_they_lie_in_a_file(tmp_path, kind):
    net = emptied()
    load_into(net, write(tmp_path, kind))
    for name, tensor in net.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, values()[name]), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_numbers_are_taken_as_they_are(tmp_path, dtype):
    net = emptied()
    load_into(net, put(tmp_path, saved({name: tensor.to(dtype) for name, tensor in values().items()})))
    assert torch.equal(net[0].weight, values()["0.weight"].to(dtype).float())


SAYS = {
    "a whole model": "is a whole model (torch.nn.modules.container.Sequential)",
    "a whole model of old": "is a whole model (torch.nn.modules.container.Sequential)",
    "a model in a dict": "is a whole model (torch.nn.modules.container.Sequential)",
    "numbers of numpy": "holds more than tensors (numpy.",
    "arrays of numpy": "holds more than tensors (numpy.",
    "arguments": "holds more than tensors (argparse.Namespace)",
    "a call": f"holds more than tensors ({os.mkdir.__module__}.mkdir)",
    "a later protocol": "is pickled by protocol 4",
    "a single tensor": "holds a single tensor of 3x4, without a name",
    "optimizer": "holds the state of an optimizer, and no network's",
    "a bare optimizer": "holds the state of an optimizer, and no network's",
    "rates of an optimizer": "holds the state of an optimizer, and no network's",
    "numbers": "holds no tensors by their names ('epoch', 'lr')",
    "nothing": "holds no tensors by their names. Expected",
    "tensors by numbers": "holds no tensors by their names ('0')",
    "a list of tensors": "holds no tensors by their names. Expected",
    "two networks": "holds several state dicts that fit and differ: 'model', 'net'",
    "int8": "'0.weight' is int8 in the file and float32 in the network",
    "quantised": "'0.weight' is qint8 in the file and float32 in the network",
    "complex": "'0.weight' is complex64 in the file and float32 in the network",
    "no values": "'0.weight' has a shape and no values",
    "unpacks to much": "times its size",
    "later kinds of numbers": "cannot be read as safetensors",
    "half a file of old": "is damaged or cut off",
    "a third of a file of old": "is damaged or cut off",
    "a flipped bit": "is damaged",
}


@pytest.mark.parametrize("kind", {**FOREIGN, **BROKEN})
def test_what_is_not_read_is_one_line_and_leaves_the_network_alone(tmp_path, kind):
    net = emptied()
    line = said(net, write(tmp_path, kind))
    assert SAYS.get(kind, " is ") in line
    assert all((tensor == 77).all() for tensor in net.state_dict().values())
    assert not WAS_HERE.exists()


# --- what does not fit ----------------------------------------------------------------------------------


def conv(n_in, n_out, size=3):
    return nn.Conv2d(n_in, n_out, size)


def layers(*widths, bn=False):
    parts = []
    for n_in, n_out in pairwise(widths):
        parts += [conv(n_in, n_out), *([nn.BatchNorm2d(n_out)] if bn else []), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def named(name, net):
    return nn.ModuleDict({name: net})


MISFITS = {
    "colour": (
        layers(3, 4, 3),
        layers(1, 4, 1),
        "'0.weight' is 4x3x3x3 in the file and 4x1x3x3 in the network, and 2 more differ",
        "weights for colour pictures, and a network for gray ones",
    ),
    "gray": (layers(1, 4, 1), layers(3, 4, 3), "4x1x3x3 in the file", "weights for gray pictures"),
    "sub-images of colour": (layers(12, 4), layers(4, 4), "4x12x3x3 in the file", "weights for colour pictures"),
    "gray and fewer": (
        layers(1, 4, 1),
        layers(3, 4, 4, 3),
        "the network has '4.weight' and 1 more that the file lacks",
        "weights for gray pictures, and a network for colour ones",
    ),
    "wider": (layers(1, 8, 1), layers(1, 4, 1), "8x1x3x3 in the file and 4x1x3x3", "layers of other widths"),
    "other kernels": (conv(1, 4, 5), conv(1, 4, 3), "'weight' is 4x1x5x5", "kernels of another size"),
    "other names": (
        named("model", layers(1, 4, 1)),
        named("body", nn.ModuleDict({"a": conv(1, 4), "b": conv(4, 1)})),
        "the file has 'model.0.weight' and 3 more that the network lacks, the network has 'body.a.weight' and 3 more",
        "the same architecture under other names: a `load` of your own can rename them",
    ),
    "a word before each": (
        named("generator", layers(1, 4, 1)),
        layers(1, 4, 1),
        "'generator.0.weight'",
        "the network's names behind 'generator.'",
    ),
    "a word fewer": (layers(1, 4, 1), named("net", layers(1, 4, 1)), "'net.0.weight'", "without their 'net.'"),
    "fewer layers": (layers(1, 4, 1), layers(1, 4, 4, 1), "the network has '4.weight'", "a network of fewer layers"),
    "more layers": (layers(1, 4, 4, 4, 1), layers(1, 4, 4), "the file has '4.weight'", "a network of more layers"),
    "batch normalisation": (layers(1, 4, 1, bn=True), layers(1, 4, 1), "the file has '1.", "batch normalisation"),
    "none of it": (layers(1, 4, 1), layers(1, 4, 1, bn=True), "the network has '1.", "batch normalisation"),
    "weight normalisation": (
        torch.nn.utils.parametrizations.weight_norm(conv(1, 4)),
        conv(1, 4),
        "'parametrizations.weight.original0'",
        "weight normalisation that was not merged",
    ),
    "something else": (nn.Linear(3, 4), layers(1, 4, 1), "the file has 'weight'", "another architecture"),
    "a part": (nn.ModuleDict({"a": conv(1, 4), "c": conv(1, 1)}), nn.ModuleDict({"a": conv(1, 4), "b": conv(2, 2)}),
               "the file has 'c.weight'", "another version of the architecture"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MISFITS)
@pytest.mark.parametrize("container", ["safetensors", "pth"])
def test_what_differs_first_and_the_likely_reason_are_said(tmp_path, kind, container):
    theirs, ours, differs, reason = MISFITS[kind]
    state = theirs.state_dict()
    content = safetensors(state) if container == "safetensors" else saved({"params": state})
    line = said(ours, put(tmp_path, content, f"x.{container}"))
    assert "does not fit the network: " in line
    assert differs in line
    assert f"Most likely {reason}" in line or reason in line.partition("Most likely ")[2]


def test_axes_in_another_order_are_recognised(tmp_path):
    state = {"weight": torch.zeros(3, 3, 1, 4), "bias": torch.zeros(4)}
    assert "axes in another order" in said(conv(1, 4), put(tmp_path, saved(state)))


def test_names_from_a_file_are_printed_safely_and_shortly(tmp_path):
    state = {f"a\n\x1b[31m{'long' * 200}": torch.zeros(1), "b": torch.zeros(1)}
    assert "\x1b" not in said(conv(1, 4), put(tmp_path, saved(state)))


def test_counters_of_batch_normalisation_may_be_missing(tmp_path):
    net = layers(1, 4, 1, bn=True)
    state = {name: tensor for name, tensor in net.state_dict().items() if "num_batches" not in name}
    load_into(emptied(layers(1, 4, 1, bn=True)), put(tmp_path, saved(state)))  # of torch before 0.4.1
    load_into(emptied(layers(1, 4, 1, bn=True)), put(tmp_path, saved(net.state_dict())))
    dropped = net.state_dict()  # which says that its layers are of a version that has them
    for name in {*dropped} - {*state}:
        del dropped[name]
    load_into(emptied(layers(1, 4, 1, bn=True)), put(tmp_path, saved(dropped)))
    two = {"model": values(), "net": state}  # the one that fits is found without them
    load_into(emptied(layers(1, 4, 1, bn=True)), put(tmp_path, saved(two)))


def test_a_network_whose_own_names_begin_so_keeps_them(tmp_path):
    net = emptied(named("module", layers(1, 4, 1)))
    load_into(net, put(tmp_path, saved(named("module", layers(1, 4, 1)).state_dict())))
    assert not (net["module"][0].weight == 77).any()


@pytest.mark.parametrize("wrong", [RuntimeError("of another kind"), KeyError("apply_A.weight")])
def test_errors_of_another_kind_are_left_as_they_are(tmp_path, wrong):
    def load(net):
        raise wrong

    net = network()
    with pytest.raises(type(wrong), match=str(wrong.args[0])), explained(net, tmp_path / "x.pth"):
        load(net)


def test_a_load_of_ones_own_is_explained_too(tmp_path):
    net = network()
    path = put(tmp_path, saved(values(network(channels=3))))
    with pytest.raises(WeightsError, match="weights for colour pictures"), explained(net, path):
        net.load_state_dict(torch.load(path, weights_only=True))
    assert not net._load_state_dict_pre_hooks  # nothing of it stays with the network


# --- options --------------------------------------------------------------------------------------------


def test_options_are_in_the_metadata_or_beside_the_state_dict(tmp_path):
    options = {"width": 8, "levels": [5.0, 10.0], "guess": None}
    assert options_in(put(tmp_path, saved({"params": values(), "options": options}))) == options
    text = '{"width": 8, "levels": [5.0, 10.0], "guess": null}'
    assert options_in(put(tmp_path, safetensors(values(), options=text), "x.safetensors")) == options


@pytest.mark.parametrize(
    "options", [{"width": torch.zeros(1)}, {3: 4}, [1, 2], "width", {"a": {"b": torch.zeros(1)}}, None]
)
def test_options_that_are_not_plain_are_none(tmp_path, options):
    assert options_in(put(tmp_path, saved({"params": values(), "options": options}))) == {}


@pytest.mark.parametrize("kind", ["a whole model", "onnx", "half a file of old", "git lfs", "a call", "state dict"])
def test_what_is_not_read_has_no_options(tmp_path, kind):
    assert options_in(write(tmp_path, kind)) == {}


@pytest.mark.parametrize("text", ["{nope", "[1]", "3"])
def test_options_in_metadata_that_are_none_are_said(tmp_path, text):
    path = put(tmp_path, safetensors(values(), options=text), "x.safetensors")
    assert "`options` in its metadata are no JSON object" in said(None, path, lambda net, path: options_in(path))


def test_a_file_of_many_tensors_is_read_in_no_time(tmp_path):
    net = nn.ModuleList(nn.Linear(1, 1) for _ in range(3000))
    path = put(tmp_path, saved({"state_dict": net.state_dict()}))
    load_into(net, path)
    assert "fewer layers" in said(nn.ModuleList(nn.Linear(1, 1) for _ in range(3001)), path)
