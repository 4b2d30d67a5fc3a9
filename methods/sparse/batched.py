"""Collaborative filtering on a GPU: the steps of `collaborative` for thousands of reference blocks at once, in torch.

The answers are those of `collaborative` but for rounding. Of two blocks that are alike to the last digits, and of a
coefficient at its threshold, rounding decides: a stack may then be another one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from bench.methods.sparse.collaborative import Array, Step, grid
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

__all__ = ["filtered"]

AT_ONCE = {"cpu": 2**10, "cuda": 2**13}
"""Reference blocks that are filtered together, which bounds the memory: a stack of 32 blocks of 11x11 pixels takes
15 KiB a channel, its places 30 KiB, and some copies of both live at a time."""


@torch.inference_mode()
def filtered(
    y: Array, sigma: Array, step: Step, basic: Array | None = None, *, device: str, at_once: int | None = None
) -> Array:
    """The estimate of one step, (C, H, W), as `collaborative.filtered`, computed on `device`.

    at_once  reference blocks, whole rows of them and one row at least; None: what suits the device

    Sums over blocks are kept in float64, so that their order, which a GPU does not keep, hardly matters.
    """
    C, H, W = y.shape
    N = len(step.T)
    noisy = torch.tensor(y, device=device)
    guide = noisy if basic is None else torch.tensor(basic, device=device)
    rows, columns = (torch.from_numpy(grid(n - N, step.step)) for n in (H, W))
    filters = _Filters(sigma, step, device)
    inside = _inside(N, W, device)
    at_once = at_once or AT_ONCE[torch.device(device).type]
    total = torch.zeros(2, C, H * W, dtype=torch.float64, device=device)
    for of_strip in rows.split(max(1, at_once // len(columns))):
        places, found = nearest_blocks(guide[0], of_strip, columns.to(device), step, N)
        for k, which in _by_size(found):
            at = places[which, :k, None] + inside  # (B, k, P)
            stacks = noisy.flatten(1)[:, at]
            of_basic = None if basic is None else guide.flatten(1)[:, at]
            estimates, weights = filters(stacks, of_basic)
            weights = weights[:, :, None, None] * filters.window
            where = at.flatten()
            for c in range(C):
                total[0, c].index_add_(0, where, (weights[c] * estimates[c]).flatten().double())
                total[1, c].index_add_(0, where, weights[c].expand_as(estimates[c]).flatten().double())
    return (total[0] / total[1]).float().reshape(C, H, W).cpu().numpy()


def _inside(N: int, W: int, device: str) -> Tensor:
    """The places of a block's pixels from its first one, in a picture W wide that is read row by row: (N^2,)."""
    n = torch.arange(N, device=device)
    return (n[:, None] * W + n).flatten()


def _by_size(found: Tensor) -> Iterator[tuple[int, Tensor]]:
    """k and the stacks with k blocks, for each power of two: what is found is cut down to one."""
    sizes = 2 ** torch.log2(found.float()).floor().long()
    for k in sizes.unique().tolist():
        yield k, (sizes == k).nonzero().flatten()


def nearest_blocks(guide: Tensor, rows: Tensor, columns: Tensor, step: Step, N: int) -> tuple[Tensor, Tensor]:
    """The blocks most like each of those at rows x columns: places in the flattened guide (H, W), and how many.

    places  (n_rows n_columns, step.most), the block itself first, then the nearest
    found   (n_rows n_columns,), itself and those below tau_match
    """
    W = guide.shape[1]
    nearest = step.window // 2
    side = 2 * nearest + 1
    top, bottom = int(rows[0]), int(rows[-1]) + N
    around = pad(guide, (nearest,) * 4, value=torch.inf)  # blocks that leave the picture are infinitely far
    strip = guide[top:bottom]
    candidates = around.unfold(1, W, 1)  # (H + 2 nearest, side, W)
    of_rows = (rows - top).to(guide.device)
    distances = guide.new_empty(len(rows), len(columns), side, side)
    for down in range(side):  # all displacements across, one displacement down
        differences = candidates[top + down : bottom + down].movedim(1, 0) - strip
        sums = _sums_of_blocks(differences.square_(), N)
        distances[:, :, down] = sums[:, of_rows][:, :, columns].permute(1, 2, 0)
    distances = distances.reshape(-1, side * side)
    itself = nearest * side + nearest
    distances[:, itself] = -1  # nothing comes before it
    least, chosen = distances.topk(min(step.most, side * side), largest=False)
    found = (least < step.tau * N * N).sum(dim=1)
    first = (rows.to(guide.device)[:, None] * W + columns).reshape(-1, 1)
    down, across = chosen // side - nearest, chosen % side - nearest
    return first + down * W + across, found


def _sums_of_blocks(x: Tensor, N: int) -> Tensor:
    """The sum of each N x N block of x (..., H, W): (..., H - N + 1, W - N + 1)."""
    return avg_pool2d(avg_pool2d(x, (N, 1), 1, divisor_override=1), (1, N), 1, divisor_override=1)


class _Filters:
    """The 3D transform of stacks, the filter of the step in it, and the way back.

    A block is a row of N^2 pixels, and T X T' its product with one matrix: few large products, not many small ones.
    """

    def __init__(self, sigma: Array, step: Step, device: str) -> None:
        N, T = len(step.T), step.T.astype(np.float64)
        window = np.outer(np.kaiser(N, step.beta), np.kaiser(N, step.beta))
        factors = np.broadcast_to(1.0 if step.threshold is None else step.threshold, (N, N))
        levels = sigma[:, None, None, None] * factors.ravel()
        self.device = device
        self.to_spectrum, self.to_blocks, self.window, self.levels = (
            torch.tensor(x, dtype=torch.float32, device=device)
            for x in (np.kron(T, T).T, np.kron(np.linalg.inv(T), np.linalg.inv(T)).T, window.ravel(), levels)
        )

    def __call__(self, noisy: Tensor, basic: Tensor | None) -> tuple[Tensor, Tensor]:
        """Estimates and weights of stacks (C, B, k, N^2): of the same shape, and (C, B)."""
        haar_k = torch.tensor(haar(noisy.shape[2]), device=self.device)
        spectrum = haar_k @ noisy @ self.to_spectrum
        if basic is None:
            kept = spectrum.abs() >= self.levels
            spectrum *= kept
            weights = 1 / kept.sum(dim=(2, 3)).clamp_(min=1)  # Eq. 10
        else:
            power = (haar_k @ basic @ self.to_spectrum).square_()
            W = power / (power + self.levels.square())  # Eq. 8
            spectrum *= W
            weights = 1 / W.square_().sum(dim=(2, 3)).clamp_(min=1e-12)  # Eq. 11
        return haar_k.T @ (spectrum @ self.to_blocks), weights


def haar(k: int) -> Array:
    """The orthonormal Haar transform, k x k, k a power of two: the mean of all first, the finest differences last."""
    if k == 1:
        return np.ones((1, 1), np.float32)
    coarse = np.kron(haar(k // 2), [1, 1])
    fine = np.kron(np.eye(k // 2), [1, -1])
    return (np.concatenate([coarse, fine]) / np.sqrt(2)).astype(np.float32)
