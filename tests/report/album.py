"""Restored pictures of a small run, laid out as `bench.records.pictures` says: for the tests of the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from bench.data.datasets import get, read
from bench.methods.identity import Noisy
from bench.methods.tv import TotalVariation
from PIL import Image

import bench
from bench.protocol import get_protocol
from bench.tasks import Setting

RESTORERS = {"noisy": Noisy, "tv": TotalVariation}


def make_album(photos: Path, at: Path, levels: tuple[float, ...] = (25.0,)) -> Path:
    """Measure the photos into `at`/store.sqlite, and put the pictures into `at`/pictures."""
    folder, entries = at / "pictures", []
    run = bench.run(",".join(RESTORERS), datasets=photos, sigma=levels, store=at / "store.sqlite", jobs=2)
    cells = {(record.restorer, record.image, record.level): record for record in run.records}
    dataset = get(photos)
    for level in levels:
        setting = Setting("denoise", level, 1)
        for entry in dataset.entries:
            protocol = get_protocol("standard-v1")
            seed = protocol.seed(setting, dataset.name, entry.name, 0)
            clean, seen = protocol.degrade(read(dataset, entry).pixels, setting, seed)
            answers = {"clean": clean, "degraded": seen.image}
            for name, restorer in RESTORERS.items():
                made = restorer()
                made.prepare(setting, "cpu")
                answers[name] = made.restore(seen)
            for label, image in answers.items():
                file = f"{dataset.name}/{Path(entry.name).stem}/denoise-{level:g}/{label}.png"
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.rint(255 * image.clip(0, 1)).astype(np.uint8)[..., 0]).save(folder / file)
                is_restored = label in RESTORERS
                record = cells[label if is_restored else "tv", entry.name, level]
                shared = ("dataset", "folder", "image", "task", "level", "protocol", "repeat")
                told = {name: getattr(record, name) for name in shared}
                told |= {"label": label, "key": record.key} if is_restored else {"label": "", "key": ""}
                entries.append({"file": file, "kind": "restored" if is_restored else label, **told})
    lines = "".join(f"{json.dumps(entry)}\n" for entry in entries)
    (folder / "manifest.jsonl").write_text(lines, encoding="utf-8")
    return folder
