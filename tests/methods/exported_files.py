"""Files of small networks whose answers are known: the same network as an ONNX graph and as a TorchScript program."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.restorer import WeightsFile

KINDS = ("onnx", "torchscript")


class AddsSigma(nn.Module):
    """The image, and the noise level added to it."""

    def forward(self, y: Tensor, sigma: Tensor) -> Tensor:
        return y + sigma


class AddsNumber(nn.Module):
    def forward(self, y: Tensor, sigma: float) -> Tensor:
        return y + sigma


def convolution(weight: np.ndarray, bias: float = 0.0) -> nn.Conv2d:
    """weight (C_out, C_in, k, k); zero padding keeps the size."""
    n_out, n_in, k, _ = weight.shape
    layer = nn.Conv2d(n_in, n_out, k, padding=k // 2)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.asarray(weight, np.float32)))
        layer.bias.fill_(bias)
    return layer


def gain(factors: Sequence[float], n_in: int = 0, bias: float = 0.0) -> nn.Conv2d:
    """Each channel times its factor; of further channels in, the last is added to all."""
    n = len(factors)
    weight = np.zeros((n, n_in or n, 1, 1))
    weight[range(n), range(n), 0, 0] = factors
    if n_in > n:
        weight[:, -1] = 1
    return convolution(weight, bias)


def weights_of(path: Path) -> WeightsFile:
    return WeightsFile(path, f"file:{path.name}", hashlib.sha256(path.read_bytes()).hexdigest())


def script(network: nn.Module, *, frozen: bool = False) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its files will be met for long
        made = torch.jit.script(network.eval())
        return torch.jit.freeze(made) if frozen else made


def saved(kind: str, folder: Path, network: nn.Module, **told) -> WeightsFile:
    """`network` in a file of that kind. told: of an ONNX graph, see `graph`."""
    path = folder / {"onnx": "net.onnx", "torchscript": "net.pt"}[kind]
    if kind == "onnx":
        graph(path, network, **told)
    else:
        script(network).save(str(path))
    return weights_of(path)


def graph(path: Path, network: nn.Module, sides=("H", "W"), level=(1, 1, 1, 1), external: str = "") -> None:
    """An ONNX graph of convolutions, ReLU and shuffles.

    sides     of the image, numbers if they are fixed
    level     shape of the noise level, where it is an input
    external  file that its weights go to
    """
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: no ONNX graph is tried")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: no ONNX graph is tried")
    from onnx import TensorProto, helper, numpy_helper

    layers = [*network] if isinstance(network, nn.Sequential) else [network]
    nodes, tensors, inputs = [], [], []
    n_in = layers[0].in_channels if isinstance(layers[0], nn.Conv2d) else 1
    inputs.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, n_in, *sides]))
    for i, layer in enumerate(layers):
        before, after = f"x{i}" if i else "y", f"x{i + 1}"
        if isinstance(layer, nn.Conv2d):
            tensors.append(numpy_helper.from_array(layer.weight.detach().numpy(), f"weight{i}"))
            tensors.append(numpy_helper.from_array(layer.bias.detach().numpy(), f"bias{i}"))
            pads = [layer.padding[0]] * 4
            nodes.append(helper.make_node("Conv", [before, f"weight{i}", f"bias{i}"], [after], pads=pads))
        elif isinstance(layer, nn.PixelUnshuffle):
            nodes.append(helper.make_node("SpaceToDepth", [before], [after], blocksize=layer.downscale_factor))
        elif isinstance(layer, nn.PixelShuffle):
            mode = "CRD" if layer is layers[-1] and len(layers) == 2 else "DCR"
            factor = layer.upscale_factor
            nodes.append(helper.make_node("DepthToSpace", [before], [after], blocksize=factor, mode=mode))
        elif isinstance(layer, nn.ReLU):
            nodes.append(helper.make_node("Relu", [before], [after]))
        else:
            inputs.append(helper.make_tensor_value_info("sigma", TensorProto.FLOAT, level))
            nodes.append(helper.make_node("Add", [before, "sigma"], [after]))
    answer = helper.make_tensor_value_info(f"x{len(layers)}", TensorProto.FLOAT, None)
    made = helper.make_graph(nodes, "net", inputs, [answer], tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, save_as_external_data=bool(external), location=external or None, size_threshold=0)
