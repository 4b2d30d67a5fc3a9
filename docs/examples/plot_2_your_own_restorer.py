"""
Your own restorer
=================

A class in a file is measured beside the restorers that come with the package.
"""

# %%
# The whole plugin. Usually you write it with your editor.

import tempfile
from pathlib import Path

import bench

scratch = tempfile.TemporaryDirectory()
mine = Path(scratch.name) / "mine.py"
mine.write_text('''
from bench.restorer import Restorer


class Median(Restorer):
    """A median filter; wider for more noise."""

    name, tasks = "median", {"denoise"}

    def restore(self, seen):
        from scipy.ndimage import median_filter

        width = 3 if seen.sigma < 20 else 5
        return median_filter(seen.image, size=(width, width, 1))
''')

# %%
# Does it keep the contract? ``bench check ./mine.py:Median`` asks the same: odd sizes, the same answer twice, and an
# input that is left alone.

findings = list(bench.check(f"{mine}:Median"))
print(*findings[:6], sep="\n")
print(f"{sum(finding.ok for finding in findings)} of {len(findings)} are well")

# %%
# Measure it beside others. They all see the same noise.

store = Path(scratch.name) / "bench.sqlite"
result = bench.run(["noisy", f"{mine}:Median", "tv", "nlm"], sigma=[15, 25], store=store)
print(result.table())

# %%
# A restorer that fails costs its own cells. The run goes on, and the reason stands below the table.

broken = Path(scratch.name) / "broken.py"
broken.write_text("""
from bench.restorer import Restorer


class Broken(Restorer):
    name, tasks = "broken", {"denoise"}

    def restore(self, seen):
        return seen.image[:-1]
""")
result = bench.run([f"{broken}:Broken", "noisy"], sigma=25, store=store)
print(result.table())

scratch.cleanup()
