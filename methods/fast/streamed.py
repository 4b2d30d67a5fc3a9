"""NLRN on the CPU, row by row: each state begins with the rows that the state before it has finished.

What is computed is `NonLocalRecurrent.forward` with `neighbours(H, W, q)`, up to the rounding of sums. Four things
make it fast and small:

1. Rows. For its next rows a state needs the state before it to be 24 rows ahead: 22 for the neighbours and 2 for the
   convolutions. So all states are at work at once, each of them some rows behind the one before. Features and
   correlations are held for the rows in between only: memory grows with the width of the image, not with its height.
2. Products of four pixels with the 48 columns around them, row by row: 45 of them are neighbours. Softmax and
   weighted features follow while all is in the caches (methods.fast.attention).
3. What is weighted are the features X, not G(X): the weights sum to 1, so W_g can come after them.
4. Threads that each take whole pieces of a strip of rows; convolutions as in methods.fast.banded.

Correlations that pass from state to state are most of the memory, 8.6 kB a pixel. Where they would need more than
HELD_BYTES, the first states hold their theta and psi instead, and the next ones form the products anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import prod

import numpy as np
import torch
from bench.methods.fast.attention import COLUMNS, FEATURES, TILE, TOGETHER, attend, first
from bench.methods.fast.banded import Convolution
from bench.methods.fast.threads import Workers, torch_in_parallel
from bench.methods.networks.nlrn import METRICS, NonLocal, NonLocalRecurrent, State
from bench.methods.sparse.multiply import addmm
from torch import Tensor, nn

__all__ = ["Streamed"]

STRIP = 8  # rows that a state gives at a time
PIECE = 4  # rows that a thread convolves at a time
SLAB = 2**24  # numbers that memory is taken for at once
HELD_BYTES = 13 * 2**26  # of what passes from state to state: so a row of 1024 pixels needs less than 2 GiB in all


class Streamed(nn.Module):
    """See the module's text.

    net  in evaluation mode, in float32, one that `can` be run so
    """

    def __init__(self, net: NonLocalRecurrent, q: int) -> None:
        super().__init__()
        self.q, self.propagate = q, net.propagate
        self.norm, self.begin = net.input[0], Convolution(net.input[1], relu=False, dtype=torch.float32)
        self.scale, self.offset = scale_and_offset(net.output[0])
        self.end = Convolution(net.output[2], relu=False, dtype=torch.float32)
        self.states = [Prepared(state) for state in net.states()]

    @staticmethod
    def can(net: NonLocalRecurrent) -> bool:
        """Whether the network is on the CPU, and its weights are a softmax of products of embedded features."""
        embedded = all(module.softmax and METRICS[module.metric] > 0 for module in net.non_local)
        return embedded and net.input[1].weight.device.type == "cpu"

    @torch.inference_mode()
    def forward(self, y: Tensor) -> Tensor:
        """Degraded image (1, C, H, W), float32 in [0, 1], to the estimate."""
        with torch_in_parallel(y.device) as workers:
            image = Image(*y.shape[2:], self.q, workers)
            s0 = Initial(self.norm(y)[0].permute(1, 2, 0), self.begin)
            passed = Passed(image, [state.attention for state in self.states if state.attention], self.propagate)
            strips = map(s0.rows, image.strips())
            k = 0
            for state in self.states:
                strips = self._state(state, strips, s0, image, passed, k)
                k += state.attention is not None
            return y + self._output(strips, image)

    def _state(
        self, state: Prepared, strips: Iterator[Tensor], s0: Initial, image: Image, passed: Passed, k: int
    ) -> Iterator[Tensor]:
        """s^t, strip after strip (rows, W, m), from that of s^(t-1); k counts the non-local modules before."""
        X = Rows(image.spare)
        z, x = Margined(image, state.width), Margined(image, state.width)
        for n, rows in enumerate(image.strips()):
            z_rows, x_rows = z.extend(rows.stop + 2), x.extend(rows.stop + 1)
            needed = image.neighbours(z_rows) if state.attention else z_rows
            while z_rows and X.end < needed.stop:
                s = next(strips)
                X.append(self._features(state, s, image))
                if state.attention:
                    passed.psi[k].append(self._psi(state.attention, X, len(s), image))
            if state.attention and z_rows:
                self._attend(state, X, z, z_rows, n, image, passed, k)
            for row in z_rows if state.attention is None else ():
                torch.addcmul(state.offset, X[row][: image.W, : state.width], state.scale, out=z[row])
            X.drop(image.neighbours(range(z.end, z.end + 1)).start if state.attention else z.end)
            image.convolve(state.conv_a, z, x_rows, x.rows(x_rows))
            s = torch.empty(len(rows), image.W, state.width)
            image.convolve(state.conv_b, x, rows, s)
            yield s.add_(s0.rows(rows))

    def _features(self, state: Prepared, s: Tensor, image: Image) -> Tensor:
        """X = ReLU(norm_1(s)) for a strip (rows, W, m), with zeros where a product of attention reaches beyond."""
        X = image.spare.take(len(s), image.width, padded(state.width))
        X[:, image.W :] = X[:, :, state.width :] = 0

        def one(row: int) -> None:
            x = X[row, : image.W, : state.width]
            torch.addcmul(state.offset_1, s[row], state.scale_1, out=x).relu_()

        image.do(one, range(len(s)))
        return X

    def _psi(self, attention: Attention, X: Rows, n_rows: int, image: Image) -> Tensor:
        """psi of the last rows of X: (rows, l, width)."""
        psi = image.spare.take(n_rows, attention.length, image.width)

        def one(row: int) -> None:
            addmm(attention.b_psi, attention.W_psi, X[X.end - n_rows + row].T, out=psi[row])

        image.do(one, range(n_rows))
        return psi

    def _attend(
        self, state: Prepared, X: Rows, z: Margined, rows: range, n: int, image: Image, passed: Passed, k: int
    ) -> None:
        """norm_2(Z + X) for rows of z, the n-th strip of them."""
        attention = state.attention
        theta = image.spare.take(len(rows), image.tiles * TILE, attention.length)
        mean = image.spare.take(len(rows), image.tiles * TILE, padded(state.width))
        W = theta.shape[1]

        def embed(row: int) -> None:
            addmm(attention.b_theta, X[row][:W], attention.W_theta, out=theta[row - rows.start])

        image.do(embed, rows)
        S, fresh, thetas, psis = passed.to(k, n, rows, theta)
        features = X.addresses(image.neighbours(rows))

        def attend_to(tile: int) -> None:
            tiles, shape = (tile, min(tile + TOGETHER, image.tiles)), (image.H, image.W, image.width)
            attend(
                S,
                S.size > 0,
                fresh,
                thetas,
                psis,
                attention.length,
                features,
                mean.numpy(),
                rows.start,
                tiles,
                shape,
                image.q,
            )

        image.do(attend_to, range(0, image.tiles, TOGETHER))

        def finish(row: int) -> None:
            Z = addmm(attention.b_g, mean[row - rows.start, : image.W], attention.W_g)
            torch.addcmul(Z, X[row][: image.W, : state.width], state.scale, out=z[row])

        image.do(finish, rows)
        image.spare.give(mean)
        passed.done(k, n, rows)

    def _output(self, strips: Iterator[Tensor], image: Image) -> Tensor:
        """f_output of s^T: (1, C, H, W)."""
        x = Margined(image, len(self.scale))
        answer = torch.empty(image.H, image.W, self.end.channels)
        arrived = done = 0
        for s in strips:
            rows = x.extend(arrived + len(s))
            torch.addcmul(self.offset, s, self.scale, out=x.rows(rows)).relu_()
            arrived = rows.stop
            ready = range(done, arrived - (arrived < image.H))
            image.convolve(self.end, x, ready, answer[ready.start : ready.stop])
            done = ready.stop
        return answer.permute(2, 0, 1)[None]


def scale_and_offset(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a batch normalisation in evaluation mode multiplies by and adds, (m,) each."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def padded(width: int) -> int:
    """So many features that products take whole vectors."""
    return -(-width // FEATURES) * FEATURES


class Prepared:
    """What a state is made of, for features that lie pixel after pixel; norm_3 is merged with conv_a."""

    def __init__(self, state: State) -> None:
        self.width = state.conv_a.in_channels
        self.scale_1, self.offset_1 = scale_and_offset(state.norm_1)
        self.scale, self.offset = scale_and_offset(state.norm_2)
        self.attention = None if state.non_local is None else Attention(state.non_local, self.scale, self.offset)
        conv_a = nn.utils.fuse_conv_bn_eval(state.conv_a, state.norm_3)
        self.conv_a = Convolution(conv_a, relu=True, dtype=torch.float32)
        self.conv_b = Convolution(state.conv_b, relu=False, dtype=torch.float32)


class Attention:
    """W_theta (m, l), W_psi (l, m) and W_g (m, m) with their biases; those of g with norm_2 after them."""

    def __init__(self, module: NonLocal, scale: Tensor, offset: Tensor) -> None:
        self.length, m = module.embedding, module.width
        W = torch.nn.functional.pad(module.theta_psi_g.weight.detach()[:, :, 0, 0], (0, padded(m) - m))
        b = module.theta_psi_g.bias.detach()
        psi = (METRICS[module.metric] - 1) * self.length  # where it is theta, where it is not
        self.W_theta, self.b_theta = W[: self.length].T.contiguous(), b[: self.length]
        self.W_psi, self.b_psi = W[psi : psi + self.length], b[psi : psi + self.length, None]
        self.W_g, self.b_g = (W[-m:].T * scale).contiguous(), b[-m:] * scale + offset


class Image:
    """H x W pixels with q x q neighbours, and how work on their rows is shared by threads.

    tiles  of TILE pixels in a row
    n_c    columns that the pixels of a tile have correlations with
    width  of rows of pixels with zeros after them, so that all those columns exist
    spare  memory for strips of rows
    """

    def __init__(self, H: int, W: int, q: int, workers: Workers) -> None:
        self.H, self.W, self.q, self.do = H, W, q, workers.do
        self.spare = Spare()
        self.tiles = -(-W // TILE)
        n_w = min(q, W)
        self.n_c = -(-(n_w + TILE - 1) // COLUMNS) * COLUMNS
        self.width = W - n_w + self.n_c

    def strips(self) -> Iterator[range]:
        return (range(top, min(top + STRIP, self.H)) for top in range(0, self.H, STRIP))

    def neighbours(self, rows: range) -> range:
        """Those in which pixels of some rows have neighbours."""
        return range(first(rows.start, self.H, self.q), first(rows.stop - 1, self.H, self.q) + min(self.q, self.H))

    def convolve(self, convolution: Convolution, x: Margined, rows: range, out: Tensor) -> None:
        """out (rows, W, n) of x."""

        def one(top: int) -> None:
            piece = rows[top : top + PIECE]
            around = x.rows(range(piece.start - 1, piece.stop + 1))
            answer = convolution(around.permute(2, 0, 1)[None])
            out[top : top + PIECE] = answer[0].permute(1, 2, 0)

        self.do(one, range(0, len(rows), PIECE))


class Initial:
    """s^0 for any rows, from the normalised image (H, W, C): quicker to compute again than to hold."""

    def __init__(self, y: Tensor, convolution: Convolution) -> None:
        self.y, self.convolution = nn.functional.pad(y, (0, 0, 0, 0, 1, 1)), convolution

    def rows(self, rows: range) -> Tensor:
        around = self.y[rows.start : rows.stop + 2]
        return self.convolution(around.permute(2, 0, 1)[None])[0].permute(1, 2, 0)


class Margined:
    """The last rows of features (rows, W, n), as they come, with zeros above and below the image."""

    def __init__(self, image: Image, n: int) -> None:
        self.H, self.end, self.top = image.H, 0, -2
        self.x = torch.zeros(2 + STRIP + 2 + 1, image.W, n)

    def extend(self, stop: int) -> range:
        """The rows to be written next, up to `stop`; of those before, two are kept."""
        rows = range(self.end, min(stop, self.H))
        if rows:
            self.x[:2] = self.rows(range(self.end - 2, self.end)).clone()
            self.top, self.end = self.end - 2, rows.stop
        if self.end == self.H:
            self.x[self.H - self.top] = 0
        return rows

    def rows(self, rows: range) -> Tensor:
        return self.x[rows.start - self.top : rows.stop - self.top]

    def __getitem__(self, row: int) -> Tensor:
        return self.x[row - self.top]


class Spare:
    """The memory of strips that are no longer needed, for those to come.

    The system would clear it for each anew. Strips that stay for a longer or a shorter time would leave gaps among
    what comes and goes between them: so memory is taken for many at once, and is there when it is first written to.
    """

    def __init__(self) -> None:
        self.strips: dict[tuple[int, ...], list[Tensor]] = {}

    def take(self, *shape: int) -> Tensor:
        """With any values."""
        strips = self.strips.setdefault(shape, [])
        if not strips:
            strips.extend(torch.empty(max(1, SLAB // prod(shape)), *shape))
        return strips.pop()

    def give(self, strip: Tensor) -> None:
        self.strips.setdefault(tuple(strip.shape), []).append(strip)


class Rows:
    """Rows of an image that come strip by strip, and are given to `spare` when they are no longer needed."""

    def __init__(self, spare: Spare) -> None:
        self.spare = spare
        self.strips: deque[tuple[int, Tensor]] = deque()
        self.end = 0

    def append(self, strip: Tensor) -> None:
        self.strips.append((self.end, strip))
        self.end += len(strip)

    def drop(self, before: int) -> None:
        while self.strips and self.strips[0][0] + len(self.strips[0][1]) <= before:
            self.spare.give(self.strips.popleft()[1])

    def __getitem__(self, row: int) -> Tensor:
        for start, strip in self.strips:
            if start <= row < start + len(strip):
                return strip[row - start]
        raise IndexError(row)

    def addresses(self, rows: range) -> np.ndarray:
        return np.array([self[row].data_ptr() for row in rows], np.uintp)


class Passed:
    """What non-local modules hand on: correlations, from one of them on; before it theta and psi."""

    def __init__(self, image: Image, modules: list[Attention], propagate: bool) -> None:
        self.image, self.propagate = image, propagate
        self.psi = [Rows(image.spare) for _ in modules]
        self.theta: list[dict[int, Tensor]] = [{} for _ in modules]
        self.S: dict[int, Tensor] = {}
        self.last = len(modules) - 1
        self.begins = self._begins(modules[0].length) if propagate and modules else 0

    def _begins(self, length: int) -> int:
        """The first module whose correlations are handed on, so that HELD_BYTES are enough; or the last."""
        lag = -(-(self.image.q // 2 + 2) // STRIP) * STRIP
        a_pixel = min(self.image.q, self.image.H) * self.image.n_c
        for begins in range(self.last):
            correlations = min(lag * (self.last - begins) + STRIP, self.image.H) * a_pixel
            embedded = lag * begins * (begins + 1) // 2 * 2 * length
            if 4 * self.image.W * (correlations + embedded) <= HELD_BYTES:
                return begins
        return self.last

    def to(self, k: int, n: int, rows: range, theta: Tensor) -> tuple[np.ndarray, bool, np.ndarray, np.ndarray]:
        """For module k and the n-th strip: S (empty if it is not handed on), whether it is 0, thetas and psis."""
        self.theta[k][n] = theta
        image = self.image
        passes_on = self.propagate and self.begins <= k and self.begins < self.last
        fresh = not self.propagate or k <= self.begins
        shape = (len(rows), image.tiles, min(image.q, image.H), TILE, image.n_c)
        if passes_on and fresh:
            self.S[n] = image.spare.take(*shape)
        S = self.S[n].numpy() if passes_on else np.empty((0, *shape[1:]), np.float32)
        products = range(k + 1) if self.propagate and fresh else [k]
        thetas = np.array([self.theta[i][n].data_ptr() for i in products], np.uintp)
        psis = np.stack([self.psi[i].addresses(image.neighbours(rows)) for i in products])
        return S, fresh, thetas, psis

    def done(self, k: int, n: int, rows: range) -> None:
        """Module k has attended to the n-th strip: what no other needs is dropped."""
        if self.propagate and k < self.begins:
            return
        next_row = (
            self.image.neighbours(range(rows.stop, rows.stop + 1)).start if rows.stop < self.image.H else self.image.H
        )
        for i in range(k + 1) if self.propagate and k == self.begins else [k]:
            self.image.spare.give(self.theta[i].pop(n))
            self.psi[i].drop(next_row)
        if k == self.last and n in self.S:
            self.image.spare.give(self.S.pop(n))
