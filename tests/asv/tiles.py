"""What tiles change: a picture restored in tiles against the same picture restored whole, by how far tiles overlap.

    python tests/asv/tiles.py [--methods dncnn,bm3d] [--overlaps 16,32,64] [--image 09.png] [--tile 256] [--write]

Needs the data sets and the published weights. `--write` makes `results/tiles.json`, from which docs/generate.py makes
the table of the page on restoring; it is written anew after each restorer. With NLRN and GroupSC it takes a quarter
of an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from bench.data.datasets import get, read
from speed import ROOT, commit

from bench.measure.environment import describe
from bench.protocol import get_protocol
from bench.restoring.arrays import Restoring
from bench.task import Image
from bench.tasks import Setting

METHODS = "dncnn,ffdnet,sc,cscnet,deep-ksvd,nsr,groupsc,nlrn,lidia,nlm,tv,bm3d,wavelet"
SIGMA = 25.0
FILE = ROOT / "results" / "tiles.json"


@dataclass(frozen=True)
class Change:
    """largest, mean: absolute differences to the whole picture's answer, in grey levels of 255, not rounded.

    psnr_db  of the answer in tiles less that of the whole picture's
    """

    restorer: str
    overlap: int
    largest: float
    mean: float
    psnr_db: float


def main() -> None:
    options = _options()
    overlaps = [int(word) for word in options.overlaps.split(",")]
    changes: list[Change] = []
    for method in options.methods.split(","):
        for change in measured(method, options.image, options.tile, overlaps, options.threads):
            changes.append(change)
            print(
                f"{method:10} overlap {change.overlap:3}: largest {change.largest:8.5f}, mean {change.mean:8.6f}, "
                f"PSNR {change.psnr_db:+.4f} dB",
                flush=True,
            )
        if options.write:
            write(options, changes)


def measured(method: str, image: str, tile: int, overlaps: list[int], threads: int | None) -> Iterator[Change]:
    protocol, setting, dataset = get_protocol("standard-v1"), Setting("denoise", SIGMA, 1), get("set12")
    [entry] = [entry for entry in dataset.entries if entry.name == image]
    seed = protocol.seed(setting, dataset.name, entry.name, 0)
    clean, seen = protocol.degrade(read(dataset, entry).pixels, setting, seed)

    def restored(side: int | None, overlap: int) -> Image:
        words = {"tile": side, "overlap": overlap, "threads": threads}
        with Restoring(method, "denoise", {"sigma": SIGMA}, **words) as restoring:
            return restoring.restore(seen.image).image

    def psnr_db(x_hat: Image) -> float:
        return protocol.score(x_hat, clean, setting).psnr_db

    whole = restored(None, 0)
    for overlap in overlaps:
        tiled = restored(tile, overlap)
        difference = 255 * np.abs(tiled.astype(np.float64) - whole)
        gained = psnr_db(tiled) - psnr_db(whole)
        yield Change(method, overlap, float(difference.max()), float(difference.mean()), gained)


def write(options: argparse.Namespace, changes: list[Change]) -> None:
    content = {
        "command": shlex.join(["python", f"tests/asv/{Path(__file__).name}", *sys.argv[1:]]),
        "day": datetime.now(timezone.utc).date().isoformat(),
        "commit": commit(),
        "machine": describe(),
        "image": options.image,
        "tile": options.tile,
        "changes": [
            {key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in asdict(one).items()}
            for one in changes
        ],
    }
    FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=METHODS, help=f"default: {METHODS}")
    parser.add_argument("--overlaps", default="16,32,64", help="pixels (default: 16,32,64)")
    parser.add_argument("--image", default="09.png", help="of set12 (default: 09.png, of 512x512)")
    parser.add_argument("--tile", type=int, default=256, help="pixels a side (default: 256)")
    parser.add_argument("--threads", type=int, help="for each restorer (default: all cores)")
    parser.add_argument("--write", action="store_true", help=f"write {FILE.relative_to(ROOT)}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
