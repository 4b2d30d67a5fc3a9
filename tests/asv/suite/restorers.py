"""Each denoiser on pictures of 256x256 at sigma 25: time, peak memory, quality, parameters."""

from __future__ import annotations

import math

from bench.data.datasets import get, read

from bench.errors import BenchError
from bench.judge.reference import folder, read_records
from bench.plugins.registry import choose, infos, load_class
from bench.plugins.weights import pick
from bench.protocol import get_protocol
from bench.records.current import on_one_device
from bench.tasks import Setting

SETTING = Setting("denoise", 25.0, 1)
PROTOCOL = get_protocol("standard-v1")


class Restorers:
    param_names = ("restorer",)
    params = (
        tuple(
            name
            for name, card in infos().items()
            if "denoise" in card.tasks and not (card.adapts or card.takes_denoiser or card.unavailable)
        ),
    )
    timeout = 900

    def setup(self, name: str) -> None:
        spec = choose(name)
        try:
            weights = pick(spec, SETTING).file
        except BenchError as error:  # NotImplementedError is asv's word for "not here"
            raise NotImplementedError(str(error)) from None
        if spec.info.needs_weights and weights is None:
            raise NotImplementedError(f"{name} has no weights for {SETTING}")
        self.restorer = load_class(spec.info.target)(spec.variant, weights)
        self.restorer.prepare(SETTING, "cpu")
        self.weights = weights.label if weights else ""
        self.sample = get("sample")
        self.pictures = []
        for entry in self.sample.entries:
            seed = PROTOCOL.seed(SETTING, self.sample.name, entry.name, 0)
            clean, seen = PROTOCOL.degrade(read(self.sample, entry).pixels, SETTING, seed)
            self.pictures.append((entry.name, clean, seen))

    def time_restore(self, name: str) -> None:
        self.restorer.restore(self.pictures[0][2])

    def peakmem_restore(self, name: str) -> None:
        self.restorer.restore(self.pictures[0][2])

    def track_psnr_deficit(self, name: str) -> float:
        """How far the mean PSNR is below the reference run's; asv takes what is larger as worse. NaN: not in it."""
        reference = on_one_device(read_records(folder() / "records.csv"))
        there = reference[
            (reference["restorer"] == name)
            & (reference["weights"] == self.weights)
            & (reference["dataset"] == self.sample.name)
            & (reference["task"] == SETTING.task)
            & (reference["level"] == SETTING.level)
        ].set_index("image")["psnr_db"]
        if there.empty:
            return math.nan
        deficit = [
            there[image] - PROTOCOL.score(self.restorer.restore(seen), clean, SETTING).psnr_db
            for image, clean, seen in self.pictures
        ]
        return sum(deficit) / len(deficit)

    track_psnr_deficit.unit = "dB"

    def track_params(self, name: str) -> int:
        return self.restorer.n_params()

    track_params.unit = "parameters"
