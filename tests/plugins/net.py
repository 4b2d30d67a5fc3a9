"""A network small enough to be trained in a test: it scales each pixel and shifts it."""

import torch

from bench.restorer import TorchRestorer


class Affine(TorchRestorer):
    name, tasks = "affine", {"denoise"}

    def network(self, setting):
        return torch.nn.Conv2d(setting.channels, setting.channels, self.options.get("size", 1), padding="same")
