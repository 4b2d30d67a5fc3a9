"""Records of before code had a name: up to layout 3 of the store they told a restorer's version alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from bench.data.toml import tomllib
from bench.records.record import Record

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["built_in", "name_code", "named"]


@cache
def built_in() -> dict[str, dict[str, str]]:
    """By name of a built-in restorer: its `plugin`, and the `code_sha256` that its `version` stood for."""
    file = resources.files("bench.records") / "layout_3.toml"
    told: dict[str, dict[str, str]] = tomllib.loads(file.read_text(encoding="utf-8"))
    return told


def named(record: Record) -> Record:
    """The record with place and code of the built-in restorer that its name and version stand for, if it has none."""
    known = built_in().get(record.restorer.removesuffix("+").partition(":")[0])
    if record.code_sha256 or known is None or record.restorer_version != known["version"]:
        return record
    return replace(record, code_sha256=known["code_sha256"], plugin=known["plugin"])


def name_code(frame: pd.DataFrame) -> pd.DataFrame:
    """The records with place and code of the built-in restorers filled in, where they tell neither."""
    names = frame["restorer"].str.removesuffix("+").str.replace(r":.*", "", regex=True)
    unnamed = (frame["plugin"] == "") & (frame["code_sha256"] == "")
    for name, known in built_in().items():
        own = unnamed & (names == name)
        frame.loc[own, "plugin"] = known["plugin"]
        frame.loc[own & (frame["restorer_version"] == known["version"]), "code_sha256"] = known["code_sha256"]
    return frame
