"""NLRN: a recurrent network in which every state compares each pixel's features with those around it.

Liu, Wen, Fan, Loy, Huang, "Non-Local Recurrent Network for Image Restoration", NeurIPS 2018. 330,625 parameters by
the paper's count, which is that of the convolutions (its Table 3 says 330k); the scales and offsets of the batch
normalisations, which each state has for itself as in the authors' code, are 9,474 more.
"""

from __future__ import annotations

import numpy as np
import torch
from bench.methods.fast.nlrn import Sliding
from bench.methods.fast.streamed import Streamed
from bench.methods.networks.enlarging import enlarged
from bench.methods.networks.nlrn import NonLocal, NonLocalRecurrent
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.restorer import Level, Observation, Setting, TorchRestorer

__all__ = ["NLRN", "averaged_patches"]

Q = 45  # side of the neighbourhood S_i, and of patches, in pixels (Sec. 5.1)
STRIDE = 7  # of the authors' patches
PATCHES_AT_ONCE = 4


class NLRN(TorchRestorer):
    """NLRN on the whole image, every pixel attending to the 45x45 around it. `nlrn:patches` averages 45x45 patches.

    Both are as large as the option `neighbourhood` of the network says, if it does.

    `nlrn:bf16` has features and correlations in bfloat16: half the memory.

    Options of its network: see NonLocalRecurrent.
    """

    name = "nlrn"
    tasks = {"denoise", "superres"}
    version = "2"  # 1 was in bfloat16 where the processor had it
    variants = ("bf16", "patches")

    def network(self, setting: Setting) -> NonLocalRecurrent:
        options = {name: value for name, value in self.options.items() if name != "levels"}  # one network for all
        return NonLocalRecurrent(setting.channels, **options)

    def compile(self, network: nn.Module, setting: Setting) -> nn.Module:
        if self.variant == "patches":
            return network
        if self.variant == "" and Streamed.can(network):
            return Streamed(network, side(network))
        return Sliding(network, side(network), torch.bfloat16 if self.variant == "bf16" else torch.float32)

    def forward(self, y: Tensor, seen: Observation) -> Tensor:
        if seen.task == "superres":
            y = self.to_tensor(seen.upscaled())
        return averaged_patches(self.net, y) if self.variant == "patches" else self.net(y)

    def macs_per_pixel(self, seen: Observation) -> float:
        """Computed from the sizes: each pixel is correlated with its neighbours."""
        H, W, _ = seen.restored_shape
        q = side(self.plain)
        near = min(q, H) * min(q, W)
        pixels = len(starts(H, q)) * len(starts(W, q)) * near if self.variant == "patches" else H * W
        pairs = pixels * near
        return self.plain.macs(pixels, pairs) / (H * W)

    def maps(self, seen: Observation, pixel: tuple[int, int]) -> dict[str, NDArray[np.float32]]:
        """How much a pixel looks at each in its neighbourhood, in the first, the middle and the last state: Fig. 1.

        Weights over the largest. The neighbourhood is alone, as a patch of `nlrn:patches` is.
        """
        net, y = self.plain, self.to_tensor(seen.image if seen.scale is None else seen.upscaled())
        (H, W), q = y.shape[2:], side(net)
        h, w = min(q, H), min(q, W)
        top, left = (min(max(i - q // 2, 0), n - own) for i, n, own in ((pixel[0], H, h), (pixel[1], W, w)))
        own, weights = (pixel[0] - top) * w + pixel[1] - left, list[Tensor]()

        def keep(module: NonLocal, _: object, answer: tuple[Tensor, Tensor]) -> None:
            S = answer[1][:, own, : h * w]
            weights.append(module.weights(S)[0].clamp(min=0).view(h, w).cpu())

        hooks = [module.register_forward_hook(keep) for module in net.non_local]
        try:
            with torch.inference_mode():
                net(y[:, :, top : top + h, left : left + w])
        finally:
            for hook in hooks:
                hook.remove()
        found = {}
        for n in dict.fromkeys([0, len(weights) // 2, len(weights) - 1]) if weights else ():
            values = np.zeros((H, W), np.float32)
            values[top : top + h, left : left + w] = weights[n] / weights[n].max().clamp(min=1e-12)
            found[f"state {n * net.every + 1}"] = values
        return found

    def estimate(self, network: nn.Module, y: Tensor, seen: Observation, level: Level) -> Tensor:
        return network(y if seen.scale is None else enlarged(y, seen.scale))

    def loss(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """1/2 ||x_hat - x||^2, mean over crops (N, C, h, w): Sec. 4."""
        return (x_hat - x).square().sum() / (2 * len(x))


def side(net: NonLocalRecurrent) -> int:
    """q."""
    return net.neighbourhood or Q


def averaged_patches(net: NonLocalRecurrent, y: Tensor) -> Tensor:
    """The authors' inference: each patch of 45x45 pixels alone, every 7 pixels one, averaged where they overlap.

    y  (1, C, H, W), whose last rows and columns have patches flush with the border
    """
    (H, W), q = y.shape[2:], side(net)
    total, count = torch.zeros_like(y), torch.zeros_like(y)
    places = [(slice(i, i + q), slice(j, j + q)) for i in starts(H, q) for j in starts(W, q)]
    for k in range(0, len(places), PATCHES_AT_ONCE):
        some = places[k : k + PATCHES_AT_ONCE]
        estimates = net(torch.cat([y[:, :, rows, columns] for rows, columns in some]))
        for (rows, columns), x_hat in zip(some, estimates, strict=True):
            total[:, :, rows, columns] += x_hat
            count[:, :, rows, columns] += 1
    return total / count


def starts(n: int, q: int = Q) -> list[int]:
    """Where patches of q pixels begin, among n pixels in a row."""
    last = max(n - q, 0)
    return [*range(0, last, STRIDE), last]
