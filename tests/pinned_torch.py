"""That torch is the one that constraints.txt pins, and with --cpu that it is built for the CPU.

    python tests/pinned_torch.py [--cpu]

Packages that depend on torch replace it without a word, by gigabytes of another build.
"""

import re
import sys
from pathlib import Path

import torch

constraints = (Path(__file__).parents[1] / "constraints.txt").read_text(encoding="utf-8")
pinned = re.search(r"^torch==(\S+)", constraints, re.MULTILINE)[1]
if torch.__version__.partition("+")[0] != pinned:
    sys.exit(f"torch is {torch.__version__}, constraints.txt pins {pinned}")
if "--cpu" in sys.argv and torch.version.cuda is not None:
    sys.exit(f"torch {torch.__version__} is built for CUDA {torch.version.cuda}, expected the CPU build")
print(f"torch {torch.__version__}")
