"""What the rows and columns of a table are called: by name, and by more where names do not tell two things apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.data.labels import shortest_labels

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Maker", "column_labels", "labels_of", "row_labels"]


class Maker(NamedTuple):
    """Who made a record: its columns of these names."""

    restorer: str
    plugin: str
    weights: str
    weights_file: str

    @property
    def origin(self) -> str:
        """`published`, `ours`, the path of a file of one's own, or "" for none."""
        kind, _, name = self.weights.partition(":")
        return (self.weights_file or name) if kind == "file" else kind


def labels_of(makers: Iterable[Maker]) -> dict[Maker, str]:
    """`dncnn`; or where the same name stands for several: `dncnn@ours`, `net@a/best`, `net (a/net.py:Net)`."""
    makers = [*dict.fromkeys(makers)]
    labels = {}
    for restorer in dict.fromkeys(maker.restorer for maker in makers):
        of_name = [maker for maker in makers if maker.restorer == restorer]
        plugins = [*dict.fromkeys(maker.plugin for maker in of_name)]
        places = dict(zip(plugins, shortest_labels(plugins), strict=True)) if len(plugins) > 1 else {}
        for plugin in plugins:
            of_plugin = [maker for maker in of_name if maker.plugin == plugin]
            name = f"{restorer} ({places[plugin]})" if places else restorer
            for maker, word in zip(of_plugin, _words([maker.origin for maker in of_plugin]), strict=True):
                labels[maker] = f"{name}@{word}" if word else name
    return labels


def _words(origins: list[str]) -> list[str]:
    """What to write behind the @ of each; nothing where all are of one origin."""
    several = [*dict.fromkeys(origins)]
    if len(several) == 1:
        return [""] * len(origins)
    files = [origin for origin in several if origin not in ("", "published", "ours")]
    shown = dict(zip(files, shortest_labels(files), strict=True))
    without = {file: str(PurePosixPath(word).with_suffix("")) for file, word in shown.items()}
    if len({*without.values(), *several}) == len({*several}) + len(files):  # good.pth beside good.safetensors: no
        shown = without
    return [shown.get(origin, origin) for origin in origins]


def row_labels(frame: pd.DataFrame) -> pd.Series[str]:
    """A label for whoever made each record."""
    return _mapped(frame, [*Maker._fields], _row_labels)


def _row_labels(makers: Iterable[tuple[str, ...]]) -> dict[Maker, str]:
    return labels_of(Maker(*maker) for maker in makers)


def column_labels(frame: pd.DataFrame) -> pd.Series[str]:
    """A label for each record's data set: its name; of folders of one name the shortest ends of their paths."""
    return _mapped(frame, ["dataset", "folder"], _dataset_labels)


def _dataset_labels(sets: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    several = [*dict.fromkeys(sets)]
    labels: dict[tuple[str, ...], str] = {}
    for name in dict.fromkeys(name for name, _ in several):
        of_name = [one for one in several if one[0] == name]
        grown = shortest_labels([folder or name for _, folder in of_name]) if len(of_name) > 1 else [name]
        labels.update(zip(of_name, grown, strict=True))
    return labels


def _mapped(
    frame: pd.DataFrame, columns: list[str], labelled: Callable[[Iterable[tuple[str, ...]]], Mapping[Any, str]]
) -> pd.Series[str]:
    import pandas as pd

    told = frame.reindex(columns=columns).astype(object)
    rows = [*zip(*(told[column].where(told[column].notna(), "") for column in columns), strict=True)]
    labels = labelled(dict.fromkeys(rows))
    return pd.Series([labels[row] for row in rows], index=frame.index, dtype=object)
