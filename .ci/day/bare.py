"""Where `gpu` runs from the packed folder: bench comes from the wheels beside it, and nothing from the network."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SITE = "BENCH_DAY_SITE"
"""Names the folder that bench was installed into; set in the second life of the process."""


def enter(here: Path) -> None:
    """Install the wheels in `here` into a folder of their own, and start this same command again with them.

    Does nothing where there are no wheels (a checkout), or once it has. Needs nothing but the standard library.
    """
    here = here.resolve()
    wheels = sorted((here / "wheels").glob("*.whl"))
    if not wheels or SITE in os.environ:
        return
    scratch = Path(tempfile.mkdtemp(prefix="bench-day-"))
    site = scratch / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--target"]
    subprocess.run([*pip, site, *wheels], check=True)
    places = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]  # torch may be had by what stood there
    os.environ.update(
        {
            SITE: str(site),
            "PYTHONPATH": os.pathsep.join(places),
            "BENCH_MIRROR": str(here / "mirror"),
            "BENCH_CACHE": str(scratch / "cache"),
            "BENCH_OFFLINE": "1",
        }
    )
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
