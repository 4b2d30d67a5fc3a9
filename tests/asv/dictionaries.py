"""Learns what K-SVD, LSSC and EPLL know of clean patches, dictionaries and a mixture, and writes it with its card.

    python tests/asv/dictionaries.py --out methods/weights [--only ksvd-gray-8]

Minutes each. A mixture takes half an hour: killed, the same command goes on. Then enter the files' sha256 in
methods/weights.toml.
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
from bench.methods.sparse.mixture import pack
from bench.methods.sparse.mixture_learning import Learner, Statistics
from bench.methods.sparse.patches import centre
from safetensors.numpy import load_file, save_file


@dataclass(frozen=True)
class ByKSVD:
    """K-SVD from the over-complete DCT on, every patch coded by `atoms_a_patch` atoms; in colour, approximate."""

    data: str
    size: int
    patches: int
    iterations: int
    atoms_a_patch: int = 6

    def learn(self, Y: np.ndarray, progress: Path) -> dict[str, np.ndarray]:
        channels = Y.shape[1] // self.size**2
        D = ksvd(
            centred(torch.from_numpy(Y), channels)[0].numpy(),
            start(self.size, channels),
            error=0.0,
            max_atoms=self.atoms_a_patch,
            n_iters=self.iterations,
            metric=metric(channels),
            exact=channels == 1,
        )
        return {"D": D}


@dataclass(frozen=True)
class Online:
    """Online learning with the l1 norm, from patches on; each is coded to so many gray levels (root mean square)."""

    data: str
    size: int
    patches: int
    coded_to_gray_levels_rms: float
    passes: int = 2
    atoms: int = 512

    def learn(self, Y: np.ndarray, progress: Path) -> dict[str, np.ndarray]:
        Y = centre(torch.from_numpy(Y), channels=Y.shape[1] // self.size**2)[0].numpy()
        error = Y.shape[1] * (self.coded_to_gray_levels_rms / 255) ** 2
        busy = Y[(Y**2).sum(1) > 4 * error]
        D = busy[np.random.default_rng(1).choice(len(busy), self.atoms, replace=False)].T
        D = D / np.linalg.norm(D, axis=0)
        return {"D": adapt_online(Y, D, error=error, n_passes=self.passes, rho=2.0, n_trusted=0)}


@dataclass(frozen=True)
class ByEM:
    """Expectation maximisation, step by step on batches drawn from all patches; `progress` keeps every tenth step."""

    data: str
    size: int
    patches: int
    steps: int
    batch: int = 2**16
    components: int = 200

    def learn(self, Y: np.ndarray, progress: Path) -> dict[str, np.ndarray]:
        learner, known, done = Learner(Y, self.components, batch=self.batch), None, 0
        if progress.exists():
            kept = load_file(progress)
            known, done = Statistics(kept["counts"], kept["scatter"]), int(kept["done"])
        for step in range(done + 1, self.steps + 1):
            known, mean = learner.update(step, known)
            if step % 10 == 0:
                print(f"step {step}: log-likelihood of a patch {mean:.2f} nats", flush=True)
                save_file({**known._asdict(), "done": np.array(step)}, progress.with_suffix(".new"))
                progress.with_suffix(".new").replace(progress)
        priors, covariances = learner.mixture(known)
        progress.unlink()
        return {"priors": priors, "covariances": pack(covariances)}


RECIPES = {
    "ksvd-gray-8": ByKSVD("bsd400", 8, 100_000, 60),
    "ksvd-colour-5": ByKSVD("cbsd400", 5, 50_000, 30),
    "ksvd-colour-7": ByKSVD("cbsd400", 7, 50_000, 30),
    "lssc-gray-9": Online("bsd400", 9, 160_000, 10),
    "lssc-gray-12": Online("bsd400", 12, 120_000, 15),
    "lssc-gray-16": Online("bsd400", 16, 80_000, 20),
    "lssc-colour-7": Online("cbsd400", 7, 60_000, 5),
    "epll-gray-8": ByEM("bsd400", 8, 4_000_000, 400),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--only", choices=RECIPES, action="append", help="name of a file (default: all)")
    options = parser.parse_args()
    for name in options.only or RECIPES:
        recipe = RECIPES[name]
        Y = clean_patches(recipe.data, recipe.size, recipe.patches)
        learned = recipe.learn(Y, options.out / f"{name}.progress")
        # safetensors writes numbers as they lie in memory, and reads them row by row
        save_file({key: np.ascontiguousarray(x) for key, x in learned.items()}, options.out / f"{name}.safetensors")
        card = {
            "restorer": name.partition("-")[0],
            **asdict(recipe),
            "seed": 0,
            "script": "tests/asv/dictionaries.py",
        }
        (options.out / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n")
        print(f"{name}: {', '.join(f'{key} {value.shape}' for key, value in learned.items())}", flush=True)


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
