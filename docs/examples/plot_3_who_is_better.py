"""
Who is really better?
=====================

One mean is higher than another. Is that more than luck?
"""

# %%
# Few pictures cannot tell. So this makes a folder of 24 crops of scikit-image's pictures.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from skimage import color, data

import bench

scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name) / "crops"
folder.mkdir()
for name in ("astronaut", "camera", "chelsea", "coffee"):
    picture = getattr(data, name)()
    if picture.ndim == 3:
        picture = np.rint(255 * color.rgb2gray(picture)).astype(np.uint8)
    for row in (20, 150):
        for column in (20, 150, 280):
            crop = picture[row : row + 96, column : column + 96]
            Image.fromarray(crop).save(folder / f"{name}-{row}-{column}.png")

# %%
# Quality alone is asked for, so several cells may run side by side.

store = Path(scratch.name) / "crops.sqlite"
result = bench.run("bm3d,dncnn@ours,sc@ours", datasets=folder, sigma=25, jobs=2, store=store)
print(result.table())

# %%
# All of them saw the same noise. So they can be compared picture by picture.

print(bench.compare(store, significance=True))

# %%
# The letters behind the figures say the same: restorers that share one may be called equal.

print(bench.table(store, significance=True))

# %%
# What the test sees are these differences. A mean says less.

wide = result.frame().pivot(index="image", columns="restorer", values="psnr_db")
difference = (wide["sc"] - wide["bm3d"]).sort_values()
fig, ax = plt.subplots(figsize=(8, 4))
ax.bar(range(len(difference)), difference, color=np.where(difference > 0, "tab:blue", "tab:orange"))
ax.axhline(difference.mean(), color="black", linewidth=1, label=f"mean: {difference.mean():+.3f} dB")
ax.set(xlabel="picture", ylabel="PSNR of sc less bm3d's, dB", xticks=[])
ax.legend()
fig.tight_layout()

scratch.cleanup()
