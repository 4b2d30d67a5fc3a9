"""mypy over the packages as they are imported, `bench.data` and its like below `bench`.

    python tests/typecheck.py [OPTION …]

In the checkout they are folders beside each other, which mypy cannot be told; a folder of links puts them in place.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BELOW = ("data", "methods", "results")

with tempfile.TemporaryDirectory() as scratch:
    package = Path(scratch, "bench")
    package.mkdir()
    for path in [*(ROOT / "bench").iterdir(), *(ROOT / name for name in BELOW)]:
        (package / path.name).symlink_to(path)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "-p", "bench"]
    checked = subprocess.run(
        [*command, "--cache-dir", str(ROOT / ".mypy_cache"), *sys.argv[1:]],
        cwd=scratch,
        env={**os.environ, "MYPYPATH": scratch},
    )
sys.exit(checked.returncode)
