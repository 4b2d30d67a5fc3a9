"""LIDIA: every patch denoised together with its 13 nearest, at two scales, by small separable layers.

Vaksman, Elad, Milanfar, "LIDIA: Lightweight Learned Image Denoising with Instance Adaptation", CVPR Workshops 2020.
61,589 parameters for gray images (7x7 patches), 94,067 for colour (5x5), 40,226 for LIDIA-S, the small one (gray).
The authors' weights are those of github.com/grishavak/LIDIA-denoiser, commit 7ec2534; where their code says more than
the paper, we follow the code.

The authors never switch batch normalisation to its stored statistics: their results use those of the patches at hand,
40,000 at a time in raster order, and depend on where an image happens to be cut. Here the statistics are by default
those of patches spread evenly over the image, about 4,096 of them, the same for all its patches. On the seven
pictures of Set12 of 256x256 pixels at sigma 25 this gives 30.28 dB, the stored statistics 30.21 dB; on the first four
of them the authors' way gives 0.003 dB less than ours.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from bench.methods.fast.lidia import restored
from bench.methods.networks.adaptation import Adaptation, adapted
from bench.methods.networks.lidia import PatchNetwork, lidia_denoise, lidia_estimate, margin_of
from bench.methods.sparse.patches import reflect
from torch import Tensor, nn

from bench.restorer import Level, Observation, Setting, TorchRestorer, WeightsFile

__all__ = ["LIDIA", "read_authors"]

ADAPTATION = Adaptation(steps=80, crops=4, side=32, lr=1e-3)
"""Rate and crops a step as in the authors' scripts. Their crops have four times the pixels, and their steps go five
times over the picture, in strides of half a crop."""


class LIDIA(TorchRestorer):
    """LIDIA with the authors' weights.

    `lidia:authors` takes the statistics of batch normalisation from each 40,000 patches, as their scripts do;
    `lidia:stored` takes those stored in the weights. `lidia:small` is their LIDIA-S, for gray images.

    `lidia:adapted` restores a picture, learns on what it got (`networks.adaptation`), and restores it anew: the
    paper's internal adaptation. The weights are the authors', the steps are ours.
    """

    name = "lidia"
    tasks = {"denoise", "denoise-blind"}
    variants = ("adapted", "authors", "stored", "small")

    def why_not(self, setting: Setting) -> str | None:
        reason = super().why_not(setting)
        if reason is None and setting.task == "denoise-blind" and self.variant == "adapted":
            return "lidia:adapted adds noise of the picture's own sigma, which it has to be told (denoise)"
        if reason is None and setting.channels == 3:
            if self.variant == "small":
                return "lidia:small is for gray images"
            if setting.task == "denoise-blind":
                return "lidia has no blind model for colour"
        return reason

    def network(self, setting: Setting) -> PatchNetwork:
        return PatchNetwork(setting.channels, small=self.variant == "small")

    def load(self, network: nn.Module, weights: WeightsFile) -> None:
        if weights.loader == "lidia-authors":
            network.load_state_dict(read_authors(weights.path))
        else:
            super().load(network, weights)

    def compile(self, network: nn.Module, setting: Setting) -> nn.Module:
        return network

    def forward(self, y: Tensor, seen: Observation) -> Tensor:
        x_hat = self._restored(self.net, y)
        if self.variant == "adapted" and seen.sigma > 0:
            rim = self.plain.margin
            how = replace(ADAPTATION, side=ADAPTATION.side + 2 * rim)
            learned = adapted(self.net, partial(lidia_estimate, inner=True), reflect(x_hat, rim), seen.sigma, how)
            x_hat = self._restored(learned, y)
        return x_hat

    def _restored(self, network: nn.Module, y: Tensor) -> Tensor:
        """Of one image (1, C, H, W)."""
        restore = restored if y.device.type == "cpu" else lidia_denoise
        return restore(network, y, self.statistics)

    def estimate(self, network: nn.Module, y: Tensor, seen: Observation, level: Level) -> Tensor:
        """In training the crops' rim, whose neighbours may lie outside, is answered with as it is: see `loss`."""
        if not network.training:
            return torch.cat([self._restored(network, image) for image in y.split(1)])
        x_hat = y.clone()
        x_hat[inner_part(y)] = lidia_estimate(network, y, inner=rim_of(y) > 0).to(y)
        return x_hat

    def loss(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """The mean squared error of the crops (N, C, h, w) without their rim."""
        inner = inner_part(x)
        return (x_hat[inner] - x[inner]).square().mean()

    @property
    def statistics(self) -> str:
        """Those of batch normalisation, as `lidia_denoise` calls them."""
        return self.variant if self.variant in ("authors", "stored") else "sample"

    def macs_per_pixel(self, seen: Observation) -> float:
        """Computed from the sizes: the layers, for every patch; those in front of the aggregation run twice.

        Not counted: the search for neighbours, which has no products of matrices, and taking the statistics. Of
        `lidia:adapted` both restorations are, and three times the forward pass of the crops in between: the gradients
        take two more.
        """
        net, (H, W, _) = self.plain, seen.restored_shape
        part1 = sum(scale.part1.macs() for scale in net.scales)
        others = sum(scale.to_patch.macs() + scale.from_patch.macs() for scale in net.scales)
        others += net.part2.macs() + net.out.macs()
        others += sum(layer.weight.numel() for layer in net.modules() if isinstance(layer, nn.Linear))

        def patches(height: int, width: int) -> int:
            return (height + net.size - 1) * (width + net.size - 1)

        restoration = patches(H, W) * (2 * part1 + others)
        if self.variant != "adapted":
            return restoration / (H * W)
        side = min(ADAPTATION.side, H, W)
        learning = ADAPTATION.steps * ADAPTATION.crops * patches(side, side) * 3 * (part1 + others)
        return (2 * restoration + learning) / (H * W)


def rim_of(crops: Tensor) -> int:
    """How far crops (N, C, h, w) are only looked in for neighbours; 0 of those too small for that."""
    margin = margin_of(crops.shape[1])
    return margin if min(crops.shape[2:]) > 2 * margin else 0


def inner_part(crops: Tensor) -> tuple[slice, ...]:
    """Crops (N, C, h, w) without their rim."""
    rim = rim_of(crops)
    return (slice(None), slice(None), *(slice(rim, n - rim) for n in crops.shape[2:]))


RENAMED = (
    (r"separable_fc_net\.", ""),
    (r"weights_net(\d)\.fc_out", r"scales.\1.weights.layers.18"),
    (r"weights_net(\d)\.fc(\d)", lambda m: f"scales.{m[1]}.weights.layers.{3 * int(m[2])}"),
    (r"weights_net(\d)\.bn(\d)", lambda m: f"scales.{m[1]}.weights.layers.{3 * int(m[2]) + 1}"),
    (r"alpha(\d)", r"scales.\1.weights.alpha"),
    (r"sep_part1_s(\d)", r"scales.\1.part1"),
    (r"sep_part2.ver_hor_out", "out"),
    (r"sep_part2", "part2"),
    (r"ver_hor_agg(\d)_pre", r"scales.\1.to_patch"),
    (r"ver_hor_bn_re_agg(\d)_post", r"scales.\1.from_patch"),
    (r"ver_hor_bn_re[02]", "first"),
    (r"ver_hor_bn_re[13]", "second"),
    (r"ver_hor\.", ""),
    (r"\b(ver|hor)\.weight", r"\1"),
)
"""The authors' names of tensors, and what they become in `PatchNetwork`."""


def read_authors(path: Path) -> dict[str, Tensor]:
    """`PatchNetwork`'s state dict from a checkpoint of the authors, whose shapes are ours."""
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    ours = {}
    for name, tensor in state.items():
        if "bilinear_conv" in name:  # the fixed blur
            continue
        for theirs, becomes in RENAMED:
            name = re.sub(theirs, becomes, name)
        ours[name] = tensor
    return ours
