"""What a restorer uses of its own folder that the hash of its code does not know of."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from importlib.util import source_from_cache
from pathlib import Path
from typing import Any

__all__ = ["Unseen"]


class Unseen:
    """Files in or below `folder`, beside those that are known, which are imported or opened.

    folder  the restorer's own; "" to look at nothing, as for the restorers that come with the engine
    known   the files that are part of its hash (`bench.plugins.identity.Code.files`)
    """

    def __init__(self, folder: str, known: Collection[str]) -> None:
        self.folder, self.known = folder, {*known}
        self.opened: set[str] = set()

    def watch(self) -> None:
        """From now on note what is opened to be read. It costs a little at every call: for `bench check` alone."""
        sys.addaudithook(self._note)

    def names(self) -> tuple[str, ...]:
        """Their paths from `folder`: the modules that are loaded, and what was noted."""
        if not self.folder:
            return ()
        loaded = (getattr(module, "__file__", None) for name, module in [*sys.modules.items()] if not _is_ours(name))
        found = {self._own(path) for path in [*loaded, *self.opened] if isinstance(path, str)}
        return tuple(sorted(found - {""}))

    def _note(self, event: str, given: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(given[0], (str, os.PathLike)) and not (given[2] or 0) & WRITING:
            self.opened.add(os.path.abspath(os.fspath(given[0])))  # noqa: PTH100  Path.resolve opens what it looks at

    def _own(self, path: str) -> str:
        """The path from the folder; "" if it lies elsewhere, is known, or is one of an environment's packages."""
        is_pythons = path.startswith(PYTHONS) or "site-packages" in path
        if not path.startswith(f"{self.folder}{os.sep}") or is_pythons:
            return ""
        if path.endswith(".pyc"):
            path = source_from_cache(path)
        return "" if path in self.known or not Path(path).is_file() else os.path.relpath(path, self.folder)


PYTHONS = tuple(f"{prefix}{os.sep}" for prefix in (sys.prefix, sys.base_prefix))
"""where an environment and its Python lie, perhaps within the folder, which may be the user's home"""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | getattr(os, "O_DIRECTORY", 0)


def _is_ours(module: str) -> bool:
    return module == "bench" or module.startswith("bench.")
