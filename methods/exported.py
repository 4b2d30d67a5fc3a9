"""Networks that come as programs: an ONNX graph, or a TorchScript program.

Such a file says what is computed, and not what its numbers mean. So the range of its values must be told, and what
differs from the usual is an option. The network is tried before it is measured: how many channels it takes, whether
it enlarges, whether it runs on odd sides. What is then found to be missing is an error that names the option.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import torch
from bench.methods.networks.foreign import YES_OR_NO, check_options, continued, trained_for, why_not_trained
from bench.methods.networks.programs import Graph, Program, Script, macs_of, words_of
from torch import Tensor, nn

from bench.restorer import Observation, RestorerError, Setting, TorchRestorer, WeightsFile

if TYPE_CHECKING:
    import onnx

__all__ = ["Exported", "Onnx", "TorchScript"]

PROBE, ODD = (64, 64), (61, 67)
"""pixels that a network is tried on"""
MULTIPLES = (2, 4, 8, 16, 32, 64, 128)
SIGMA = 25.0
"""and its noise level, where it is to be told one"""
FAR_OFF = (64, 1024)
"""times that values of range 255 are mistaken for those of range 1"""
COLOURS = {1: "gray", 3: "colour"}


class Exported(TorchRestorer):
    """A network in a file, with what the file does not say.

    range          of the values that it takes, 1 or 255: must be told, for no file does
    answers        range of those that it answers with; left out: the same
    order          of its colours, rgb or bgr
    sigma_channel  whether the noise level is a channel more, behind those of the image
    sigma_map      whether a second input, which is the noise level, is as large as the image or one number
    sigma_range    1 or 255: the noise level on the scale of [0, 1], or as it is. Left out: as `range`
    residual       whether it answers with what is to be subtracted
    multiple       of which its sides must be: the image is continued by reflection, the answer cut
    enlarged       whether it starts from the bicubic enlargement, in super-resolution
    repeat_gray    whether a network for colour is given gray images thrice; of its answer the mean is taken
    task, levels   that it was trained for, `levels=25` or `levels=(0, 55)`: at others it is not measured
    """

    def __init__(
        self,
        variant: str = "",
        weights: WeightsFile | None = None,
        *,
        range: Literal[1, 255],
        answers: int | None = None,
        order: str = "rgb",
        sigma_channel: bool = False,
        sigma_map: bool | None = None,
        sigma_range: int | None = None,
        residual: bool = False,
        multiple: int = 1,
        enlarged: bool = False,
        repeat_gray: bool = False,
        task: str | None = None,
        levels: Any = None,
    ) -> None:
        super().__init__(variant, weights)
        if weights is None:
            raise RestorerError(f"{self.name} runs a network in a file: {self.name}:FILE.")
        self.path = weights.path
        self.asked = f"{self.name}:{weights.path.name}"
        check_options(
            self.asked,
            {
                "range": (range, (1, 255)),
                "answers": (answers, (1, 255, None)),
                "order": (order, ("rgb", "bgr")),
                "sigma_channel": (sigma_channel, YES_OR_NO),
                "sigma_map": (sigma_map, (*YES_OR_NO, None)),
                "sigma_range": (sigma_range, (1, 255, None)),
                "residual": (residual, YES_OR_NO),
                "multiple": (multiple, (1, *MULTIPLES)),
                "enlarged": (enlarged, YES_OR_NO),
                "repeat_gray": (repeat_gray, YES_OR_NO),
                "task": (task, (*sorted(self.tasks), None)),
            },
        )
        self.range = range
        self.answers = answers or range
        self.is_bgr = order == "bgr"
        self.sigma_channel = sigma_channel
        self.sigma_map = sigma_map
        self.sigma_range = sigma_range or range
        self.residual = residual
        self.multiple = multiple
        self.enlarged = enlarged
        self.repeat_gray = repeat_gray
        self.task = task
        self.levels = trained_for(self.asked, levels)
        self.program: Program | None = None

    @abstractmethod
    def open(self, device: torch.device) -> Program:
        """The program in the file. Raises RestorerError if there is none."""

    def network(self, setting: Setting) -> Program:
        if self.program is None:
            self.program = self.open(torch.device("cpu"))
        return self.program

    def load(self, network: nn.Module, weights: WeightsFile) -> None:
        """Nothing: the file is all of the network."""

    def compile(self, network: nn.Module, setting: Setting) -> nn.Module:
        return network if self.device.type == "cpu" else self.open(self.device)

    # --- what it is for ---

    def why_not(self, setting: Setting) -> str | None:
        reason = super().why_not(setting) or why_not_trained(self.asked, self.task, self.levels, setting)
        if reason is not None:
            return reason
        program = self.network(setting)
        self._check_sigma(program)
        if (program.has_sigma or self.sigma_channel) and setting.task != "denoise":
            return f"{self.asked} is told the noise level, which {setting.task} does not give"
        C, other = (3, 1) if self.repeat_gray or setting.channels == 3 else (1, 3)
        answer = self._tried(program, C, self.sigma_channel)
        if isinstance(answer, Tensor):
            return self._why_not_scale(answer, _probe(program, C), setting)
        if self._runs(program, other, self.sigma_channel):
            hint = "; with repeat_gray=true it is given gray ones thrice" if other == 3 else ""
            return f"{self.asked} is for {COLOURS[other]} images{hint}"
        for channels in (C, other):
            if self._runs(program, channels, not self.sigma_channel):
                raise RestorerError(f"{self.asked} takes {self._channels_in_words(channels)}.")
        raise answer

    def _check_sigma(self, program: Program) -> None:
        """Raise RestorerError if what was said of the noise level is not what the file holds, or too little."""
        if not program.has_sigma:
            if self.sigma_map is not None:
                raise RestorerError(f"{self.asked} has one input, the image: leave sigma_map out.")
            return
        if self.sigma_channel:
            raise RestorerError(f"{self.asked} has an input for the noise level: leave sigma_channel out.")
        if program.is_map is None and self.sigma_map is None:
            raise RestorerError(
                f"{self.asked} has a second input. If it is a map of the noise level, as large as the image, write"
                " sigma_map=true; if it is one number, sigma_map=false."
            )
        if program.is_map is not None and self.sigma_map not in (None, program.is_map):
            found = "as large as the image" if program.is_map else "one number"
            raise RestorerError(f"{self.asked}: its second input is {found}: leave sigma_map out.")

    def _runs(self, program: Program, C: int, sigma_channel: bool) -> bool:
        return isinstance(self._tried(program, C, sigma_channel), Tensor)

    def _tried(self, program: Program, C: int, sigma_channel: bool) -> Tensor | RestorerError:
        """The answer to an image of C channels, or why there is none."""
        try:
            return self._run(program, _probe(program, C), SIGMA, sigma_channel)
        except RestorerError as error:
            return error

    def _channels_in_words(self, C: int) -> str:
        """What it takes, where `sigma_channel` says otherwise."""
        if self.sigma_channel:
            return f"{C} channels, and none for the noise level: leave sigma_channel out"
        return f"{C + 1} channels. If the last is the noise level, write sigma_channel=true"

    def _why_not_scale(self, x: Tensor, y: Tensor, setting: Setting) -> str | None:
        """Why it does not enlarge as it should, told from its answer x to y.

        Raises RestorerError if x is no image of y's channels.
        """
        C, H, W = y.shape[1:]
        scale = x.shape[2] // H
        if not scale or x.shape[1:] != (C, scale * H, scale * W):
            raise RestorerError(f"{self.asked} answers with {_shape(x)} for {_shape(y)}: that is no image like it.")
        wanted = int(setting.level) if setting.task == "superres" and not self.enlarged else 1
        if scale == wanted:
            return None
        if scale > 1:
            return f"{self.asked} makes images {scale} times as high and wide: it is for superres --scale {scale}"
        return f"{self.asked} does not enlarge; if it starts from the bicubic enlargement, write enlarged=true"

    # --- trying it ---

    def prepare(self, setting: Setting, device: str) -> None:
        super().prepare(setting, device)
        program, C = self.network(setting), 3 if self.repeat_gray else setting.channels
        self._check_range(_probe(program, C).to(self.device))
        if program.sides == (None, None):
            self._check_sides(torch.full((1, C, *ODD), 0.5, device=self.device))

    def _check_range(self, y: Tensor) -> None:
        """Raise RestorerError if the answer to y lies as far off as one of another range does."""
        times = float((self._restored(y, SIGMA).abs().mean() / y.abs().mean()).clamp(1e-9))
        low, high = FAR_OFF
        if low < times < high and self.answers == 1 and not self.residual:
            raise RestorerError(f"{self.asked} answers with values {times:.0f} times too large: write answers=255.")
        if low < 1 / times < high and self.answers == 255:
            raise RestorerError(f"{self.asked} answers with values {1 / times:.0f} times too small: write answers=1.")

    def _check_sides(self, y: Tensor) -> None:
        """Raise RestorerError if it does not run on y's sides, with the multiple to be written, if there is one."""
        refused = self._why_no_image(y)
        if refused is None:
            return
        told = self.multiple
        try:
            for multiple in MULTIPLES:
                self.multiple = multiple
                if self._why_no_image(y) is None:
                    raise RestorerError(
                        f"{self.asked} does not run on {ODD[0]}x{ODD[1]} pixels, and does where sides are multiples"
                        f" of {multiple}: write multiple={multiple}."
                    )
        finally:
            self.multiple = told
        raise refused

    def _why_no_image(self, y: Tensor) -> RestorerError | None:
        try:
            x = self._restored(y, SIGMA)
        except RestorerError as error:
            return error
        if x.shape[2] % y.shape[2] or x.shape[3] % y.shape[3]:
            return RestorerError(f"{self.asked} answers with {_shape(x)} for {_shape(y)}.")
        return None

    # --- restoring ---

    def forward(self, y: Tensor, seen: Observation) -> Tensor:
        if seen.task == "superres" and self.enlarged:
            y = self.to_tensor(seen.upscaled())
        if self.repeat_gray and y.shape[1] == 1:
            return self._restored(y.expand(-1, 3, -1, -1), seen.sigma).mean(1, keepdim=True)
        return self._restored(y, seen.sigma)

    def _restored(self, y: Tensor, sigma: float | None) -> Tensor:
        """x_hat of y, both RGB and in [0, 1]."""
        x = self._run(self.net, y.flip(1) if self.is_bgr else y, sigma, self.sigma_channel)
        x = x.flip(1) if self.is_bgr else x
        if not self.residual:
            return x
        if x.shape != y.shape:
            raise RestorerError(f"{self.asked} answers with {_shape(x)}: that is no residual of {_shape(y)}.")
        return y - x

    @torch.no_grad()
    def _run(self, program: nn.Module, y: Tensor, sigma: float | None, sigma_channel: bool) -> Tensor:
        """What the network answers to y (1, C, H, W), both in the order of its colours and in [0, 1].

        Raises RestorerError if it does not run on y.
        """
        H, W = y.shape[2:]
        y = self.range * self._padded(program, y)
        level = None if sigma is None else torch.full_like(y[:, :1], sigma * self.sigma_range / 255)
        try:
            if sigma_channel:
                x = program(torch.cat([y, level], 1), None)
            elif program.has_sigma:
                is_map = self.sigma_map if program.is_map is None else program.is_map
                x = program(y, level if is_map else level[:, :, :1, :1])
            else:
                x = program(y, None)
        except Exception as error:  # of many kinds, as the libraries have them
            raise RestorerError(f"{self.asked} does not run on {_shape(y)}: {words_of(error)}") from error
        if not isinstance(x, Tensor) or x.ndim != 4:
            found = _shape(x) if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise RestorerError(f"{self.asked} answers with {found}, expected a tensor (1, C, H, W).")
        scale = max(x.shape[2] // y.shape[2], 1)
        return x[:, :, : scale * H, : scale * W].float() / self.answers

    def _padded(self, program: nn.Module, y: Tensor) -> Tensor:
        H, W = y.shape[2:]
        height, width = (
            side or -(-n // self.multiple) * self.multiple for side, n in zip(program.sides, (H, W), strict=True)
        )
        if height < H or width < W:
            raise RestorerError(
                f"{self.asked} takes images of {height}x{width} pixels at most, this one has {H}x{W}. Export it with"
                " a height and width that may change."
            )
        return continued(y, height, width)

    def macs_per_pixel(self, seen: Observation) -> float | None:
        """Counted, but not where the corner that they are counted on would be continued by more than itself."""
        is_counted = self.multiple <= 32 and self.plain.sides == (None, None)
        return super().macs_per_pixel(seen) if is_counted else None


def _probe(program: Program, C: int) -> Tensor:
    """A slope (1, C, H, W) within [0.25, 0.75]."""
    H, W = (side or n for side, n in zip(program.sides, PROBE, strict=True))
    rows, columns = torch.linspace(0.25, 0.5, H), torch.linspace(0, 0.25, W)
    return (rows[:, None] + columns).expand(1, C, H, W)


def _shape(x: Tensor) -> str:
    return "x".join(map(str, x.shape))


# --- the two kinds ---------------------------------------------------------------------------------


class Onnx(Exported):
    """A network in an ONNX file, run by onnxruntime: `onnx:model.onnx(range=1)`.

    Of several outputs the first is its answer.
    """

    name = "onnx"
    adapts = ("onnx",)
    tasks = {"denoise", "denoise-blind", "deblock", "superres"}
    requires = {"onnx": "", "onnxruntime or onnxruntime-gpu": ""}
    devices = ("cpu", "cuda")

    def open(self, device: torch.device) -> Program:
        import onnx

        try:
            self.model = onnx.load(self.path, load_external_data=False)
        except Exception as error:  # of protobuf, whose kinds are its own
            raise RestorerError(f"{self.path} is no ONNX graph: {words_of(error)}") from error
        outside = [t for t in _tensors(self.model.graph) if t.data_location == onnx.TensorProto.EXTERNAL]
        if outside:
            files = {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"}
            raise RestorerError(
                f"{self.path} keeps weights in a file of their own ({', '.join(sorted(files))}), for which no record"
                f" could answer. Put all into one: onnx.save(onnx.load('{self.path.name}'), 'whole.onnx')."
            )
        return Graph(self.path, self.asked, device)

    def n_params(self) -> int:
        """Numbers in its tensors with a dimension, those of whole numbers left out: these are shapes and places."""
        import onnx

        kinds = onnx.TensorProto
        floats = (kinds.FLOAT, kinds.FLOAT16, kinds.BFLOAT16, kinds.DOUBLE)
        return sum(prod(t.dims) for t in _tensors(self.model.graph) if t.dims and t.data_type in floats)

    def macs_per_pixel(self, seen: Observation) -> float | None:
        """Counted in the graph, for its fixed sides or for 32x32 pixels; None where it does not tell all sizes."""
        H, W = (side or max(32, self.multiple) for side in self.plain.sides)
        macs = macs_of(self.model, (H, W))
        is_enlarged_by_it = seen.scale is not None and not self.enlarged
        return None if macs is None else macs / (H * W * (seen.scale**2 if is_enlarged_by_it else 1))


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All tensors in a graph, and in those within its nodes."""
    yield from graph.initializer
    for attribute in (one for node in graph.node for one in node.attribute):
        yield from [attribute.t] * attribute.HasField("t")
        yield from attribute.tensors
        for inner in [*attribute.graphs, *[attribute.g] * attribute.HasField("g")]:
            yield from _tensors(inner)


class TorchScript(Exported):
    """A network in a TorchScript file: `torchscript:model.pt(range=1)`.

    Of several outputs the first is its answer. The file's program is run, in the restorer's own process.
    """

    name = "torchscript"
    adapts = ("pt", "pth", "ts", "torchscript")
    tasks = {"denoise", "denoise-blind", "deblock", "superres"}

    def open(self, device: torch.device) -> Program:
        return Script(self.path, self.asked, device)

    def n_params(self) -> int:
        """Its parameters; of a frozen program, whose parameters are constants, these."""
        graph = self.plain.script.inlined_graph  # it lives no longer than its name, and its nodes with it
        nodes = graph.findAllNodes("prim::Constant")
        constants = [value for value in (node.output().toIValue() for node in nodes) if isinstance(value, Tensor)]
        return super().n_params() + sum(c.numel() for c in constants if c.ndim and c.is_floating_point())
