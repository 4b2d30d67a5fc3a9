"""
Train a tiny network
====================

A network, its recipe, some steps of training on a small folder, and a table.
"""

# %%
# The network and its recipe. Usually both lie in files of yours.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from PIL import Image
from skimage import data

import bench

scratch = tempfile.TemporaryDirectory()
here = Path(scratch.name)
(here / "tiny.py").write_text('''
from torch import nn

from bench.restorer import TorchRestorer


class Tiny(TorchRestorer):
    """Three small convolutions that estimate the noise."""

    name, tasks = "tiny", {"denoise"}

    def network(self, setting):
        width = self.options.get("width", 8)
        return nn.Sequential(
            nn.Conv2d(setting.channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, setting.channels, 3, padding=1),
        )

    def forward(self, y, seen):
        return y - self.net(y)

    def estimate(self, network, y, seen, level):
        return y - network(y)
''')

# %%
# It trains on pictures that are not among those it is measured on.

pictures = here / "pictures"
pictures.mkdir()
for name in ("brick", "coins", "grass", "gravel", "moon", "page", "text"):
    Image.fromarray(getattr(data, name)()).save(pictures / f"{name}.png")

(here / "recipes").mkdir()
(here / "recipes" / "tiny.toml").write_text(f'''
[quick]
source = "an example"
task = "denoise"
channels = 1
data = "{pictures}"
held_out = 2
crop = 40
batch = 8
steps = 400
lr = 3e-3
eps = 1e-8
schedule = "cosine"
clip = 1.0
ema = 0.0
bf16 = false
rotations = true
validate_every = 50
backtrack_db = 0.0
seed = 0
options = {{ width = 16 }}
''')

# %%
# ``bench train ./tiny.py:Tiny --sigma 25`` does the same. Killed, it goes on from its last checkpoint.

folder = bench.train(f"{here / 'tiny.py'}:Tiny", sigma=25, folder=here / "training")
print(*sorted(path.name for path in folder.iterdir()), sep="\n")

# %%
# The log has a row for each validation.

log = pd.read_csv(folder / "log.csv")
ax = log.plot(x="step", y="psnr_db", marker="o", legend=False, figsize=(7, 3.5))
ax.set(ylabel="PSNR of the held-out crops, dB")
plt.tight_layout()

# %%
# The weights are named behind an @. Their checksum is part of each record.

weights = folder / "weights.safetensors"
result = bench.run(
    ["noisy", f"{here / 'tiny.py'}:Tiny@{weights}", "nlm", "dncnn@ours"], sigma=25, store=here / "bench.sqlite"
)
print(result.table())

scratch.cleanup()
