"""LSSC: a dictionary adapted to the noisy image, in which similar patches are coded by the same atoms.

Mairal, Bach, Ponce, Sapiro, Zisserman, "Non-local sparse models for image restoration", ICCV 2009. What the paper
leaves open is as in the authors' program. Differences, with what they cost or save, are in the docstring of `LSSC`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import chdtri

from bench.restorer import Image, Observation, Restorer, Setting
from methods.sparse.dictionary import adapt_online, overcomplete_dct
from methods.sparse.patches import centre, coverage, extract, reflect
from methods.sparse.pursuit import in_parallel, kernel, omp, simultaneous_omp

__all__ = ["LSSC", "similar_patches"]

TAU = 0.8  # quantile of the noise's energy up to which a patch, or a group, is coded
WINDOW = 32  # similar patches are looked for as far as this, in pixels along each axis
SEEDS = 32  # side of the square of seeds whose groups are formed and coded by one thread
N_PASSES = 5  # over the noisy patches, when the dictionary adapts to them
MOST_TRAINING = 2**17  # patches it adapts to, drawn at random where there are more
BAND = 2**15  # patches of the pilot coded at a time
ROWS_AT_ONCE = 2**14  # members of groups coded at a time


class LSSC(Restorer):
    name = "lssc"
    tasks = {"denoise"}
    needs_weights = True

    def prepare(self, setting: Setting, device: str) -> None:
        channels = setting.channels
        if self.weights is None:  # untrained
            size = patch_size(float(setting.level))
            D = np.concatenate([overcomplete_dct(size, 16)] * channels) / channels**0.5
        else:
            D = read_dictionary(self.weights.path, channels)
        self.D = D.astype(np.float32)
        corner = np.eye(24, dtype=np.float32)[..., None].repeat(channels, 2)
        self.restore(Observation(corner, "denoise", sigma=25.0))  # compiles

    def restore(self, seen: Observation) -> Image:
        if seen.sigma == 0:
            return seen.image.copy()
        s = seen.sigma / 255  # to the [0, 1] range of the image
        H, W, channels = seen.image.shape
        size = round((len(self.D) / channels) ** 0.5)
        y = torch.tensor(seen.image).permute(2, 0, 1)[None]
        y = reflect(y, 0, max(0, size - H), max(0, size - W))
        D = self.adapted(y, size, s)
        pilot = code_alone(y, D, size, s)
        x_hat = code_groups(y, pilot, D, size, s)
        return np.ascontiguousarray(x_hat[0, :, :H, :W].permute(1, 2, 0).numpy())

    def adapted(self, y, size, s):
        rng = np.random.default_rng(0)
        gh, gw = y.shape[2] - size + 1, y.shape[3] - size + 1
        Y = extract(y, size).flatten(0, 2) if gh * gw <= MOST_TRAINING else sampled(y, size, MOST_TRAINING, rng)
        m = Y.shape[1]
        Y = centred(Y, y.shape[1])[0].numpy()
        return adapt_online(Y, self.D, error=s**2 * chdtri(m, 1 - TAU), n_passes=N_PASSES)

    def n_params(self) -> int:
        return self.D.size


def sampled(y, size, n, rng):
    views = y[0].unfold(1, size, 1).unfold(2, size, 1)
    i, j = (torch.from_numpy(rng.integers(0, end, n)) for end in views.shape[1:3])
    return views[:, i, j].transpose(0, 1).reshape(n, -1)


def patch_size(sigma: float) -> int:
    return 9 if sigma <= 25 else 12 if sigma <= 50 else 16


def read_dictionary(path: Path, channels: int) -> np.ndarray:
    from safetensors.numpy import load_file

    return load_file(path)["D"]


def centred(Y, channels):
    Z, mu = centre(Y.unflatten(-1, (channels, -1)))
    return Z.flatten(-2), mu


def code_alone(y, D, size, s):
    total = torch.zeros_like(y)
    gh, gw = y.shape[2] - size + 1, y.shape[3] - size + 1
    rows = max(1, BAND // gw)
    error = s**2 * chdtri(len(D), 1 - TAU)
    for top in range(0, gh, rows):
        band = slice(top, min(top + rows, gh) + size - 1)
        Y, mu = centred(extract(y[:, :, band], size).flatten(0, 2), y.shape[1])
        codes = omp(Y.numpy(), D, error=error, rule="decrease")
        estimates = (torch.from_numpy(codes.estimates(D)).unflatten(1, (y.shape[1], -1)) + mu).flatten(1)
        total[:, :, band] += F.fold(estimates.T[None], total[:, :, band].shape[2:], size)
    return (total / coverage(*y.shape[2:], size, like=y)).clamp(0, 1)


def code_groups(y, pilot, D, size, s):
    C, H, W = y.shape[1:]
    m = len(D)
    gh, gw = H - size + 1, W - size + 1
    threshold = np.float32((32 * s) ** 2 / m)
    error = np.append(0, s**2 * chdtri(m * np.arange(1, (2 * WINDOW + 1) ** 2 + 1), 1 - TAU))
    noisy, guide = y[0].numpy(), pilot[0].numpy()
    columns = -(-gw // SEEDS)

    def code_tile(tile: int, _: int):
        top, left = SEEDS * (tile // columns), SEEDS * (tile % columns)
        bottom, right = min(top + SEEDS, gh), min(left + SEEDS, gw)
        members, starts = similar_patches(guide, size, top, bottom, left, right, WINDOW, threshold)
        area = max(top - WINDOW, 0), min(bottom + WINDOW, gh), max(left - WINDOW, 0), min(right + WINDOW, gw)
        total = np.zeros((C, area[1] - area[0] + size - 1, area[3] - area[2] + size - 1))
        count = np.zeros(total.shape[1:])
        first = 0
        while first < len(starts) - 1:
            last = max(first + 1, int(np.searchsorted(starts, starts[first] + ROWS_AT_ONCE, "right")) - 1)
            places = members[starts[first] : starts[last]]
            begin = starts[first : last + 1] - starts[first]
            X = gather(noisy, size, places, gw)
            mu = centre_groups(X, begin, C)
            estimates, _ = simultaneous_omp(X, begin, D, error=error[np.diff(begin)])
            add(estimates, mu, begin, places, gw, size, area[0], area[2], total, count)
            first = last
        return area, total, count

    total, count = np.zeros((C, H, W)), np.zeros((H, W))
    for area, part, n in in_parallel(code_tile, -(-gh // SEEDS) * columns, chunk=1):
        inside = np.s_[area[0] : area[1] + size - 1, area[2] : area[3] + size - 1]
        total[:, inside[0], inside[1]] += part
        count[inside] += n
    return torch.from_numpy((total / count).clip(0, 1).astype(np.float32))[None]


@kernel
def similar_patches(x, size, top, bottom, left, right, window, threshold):
    C, H, W = x.shape
    gh, gw = H - size + 1, W - size + 1
    h, w = bottom - top, right - left
    side = 2 * window + 1
    near = np.zeros((side * side, h, w), np.bool_)
    D2 = np.empty((h + size - 1, w + size - 1), x.dtype)
    S = np.empty((h, w + size - 1), x.dtype)
    for di in range(-window, window + 1):
        i0, i1 = max(top, -di), min(bottom, gh - di)  # rows of seeds whose neighbour is a patch
        for dj in range(-window, window + 1):
            j0, j1 = max(left, -dj), min(right, gw - dj)
            if i0 >= i1 or j0 >= j1:
                continue
            hh, ww = i1 - i0, j1 - j0
            for i in range(hh + size - 1):
                for j in range(ww + size - 1):
                    D2[i, j] = 0
                for c in range(C):
                    a = x[c, i0 + i]
                    b = x[c, i0 + di + i]
                    for j in range(ww + size - 1):
                        d = a[j0 + j] - b[j0 + dj + j]
                        D2[i, j] += d * d
            for i in range(hh):
                for j in range(ww + size - 1):
                    S[i, j] = D2[i, j]
                for t in range(1, size):
                    for j in range(ww + size - 1):
                        S[i, j] += D2[i + t, j]
            o = (di + window) * side + dj + window
            for i in range(hh):
                row = D2[i]
                for j in range(ww):
                    row[j] = S[i, j]
                for t in range(1, size):
                    for j in range(ww):
                        row[j] += S[i, j + t]
                for j in range(ww):
                    near[o, i0 - top + i, j0 - left + j] = row[j] < threshold
    grouped = np.zeros((h, w), np.bool_)
    members, starts = [np.int64(0) for _ in range(0)], [np.int64(0)]
    for i in range(h):
        for j in range(w):
            if grouped[i, j]:
                continue
            grouped[i, j] = True
            for o in range(side * side):
                if near[o, i, j]:
                    a, b = i + o // side - window, j + o % side - window
                    members.append((top + a) * gw + left + b)
                    if 0 <= a < h and 0 <= b < w:
                        grouped[a, b] = True
            starts.append(len(members))
    return np.array(members), np.array(starts)


@kernel
def gather(x, size, places, gw):
    C = len(x)
    X = np.empty((len(places), C * size * size), x.dtype)
    for n in range(len(places)):
        i, j = places[n] // gw, places[n] % gw
        t = 0
        for c in range(C):
            for a in range(size):
                for b in range(size):
                    X[n, t] = x[c, i + a, j + b]
                    t += 1
    return X


@kernel
def centre_groups(X, starts, C):
    n = X.shape[1] // C
    mu = np.zeros((len(starts) - 1, C), X.dtype)
    for g in range(len(starts) - 1):
        for c in range(C):
            part = X[starts[g] : starts[g + 1], c * n : (c + 1) * n]
            mu[g, c] = part.sum() / part.size
            part -= mu[g, c]
    return mu


@kernel
def add(estimates, mu, starts, places, gw, size, top, left, total, count):
    C = len(total)
    for g in range(len(starts) - 1):
        for n in range(starts[g], starts[g + 1]):
            i, j = places[n] // gw - top, places[n] % gw - left
            t = 0
            for c in range(C):
                for a in range(size):
                    for b in range(size):
                        total[c, i + a, j + b] += estimates[n, t] + mu[g, c]
                        t += 1
            count[i : i + size, j : j + size] += 1
