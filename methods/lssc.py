"""LSSC: a dictionary adapted to the degraded image, and similar patches coded by the same atoms.

Mairal, Bach, Ponce, Sapiro, Zisserman, "Non-local sparse models for image restoration", ICCV 2009. What the paper
leaves open is as in the authors' program, as far as its published excerpts tell.
"""

from __future__ import annotations

import numpy as np
import torch
from bench.methods.sparse import groups
from bench.methods.sparse.compiled import in_parallel
from bench.methods.sparse.dictionary import adapt_online, overcomplete_dct
from bench.methods.sparse.mosaic import average_of_codes
from bench.methods.sparse.patches import centre, coverage, from_image, random_patches, reflect, sum_of_estimates
from bench.methods.sparse.pursuit import omp, simultaneous_omp
from scipy.special import chdtri
from torch import Tensor

from bench.restorer import Image, Observation, Restorer, Setting

__all__ = ["LSSC"]

TAU = 0.8  # quantile of the noise's energy to which patches and groups are coded
WINDOW = 32  # pixels along each axis: how far from its seed a group reaches
N_PASSES = 5  # over the degraded patches, for the dictionary
REPETITIONS = 2  # of grouping and joint coding, each by the last estimate
TRUSTED = 8  # batches of patches that do not change the dictionary yet
MOST_TRAINING = 2**17  # patches it adapts to, drawn at random where there are more
AREA = 32  # side of the square of seeds whose groups a thread forms and codes
ROWS = 2**14  # members of groups that a thread codes at a time

# Of mosaics, chosen on crops of cbsd400; on the 0-255 scale
RESIDUAL = 0.4  # root mean square that the codes of patches and of groups leave
LEARNED = 3.0  # root mean square that the codes leave from which the dictionary learns
ALIKE = 4.0  # in place of sigma in the distance below which patches are similar


class LSSC(Restorer):
    """LSSC: 512 atoms for 9x9 patches, 12x12 above sigma 25 and 16x16 above sigma 50; in colour 7x7.

    1. The dictionary, learned offline on clean patches, adapts to the noisy ones (l1 norm, bounded error).
    2. Each patch alone is coded by OMP; the average of the overlapping estimates is the pilot.
    3. Patches similar in the pilot form groups; the noisy members of each are coded by simultaneous OMP.
    4. Step 3 again, with that estimate as the pilot.

    Mosaics, without noise and of any Bayer pattern (the paper's Sec. 4, as far as we know it): the codes of each
    patch are those of least l1 norm that fit what is measured of it, first in the offline dictionary, then in the
    one that has adapted to the image found so; groups of similar patches of the second image are coded together,
    what was not measured as the image has it. Measured values are kept.

    Without weights it starts from the over-complete DCT.

    Where it departs from the authors' program: the dictionary is not learned again from the groups (little gain for
    much time, they say); it adapts in N_PASSES passes over MOST_TRAINING patches at most, they make 20 over all, in
    batches of 1024, the first TRUSTED of which change nothing (both ours: their sizes are not given); and seeds are
    taken row by row within squares of AREA x AREA patches, so that squares can be coded side by side.
    The patches of a group share their mean only where noise explains that theirs differ (`code_groups` says why). How
    often they repeat step 3 for their tables is not known, nor their size of colour patches: 7x7 is GroupSC's.

    sigma 0: the image as it is. An image smaller than a patch is extended by reflection; one that is constant stays
    so. A mosaic that lacks a colour, being one pixel wide or high, is answered in gray. Values that are not finite:
    ValueError.
    """

    name = "lssc"
    tasks = {"denoise", "demosaick"}
    version = "3, seed 0"
    needs_weights = True

    def prepare(self, setting: Setting, device: str) -> None:
        if self.weights is None:
            size, channels = patch_size(setting), setting.channels
            self.D = overcomplete_dct(size, 23 if channels == 1 else 13, channels).astype(np.float32)
        else:
            from safetensors.numpy import load_file

            self.D = load_file(self.weights.path)["D"].astype(np.float32)
        tiny = np.repeat(np.eye(24, dtype=np.float32)[..., None], setting.channels, axis=2)
        self.restore(Observation(tiny, "denoise", sigma=25.0))  # compiles

    def n_params(self) -> int:
        return int(self.D.size)

    def restore(self, seen: Observation) -> Image:
        H, W, channels = seen.restored_shape
        size = round((len(self.D) / channels) ** 0.5)
        y = from_image(seen.image, size)
        if seen.mask is not None:
            x_hat = self.demosaicked(y, seen.mask, size)
        elif seen.sigma == 0:
            return seen.image.copy()
        else:
            x_hat = self.denoised(y, size, seen.sigma / 255)  # to the [0, 1] range of the image
        return np.ascontiguousarray(x_hat[0, :, :H, :W].permute(1, 2, 0).numpy())

    def denoised(self, y: Tensor, size: int, s: float) -> Tensor:
        """From the noisy image (1, C, H, W) to its estimate."""
        D = self.adapted(y, size, error=noise_energy(len(self.D), s))
        x_hat = code_patches(y, D, size, s)
        for _ in range(REPETITIONS):
            x_hat = code_groups(y, x_hat, D, size, s, noise=s, alike=s)
        return x_hat

    def demosaicked(self, mosaic: Tensor, mask: np.ndarray, size: int) -> Tensor:
        """From the mosaic (1, 1, H, W) and its mask (h, w, 3), at most as large, to the image (1, 3, H, W)."""
        if not mask.any(axis=(0, 1)).all():
            return mosaic.expand(-1, 3, -1, -1)
        M = torch.from_numpy(mask).permute(2, 0, 1)[None].float()
        M = reflect(M, 0, *(n - k for n, k in zip(mosaic.shape[2:], mask.shape, strict=False)))
        y = M * mosaic

        def kept(x_hat: Tensor) -> Tensor:
            return torch.where(M > 0, y, x_hat.clamp(0, 1))

        error = (RESIDUAL / 255) ** 2
        pilot = kept(average_of_codes(y, M, self.D, size, error))
        D = self.adapted(pilot, size, error=len(self.D) * (LEARNED / 255) ** 2)
        x_hat = kept(average_of_codes(y, M, D, size, error))
        return kept(code_groups(x_hat, x_hat, D, size, RESIDUAL / 255, noise=0, alike=ALIKE / 255))

    def adapted(self, y: Tensor, size: int, error: float) -> np.ndarray:
        """D after learning from the patches of y (1, C, H, W)."""
        Y = centre(random_patches(y, size, MOST_TRAINING), channels=y.shape[1])[0].numpy()
        return adapt_online(Y, self.D, error=error, n_passes=N_PASSES, n_trusted=TRUSTED)


def patch_size(setting: Setting) -> int:
    if setting.channels == 3:
        return 7
    sigma = float(setting.level)
    return 9 if sigma <= 25 else 12 if sigma <= 50 else 16


def noise_energy(n: int | np.ndarray, s: float) -> float | np.ndarray:
    """What the sum of squares of n values of noise of standard deviation s stays below with probability TAU."""
    return s**2 * chdtri(n, 1 - TAU)


def code_patches(y: Tensor, D: np.ndarray, size: int, s: float) -> Tensor:
    """The pilot: each patch alone to its share of the noise, estimates averaged and clipped. (1, C, H, W)."""

    def estimate(patches: Tensor) -> Tensor:
        patches, mu = centre(patches, channels=y.shape[1])
        codes = omp(patches.numpy(), D, error=noise_energy(len(D), s), rule="decrease")
        return torch.from_numpy(codes.estimates(D)) + mu

    return (sum_of_estimates(y, size, estimate) / coverage(*y.shape[2:], size, like=y)).clamp(0, 1)


def code_groups(
    y: Tensor, pilot: Tensor, D: np.ndarray, size: int, s: float, *, noise: float, alike: float
) -> Tensor:
    """Groups of patches similar in the pilot, their members in y coded together, averaged and clipped. (1, C, H, W).

    Patches of n pixels are similar whose squared distance, a channel, is below (32 alike)^2 / n; of noisy images
    `alike` is s. The authors divide by the number of values instead, which is the same in gray; in colour next to no
    patch would then be similar to another, and crops of cbsd400 at sigma 25 lose 0.15 dB.

    Members lose their means first, channel by channel. The authors' library can take one mean for a whole group. But
    members of 9x9 pixels may differ in brightness by 0.4 `alike`, which atoms then have to code: of eleven pictures
    of bsd400, own means gain 0.36 / 0.27 / 0.09 dB at sigma 15 / 25 / 50, most where it is smooth. Where `noise`
    alone (the standard deviation of y's; 0: none) would make the means differ so, the group's is the better estimate
    of each: 0.003 / 0.01 dB more at sigma 15 / 50 on twelve pictures, most where it is flat.
    """
    noisy, guide, m = y[0].numpy(), pilot[0].numpy(), len(D)
    C, H, W = noisy.shape
    gh, gw = H - size + 1, W - size + 1
    threshold = np.float32(C * (32 * alike) ** 2 / size**2)
    most = (2 * WINDOW + 1) ** 2
    error = np.append(0, noise_energy(m * np.arange(1, most + 1), s)).astype(np.float32)  # by the group's members
    across = -(-gw // AREA)

    def code_area(k: int, _: int) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
        """The pixels that the groups of the k-th area reach, the sum of estimates there, and their number."""
        rows, columns = ((AREA * n, min(AREA * (n + 1), g)) for n, g in ((k // across, gh), (k % across, gw)))
        members, starts = groups.similar_patches(guide, size, rows, columns, WINDOW, threshold)
        reach = tuple(
            slice(max(first - WINDOW, 0), min(end + WINDOW, g) + size - 1)
            for (first, end), g in ((rows, gh), (columns, gw))
        )
        corner = reach[0].start, reach[1].start
        total, count = np.zeros_like(noisy[(slice(None), *reach)]), np.zeros_like(noisy[0][reach])
        for some in np.split(np.arange(len(starts) - 1), np.flatnonzero(np.diff(starts[:-1] // ROWS)) + 1):
            places = members[starts[some[0]] : starts[some[-1] + 1]]
            begin = starts[some[0] : some[-1] + 2] - starts[some[0]]
            Y = groups.gather(noisy, size, places)
            mu = groups.centre(Y, begin, C, noise**2 * C / m)
            estimates, _ = simultaneous_omp(Y, begin, D, error=error[np.diff(begin)])
            groups.add(estimates, mu, places, size, gw, corner, total, count)
        return reach, total, count

    total, count = np.zeros_like(noisy), np.zeros_like(noisy[0])
    for reach, part, n in in_parallel(code_area, -(-gh // AREA) * across, chunk=1):
        total[(slice(None), *reach)] += part
        count[reach] += n
    return torch.from_numpy((total / count).clip(0, 1))[None]
