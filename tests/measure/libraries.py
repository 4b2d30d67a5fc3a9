"""Our metrics beside those of other libraries: the table of docs/metrics.md, the values of test_metrics.py.

    python -m tests.measure.libraries

It wants piq, pytorch-msssim and sewar, which nothing else here does: run it in an environment of its own.
"""

from __future__ import annotations

import warnings
from importlib.metadata import version

import numpy as np
import piq
import pytorch_msssim
import torch
from sewar import full_ref

from bench.metric import METRICS
from tests.measure.pictures import PAIRS


def torch_of(x):
    return torch.from_numpy(x).permute(2, 0, 1)[None] / 255


def plain(x):
    """As sewar takes it: (H, W) of a gray picture, whole numbers."""
    return np.ascontiguousarray(x[..., 0] if x.shape[2] == 1 else x).astype(np.uint8)


LIBRARIES = {
    ("ms_ssim", "piq"): lambda x, y: piq.multi_scale_ssim(torch_of(x), torch_of(y), data_range=1.0).item(),
    ("ms_ssim", "pytorch-msssim"): lambda x, y: pytorch_msssim.ms_ssim(torch_of(x), torch_of(y), data_range=1).item(),
    ("gmsd", "piq"): lambda x, y: piq.gmsd(torch_of(x), torch_of(y), data_range=1.0).item(),
    ("vif", "piq"): lambda x, y: piq.vif_p(torch_of(x), torch_of(y), data_range=1.0).item(),
    ("vif", "sewar"): lambda x, y: full_ref.vifp(plain(y), plain(x)),
    ("haarpsi", "piq"): lambda x, y: piq.haarpsi(torch_of(x), torch_of(y), data_range=1.0).item(),
    ("ssim8", "sewar"): lambda x, y: full_ref.ssim(
        plain(y), plain(x), ws=8, fltr_specs={"fltr": full_ref.Filter.UNIFORM, "ws": 8}
    )[0],
    ("psnrb", "sewar"): lambda x, y: full_ref.psnrb(plain(y), plain(x)),
}


def main():
    warnings.simplefilter("ignore")
    print("| metric | picture | here | library | its figure |\n|---|---|---|---|---|")
    for (name, library), measure in LIBRARIES.items():
        for pair, (x, y) in PAIRS.items():
            if name == "psnrb" and x.shape[2] == 3:
                continue  # it takes red for luma
            ours, theirs = METRICS[name].measure(x, y), measure(x, y)
            print(f"| {name} | {pair} | {ours:.12g} | {library} {version(library)} | {theirs:.12g} |")


if __name__ == "__main__":
    main()
