"""Which state of which repository a record comes from."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

__all__ = ["revision"]

SECONDS = 10
"""that git may take: a repository on a slow disk costs a record its revision, not a run its time"""


def revision(engine: Path, plugin: Path, name: str) -> str:
    """`bench v1.2-3-gabc1234-dirty, mine def5678`: what `git describe` says of the repositories of two files.

    name  what to call the plugin's, if it is another one
    A file that is in no repository, or that its repository does not track, has none.
    """
    ours, its = _described(engine), _described(plugin)
    told = [f"bench {ours[1]}"] if ours else []
    if its and (not ours or its[0] != ours[0]):
        told.append(f"{name} {its[1]}")
    return ", ".join(told)


@cache
def _described(file: Path) -> tuple[str, str] | None:
    """(root of the repository, what it describes itself as), or None; asked once, for git looks at every file."""
    if _git(file, "ls-files", "--error-unmatch", file.name) is None:
        return None
    root = _git(file, "rev-parse", "--show-toplevel")
    described = _git(file, "describe", "--always", "--dirty", "--tags")
    return (root, described) if root and described else None


def _git(file: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(file.parent), *words], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # no git here
        return None
    return done.stdout.strip() if done.returncode == 0 else None
