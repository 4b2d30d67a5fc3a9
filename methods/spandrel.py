"""Networks whose architecture spandrel tells from their weights: DRUNet, SCUNet, SwinIR, NAFNet, FBCNN, ESRGAN, …

spandrel (github.com/chaiNNer-org/spandrel, MIT) knows some forty architectures by the names and shapes of their
tensors, and says of each which channels it takes, by how much it enlarges, and what sides it needs. Its networks take
and answer with RGB in [0, 1].

The file is read here, and nothing of it is run: spandrel is given tensors.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from bench.methods.networks.foreign import YES_OR_NO, check_options, continued, trained_for, why_not_trained
from torch import Tensor, nn

from bench.restorer import Observation, RestorerError, Setting, TorchRestorer, WeightsFile, tensors_in

if TYPE_CHECKING:
    import spandrel

__all__ = ["Spandrel"]

TOLD_SIGMA = ("DRUNet", "DnCNN")
"""Architectures that may take the noise level as a channel more. spandrel gives them 15, whatever the image."""


class Spandrel(TorchRestorer):
    """A network that spandrel knows by its weights: `spandrel:model.pth`.

    repeat_gray   whether a network for colour is given gray images thrice; of its answer the mean is taken
    task, levels  that it was trained for, `levels=25` or `levels=(0, 55)`: at others it is not measured
    """

    name = "spandrel"
    tasks = {"denoise", "denoise-blind", "deblock", "superres"}
    requires = {"spandrel": ""}
    adapts = ("pth", "pt", "ckpt", "safetensors")

    def __init__(
        self,
        variant: str = "",
        weights: WeightsFile | None = None,
        *,
        repeat_gray: bool = False,
        task: str | None = None,
        levels: Any = None,
    ) -> None:
        super().__init__(variant, weights)
        if weights is None:
            raise RestorerError("spandrel runs a network in a file: spandrel:FILE.")
        self.path = weights.path
        self.asked = f"spandrel:{weights.path.name}"
        check_options(
            self.asked,
            {"repeat_gray": (repeat_gray, YES_OR_NO), "task": (task, (*sorted(self.tasks), None))},
        )
        self.repeat_gray = repeat_gray
        self.task = task
        self.levels = trained_for(self.asked, levels)

    @cached_property
    def model(self) -> spandrel.ImageModelDescriptor[nn.Module]:
        """The network, and what spandrel says of it. Raises RestorerError if it does not know it."""
        try:
            import spandrel
        except Exception as error:  # of a torchvision made for another torch: ImportError, RuntimeError, …
            raise RestorerError(
                f"spandrel cannot be imported ({type(error).__name__}: {error}). It needs the torchvision that goes"
                f" with torch {torch.__version__}."
            ) from error
        try:
            tensors = spandrel.canonicalize_state_dict(tensors_in(self.path))
            model = spandrel.ModelLoader().load_from_state_dict(tensors)
        except spandrel.UnsupportedModelError:
            raise RestorerError(f"spandrel knows no architecture with the weights in {self.path}.") from None
        if not isinstance(model, spandrel.ImageModelDescriptor):
            raise RestorerError(f"{self.asked} is {model.architecture.name}, for {model.purpose}: no task here.")
        if model.input_channels != model.output_channels:
            raise RestorerError(
                f"{self.asked} is {model.architecture.name}, from {model.input_channels} channels to"
                f" {model.output_channels}: no task here."
            )
        return model

    @property
    def takes_sigma(self) -> bool:
        first = next(p for p in self.model.model.parameters() if p.ndim == 4)
        return self.model.architecture.id in TOLD_SIGMA and first.shape[1] == self.model.input_channels + 1

    def why_not(self, setting: Setting) -> str | None:
        reason = super().why_not(setting) or why_not_trained(self.asked, self.task, self.levels, setting)
        if reason is not None:
            return reason
        known = f"{self.asked} is {self.model.architecture.name}"
        taken = 3 if self.repeat_gray else setting.channels
        if self.model.input_channels != taken:
            hint = "; with repeat_gray=true it is given gray ones thrice" if taken == 1 else ""
            return f"{known} for images of {self.model.input_channels} channels{hint}"
        if self.takes_sigma and setting.task != "denoise":
            return f"{known} and is told the noise level, which {setting.task} does not give"
        scale = int(setting.level) if setting.task == "superres" else 1
        if self.model.scale != scale:
            return f"{known} and enlarges to {self.model.scale} times the sides"
        return None

    def network(self, setting: Setting) -> nn.Module:
        return self.model.model

    def load(self, network: nn.Module, weights: WeightsFile) -> None:
        """Nothing: spandrel has done it."""

    def compile(self, network: nn.Module, setting: Setting) -> nn.Module:
        return network

    def forward(self, y: Tensor, seen: Observation) -> Tensor:
        if self.repeat_gray and y.shape[1] == 1:
            return self._restored(y.expand(-1, 3, -1, -1), seen.sigma).mean(1, keepdim=True)
        return self._restored(y, seen.sigma)

    def _restored(self, y: Tensor, sigma: float | None) -> Tensor:
        H, W = y.shape[2:]
        more_columns, more_rows = self.model.size_requirements.get_padding(W, H)
        y = continued(y, H + more_rows, W + more_columns)
        x = self.net(_with_level(y, sigma)) if self.takes_sigma else self.model(y)
        return x[:, :, : H * self.model.scale, : W * self.model.scale]

    def macs_per_pixel(self, seen: Observation) -> float | None:
        """Counted only where the noise level is told: the others spandrel calls, in a mode that hides products."""
        return super().macs_per_pixel(seen) if self.takes_sigma else None


def _with_level(y: Tensor, sigma: float) -> Tensor:
    """y and, as a channel more, its noise level on the scale of [0, 1]."""
    return torch.cat([y, torch.full_like(y[:, :1], sigma / 255)], 1)
