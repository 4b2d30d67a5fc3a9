"""Published hashes of degraded pixels: whether this machine shows restorers what every other machine shows them.

`python -m bench.judge.fingerprints > data/fingerprints.toml` makes the file anew, which is called for only when a
protocol gets a new version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources

from bench.data.datasets import Dataset, get, read
from bench.data.degrade import fingerprint
from bench.data.toml import tomllib
from bench.level import Level, format_level
from bench.protocol import get_protocol
from bench.records.record import Record
from bench.tasks import Setting, get_task

__all__ = ["compute", "differing", "published"]

PROTOCOL = "standard-v1"

ADDED = ("denoise8", "poisson", "poisson-gaussian", "salt-pepper", "speckle", "inpaint", "deblur")
"""tasks beside the papers', at their usual levels"""

COVERED: tuple[tuple[str, str, tuple[Level, ...]], ...] = (
    ("denoise", "set12", (5.0, 15.0, 25.0, 50.0)),
    ("denoise", "bsd68", (5.0, 15.0, 25.0, 50.0)),
    ("denoise-blind", "set12", (5.0, 15.0, 25.0, 50.0)),
    ("denoise-blind", "bsd68", (5.0, 15.0, 25.0, 50.0)),
    ("deblock", "classic5", (10.0, 20.0, 30.0, 40.0)),
    *((task, "set12", get_task(task).levels) for task in ADDED),
)
"""task, data set, levels: repeat 0 of each image"""


@cache
def published() -> dict[tuple[str, str, str, str], str]:
    """(task, data set, level, image) -> sha256 of the degraded pixels under `standard-v1`, repeat 0."""
    tables = tomllib.loads((resources.files("bench.data") / "fingerprints.toml").read_text(encoding="utf-8"))
    return {
        (task, dataset, level, image): digest
        for task, datasets in tables.items()
        for dataset, levels in datasets.items()
        for level, images in levels.items()
        for image, digest in images.items()
    }


def differing(records: Iterable[Record]) -> list[Record]:
    """The records whose restorer was given other pixels than those published."""
    return [r for r in records if r.protocol == PROTOCOL and r.repeat == 0 and r.input_sha256 and _differs(r)]


def _differs(record: Record) -> bool:
    key = (record.task, record.dataset, format_level(record.level), record.image)
    return published().get(key, record.input_sha256) != record.input_sha256


def compute(task: str, dataset: Dataset, level: Level) -> Iterator[tuple[str, str]]:
    """(image, sha256 of its degraded pixels) for a data set, as this machine makes them."""
    protocol = get_protocol(PROTOCOL)
    for entry in dataset.entries:
        pixels = read(dataset, entry).pixels
        setting = Setting(task, level, get_task(task).channels or pixels.shape[2])
        seed = protocol.seed(setting, dataset.name, entry.name, repeat=0)
        _, seen = protocol.degrade(pixels, setting, seed)
        yield entry.name, fingerprint(seen.image)


def main() -> None:
    print(f"# sha256 of the degraded pixels, float32 little-endian (H, W, C), protocol {PROTOCOL}, repeat 0.")
    print("# Made by: python -m bench.judge.fingerprints")
    for task, name, levels in COVERED:
        for level in levels:
            print(f'\n[{task}.{name}."{format_level(level)}"]')
            for image, digest in compute(task, get(name), level):
                print(f'"{image}" = "{digest}"')


if __name__ == "__main__":
    main()
