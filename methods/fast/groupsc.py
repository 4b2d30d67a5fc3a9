"""GroupSC on a whole image at once, every patch with the window centred on it (Sec. 3.3), made fast.

What is computed is `SparseCoding.forward` of the image extended by reflection, so that pixels at the border get as
many estimates as inner ones; the parameters are the same. Five things make it fast:

1. Tiles. The grid of patches is cut into tiles, and a tile's patches share one list of neighbours, the same for every
   tile but for its place: all is batched products. Codes are kept tile after tile in memory, and what belongs to a
   tile stays in the caches during a step.
2. Sigma is divided by its row sums when it is refreshed, 4 times, and not at each of the 24 thresholdings.
3. If asked for, bfloat16 for codes, residuals and Sigma, with sums in float32.
4. Thinned windows. Eq. 11 needs the mean of B^2 over the neighbours, weighted with Sigma: an average over hundreds of
   patches that overlap, which a part of them gives as well. Outside the tile and a margin around it, one patch of
   every `thin` x `thin` is taken, drawn once and for all, and counts thin^2 times.
5. Threads that each take whole tiles, instead of sharing every operation (`torch_in_parallel`).

In float32 a CPU goes through the image row of tiles by row of tiles, all steps at once (`methods.fast.sweep`), with
similarities of 16 bits between the steps: that moves no pixel by more than 2e-6 of the range. A GPU,
bfloat16, and networks of other options than `Sweep.can` take one step of the whole image after the other, below.

3 and 4 are the approximations that can be told. Against all neighbours in float32, with the weights groupsc.gray-25
(window 24) on five 96x96 parts of set12 at sigma 25: bfloat16 0.0004 dB lower on average, thin=2 0.0006 dB, both
0.0004 dB, 0.004 dB in the worst case (0.12 to 0.18 grey levels rms); thin=3 would cost 0.013 dB and save little more.
On seven parts of bsd400, 128x160, thin=2 is 0.005 dB lower on average than thin=1, 0.015 dB in the worst case.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import torch
from bench.methods.fast.sweep import Sweep
from bench.methods.fast.threads import torch_in_parallel
from bench.methods.fast.windows import Tiling
from bench.methods.networks.on_gpu import minus_squared_distance
from bench.methods.networks.sparse_coding import SparseCoding
from bench.methods.sparse.patches import average, centre, extract, reflect
from bench.methods.sparse.prox import MASS_EPS, NORM_EPS, centred_soft_threshold
from torch import Tensor

__all__ = ["sliding_restore"]

BATCH = {"cpu": 4, "cuda": 128, "mps": 128}  # tiles that go through a step together


@torch.no_grad()
def sliding_restore(
    network: SparseCoding,
    y: Tensor,
    mask: Tensor | None = None,
    level: float | None = None,
    *,
    thin: int = 2,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Algorithm 1 for an image of any size.

    network  GroupSC (window > 0), on the device of y
    y        image (1, C, H, W), float32, in [0, 1]
    mask     1 where a value was observed, else 0, of y's shape; None: all were (Eq. 13-14)
    level    which thresholds, if the network has several sets
    thin     see above; 1 keeps all neighbours
    dtype    of codes and similarities
    returns  x_hat, like y

    With thin=1 and float32 this is the network's own answer up to the rounding of sums.
    """
    s, (H, W), lmbda = network.patch_size, y.shape[2:], network.thresholds(level)
    inside = slice(s - 1, s - 1 + H), slice(s - 1, s - 1 + W)
    y = reflect(y, s - 1)
    mask = None if mask is None else reflect(mask, s - 1).to(y.dtype)
    if y.device.type == "cpu" and dtype == torch.float32 and Sweep.can(network):
        with torch_in_parallel(y.device) as workers:
            sweep = Sweep(network, y[0], None if mask is None else mask[0], lmbda, thin, workers)
            return sweep.restored()[None][:, :, inside[0], inside[1]]
    patches, mu = centre(extract(y, s))
    M = None if mask is None else extract(mask, s)
    state = Inference(network, patches, M, thin, dtype)
    for k in range(network.n_steps):
        if k in network.refreshed:
            state.refresh(network.estimated_alike(state.patches() + mu, mu), torch.sigmoid(network.nu).item())
        state.step(lmbda[k], masked=k > 0 or not network.first_guess)
    x_hat = average(state.patches() + mu, s)
    return x_hat[:, :, inside[0], inside[1]]


class Inference:
    """Codes and similarities between the steps, tile after tile.

    y      centred patches (n_tiles, n, m)
    alpha  codes, and B in their place within a step (n_tiles, n, p)
    B2     squares of B; B itself if codes are drawn to the mean of B
    Sigma  (n_tiles, n, n_near), each row divided by its sum, which is in mass (n_tiles, n, 1), float32
    """

    def __init__(self, network: SparseCoding, y: Tensor, M: Tensor | None, thin: int, dtype: torch.dtype) -> None:
        self.penalty = network.penalty
        self.tiling = Tiling(y.shape[1], y.shape[2], network.window, thin, y.device)
        self.C, self.D_T, self.W_T = (x.to(dtype).contiguous() for x in (network.C, network.D.T, network.W.T))
        self.y = self.tiling.cut(y).to(dtype)
        self.M = None if M is None else self.tiling.cut(M).to(dtype)
        (n_tiles, n, _), p, n_near = self.y.shape, self.C.shape[1], self.tiling.weight.shape[1]
        self.near, self.missing = self.tiling.near()
        self.alpha = self.y.new_zeros(n_tiles, n, p)
        self.B2 = self.y.new_empty(n_tiles, n, p)
        self.Sigma = self.y.new_zeros(n_tiles, n, n_near)
        self.mass = self.y.new_zeros(n_tiles, n, 1, dtype=torch.float32)
        size = min(BATCH[y.device.type], n_tiles)
        self.batches = [slice(a, min(a + size, n_tiles)) for a in range(0, n_tiles, size)]
        self.scratch = Scratch(self.y[:size], self.alpha[:size], n_near)
        self.refresh(network.seen_alike(y, M), nu=1.0)

    def patches(self) -> Tensor:
        """W alpha, the estimates of the centred patches (1, gh, gw, m), float32."""
        return self.tiling.join((self.alpha.flatten(0, 1) @ self.W_T).unflatten(0, self.alpha.shape[:2])).float()

    def refresh(self, u: Tensor, nu: float) -> None:
        """Sigma <- (1 - nu) Sigma + nu Sigma^ (Algorithm 1, line 7), with Sigma^ of diag(kappa) x, (1, gh, gw, m)."""
        left, right = minus_squared_distance(self.tiling.cut(u), self.y.dtype)
        right = right.flatten(0, 1)

        def refresh_batch(t: slice) -> None:
            near = right[self.near[t]]
            near[..., -1].masked_fill_(self.missing[t], -math.inf)
            estimate = torch.bmm(left[t], near.transpose(1, 2)).float().exp_()  # Eq. 12
            Sigma = torch.lerp(self.Sigma[t] * self.mass[t], estimate.mul_(self.tiling.weight), nu)
            torch.sum(Sigma, -1, keepdim=True, out=self.mass[t])
            self.Sigma[t] = Sigma.div_(self.mass[t] + MASS_EPS)

        self.all_batches(refresh_batch)

    def step(self, lmbda: Tensor, masked: bool = True) -> None:
        """Eq. 11, or with masked Eq. 14 if there is a mask, with thresholds lmbda (p,). The first starts from 0."""
        self.all_batches(lambda t: self.gradient_step(t, masked))
        self.all_batches(lambda t: self.shrink(t, lmbda))

    def all_batches(self, do: Callable[[slice], None]) -> None:
        with torch_in_parallel(self.y.device) as workers:
            workers.do(do, self.batches)

    def gradient_step(self, t: slice, masked: bool) -> None:
        """B = alpha + C^T (M * (y - D alpha)), without M unless masked, and its squares."""
        y, alpha = self.y[t].flatten(0, 1), self.alpha[t].flatten(0, 1)
        residual = self.scratch.residual.flatten(0, 1)[: len(y)]
        torch.addmm(y, alpha, self.D_T, alpha=-1, out=residual)
        if self.M is not None and masked:
            residual *= self.M[t].flatten(0, 1)
        torch.addmm(alpha, residual, self.C, out=alpha)
        if self.penalty == "centred":
            self.B2[t] = self.alpha[t]
        else:
            torch.mul(self.alpha[t], self.alpha[t], out=self.B2[t])

    def shrink(self, t: slice, lmbda: Tensor) -> None:
        """alpha = max(1 - lmbda sqrt(||Sigma_i||_1) / sqrt(sum_a Sigma_ia B_a^2), 0) B, or another penalty's."""
        near, alpha, scratch = self.near[t], self.alpha[t], self.scratch
        around, norm2, factor = (
            scratch.around[: near.numel()],
            scratch.norm2[: len(near)],
            scratch.factor[: len(near)],
        )
        torch.index_select(self.B2.flatten(0, 1), 0, near.flatten(), out=around)
        torch.bmm(self.Sigma[t], around.unflatten(0, near.shape), out=norm2)
        if self.penalty == "centred":
            alpha.copy_(centred_soft_threshold(alpha.float(), lmbda, norm2.float()))
            return
        if self.penalty == "group-sum":
            norm2 *= self.mass[t].to(norm2.dtype)
        # A mean of B^2 here, a sum in prox, where NORM_EPS weighs ||Sigma_i||_1 times less: next to nothing in both.
        factor.copy_(norm2).add_(NORM_EPS).rsqrt_()
        alpha *= torch.addcmul(torch.ones_like(lmbda), factor, lmbda, value=-1, out=factor).relu_()


class Scratch(threading.local):
    """Buffers for the products of a batch, each thread its own; fresh memory would have to be cleared every time."""

    def __init__(self, y: Tensor, alpha: Tensor, n_near: int) -> None:
        self.residual = torch.empty_like(y)
        self.around = alpha.new_empty(len(alpha) * n_near, alpha.shape[-1])
        self.norm2 = torch.empty_like(alpha)
        self.factor = torch.empty_like(alpha, dtype=torch.float32)
