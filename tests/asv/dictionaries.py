"""Learns the dictionaries that K-SVD and LSSC start from, on clean patches, and writes them with their cards.

    python tests/asv/dictionaries.py --out methods/weights [--only ksvd-gray-8]

Minutes each. Then enter the files' sha256 in methods/weights.toml.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from bench.data import datasets
from bench.methods.ksvd import centred, metric, start
from bench.methods.sparse.dictionary import adapt_online, ksvd
from bench.methods.sparse.patches import centre
from safetensors.numpy import save_file


@dataclass(frozen=True)
class ByKSVD:
    """K-SVD from the over-complete DCT on, every patch coded by `atoms_a_patch` atoms; in colour, approximate."""

    data: str
    size: int
    patches: int
    iterations: int
    atoms_a_patch: int = 6

    def learn(self, Y: np.ndarray) -> np.ndarray:
        channels = Y.shape[1] // self.size**2
        return ksvd(
            centred(torch.from_numpy(Y), channels)[0].numpy(),
            start(self.size, channels),
            error=0.0,
            max_atoms=self.atoms_a_patch,
            n_iters=self.iterations,
            metric=metric(channels),
            exact=channels == 1,
        )


@dataclass(frozen=True)
class Online:
    """Online learning with the l1 norm, from patches on; each is coded to so many gray levels (root mean square)."""

    data: str
    size: int
    patches: int
    coded_to_gray_levels_rms: float
    passes: int = 2
    atoms: int = 512

    def learn(self, Y: np.ndarray) -> np.ndarray:
        Y = centre(torch.from_numpy(Y), channels=Y.shape[1] // self.size**2)[0].numpy()
        error = Y.shape[1] * (self.coded_to_gray_levels_rms / 255) ** 2
        busy = Y[(Y**2).sum(1) > 4 * error]
        D = busy[np.random.default_rng(1).choice(len(busy), self.atoms, replace=False)].T
        D = D / np.linalg.norm(D, axis=0)
        return adapt_online(Y, D, error=error, n_passes=self.passes, rho=2.0, n_trusted=0)


RECIPES = {
    "ksvd-gray-8": ByKSVD("bsd400", 8, 100_000, 60),
    "ksvd-colour-5": ByKSVD("cbsd400", 5, 50_000, 30),
    "ksvd-colour-7": ByKSVD("cbsd400", 7, 50_000, 30),
    "lssc-gray-9": Online("bsd400", 9, 160_000, 10),
    "lssc-gray-12": Online("bsd400", 12, 120_000, 15),
    "lssc-gray-16": Online("bsd400", 16, 80_000, 20),
    "lssc-colour-7": Online("cbsd400", 7, 60_000, 5),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--only", choices=RECIPES, action="append", help="name of a file (default: all)")
    options = parser.parse_args()
    for name in options.only or RECIPES:
        recipe = RECIPES[name]
        Y = clean_patches(recipe.data, recipe.size, recipe.patches)
        D = recipe.learn(Y)
        save_file({"D": D}, options.out / f"{name}.safetensors")
        card = {
            "restorer": name.partition("-")[0],
            **asdict(recipe),
            "seed": 0,
            "script": "tests/asv/dictionaries.py",
        }
        (options.out / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n")
        print(f"{name}: norms of the atoms from {np.linalg.norm(D, axis=0).min():.6f} on", flush=True)


def clean_patches(name: str, size: int, n: int) -> np.ndarray:
    """About n patches (n, C size^2), float32, as many from each image, from random places (seed 0)."""
    dataset, rng, parts = datasets.get(name), np.random.default_rng(0), []
    each = n // len(dataset.entries)
    for entry in dataset.entries:
        x = datasets.read(dataset, entry).pixels.transpose(2, 0, 1)
        views = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
        i, j = (rng.integers(0, end, each) for end in views.shape[1:3])
        parts.append(views[:, i, j].swapaxes(0, 1).reshape(each, -1))
    return np.concatenate(parts)


if __name__ == "__main__":
    main()
