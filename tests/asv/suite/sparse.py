"""What the sparse models spend their time in: OMP and GroupSC's prox."""

from __future__ import annotations

import numpy as np
import torch
from bench.methods.sparse.dictionary import overcomplete_dct
from bench.methods.sparse.prox import relaxed_group_soft_threshold
from bench.methods.sparse.pursuit import omp


class Pursuit:
    """20,000 patches of 8x8 pixels, 256 atoms, ten of them each."""

    timeout = 300

    def setup(self) -> None:
        self.D = overcomplete_dct(8, 16)
        self.Y = np.random.RandomState(0).normal(0, 1, (20_000, 64))
        omp(self.Y[:100], self.D, max_atoms=10)  # compiles

    def time_omp(self) -> None:
        omp(self.Y, self.D, max_atoms=10)


class Prox:
    """Eq. 11 on the patches of a 56x56 block."""

    def setup(self) -> None:
        torch.manual_seed(0)
        self.B = torch.randn(1, 48, 48, 256)
        self.norm2, self.mass = self.B.square() * 9, torch.full((1, 48, 48, 1), 9.0)
        self.lmbda = torch.full((256,), 0.5)

    def time_relaxed_group_soft_threshold(self) -> None:
        relaxed_group_soft_threshold(self.B, self.lmbda, self.norm2, self.mass)
