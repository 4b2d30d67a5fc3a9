"""Learns the dictionaries that LSSC starts from, on clean patches of bsd400, and writes them with their cards.

    python tests/asv/lssc_dictionaries.py --out methods/weights

512 atoms a patch size, by online learning with a bounded error (methods.sparse.dictionary.adapt_online): minutes each
on two cores. Then enter the files' sha256 in methods/weights.toml.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from data import datasets
from methods.sparse.dictionary import adapt_online
from methods.sparse.patches import centre

N_ATOMS = 512
N_PASSES = 2
RECIPES = {  # by patch size: how many patches, and to how many gray levels (root mean square) they are coded
    9: (160_000, 10),
    12: (120_000, 15),
    16: (80_000, 20),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument(
        "--size", type=int, choices=RECIPES, action="append", help="side of the patches (default: all)"
    )
    options = parser.parse_args()
    for size in options.size or RECIPES:
        n, gray_levels = RECIPES[size]
        Y = clean_patches("bsd400", size, n)
        error = size**2 * (gray_levels / 255) ** 2
        D = adapt_online(Y, busy_patches(Y, 4 * error), error=error, n_passes=N_PASSES, rho=2.0, n_trusted=0)
        save_file({"D": D}, options.out / f"lssc-gray-{size}.safetensors")
        card = {
            "restorer": "lssc",
            "data": "bsd400",
            "patches": n,
            "passes": N_PASSES,
            "coded_to_gray_levels_rms": gray_levels,
            "seed": 0,
            "script": "tests/asv/lssc_dictionaries.py",
        }
        (options.out / f"lssc-gray-{size}.json").write_text(json.dumps(card, indent=2) + "\n")
        print(f"{size}x{size}: norms of the atoms from {np.linalg.norm(D, axis=0).min():.6f} on")


def clean_patches(name: str, size: int, n: int) -> np.ndarray:
    """About n centred patches (n, size^2), float32, as many from each gray image, from random places (seed 0)."""
    dataset, rng, parts = datasets.get(name), np.random.default_rng(0), []
    each = n // len(dataset.entries)
    for entry in dataset.entries:
        views = np.lib.stride_tricks.sliding_window_view(datasets.read(dataset, entry).pixels[..., 0], (size, size))
        i, j = (rng.integers(0, end, each) for end in views.shape[:2])
        parts.append(views[i, j].reshape(each, -1))
    return centre(torch.from_numpy(np.concatenate(parts)))[0].numpy()


def busy_patches(Y: np.ndarray, energy: float) -> np.ndarray:
    """N_ATOMS of those rows of Y whose squared norm is above `energy`, divided by their norms: (m, N_ATOMS)."""
    busy = Y[(Y**2).sum(1) > energy]
    D = busy[np.random.default_rng(1).choice(len(busy), N_ATOMS, replace=False)].T
    return D / np.linalg.norm(D, axis=0)


if __name__ == "__main__":
    main()
