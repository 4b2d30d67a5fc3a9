"""Networks small enough to be trained in a test: they scale each pixel and shift it."""

import torch

from bench.restorer import TorchRestorer


class Affine(TorchRestorer):
    name, tasks = "affine", {"denoise"}

    def network(self, setting):
        return torch.nn.Conv2d(setting.channels, setting.channels, self.options.get("size", 1), padding="same")


class Normalised(Affine):
    variants = ("biased",)

    def network(self, setting):
        return torch.nn.Sequential(super().network(setting), torch.nn.BatchNorm2d(setting.channels))
