"""Text to a file: all of it or none, and never over another unless asked to."""

from __future__ import annotations

from pathlib import Path

from bench.data.errors import in_a_line
from bench.data.saving import written_whole
from bench.errors import RequestError

__all__ = ["check_free", "write"]


def check_free(output: Path, *, force: bool) -> None:
    """Raise RequestError for a folder, and unless `force` for a file that is there."""
    if output.is_dir():
        raise RequestError(f"--output {in_a_line(output)}: that is a folder; expected the name of a file.")
    if not force and output.exists():
        raise RequestError(f"--output {in_a_line(output)}: it is there already (--force writes over it).")


def write(text: str, output: Path, *, force: bool) -> None:
    """Write lines of text as UTF-8. Raises RequestError as `check_free`, DataError if it cannot be written."""
    check_free(output, force=force)
    with written_whole(output) as file:
        file.write(f"{text}\n".encode("utf-8", "backslashreplace"))
