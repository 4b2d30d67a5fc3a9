"""What runs a network that came as a file: onnxruntime an ONNX graph, torch a TorchScript program."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bench.restorer import RestorerError

if TYPE_CHECKING:
    import onnx
    import onnxruntime
    from numpy.typing import NDArray

__all__ = ["Graph", "Program", "Script", "macs_of", "words_of"]


class Program(nn.Module):
    """What a file holds, and what it says of itself: (1, C, H, W) to (1, C', s H, s W).

    has_sigma  whether the noise level is a second input
    is_map     whether that is as large as the image; None: the file does not say
    sides      (H, W) that it takes; None: any
    """

    has_sigma: bool
    is_map: bool | None = None
    sides: tuple[int | None, int | None] = (None, None)

    def forward(self, y: Tensor, sigma: Tensor | None) -> Tensor:
        raise NotImplementedError


def words_of(error: Exception) -> str:
    """The error in a line. TorchScript's has the program in it, and ends with what was wrong."""
    lines = str(error).split("\n")
    said = [line.strip() for line in lines if line.strip()] or [type(error).__name__]
    return said[-1] if "TorchScript" in said[0] else " ".join(said)


def _is_second(asked: str, inputs: Sequence[str]) -> bool:
    """Whether there is a second input. Raises RestorerError for more."""
    if len(inputs) not in (1, 2):
        raise RestorerError(
            f"{asked} has {len(inputs)} inputs ({', '.join(inputs)}), expected an image and perhaps a noise level."
        )
    return len(inputs) == 2


# --- ONNX ------------------------------------------------------------------------------------------


class Graph(Program):
    """An ONNX graph, run by onnxruntime."""

    def __init__(self, path: Path, asked: str, device: torch.device) -> None:
        import onnxruntime

        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors, which are raised as well
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=[_provider(device)])
        except Exception as error:
            raise RestorerError(f"{asked} cannot be run by onnxruntime: {words_of(error)}") from error
        if device.type == "cuda" and "CUDAExecutionProvider" not in self.session.get_providers():
            raise RestorerError("onnxruntime has no CUDA here. Remedy: pip install onnxruntime-gpu.")
        self.inputs = self.session.get_inputs()
        self.answer = self.session.get_outputs()[0].name
        self.has_sigma = _is_second(asked, [one.name for one in self.inputs])
        for one in self.inputs:
            if one.type not in NUMBERS:
                raise RestorerError(f"{asked}: its input '{one.name}' is {one.type}, expected {', '.join(NUMBERS)}.")
        image, *level = (one.shape for one in self.inputs)
        if len(image) != 4:
            raise RestorerError(f"{asked} takes a tensor of shape {image}, expected (1, C, H, W).")
        self.sides = tuple(n if isinstance(n, int) else None for n in image[2:])
        self.is_map = _is_map(level[0], image) if level else None

    def forward(self, y: Tensor, sigma: Tensor | None) -> Tensor:
        image, *level = self.inputs
        given = {image.name: _numbers(y, image)}
        if level:
            of_its_shape = sigma if sigma.numel() > 1 else sigma.reshape((1,) * len(level[0].shape))
            given[level[0].name] = _numbers(of_its_shape, level[0])
        [x] = self.session.run([self.answer], given)
        return torch.from_numpy(x).to(y.device)


def _is_map(level: Sequence[Any], image: Sequence[Any]) -> bool | None:
    """Whether an input of that shape is as large as the image, of its own; None where its sides are free."""
    if len(level) != 4 or list(level[2:]) == [1, 1]:
        return False
    is_fixed = all(isinstance(side, int) for side in level[2:])
    return True if is_fixed or list(level[2:]) == list(image[2:]) != [None, None] else None


NUMBERS = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}


def _numbers(x: Tensor, taken: onnxruntime.NodeArg) -> NDArray[Any]:
    return x.cpu().numpy().astype(NUMBERS[taken.type], copy=False)


def _provider(device: torch.device) -> Any:
    if device.type == "cuda":  # a restorer's name means float32: TensorFloat-32 keeps 10 bits of its 23
        return ("CUDAExecutionProvider", {"device_id": device.index or 0, "use_tf32": 0})
    return "CPUExecutionProvider"


def macs_of(model: onnx.ModelProto, sides: tuple[int, int]) -> int | None:
    """Multiply-accumulates of a graph's convolutions and matrix products, for an image of these sides.

    None where the sizes of one cannot be told without running it.
    """
    from onnx import shape_inference

    fixed = type(model)()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        dims = value.type.tensor_type.shape.dim
        for dim, n in zip(dims, (1, None, *sides), strict=False):
            if n is not None and not dim.dim_value:
                dim.dim_value = n
    graph = shape_inference.infer_shapes(fixed, data_prop=True).graph
    told = [*graph.input, *graph.value_info, *graph.output]
    shapes = {value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in told}
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    counts = [_macs(node, shapes) for node in graph.node if node.op_type in PRODUCTS or node.op_type in UNTOLD]
    return None if None in counts else sum(counts)


PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
UNTOLD = ("If", "Loop", "Scan", "Einsum", "Attention", "GRU", "LSTM", "RNN", "QLinearConv", "ConvInteger")


def _macs(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    if node.op_type in UNTOLD:
        return None
    x, weight, out = (shapes.get(name, ()) for name in (*node.input[:2], node.output[0]))
    if not all((x, weight, out)) or 0 in (*x, *weight, *out):
        return None
    if node.op_type == "Conv":  # weight (C_out, C_in / groups, k, k)
        return prod(out) * prod(weight[1:])
    if node.op_type == "ConvTranspose":  # weight (C_in, C_out / groups, k, k)
        return prod(x) * prod(weight[1:])
    is_turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return prod(out) * x[-2 if is_turned else -1]


# --- TorchScript -------------------------------------------------------------------------------------


class Script(Program):
    """A TorchScript program, run by torch."""

    def __init__(self, path: Path, asked: str, device: torch.device) -> None:
        super().__init__()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # whoever has such a file can do nothing about it
                self.script = torch.jit.load(str(path), map_location=device).eval()
        except Exception as error:
            raise RestorerError(
                f"{path} is no TorchScript program. One is made by torch.jit.script(network).save('model.pt'); the"
                " weights of a network are named as NAME@FILE."
            ) from error
        _, *arguments = self.script.forward.schema.arguments  # the first is the program itself
        taken = [argument for argument in arguments if not argument.has_default_value()]
        self.has_sigma = _is_second(asked, [argument.name for argument in taken])
        self.is_number = self.has_sigma and str(taken[1].type) in ("float", "int", "number")
        self.is_map = False if self.is_number else None
        self.dtype = next((p.dtype for p in self.script.parameters() if p.is_floating_point()), torch.float32)

    def forward(self, y: Tensor, sigma: Tensor | None) -> Tensor:
        level = [float(sigma) if self.is_number else sigma.to(self.dtype)] if self.has_sigma else []
        x = self.script(y.to(self.dtype), *level)
        while isinstance(x, (tuple, list)) and x:
            x = x[0]
        return x
