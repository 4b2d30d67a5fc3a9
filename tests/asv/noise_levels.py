"""How well the noise level of an image is estimated: `python tests/asv/noise_levels.py [--dataset bsd68]`.

Prints, for each sigma, mean and root-mean-square error over the images of methods.noise.estimate_sigma and of
scikit-image's estimate_sigma (which takes the median of wavelet coefficients), and their seconds an image.
"""

from __future__ import annotations

import argparse
from time import perf_counter

import numpy as np
from bench.data.datasets import get, read
from bench.methods.noise import estimate_sigma
from skimage.restoration import estimate_sigma as of_wavelets

from bench.protocol import get_protocol
from bench.tasks import Setting

ESTIMATORS = {
    "Liu et al.": estimate_sigma,
    "scikit-image": lambda y: 255 * of_wavelets(y, channel_axis=2, average_sigmas=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="bsd68")
    dataset = get(parser.parse_args().dataset)
    protocol = get_protocol("standard-v1")
    for sigma in (5.0, 15.0, 25.0, 50.0):
        errors: dict[str, list[float]] = {name: [] for name in ESTIMATORS}
        seconds = dict.fromkeys(ESTIMATORS, 0.0)
        for entry in dataset.entries:
            clean = read(dataset, entry).pixels
            setting = Setting("denoise-blind", sigma, clean.shape[2])
            _, seen = protocol.degrade(clean, setting, protocol.seed(setting, dataset.name, entry.name, 0))
            for name, estimate in ESTIMATORS.items():
                start = perf_counter()
                errors[name].append(float(estimate(seen.image)) - sigma)
                seconds[name] += perf_counter() - start
        for name, e in errors.items():
            each = seconds[name] / len(dataset)
            rms = np.sqrt(np.mean(np.square(e)))
            print(f"sigma {sigma:4.0f}  {name:12}  mean {np.mean(e):+.2f}  rms {rms:.2f}  {each:.2f} s", flush=True)


if __name__ == "__main__":
    main()
