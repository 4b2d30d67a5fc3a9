"""
A first table
=============

Three denoisers on the four pictures of ``sample``, and what the records behind a table hold.
"""

# %%
# A store keeps what was measured. Here it lies in a folder that goes away; usually it is ``results/bench.sqlite``.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import bench

scratch = tempfile.TemporaryDirectory()
store = Path(scratch.name) / "bench.sqlite"

# %%
# ``bench.run`` measures, and answers with what it measured. ``dncnn@ours`` takes weights that come with the package.

result = bench.run("noisy,nlm,wavelet,dncnn@ours", task="denoise", datasets="sample", sigma=25, store=store)
print(result.table())

# %%
# Behind each cell of the table stands one record a picture.

records = result.frame()
print(records[["restorer", "level", "image", "psnr_db", "ssim", "seconds"]].head(8).to_string(index=False))

# %%
# They are a pandas DataFrame, so any question is one line away. Which pictures are hard?

by_image = records.pivot(index="image", columns="restorer", values="psnr_db")
ax = by_image.plot.bar(rot=0, ylabel="PSNR in dB", ylim=(15, 36), figsize=(8, 4))
ax.legend(loc="upper center", ncols=4)
plt.tight_layout()

# %%
# Ask again, and nothing is measured again: the store knows the cells.

again = bench.run("noisy,nlm", task="denoise", datasets="sample", sigma=25, store=store)
print(f"{again.n_measured} of {len(again.records)} cells were measured")

scratch.cleanup()
