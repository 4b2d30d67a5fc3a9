"""NLRN on the CPU, row by row: each state begins with the rows that the state before it has finished.

What is computed is `NonLocalRecurrent.forward` with `neighbours(H, W, q)`, up to rounding. Four things make it fast
and small:

1. Rows. For its next rows a state needs the state before it to be 24 rows ahead: 22 for the neighbours and 2 for the
   convolutions. So all states are at work at once, each of them some rows behind the one before. Features and
   correlations are held for the rows in between only: memory grows with the width of the image, not with its height.
2. Products of four pixels with the 48 columns around them, row by row: 45 of them are neighbours. Softmax and
   weighted features follow while all is in the caches (methods.fast.attention).
3. What is weighted are the features X, not G(X): the weights sum to 1, so W_g can come after them.
4. Threads that each take a state whose turn it is (methods.fast.pipeline); convolutions as in methods.fast.banded.

Correlations that pass from state to state are most of the memory, 4.3 kB a pixel in 16 bits. Where they would need
more than HELD_BYTES, the first states hold their theta and psi instead, and the next ones form the products anew.
"""

from __future__ import annotations

from collections import deque
from math import prod
from threading import Lock

import numpy as np
import torch
from bench.methods.fast.attention import AT_ONCE, COLUMNS, FEATURES, TILE, TOGETHER, attend, first
from bench.methods.fast.banded import Convolution
from bench.methods.fast.pipeline import Pipeline, Stage
from bench.methods.fast.threads import Workers, torch_in_parallel
from bench.methods.networks.nlrn import METRICS, NonLocal, NonLocalRecurrent, State
from bench.methods.sparse.multiply import addmm
from torch import Tensor, nn

__all__ = ["Streamed"]

FLOAT = 4  # bytes
STRIP = 8  # rows that a state gives at a time
PIECE = 4  # rows that a thread convolves at a time
SLAB = 2**26  # bytes that are taken at once
HELD_BYTES = 27 * 2**25  # of what passes from state to state: so a row of 1024 pixels needs less than 2 GiB in all


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
            s0 = Initial(image, self.norm(y)[0].permute(1, 2, 0), self.begin)
            passed = Passed(image, [state.attention for state in self.states if state.attention], self.propagate)
            last: Stage = s0
            k = 0
            for state in self.states:
                last = Recurrent(image, last, state, s0, passed, k)
                k += state.attention is not None
            output = Output(image, last, self.scale, self.offset, self.end)
            image.pipeline.run(output)
            return y + output.answer.permute(2, 0, 1)[None]


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
    strips of STRIP rows
    spare  memory for strips of rows
    """

    def __init__(self, H: int, W: int, q: int, workers: Workers) -> None:
        self.H, self.W, self.q = H, W, q
        self.threads, self.pipeline, self.spare = workers.n, Pipeline(workers), Spare()
        self.strips = [range(top, min(top + STRIP, H)) for top in range(0, H, STRIP)]
        self.tiles = -(-W // TILE)
        n_w = min(q, W)
        self.n_c = -(-(n_w + TILE - 1) // COLUMNS) * COLUMNS
        self.width = W - n_w + self.n_c

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

        self.pipeline.do(one, range(0, len(rows), PIECE))


class Initial(Stage):
    """s^0, from the normalised image (H, W, C): quicker to compute again than to hold."""

    def __init__(self, image: Image, y: Tensor, convolution: Convolution) -> None:
        super().__init__(image.strips)
        self.image = image
        self.y, self.convolution = nn.functional.pad(y, (0, 0, 0, 0, 1, 1)), convolution

    def needs(self, n: int) -> int:
        return 0

    def make(self, n: int) -> Tensor:
        s0 = self.of(self.strips[n])
        return self.image.spare.take(*s0.shape).copy_(s0)

    def of(self, rows: range) -> Tensor:
        around = self.y[rows.start : rows.stop + 2]
        return self.convolution(around.permute(2, 0, 1)[None])[0].permute(1, 2, 0)


class Recurrent(Stage):
    """s^t (rows, W, m) from s^(t-1); k counts the non-local modules before."""

    def __init__(self, image: Image, before: Stage, state: Prepared, s0: Initial, passed: Passed, k: int) -> None:
        super().__init__(image.strips, before)
        self.image, self.state, self.s0, self.passed, self.k = image, state, s0, passed, k
        self.X = Rows(image.spare)
        self.z, self.x = Margined(image, state.width), Margined(image, state.width)

    def needs(self, n: int) -> int:
        last = min(self.strips[n].stop + 2, self.image.H)  # of z
        return self.image.neighbours(range(last - 1, last)).stop if self.state.attention else last

    def make(self, n: int) -> Tensor:
        image, state, z, x, rows = self.image, self.state, self.z, self.x, self.strips[n]
        z_rows, x_rows = z.extend(rows.stop + 2), x.extend(rows.stop + 1)
        while self.X.end < self.needs(n):
            self._embed(self.take())
        if state.attention and z_rows:
            self._attend(state.attention, z_rows)
        for row in z_rows if state.attention is None else ():
            torch.addcmul(state.offset, self.X[row][: image.W, : state.width], state.scale, out=z[row])
        self.X.drop(image.neighbours(range(z.end, z.end + 1)).start if state.attention else z.end)
        image.convolve(state.conv_a, z, x_rows, x.rows(x_rows))
        s = image.spare.take(len(rows), image.W, state.width)
        image.convolve(state.conv_b, x, rows, s)
        z.release()
        x.release()
        return s.add_(self.s0.of(rows))

    def _embed(self, s: Tensor) -> None:
        """Append X = ReLU(norm_1(s)) of a strip to what there is, and psi.

        Zeros stand where a product of attention reaches beyond the image.
        """
        image, state, attention = self.image, self.state, self.state.attention
        X = image.spare.take(len(s), image.width, padded(state.width))
        X[:, image.W :] = X[:, :, state.width :] = 0
        psi = image.spare.take(len(s), attention.length, image.width) if attention else None

        def piece(top: int) -> None:
            rows = slice(top, top + PIECE)
            torch.addcmul(state.offset_1, s[rows], state.scale_1, out=X[rows, : image.W, : state.width]).relu_()
            for row in range(top, min(top + PIECE, len(s))) if attention else ():
                addmm(attention.b_psi, attention.W_psi, X[row].T, out=psi[row])

        image.pipeline.do(piece, range(0, len(s), PIECE))
        image.spare.give(s)
        self.X.append(X)
        if psi is not None:
            self.passed.psi[self.k].append(psi)

    def _attend(self, attention: Attention, rows: range) -> None:
        """norm_2(Z + X) for rows of z."""
        image, X, n = self.image, self.X, self.n
        theta = image.spare.take(len(rows), image.tiles * TILE, attention.length)
        mean = image.spare.take(len(rows), image.tiles * TILE, padded(self.state.width))
        for row in rows:
            addmm(attention.b_theta, X[row][: theta.shape[1]], attention.W_theta, out=theta[row - rows.start])
        S, largest, given, keep, thetas, psis = self.passed.to(self.k, n, rows, theta)
        features = X.addresses(image.neighbours(rows))

        def attend_to(tile: int) -> None:
            tiles, shape = (tile, min(tile + TOGETHER, image.tiles)), (image.H, image.W, image.width)
            attend(
                S,
                largest,
                given,
                keep,
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

        image.pipeline.do(attend_to, range(0, image.tiles, TOGETHER))
        for row in rows:
            Z = addmm(attention.b_g, mean[row - rows.start, : image.W], attention.W_g)
            torch.addcmul(Z, X[row][: image.W, : self.state.width], self.state.scale, out=self.z[row])
        image.spare.give(mean)
        self.passed.done(self.k, n, rows)


class Output(Stage):
    """f_output of s^T into `answer` (H, W, C): with each strip that comes, the rows that have it around them."""

    def __init__(self, image: Image, before: Stage, scale: Tensor, offset: Tensor, convolution: Convolution) -> None:
        strips = [range(max(s.start - 1, 0), s.stop - (s.stop < image.H)) for s in image.strips]
        super().__init__(strips, before)
        self.image, self.scale, self.offset, self.convolution = image, scale, offset, convolution
        self.x = Margined(image, len(scale))
        self.answer = torch.empty(image.H, image.W, convolution.channels)

    def needs(self, n: int) -> int:
        return self.image.strips[n].stop

    def make(self, n: int) -> Tensor:
        rows = self.x.extend(self.needs(n))
        s = self.take()
        torch.addcmul(self.offset, s, self.scale, out=self.x.rows(rows)).relu_()
        answer = self.answer[self.strips[n].start : self.strips[n].stop]
        self.image.convolve(self.convolution, self.x, self.strips[n], answer)
        self.image.spare.give(s)
        self.x.release()
        return answer


class Margined:
    """Rows of features (W, n) to be convolved, as they come, with zeros above and below the image.

    Between two strips the last two rows are held; `extend` and `release` take and give back memory for the others.
    """

    def __init__(self, image: Image, n: int) -> None:
        self.H, self.spare, self.end, self.top = image.H, image.spare, 0, -2
        self.held = torch.zeros(2, image.W, n)
        self.x = self.held

    def extend(self, stop: int) -> range:
        """The rows to be written next, up to `stop`."""
        rows = range(self.end, min(stop, self.H))
        self.x, self.top, self.end = self.spare.take(2 + STRIP + 2 + 1, *self.held.shape[1:]), self.end - 2, rows.stop
        self.x[:2] = self.held
        if self.end == self.H:
            self.x[self.H - self.top] = 0
        return rows

    def release(self) -> None:
        self.held.copy_(self.rows(range(self.end - 2, self.end)))
        self.spare.give(self.x)

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
        self.strips: dict[tuple[int | torch.dtype, ...], list[Tensor]] = {}
        self.lock = Lock()

    def take(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """With any values."""
        with self.lock:
            strips = self.strips.setdefault((*shape, dtype), [])
            if not strips:
                strips.extend(torch.empty(max(1, SLAB // (prod(shape) * dtype.itemsize)), *shape, dtype=dtype))
            return strips.pop()

    def give(self, strip: Tensor) -> None:
        self.strips[(*strip.shape, strip.dtype)].append(strip)


class Rows:
    """Rows of an image that come strip by strip, and are given to `spare` when they are no longer needed."""

    def __init__(self, spare: Spare) -> None:
        self.spare = spare
        self.strips: deque[Tensor] = deque()
        self.rows: dict[int, Tensor] = {}
        self.at: dict[int, int] = {}  # their addresses
        self.start = self.end = 0

    def append(self, strip: Tensor) -> None:
        self.strips.append(strip)
        for row in strip:
            self.rows[self.end], self.at[self.end] = row, row.data_ptr()
            self.end += 1

    def drop(self, before: int) -> None:
        while self.strips and self.start + len(self.strips[0]) <= before:
            strip = self.strips.popleft()
            for row in range(self.start, self.start + len(strip)):
                del self.rows[row], self.at[row]
            self.start += len(strip)
            self.spare.give(strip)

    def __getitem__(self, row: int) -> Tensor:
        return self.rows[row]

    def addresses(self, rows: range) -> np.ndarray:
        return np.array([self.at[row] for row in rows], np.uintp)


class Passed:
    """What non-local modules hand on: correlations, from one of them on; before it theta and psi."""

    def __init__(self, image: Image, modules: list[Attention], propagate: bool) -> None:
        self.image, self.propagate = image, propagate
        self.psi = [Rows(image.spare) for _ in modules]
        self.theta: list[dict[int, Tensor]] = [{} for _ in modules]
        self.S: dict[int, tuple[Tensor, Tensor]] = {}
        self.last = len(modules) - 1
        self.begins = self._begins(modules[0].length) if propagate and modules else 0

    def _begins(self, length: int) -> int:
        """The first module whose correlations are handed on, so that HELD_BYTES are enough; or the last."""
        lag = -(-(self.image.q // 2 + 2) // STRIP) * STRIP
        a_pixel = 2 * min(self.image.q, self.image.H) * self.image.n_c
        for begins in range(self.last):
            n = self.last - begins
            at_work = STRIP * min(self.image.threads, n)  # rows that threads have begun before it was their turn
            correlations = min(lag * n + at_work, self.image.H) * a_pixel
            embedded = lag * begins * (begins + 1) // 2 * 2 * FLOAT * length
            if self.image.W * (correlations + embedded) <= HELD_BYTES:
                return begins
        return self.last

    def to(
        self, k: int, n: int, rows: range, theta: Tensor
    ) -> tuple[np.ndarray, np.ndarray, bool, bool, np.ndarray, np.ndarray]:
        """For module k and the n-th strip, as `attend` wants it: S, largest, given, keep, thetas, psis."""
        self.theta[k][n] = theta
        image = self.image
        near = image.neighbours(rows)
        given = self.propagate and k > self.begins
        keep = self.propagate and self.begins <= k < self.last
        correlations = len(rows) * image.tiles * min(image.q, image.H), TILE * image.n_c
        if keep and not given:
            S = image.spare.take(*correlations, dtype=torch.int16)
            self.S[n] = S, image.spare.take(len(rows), image.tiles, -(-len(near) // AT_ONCE), TILE)
        none = torch.empty(0, correlations[1], dtype=torch.int16), torch.empty(0, 0, 0, 0)
        S, largest = self.S[n] if given or keep else none
        products = range(k + 1) if self.propagate and not given else [k]
        thetas = np.array([self.theta[i][n].data_ptr() for i in products], np.uintp)
        psis = np.stack([self.psi[i].addresses(near) for i in products])
        return S.numpy().view(np.uint16), largest.numpy(), given, keep, thetas, psis

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
            for strip in self.S.pop(n):
                self.image.spare.give(strip)
