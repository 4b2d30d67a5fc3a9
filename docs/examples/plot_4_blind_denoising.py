"""
Noise levels, known and not
===========================

In ``denoise-blind`` no restorer is told how strong the noise is. Some estimate it, and the estimate is recorded.
"""

# %%
# One set of weights of SC serves the levels from 5 to 25 in colour. Times are not asked for, so two cells may run
# side by side.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import bench

scratch = tempfile.TemporaryDirectory()
store = Path(scratch.name) / "bench.sqlite"
usual = {"datasets": "sample-colour", "jobs": 2, "store": store}
result = bench.run("noisy,sc@ours", task="denoise-blind", sigma=[5, 15, 25], **usual)
print(result.table())

# %%
# How well was the level estimated? And what is gained over the noisy picture, level by level?

records = result.frame()
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4))

for image, of_image in records[records["restorer"] == "sc"].groupby("image"):
    left.plot(of_image["level"], of_image["estimated_level"], "o-", label=image)
left.plot([0, 30], [0, 30], color="gray", linewidth=1)
left.set(xlabel="sigma", ylabel="estimated sigma")
left.legend()

means = records.groupby(["restorer", "level"])["psnr_db"].mean().unstack("restorer")
right.plot(means.index, means["sc"] - means["noisy"], "o-")
right.set(xlabel="sigma", ylabel="gain in PSNR, dB")
fig.tight_layout()

# %%
# A restorer without weights for a level is skipped. The remarks beside the table say why.

told = bench.run("sc@ours,nlm", task="denoise", sigma=[25, 40], **usual)
print(told.table(), *told.remarks(), sep="\n")

scratch.cleanup()
