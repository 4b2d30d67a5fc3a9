"""Metrics beside PSNR and SSIM, each a function of the restored and the clean picture from the formulas of its paper.

x, y    float64 (H, W, C), C = 1 or 3, restored and clean, on the scale of `peak` as they are scored
peak    the value of white: 255 where papers' constants are meant
Answer  a float; nan where a picture is too small for it
"""
