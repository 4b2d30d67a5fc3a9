"""Time and memory of FFDNet, CSCNet, Deep K-SVD and LIDIA on this machine, each in a process of its own.

    python tests/asv/talk_speed.py [--methods cscnet,lidia] [--sizes 256x256,321x481] [--repeats 3] [--threads 2]

Seconds are the median of the calls after a first one on the same image. CPU seconds are those of all threads: on a
machine that does other work too they tell more. The peak is the process's highest resident memory during the calls,
libraries included. Weights are random ones, and the image is noise: neither changes the work.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from statistics import median
from time import perf_counter, process_time

METHODS = ("ffdnet", "cscnet", "deep-ksvd", "lidia", "lidia:stored", "lidia:authors")


def main() -> None:
    options = _options()
    if options.one:
        print(*_measured(options.one, options.sizes, options.repeats))
        return
    print(f"gray, sigma 25, {options.threads} threads, median of {options.repeats}")
    for method in options.methods.split(","):
        for size in options.sizes.split(","):
            command = [sys.executable, __file__, "--one", method, "--sizes", size, "--repeats", str(options.repeats)]
            environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
            answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            seconds, cpu_seconds, peak, params = (float(number) for number in answer.split())
            times = f"{seconds:7.2f} s {cpu_seconds:7.2f} CPU s"
            print(f"{method:14} {size:>8} {times} {peak:6.0f} MiB {params:9.0f} parameters")


def _measured(name: str, size: str, repeats: int) -> tuple[float, float, float, int]:
    import numpy as np

    from bench.measure.memory import peak_mib, reset_peak
    from bench.plugins.registry import choose, load_class
    from bench.task import Observation
    from bench.tasks import Setting

    spec = choose(name)
    restorer = load_class(spec.info.target)(spec.variant)
    restorer.prepare(Setting("denoise", 25.0, channels=1), "cpu")
    height, width = (int(n) for n in size.split("x"))
    image = np.random.default_rng(0).random((height, width, 1), dtype=np.float32)
    seen = Observation(image, "denoise", sigma=25.0)
    restorer.restore(seen)
    reset_peak("cpu")
    seconds, cpu_seconds = [], []
    for _ in range(repeats):
        start, cpu_start = perf_counter(), process_time()
        restorer.restore(seen)
        seconds.append(perf_counter() - start)
        cpu_seconds.append(process_time() - cpu_start)
    return median(seconds), median(cpu_seconds), peak_mib("cpu") or float("nan"), restorer.n_params()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(METHODS), help=f"default: {','.join(METHODS)}")
    parser.add_argument("--sizes", default="256x256,321x481", help="height x width (default: 256x256,321x481)")
    parser.add_argument("--repeats", type=int, default=3, help="timed calls (default: 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
