"""Plain convolutional networks, run fast on a CPU: the same sums, in an order that the caches like."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["BandedConvolutions"]

BAND_BYTES = 4 * 2**20  # of a layer's output worked on at a time; 1 to 8 MiB were within 4 % of each other


class BandedConvolutions(nn.Module):
    """What `chain` computes (up to the rounding of sums), about three times as fast as run layer by layer.

    Three things make the difference, each measured by `tests/asv/dncnn_speed.py`:
    channels-last layout, which oneDNN's convolutions are fastest in and need no conversions from; convolution,
    bias and ReLU in one pass over memory; and bands: each layer writes a few rows at a time into one of two
    buffers, where a layer at a time would ask the system for new memory, 64 MiB per layer at 512x512, and spend
    a third of the run in clearing it.

    chain  an nn.Sequential of Conv2d (stride 1, zero padding that keeps the size, no groups) and ReLU, on the CPU
    dtype  of weights and activations. The answer comes in the input's own dtype
    """

    def __init__(self, chain: nn.Sequential, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype
        layers = list(chain)
        if not layers or not isinstance(layers[0], nn.Conv2d):
            raise ValueError("a banded chain starts with a convolution")
        self.convolutions: list[Convolution] = []
        for layer, after in zip(layers, [*layers[1:], None], strict=True):
            if isinstance(layer, nn.Conv2d):
                self.convolutions.append(Convolution(layer, relu=isinstance(after, nn.ReLU), dtype=dtype))
            elif not isinstance(layer, nn.ReLU):
                raise ValueError(f"only convolutions and ReLU can be banded, not {type(layer).__name__}")
        self.halo = max(convolution.halo for convolution in self.convolutions)

    def forward(self, y: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H, W)."""
        return torch.cat([self._one(image) for image in y.split(1)])

    def _one(self, y: Tensor) -> Tensor:
        _, channels, height, width = y.shape
        x = self._buffer(channels, height, width)
        inside = slice(self.halo, self.halo + height)
        x[:, :, inside] = y
        spare: dict[int, Tensor] = {}  # by channel count: the buffer that the layer before last wrote
        for layer in self.convolutions:
            out = spare.pop(layer.channels, None)
            if out is None:
                out = self._buffer(layer.channels, height, width)
            rows = max(1, BAND_BYTES // (width * layer.channels * x.element_size()))
            for top in range(self.halo, self.halo + height, rows):
                bottom = min(top + rows, self.halo + height)
                out[:, :, top:bottom] = layer(x[:, :, top - layer.halo : bottom + layer.halo])
            spare[x.shape[1]] = x
            x = out
        return x[:, :, inside].to(y.dtype)

    def _buffer(self, channels: int, height: int, width: int) -> Tensor:
        """(1, C, halo + H + halo, W), channels last, with the zero padding above and below already in place."""
        shape = (1, channels, height + 2 * self.halo, width)
        buffer = torch.empty(shape, dtype=self.dtype, memory_format=torch.channels_last)
        buffer[:, :, : self.halo] = 0
        buffer[:, :, self.halo + height :] = 0
        return buffer


class Convolution:
    """One layer on a band of rows whose neighbours above and below (`halo` of them) come with it."""

    def __init__(self, layer: nn.Conv2d, *, relu: bool, dtype: torch.dtype) -> None:
        self.halo, self.side = (int(n) for n in layer.padding)
        keeps_size = all(
            2 * p == d * (k - 1)
            for p, d, k in zip((self.halo, self.side), layer.dilation, layer.kernel_size, strict=True)
        )
        if not keeps_size or layer.stride != (1, 1) or layer.groups != 1 or layer.padding_mode != "zeros":
            raise ValueError(f"{layer} cannot be banded: it must have stride 1, one group and size-keeping padding")
        self.channels, self.dilation, self.relu = layer.out_channels, layer.dilation, relu
        self.weight = layer.weight.detach().to(dtype, memory_format=torch.channels_last)
        self.bias = None if layer.bias is None else layer.bias.detach().to(dtype)
        self.run = self._fused if self._fused_works() else self._one_by_one

    def __call__(self, x: Tensor) -> Tensor:
        return self.run(x)

    def _fused(self, x: Tensor) -> Tensor:
        # the operator that torch.compile's own CPU code calls; not documented, hence the probe below
        after = "relu" if self.relu else "none"
        return torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, [0, self.side], [1, 1], list(self.dilation), 1, after, [], ""
        )

    def _one_by_one(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.weight, self.bias, padding=(0, self.side), dilation=self.dilation)
        return x.relu_() if self.relu else x

    def _fused_works(self) -> bool:
        """Whether this torch, on this processor, has the fused operator for this layer."""
        rows = 2 * self.halo + 1
        probe = torch.zeros(1, self.weight.shape[1], rows, 4, dtype=self.weight.dtype)
        try:
            with torch.inference_mode():
                return self._fused(probe).shape == (1, self.channels, 1, 4)
        except (AttributeError, RuntimeError):
            return False
