"""How fast pursuit, K-SVD and LSSC are, beside SPAMS and scikit-learn where these are installed.

    python tests/asv/sparse_speed.py [--images] [--memory] [--only 'lssc gray'] [--write]

Neither is a requirement of the project. `.ci/speed` shows how to install them beside it.
Threads: OMP_NUM_THREADS, or all cores. Wall time and CPU time are printed, since the two together tell a busy machine
from a slow program.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numba
import numpy as np
from bench.methods.ksvd import KSVD
from bench.methods.lssc import LSSC
from bench.methods.sparse.lasso import lasso_path
from bench.methods.sparse.pursuit import omp
from speed import Comparison, add_write, in_turns, ratio, write

from bench import methods
from bench.measure.memory import peak_mib
from bench.protocol import get_protocol
from bench.restorer import Observation, Restorer, Setting, WeightsFile

OTHERS = "spams-bin", "scikit-learn"
"""What pursuit is held against."""

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
    add_write(parser)
    parser.add_argument("--peak-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        name, side = options.peak_of
        prepared(name).restore(observed(name, int(side)))
        print(peak_mib("cpu"))
        return
    if not options.only or options.write:
        comparisons = pursuits()
        if options.write:
            write_pursuits(comparisons)
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


def write_pursuits(comparisons: list[Comparison]) -> None:
    if len(comparisons) < len(OTHERS):
        sys.exit(f"--write needs {' and '.join(OTHERS)}: without one of them its row would be lost.")
    write(__file__, comparisons, threads=numba.get_num_threads(), packages=OTHERS)


def pursuits(n: int = 100_000, m: int = 64, p: int = 256, n_atoms: int = 10) -> list[Comparison]:
    """n random signals, m values long, coded with n_atoms of p random atoms; beside those programs that are here."""
    rng = np.random.default_rng(0)
    D = rng.normal(size=(m, p)).astype(np.float32)
    D /= np.linalg.norm(D, axis=0)
    Y = rng.normal(size=(n, m)).astype(np.float32)
    omp(Y[:10], D)
    report("omp", lambda: omp(Y, D, max_atoms=n_atoms))
    report("omp, decrease", lambda: omp(Y, D, max_atoms=n_atoms, rule="decrease"))
    lasso_path(Y[:10], D, error=30.0)
    report("lasso_path to half the energy", lambda: lasso_path(Y, D, error=m / 2))
    runs: dict[str, Callable[[], object]] = {"omp": lambda: omp(Y, D, max_atoms=n_atoms)}
    if find_spec("spams"):
        import spams

        X, F = np.asfortranarray(Y.T), np.asfortranarray(D)
        runs["spams.omp"] = lambda: spams.omp(X, F, L=n_atoms, eps=0.0, numThreads=-1)
    part = n // 50
    if find_spec("sklearn"):
        from sklearn.linear_model import orthogonal_mp_gram

        G, DtY = D.T @ D, D.T @ Y[:part].T
        runs["orthogonal_mp_gram of scikit-learn"] = lambda: orthogonal_mp_gram(G, DtY, n_nonzero_coefs=n_atoms)
    if len(runs) <= len(OTHERS):
        print(f"not all of {', '.join(OTHERS)} are installed")
    return compared(in_turns(runs, repeats=3), f"OMP, {n_atoms} of {p} atoms, {n:,} signals of {m} values", n, part)


def compared(seconds: Mapping[str, list[float]], work: str, n: int, part: int) -> list[Comparison]:
    """`omp` against each other program; scikit-learn's coded `part` of the n signals."""
    comparisons = []
    ours = seconds["omp"]
    for name, theirs in seconds.items():
        if name == "omp":
            continue
        times, note = (n / part, f"estimated from {part:,} of the signals") if "scikit" in name else (1, "")
        of_name = Comparison(
            work, "ours", median(ours), name, times * median(theirs), times * ratio(theirs, ours), note
        )
        comparisons.append(of_name)
        print(f"{name}: {of_name.other_seconds:.2f} s; ours is {of_name.ratio:.2f} times as fast {note}")
    return comparisons


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
