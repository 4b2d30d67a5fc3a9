"""The mathematics that the sparse restorers share: patches, prox, similarity, LISTA, dictionary learning.

Letters are those of Lecouat, Ponce, Mairal, "Fully Trainable and Interpretable Non-Local Sparse Models for Image
Restoration", ECCV 2020, and equation numbers are theirs unless another source is named. An image (B, C, h, w) has
gh x gw = (h - s + 1) x (w - s + 1) overlapping patches of s x s pixels, m = C s s values each; their codes alpha
have p entries and are stored patch by patch, (B, gh, gw, p).
"""
