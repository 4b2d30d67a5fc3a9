"""The one interface a plugin implements, and all of `bench` that a plugin needs to import.

    from bench.restorer import Restorer

    class NonLocalMeans(Restorer):
        name, tasks = "nlm", {"denoise"}

        def restore(self, seen):
            ...

`name`, `tasks`, `requires`, `requires_of`, `reads`, `variants`, `adapts` and `version` are written as literals: the
registry reads them from the source, so that listing restorers imports none of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.errors import RestorerError
from bench.level import Level, nearest_level
from bench.task import Image, Observation
from bench.tasks import Setting

if TYPE_CHECKING:
    import torch
    from torch import nn
    from typing_extensions import Self

__all__ = [
    "Denoiser",
    "Image",
    "Level",
    "Observation",
    "Restorer",
    "RestorerError",
    "Served",
    "Setting",
    "SeveralWeights",
    "TorchRestorer",
    "WeightsFile",
    "WithDenoiser",
    "downscaled",
    "nearest_level",
    "tensors_in",
]


@dataclass(frozen=True)
class WeightsFile:
    """Verified weights on disk, as the engine hands them to a restorer.

    path        the file
    label       what records and tables show: `published:sigma_25.mat`, `ours:groupsc-gray-25`
    sha256      of the file
    loader      which reader the declaration asks for, in the restorer's own words. Of a user's own file: "" for
                safetensors, `state-dict`, or the declared reader whose files it looks like
    """

    path: Path
    label: str
    sha256: str
    loader: str = ""


class Served(NamedTuple):
    """A file for denoising at sigma `least` to `most` in pictures of so many channels."""

    least: float
    most: float
    channels: int
    file: WeightsFile


@dataclass(frozen=True)
class SeveralWeights(WeightsFile):
    """The files of all levels of a denoiser inside another restorer; path is the first one's, sha256 of all."""

    served: tuple[Served, ...] = ()


def downscaled(x: Image, scale: int) -> Image:
    """x (H, W, C) as `superres` makes it small: MATLAB's bicubic `imresize` by 1 / scale, which is linear in x."""
    from bench.data.degrade import bicubic

    return bicubic(x, 1 / scale)


def tensors_in(path: Path) -> Any:
    """What safetensors or a file of `torch.save` holds: tensors by name, and entries that they lie in.

    Nothing of the file's is run. Raises WeightsError for any other file, and for one that is damaged.
    """
    from bench.state_dicts import content_of

    return content_of(path)


class Restorer(ABC):
    """Estimate the clean image from what was observed.

    `prepare` runs once per setting, untimed: load weights, compile, move to the device.
    `restore` is what the clock sees: observation in, image out; no files, no printing.
    Images are float32 (H, W, C), nominally in [0, 1]; sigma is on the 0-255 scale.

    name      what users type after --methods
    tasks     the tasks it can do, e.g. {"denoise", "demosaick"}
    version   what its author calls its state; what results may depend on is told by a hash of its code
    reads     files and folders beside its own file that it opens, e.g. ["params.txt"]: part of that hash
    requires  {package as pip knows it: terms that bind a user, or ""} beyond the project's own requirements; any of
              several will do as `a or b`
    requires_of  the same for single variants, by their names
    variants  what may follow the name after a colon (`dncnn:bf16`); `self.variant` says which was asked for
    adapts    of an adapter the ends of the names of files that it runs, e.g. ("onnx",): `NAME:FILE` asks for it with
              that file as its weights
    devices   the kinds of device that it computes on, of cpu, cuda and mps: on others it is not measured

    Further keywords of a class's `__init__` are its parameters: `mine(radius=3)` makes it with `radius=3`.
    """

    name: ClassVar[str]
    tasks: ClassVar[Collection[str]]
    version: ClassVar[str] = "1"
    reads: ClassVar[Sequence[str]] = ()
    requires: ClassVar[Mapping[str, str]] = {}
    requires_of: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    variants: ClassVar[Sequence[str]] = ()
    adapts: ClassVar[Sequence[str]] = ()
    needs_weights: ClassVar[bool] = False
    devices: ClassVar[Collection[str]] = ("cpu",)

    _made_with: tuple[tuple[Any, ...], Mapping[str, Any]]
    """What an instance was made with: in its own process it is made anew."""

    def __new__(cls, *args: Any, **keywords: Any) -> Self:
        restorer = super().__new__(cls)
        restorer._made_with = args, keywords
        return restorer

    estimated_level: float | None = None
    """What `restore` took the level for, if it measured what a blind task does not tell: goes into the record."""

    def __init__(self, variant: str = "", weights: WeightsFile | None = None) -> None:
        self.variant = variant
        self.weights = weights

    def why_not(self, setting: Setting) -> str | None:
        """Why this setting is out of reach (the plan prints it), or None to run it."""
        return None if setting.task in self.tasks else f"{self.name} does not {setting.task}"

    def prepare(self, setting: Setting, device: str) -> None:  # noqa: B027  most classical methods need none
        """Get ready for one setting, before the first `restore`, on `device`: "cpu", "cuda", "cuda:1" or "mps"."""

    @abstractmethod
    def restore(self, seen: Observation) -> Image:
        """The restored image, a plain float32 array of shape `seen.restored_shape`, copied before the next call.

        `seen` is this call's own copy, and is not to be changed: a call that did is a failure.
        """

    def n_params(self) -> int:
        """Learned parameters of what `prepare` set up, counted: a whole number. 0 for a classical method."""
        return 0

    def macs_per_pixel(self, seen: Observation) -> float | None:
        """Multiply-accumulates per pixel of the restored image, counted for this input; None: not counted."""
        return None

    def maps(self, seen: Observation, pixel: tuple[int, int]) -> Mapping[str, NDArray[np.float32]]:
        """What it decides where, for `bench plot maps`: by title float32 (H, W) of the restored image, in [0, 1].

        pixel  (row, column), of which there is a map where each has one of its own

        Twenty at most. {}: there is nothing to see.
        """
        return {}


class Denoiser(ABC):
    """A denoiser of Gaussian noise, as another restorer calls it: see `WithDenoiser`."""

    @abstractmethod
    def __call__(self, image: Image, sigma: float) -> Image:
        """The denoised image, float32 (H, W, C). `sigma` (0-255 scale) is taken for the nearest level served."""

    @abstractmethod
    def nearest(self, sigma: float) -> float:
        """The level that is served and nearest to `sigma`."""

    @abstractmethod
    def n_params(self) -> int:
        """Learned parameters of all networks that were called."""

    @abstractmethod
    def macs(self, do: Callable[[], object]) -> float | None:
        """Multiply-accumulates of the calls that `do()` makes, of which none is computed; None: not counted."""


class WithDenoiser(Restorer):
    """A restorer with a denoiser inside, which its user names: `vst:bm3d`, `pnp:dncnn`.

    The engine sets `denoiser` before `prepare`, with the weights of all levels that there are. It serves pictures of
    as many channels as the setting has: a denoiser of gray ones is shown each channel alone.
    """

    denoiser: Denoiser

    def n_params(self) -> int:
        return self.denoiser.n_params()

    def macs_per_pixel(self, seen: Observation) -> float | None:
        macs = self.denoiser.macs(lambda: self.restore(seen))
        height, width, _ = seen.restored_shape
        return None if macs is None else macs / (height * width)


class TorchRestorer(Restorer):
    """A restorer that is a PyTorch network: write `network`, and `load` if its weights are in a format of their own.

    Without weights (the contract tests) the network is initialised from seed 0.

    options  of the network, e.g. its depth: from the recipe when it is trained, from its weights when it is loaded
             (metadata of safetensors, an entry `options` of a checkpoint), empty for the defaults. To be read by
             `network`
    of_level  first words of the names of tensors whose shapes depend on the level: a training that starts from the
             weights of another leaves those out
    training_options  options that only a training has: `exported` leaves nothing of them
    """

    needs_weights: ClassVar[bool] = True
    devices: ClassVar[Collection[str]] = ("cpu", "cuda", "mps")
    of_level: ClassVar[Sequence[str]] = ()
    training_options: ClassVar[Collection[str]] = ()

    @cached_property
    def options(self) -> Mapping[str, Any]:
        if self.weights is None:
            return {}
        from bench.state_dicts import options_in

        return options_in(self.weights.path)

    @abstractmethod
    def network(self, setting: Setting) -> nn.Module:
        """The untrained network for this setting, on the CPU."""

    def load(self, network: nn.Module, weights: WeightsFile) -> None:
        """Copy `weights` into `network`. Default: safetensors or a state dict with the network's own names.

        What `network.load_state_dict` refuses within it is explained to the user.
        """
        from bench.state_dicts import load_into

        load_into(network, weights.path)

    def compile(self, network: nn.Module, setting: Setting) -> nn.Module:
        """What `restore` runs: `network`, or a faster equivalent. Default: channels-last layout."""
        import torch

        faster: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return faster

    def prepare(self, setting: Setting, device: str) -> None:
        import torch

        torch.manual_seed(0)
        network = self.network(setting).eval().requires_grad_(False)
        if self.weights is not None:
            self._load(network, self.weights)
        self.device = torch.device(device)
        if self.device.type == "cuda":
            # a restorer's name means float32 on every machine, and TensorFloat-32 keeps 10 bits of its 23;
            # PyTorch's default for convolutions is to use it
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
        self.plain = network
        self.net = self.compile(network.to(self.device), setting)

    def _load(self, network: nn.Module, weights: WeightsFile) -> None:
        """`load`, and words for what does not fit."""
        from bench.state_dicts import explained, load_as_published

        if weights.label.startswith("file:") and weights.loader not in ("", "state-dict"):
            load_as_published(network, weights.path, weights.loader, partial(self.load, network, weights))
            return
        with explained(network, weights.path):
            self.load(network, weights)

    def restore(self, seen: Observation) -> Image:
        import torch

        with torch.inference_mode():
            return self.to_image(self.forward(self.to_tensor(seen.image), seen))

    def forward(self, y: torch.Tensor, seen: Observation) -> torch.Tensor:
        """From the degraded image (1, C, H, W) to the restored one. Default: the network's answer."""
        answer: torch.Tensor = self.net(y)
        return answer

    def to_tensor(self, image: Image) -> torch.Tensor:
        """(H, W, C) array to (1, C, H, W) tensor on the device, channels last in memory: a copy of its own."""
        import torch

        return torch.tensor(image, device=self.device).permute(2, 0, 1).unsqueeze(0)

    def to_image(self, x: torch.Tensor) -> Image:
        """(1, C, H, W) tensor to a contiguous float32 (H, W, C) array; waits for the device."""
        return np.ascontiguousarray(x[0].permute(1, 2, 0).float().cpu().numpy())

    # --- training: see bench.training ---

    def initialise(self, network: nn.Module, crops: torch.Tensor) -> None:
        """Called once before training, with clean crops (N, C, H, W) of training images. Default: nothing."""

    def estimate(self, network: nn.Module, y: torch.Tensor, seen: Observation, level: Level) -> torch.Tensor:
        """Estimates (N, C, H, W) for a batch of degraded crops. Default: network(y).

        seen   the first crop's; of the others only the image differs
        level  at which all were degraded, which a blind task's observation does not tell
        """
        x_hat: torch.Tensor = network(y)
        return x_hat

    def loss(self, x_hat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """What training minimises, for estimates and clean crops (N, C, H, W). Default: the mean squared error."""
        return (x_hat - x).square().mean()

    def exported(self, network: nn.Module) -> nn.Module:
        """What is written of a trained network, in evaluation mode. Default: the network.

        Another one that answers the same, e.g. with batch normalisation merged into the convolutions. Its tensors are
        read by the network of the options without `training_options`.
        """
        return network

    def n_params(self) -> int:
        return sum(p.numel() for p in self.plain.parameters())

    def macs_per_pixel(self, seen: Observation) -> float | None:
        """Counted while the plain network runs on the top left corner, 32 pixels wide and high at most.

        A network whose cost per pixel depends on the size of the image, or lies in what `count_macs` does not
        know, must override this.
        """
        from bench.measure.complexity import count_macs

        corner = _corner(seen, 32)
        fast, self.net = self.net, self.plain
        try:
            macs = count_macs(lambda: self.forward(self.to_tensor(corner.image), corner))
        finally:
            self.net = fast
        height, width, _ = corner.restored_shape
        return macs / (height * width)


def _corner(seen: Observation, side: int) -> Observation:
    """The top left of an observation and of the maps that belong to it; numbers, words and kernels as they are."""

    def cut(value: Any) -> Any:
        is_map = isinstance(value, np.ndarray) and value.shape[:2] == seen.image.shape[:2]
        return value[:side, :side] if is_map else value

    known = {name: cut(value) for name, value in seen.known.items()}
    return replace(seen, image=cut(seen.image), mask=cut(seen.mask), known=known)
