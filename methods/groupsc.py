"""GroupSC: trainable sparse coding in which similar patches share the pattern of their codes.

Lecouat, Ponce, Mairal, "Fully Trainable and Interpretable Non-Local Sparse Models for Image Restoration", ECCV 2020,
Sec. 3.2 and 3.3. 68,434 parameters for gray images (9x9 patches, 256 atoms, 24 steps), 119,188 for colour (7x7).

The network (methods.networks.sparse_coding) sees one crop. There are two ways to run it on an image, with one set of
parameters: blocks, as the authors do (`merged_blocks`), and sliding, with the window centred on each patch
(methods.fast.groupsc).

The paper's appendix relaxes another penalty too, "CSR" after Dong et al.'s centralised sparse representations. Its
text is not at hand; in its place stands the penalty `centred`, which is ours. Blind denoising and JPEG (Sec. 3.4)
exist in the paper alone, not in the authors' code. Ours has thresholds for each step and noise level, 143,616
parameters for five levels. The 115 thousand that the paper prints leave room for one vector of thresholds a level:
114,324 with `step_thresholds = false`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from bench.methods.fast.groupsc import sliding_restore
from bench.methods.fast.sweep import Sweep
from bench.methods.fast.windows import Tiling
from bench.methods.networks.similarity import n_pairs, tiles
from bench.methods.networks.sparse_coding import SparseCoding
from bench.methods.sc import SC
from bench.methods.sparse.patches import coverage, reflect
from torch import Tensor, nn

from bench.restorer import Observation, Setting, WeightsFile

__all__ = ["GroupSC", "merged_blocks", "read_authors"]

BLOCK = 56  # side in pixels of the authors' blocks: 48 x 48 patches of 9 x 9 pixels
STRIDE = {1: 12, 3: 10}  # by channels, in their final figures
BLOCKS_AT_ONCE = 10
THIN = 2  # see sliding_restore


class GroupSC(SC):
    """Sparse coding of similar patches together, unrolled and trained. `:blocks` runs the authors' blocks of 56x56.

    `groupsc:blocks48` has fewer of them, every 48 pixels one. `groupsc:bf16` slides in bfloat16, and
    methods.fast.groupsc says what that costs.

    Options of its network: see methods.networks.sparse_coding; unless said otherwise `window` is 48, and `freq`
    8 for mosaics and 6 for all else, as in the authors' code. With the penalty `l1`, or a window of 0, it is SC.
    """

    name = "groupsc"
    tasks = {"denoise", "denoise-blind", "deblock", "demosaick"}
    version = "2"  # 1 was in bfloat16 where the processor had it
    variants = ("bf16", "blocks", "blocks48")
    needs_weights = True  # SC's too, but the plan reads this file alone

    def network(self, setting: Setting) -> SparseCoding:
        freq = 8 if setting.task == "demosaick" else 6
        return SparseCoding(setting.channels, **{"window": 48, "freq": freq, **self.options})

    def load(self, network: nn.Module, weights: WeightsFile) -> None:
        if weights.loader == "groupsc-authors" or weights.path.suffix != ".safetensors":
            network.load_state_dict(read_authors(weights.path))
        else:
            super().load(network, weights)

    def restored(self, y: Tensor, mask: Tensor | None, level: float | None) -> Tensor:
        if self.in_blocks:
            return merged_blocks(self.net, y, self.stride(y.shape[1]), mask=mask, level=level)
        if not self.net.window:
            return super().restored(y, mask, level)
        return sliding_restore(self.net, y, mask, level, thin=THIN, dtype=self.dtype)

    @property
    def in_blocks(self) -> bool:
        return self.variant.startswith("blocks")

    def stride(self, channels: int) -> int:
        return 48 if self.variant == "blocks48" else STRIDE[channels]

    def macs_per_pixel(self, seen: Observation) -> float:
        """Computed from the sizes; products with weights that are 0 outside the window count where they are formed.

        For each patch 2 K products with a matrix of m x p, and one more before each refresh; for each pair of a patch
        and a neighbour p at each of the K thresholdings and m at each similarity.
        """
        net, (H, W, channels) = self.plain, seen.restored_shape
        if not (net.window or self.in_blocks):
            return super().macs_per_pixel(seen)
        s, m, p, K = net.patch_size, *net.D.shape, net.n_steps
        if self.in_blocks:
            counts = [block_count(n, self.stride(channels)) for n in (H, W)]
            g = BLOCK - s + 1
            patches = counts[0] * counts[1] * g * g
            cut = tiles(g, g, net.window, net.tile) if net.window else ()
            pairs = counts[0] * counts[1] * n_pairs(cut)
        else:
            patches = (H + s - 1) * (W + s - 1)
            tiling = Tiling(H + s - 1, W + s - 1, net.window, THIN, torch.device("cpu"))
            on_cpu = self.device.type == "cpu" and self.dtype == torch.float32
            pairs = tiling.n_pairs(halved=on_cpu and Sweep.can(net))
        refreshes = len(net.refreshed) if net.window else 0
        macs = patches * m * p * (2 * K + refreshes) + pairs * (p * K + m * (1 + refreshes))
        return macs / (H * W)


def merged_blocks(
    network: SparseCoding,
    y: Tensor,
    stride: int,
    size: int = BLOCK,
    *,
    mask: Tensor | None = None,
    level: float | None = None,
) -> Tensor:
    """The authors' inference: every block of size x size pixels alone, the estimates merged (Sec. 3.6).

    The image is reflected by size - 1 pixels on every side and, right and below, by up to one stride more, so that
    the blocks cover it. In the mean over blocks a block's pixel counts as often as patches of the block cover it.
    The authors' last blocks may lie beyond the image; those are left out here.

    y            (1, C, H, W)
    mask, level  see SparseCoding.forward
    """
    H, W = y.shape[2:]
    rows, columns = (range(0, stride * block_count(n, stride, size), stride) for n in (H, W))
    around = size - 1, rows[-1] + 1 - H, columns[-1] + 1 - W
    x, M = reflect(y, *around), None if mask is None else reflect(mask, *around)
    weight = coverage(size, size, network.patch_size, like=y)
    total, weights = torch.zeros_like(x), torch.zeros_like(x[:, :1])
    places = [(i, j) for i in rows for j in columns]
    for k in range(0, len(places), BLOCKS_AT_ONCE):
        some = places[k : k + BLOCKS_AT_ONCE]
        cut, cut_mask = (
            None if z is None else torch.cat([z[:, :, i : i + size, j : j + size] for i, j in some]) for z in (x, M)
        )
        estimates = network(cut, cut_mask, level)
        for (i, j), x_hat in zip(some, estimates, strict=True):
            total[:, :, i : i + size, j : j + size] += weight * x_hat
            weights[:, :, i : i + size, j : j + size] += weight
    inside = slice(size - 1, size - 1 + H), slice(size - 1, size - 1 + W)
    return (total / weights)[:, :, inside[0], inside[1]]


def block_count(n: int, stride: int, size: int = BLOCK) -> int:
    """Blocks along an axis that touch its n pixels: the first of them with its last pixel, the others stride on."""
    return (size - 1 + n - 1) // stride + 1


def read_authors(path: Path) -> dict[str, Tensor]:
    """`SparseCoding`'s state dict from a checkpoint of github.com/bruno-31/groupsc (gray and colour, mode "group").

    theirs                           shape          ours
    apply_A.weight                   (p, m, 1, 1)   C (m, p), transposed
    apply_D.weight, apply_W.weight   (m, p, 1, 1)   D, W (m, p)
    lmbda.0 ... lmbda.K-1            (1, p, 1, 1)   lmbda (K, p)
    std.0                            (1, m, 1, 1)   kappa (m,)
    nu.0                             (1,)           nu (1,)
    simLayer.0.mask                  (1, n, n)      none: it follows from the window

    The state dict may be the file itself or an entry of it, and DataParallel's "module." may precede each name.
    """
    state = _state_dict(torch.load(path, map_location="cpu", weights_only=True))
    if state is None:
        raise ValueError(f"{path}: no checkpoint of GroupSC's authors: it has no 'apply_A.weight'.")
    n_steps = sum(name.startswith("lmbda.") for name in state)
    thresholds = [f"lmbda.{k}" for k in range(n_steps)]
    names = {"apply_A.weight", "apply_D.weight", "apply_W.weight", *thresholds, "std.0", "nu.0"}
    missing, unknown = names - {*state}, {*state} - names - {"simLayer.0.mask"}
    if missing or unknown:
        raise ValueError(
            f"{path}: a checkpoint of another model than GroupSC with one similarity:"
            f" it lacks {sorted(missing) or 'nothing'} and also has {sorted(unknown) or 'nothing'}."
        )
    C_T, D, W = (state[f"apply_{letter}.weight"][:, :, 0, 0].float() for letter in "ADW")
    return {
        "D": D,
        "C": C_T.T.contiguous(),
        "W": W,
        "lmbda": torch.stack([state[name].float().flatten() for name in thresholds]),
        "kappa": state["std.0"].float().flatten(),
        "nu": state["nu.0"].float().flatten(),
    }


def _state_dict(content: object) -> dict[str, Tensor] | None:
    if not isinstance(content, dict):
        return None
    state = {str(name).removeprefix("module."): value for name, value in content.items()}
    if "apply_A.weight" in state:
        return state
    return next((found for value in content.values() if (found := _state_dict(value)) is not None), None)
