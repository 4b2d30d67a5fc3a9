"""SC and GroupSC as one trainable network: K unrolled steps of Algorithm 1, with or without similarities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from bench.methods.demosaick import Bilinear, Malvar, Menon
from bench.methods.networks.similarity import Similarity
from bench.methods.networks.unrolled import centred_steps, steps
from bench.methods.sparse.patches import average, centre, extract
from torch import Tensor, nn

from bench.restorer import nearest_level

__all__ = ["FIRST_GUESSES", "PENALTIES", "SparseCoding"]

FIRST_GUESSES: dict[str, type[Bilinear] | type[Malvar] | type[Menon]] = {
    "bilinear": Bilinear,
    "malvar": Malvar,
    "menon": Menon,
}

PENALTIES = ("group", "group-sum", "centred", "l1")


class SparseCoding(nn.Module):
    """SC (Sec. 3.1) if `window` is 0, else GroupSC (Sec. 3.2-3.3): noisy images to estimates.

    Parameters, in the paper's letters (with the authors' names beside them):
    D, C, W    (m, p)  dictionary, its counterpart in the gradient step, its counterpart in the output
                       (apply_D.weight, apply_A.weight transposed, apply_W.weight)
    lmbda      (K, p)  Lambda_k, one threshold per step and atom (lmbda.0 ... lmbda.K-1); (L, K, p) with levels
    kappa      (m,)    weights of the distance, Eq. 12 (std.0)
    nu         (1,)    weight of a new similarity in the online average, through a sigmoid (nu.0)

    Options:
    patch_size   s; m = channels * s * s
    n_atoms      p
    n_steps      K, counting the thresholdings: the first is that of C^T y, the start from alpha = 0
    window       w of the w x w patches among which a patch has its neighbours
    penalty      which Prox shrinks the codes, one of PENALTIES: see below
    freq         similarities are refreshed before every freq-th step; 0: never
    averaged     they are refreshed by the patches of the averaged estimate (Eq. 6), in which the noise of overlapping
                 patches has averaged out; false: by each patch's own estimate
    online_average    a new similarity is averaged with the one before (Sec. 3.3); false: it replaces it, without nu
    learned_distance  kappa is learned (Eq. 12); false: it stays kappa_init
    step_thresholds   each step has thresholds of its own; false: all share one set, and lmbda is (1, p) or (L, 1, p)
    lmbda_init   thresholds before training, for images in [0, 1]
    kappa_init   kappa before training; the larger it is, the fewer patches are alike, down to SC where none are
    step_init    C before training is so many times D: a gradient step may be longer where a mask hides much
    levels       L noise levels or qualities, each with thresholds of its own and all else shared (Sec. 3.4);
                 none: one set of thresholds
    first_guess  how unobserved values are filled in for means, first codes and first similarities: one of
                 FIRST_GUESSES, or "" for zeros, as in the authors' code
    tile         side, in patches, of the tiles that similarities are multiplied by on a CPU; changes the speed only

    Penalties:
    group      Eq. 11: the mean of B^2 over similar patches decides
    group-sum  Eq. 11 without sqrt(||Sigma_i||_1): the sum decides, as in Lemma 1. Patches that many others resemble
               are shrunk less
    centred    codes are drawn to the mean of those of similar patches, by soft thresholding. The paper's appendix
               relaxes CSR so; its text is not at hand, so this is ours, after Dong et al.'s Eq. 19
    l1         no similar patches at all: SC, whatever the window
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        patch_size: int | None = None,
        n_atoms: int = 256,
        n_steps: int = 24,
        window: int = 0,
        penalty: str = "group",
        freq: int = 6,
        averaged: bool = True,
        online_average: bool = True,
        learned_distance: bool = True,
        step_thresholds: bool = True,
        lmbda_init: float = 0.02,
        kappa_init: float = 1.0,
        step_init: float = 1.0,
        levels: Sequence[float] = (),
        first_guess: str = "",
        tile: int = 12,
    ) -> None:
        super().__init__()
        if first_guess and first_guess not in FIRST_GUESSES:
            raise ValueError(f"first_guess is '{first_guess}'; expected one of {', '.join(FIRST_GUESSES)}, or ''.")
        if penalty not in PENALTIES:
            raise ValueError(f"penalty is '{penalty}'; expected one of {', '.join(PENALTIES)}.")
        if freq < 0:
            raise ValueError(f"freq is {freq}; expected steps between refreshes, or 0 for none.")
        self.channels, self.patch_size = channels, patch_size or (9 if channels == 1 else 7)
        self.n_steps, self.freq, self.tile = n_steps, freq, tile
        self.window, self.penalty, self.averaged = 0 if penalty == "l1" else window, penalty, averaged
        self.first_guess, self.step_init = first_guess, step_init
        m = channels * self.patch_size**2
        D = unit_spectral_norm(torch.randn(m, n_atoms))
        self.D, self.C, self.W = (nn.Parameter(D.clone()) for _ in range(3))
        self.levels = tuple(levels)
        each = (len(self.levels),) if self.levels else ()
        self.lmbda = nn.Parameter(torch.full((*each, n_steps if step_thresholds else 1, n_atoms), lmbda_init))
        if self.window:
            self.learned_or_fixed("kappa", torch.full((m,), kappa_init), learned_distance)
            self.learned_or_fixed("nu", torch.full((1,), 1.0 if online_average else math.inf), online_average)

    def learned_or_fixed(self, name: str, value: Tensor, learned: bool) -> None:
        """A parameter, or a constant that the options tell and no file of weights has."""
        if learned:
            self.register_parameter(name, nn.Parameter(value))
        else:
            self.register_buffer(name, value, persistent=False)

    @property
    def refreshed(self) -> range:
        """The steps before which similarities are refreshed; the first of all counts as 0."""
        return range(self.freq + 1, self.n_steps, self.freq) if self.freq else range(0)

    def set_dictionary(self, D: Tensor) -> None:
        """Start from D (m, p), which is divided by its largest singular value so that ISTA's unit step converges."""
        with torch.no_grad():
            for matrix in (self.D, self.C, self.W):
                matrix.copy_(unit_spectral_norm(D))
            self.C.mul_(self.step_init)

    def thresholds(self, level: float | None) -> Tensor:
        """Lambda (K, p); of several sets that of the nearest level, Sec. 3.4's "best regularization parameter"."""
        if self.levels and level is None:
            raise ValueError(f"a network for the levels {self.levels} must be told one")
        lmbda = self.lmbda[nearest_level(self.levels, level)] if self.levels else self.lmbda
        return lmbda.expand(self.n_steps, -1)

    def forward(self, image: Tensor, mask: Tensor | None = None, level: float | None = None) -> Tensor:
        """Algorithm 1: degraded images (B, C, h, w) in [0, 1] to estimates of the same shape; h, w >= patch_size.

        mask   1 where a value was observed, else 0, of the images' shape; None: all were (Eq. 13-14)
        level  which thresholds, if there are several sets

        Under autocast the matrix products run in its dtype, all else in float32.
        """
        kind = image.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else image.dtype
        with torch.autocast(kind, enabled=False):
            return self._forward(image, mask, self.thresholds(level), dtype)

    def _forward(self, image: Tensor, mask: Tensor | None, lmbda: Tensor, dtype: torch.dtype) -> Tensor:
        s, K = self.patch_size, self.n_steps
        y, mu = centre(extract(image, s))
        M = None if mask is None else extract(mask.to(image.dtype), s)
        if not self.window:
            alpha = self.steps(None, y, lmbda, M, dtype=dtype)
            return average(self.patches(alpha, mu, dtype), s)
        Sigma, alpha = self.similarity(self.seen_alike(y, M), dtype), None
        for k, after in pairwise([0, *self.refreshed, K]):
            if k > 0:
                estimate = self.similarity(self.estimated_alike(self.patches(alpha, mu, dtype), mu), dtype)
                Sigma = Sigma.mixed_with(estimate, torch.sigmoid(self.nu))
            alpha = self.steps(alpha, y, lmbda[k:after], M, Sigma, dtype)
        return average(self.patches(alpha, mu, dtype), s)

    def steps(
        self,
        alpha: Tensor | None,
        y: Tensor,
        lmbda: Tensor,
        M: Tensor | None,
        Sigma: Similarity | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Those of methods.networks.unrolled; the first codes are those of the first guess, if there is one."""
        run = centred_steps if self.penalty == "centred" and Sigma is not None else steps
        if alpha is None and M is not None and self.first_guess:
            alpha = run(None, y, self.C, self.D, lmbda[:1], None, Sigma, dtype)
            lmbda = lmbda[1:]
        return run(alpha, y, self.C, self.D, lmbda, M, Sigma, dtype)

    def patches(self, alpha: Tensor, mu: Tensor, dtype: torch.dtype) -> Tensor:
        """W alpha + mu, the estimates of the patches (B, gh, gw, m) in Eq. 6."""
        return F.linear(alpha.to(dtype), self.W.to(dtype)).to(mu.dtype) + mu

    def seen_alike(self, y: Tensor, M: Tensor | None) -> Tensor:
        """diag(kappa) y, by which patches of the degraded image are compared in Eq. 12, (B, gh, gw, m).

        Of a mosaic without a first guess, where two patches rarely measure the same colour at the same place, the sum
        of the three colours: what the raw mosaic shows as gray, (B, gh, gw, m / 3), as in the authors' code.
        """
        u = y * self.kappa
        return u if M is None or self.first_guess else u.unflatten(-1, (self.channels, -1)).sum(-2)

    def estimated_alike(self, patches: Tensor, mu: Tensor) -> Tensor:
        """diag(kappa) x, by which the estimates of patches (B, gh, gw, m) are compared in Eq. 12."""
        if self.averaged:
            patches = extract(average(patches, self.patch_size), self.patch_size)
        return (patches - mu) * self.kappa

    def similarity(self, u: Tensor, dtype: torch.dtype) -> Similarity:
        # a GPU takes one large product rather than many small ones
        side = self.tile if u.device.type == "cpu" else max(u.shape)
        Sigma = Similarity.of(u, self.window, side, dtype)
        return Sigma.without_mass() if self.penalty == "group-sum" else Sigma


def unit_spectral_norm(D: Tensor) -> Tensor:
    return D / torch.linalg.matrix_norm(D, 2)
