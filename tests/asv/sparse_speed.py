"""How fast pursuit, K-SVD and LSSC are, beside SPAMS and scikit-learn where these are installed.

    python tests/asv/sparse_speed.py [--images] [--memory] [--only 'lssc gray']

Neither is a requirement of the project: `pip install --target DIR spams-bin scikit-learn` and PYTHONPATH=DIR.
Threads: OMP_NUM_THREADS, or all cores. Wall time and CPU time are printed, since the two together tell a busy machine
from a slow program.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from bench.methods.ksvd import KSVD
from bench.methods.lssc import LSSC
from bench.methods.sparse.lasso import lasso_path
from bench.methods.sparse.pursuit import omp

from bench import methods
from bench.measure.memory import peak_mib
from bench.protocol import get_protocol
from bench.restorer import Observation, Restorer, Setting, WeightsFile

SIZES = 128, 256, 512, 1024
CASES = {  # restorer, setting, dictionary
    "ksvd gray": (KSVD, Setting("denoise", 25.0, 1), None),
    "ksvd colour": (KSVD, Setting("denoise", 25.0, 3), "ksvd-colour-7"),
    "lssc gray": (LSSC, Setting("denoise", 25.0, 1), "lssc-gray-9"),
    "lssc colour": (LSSC, Setting("denoise", 25.0, 3), "lssc-colour-7"),
    "lssc mosaic": (LSSC, Setting("demosaick", "RGGB", 3), "lssc-colour-7"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", action="store_true", help="time the restorers at 128 to 1024 pixels")
    parser.add_argument("--memory", action="store_true", help="measure their peak memory at 256 and 1024 pixels")
    parser.add_argument("--only", choices=CASES, action="append", help="restorer and kind of image (default: all)")
    parser.add_argument("--peak-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        name, side = options.peak_of
        prepared(name).restore(observed(name, int(side)))
        print(peak_mib("cpu"))
        return
    if not options.only:
        pursuits()
    if options.images:
        for name in options.only or CASES:
            restorer = prepared(name)
            for side in SIZES:
                seen = observed(name, side)
                report(f"{name} {side}x{side}", lambda restorer=restorer, seen=seen: restorer.restore(seen))
    if options.memory:
        for name in options.only or CASES:
            for side in (256, 1024):
                command = [sys.executable, __file__, "--peak-of", name, str(side)]
                peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                print(f"{name} {side}x{side}: peak {float(peak):.0f} MiB")


def pursuits(n: int = 100_000, m: int = 64, p: int = 256, n_atoms: int = 10) -> None:
    """n random signals, m values long, coded with n_atoms of p random atoms."""
    rng = np.random.default_rng(0)
    D = rng.normal(size=(m, p)).astype(np.float32)
    D /= np.linalg.norm(D, axis=0)
    Y = rng.normal(size=(n, m)).astype(np.float32)
    omp(Y[:10], D)
    ours = report("omp", lambda: omp(Y, D, max_atoms=n_atoms))
    report("omp, decrease", lambda: omp(Y, D, max_atoms=n_atoms, rule="decrease"))
    lasso_path(Y[:10], D, error=30.0)
    report("lasso_path to half the energy", lambda: lasso_path(Y, D, error=m / 2))
    try:
        import spams
    except ImportError:
        print("spams is not installed")
    else:
        X, F = np.asfortranarray(Y.T), np.asfortranarray(D)
        theirs = report("spams.omp", lambda: spams.omp(X, F, L=n_atoms, eps=0.0, numThreads=-1))
        print(f"ours takes {ours / theirs:.2f} times as long as spams.omp")
    try:
        from sklearn.linear_model import orthogonal_mp_gram
    except ImportError:
        print("scikit-learn is not installed")
    else:
        part = n // 50
        G, DtY = D.T @ D, D.T @ Y[:part].T
        theirs = 50 * report(
            f"orthogonal_mp_gram, {part} signals", lambda: orthogonal_mp_gram(G, DtY, n_nonzero_coefs=n_atoms)
        )
        print(f"ours is {theirs / ours:.0f} times as fast as orthogonal_mp_gram")


def prepared(name: str) -> Restorer:
    restorer, setting, dictionary = CASES[name]
    path = Path(methods.__file__).parent / f"weights/{dictionary}.safetensors"
    ready: Restorer = restorer(weights=None if dictionary is None else WeightsFile(path, "", ""))
    ready.prepare(setting, "cpu")
    return ready


def observed(name: str, side: int) -> Observation:
    """Waves, edges and flat parts of the same scale at every size, with noise of sigma 25."""
    _, setting, _ = CASES[name]
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    gray = 0.5 + 0.2 * np.sin(rows / 3) * np.sin(columns / 50) + 0.15 * np.sign(np.sin((rows + 2 * columns) / 40))
    clean = gray[..., None] * np.float32([1, 0.9, 0.8][: setting.channels])
    return get_protocol("standard-v1").degrade(clean, setting, seed=(0,))[1]


def report(what: str, f: Callable[[], object]) -> float:
    """Call f once, print and return its seconds."""
    wall, cpu = perf_counter(), process_time()
    f()
    wall, cpu = perf_counter() - wall, process_time() - cpu
    print(f"{what}: {wall:.2f} s ({cpu:.2f} s of CPU)", flush=True)
    return wall


if __name__ == "__main__":
    main()
