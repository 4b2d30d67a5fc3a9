"""What it is worth that a noisy picture is clipped and rounded to 8 bits: `denoise8` against `denoise`.

    python tests/asv/eight_bits.py [--methods dncnn,bm3d] [--limit 4] [--store STORE] [--write]

On set12 under kair-v1, whose noise is the same for both tasks. Needs the published weights. `--write` makes
`results/eight_bits.json`, from which docs/generate.py makes the table of the page on degradations; a restorer that is
in it and not asked for now stays. With --limit 4 it takes some ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from speed import ROOT, commit

import bench
from bench.measure.environment import describe

METHODS = "noisy,nlm,wavelet,dncnn,ffdnet,sc"
FILE = ROOT / "results" / "eight_bits.json"


def main() -> None:
    options = _options()
    result = bench.run(
        options.methods,
        "denoise,denoise8",
        "set12",
        sigma="15,25,50",
        protocol="kair-v1",
        limit=options.limit,
        store=options.store,
        threads=options.threads,
        readings=1,
    )
    rows = [*compared(result.frame())]
    for row in rows:
        print(f"{row['restorer']} sigma {row['sigma']:g}: {row['denoise8'] - row['denoise']:+.3f} dB")
    if options.write:
        write(rows)


def compared(frame: Any) -> Iterator[dict[str, Any]]:
    """The mean PSNR of both tasks, over the pictures that both have, for each restorer and level."""
    good = frame[frame["status"] == "ok"]
    for (restorer, sigma), cells in good.groupby(["label", "level"], sort=False):
        psnr_db = cells.pivot(index="image", columns="task", values="psnr_db").dropna()
        means = {task: round(float(psnr_db[task].mean()), 4) for task in ("denoise", "denoise8")}
        yield {"restorer": restorer, "sigma": float(sigma), "pictures": len(psnr_db), **means}


def write(rows: list[dict[str, Any]]) -> None:
    now = {row["restorer"] for row in rows}
    before = json.loads(FILE.read_text(encoding="utf-8"))["rows"] if FILE.exists() else []
    content = {
        "command": shlex.join(["python", f"tests/asv/{Path(__file__).name}", "--write"]),
        "day": datetime.now(timezone.utc).date().isoformat(),
        "commit": commit(),
        "machine": describe(),
        "rows": [*(row for row in before if row["restorer"] not in now), *rows],
    }
    FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=METHODS, help=f"default: {METHODS}")
    parser.add_argument("--limit", type=int, help="pictures (default: all twelve)")
    parser.add_argument("--store", default="results/eight_bits.sqlite", help="where records are kept")
    parser.add_argument("--threads", type=int, help="for each restorer (default: all cores)")
    parser.add_argument("--write", action="store_true", help=f"write {FILE.relative_to(ROOT)}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
