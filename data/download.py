"""Verified files: from the cache, else the mirror, else the original address. Used for images and weights alike.

| variable        | meaning                                                                            |
|-----------------|------------------------------------------------------------------------------------|
| `BENCH_CACHE`   | the cache folder (default: the user's cache folder for `bench`)                    |
| `BENCH_MIRROR`  | a folder or URL laid out as `<kind>/<group>/<name>`, asked before the original     |
| `BENCH_OFFLINE` | 1 forbids the network; the cache and a mirror that is a folder still serve         |
| `BENCH_TIMEOUT` | 30: seconds that a server has for its answer, and again for each 256 KiB of a file |

A server is held to the size that is declared, or to 2 GiB, and to http and https, as are the addresses that it leads
on to: never from https to http, and never with a name or a password.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal
from urllib.parse import quote

from bench.data.cache import CacheError, cache_dir, folder_of, place
from bench.data.errors import DataError, in_a_line
from bench.data.limits import timeout_seconds
from bench.data.regular import open_regular

__all__ = [
    "FileState",
    "Progress",
    "RemoteFile",
    "cache_dir",
    "can_be_had",
    "fetch",
    "fetch_all",
    "is_offline",
    "verify",
]

FileState = Literal["ok", "missing", "damaged"]

Progress = Callable[[int, int], None]
"""Called with (bytes so far, bytes in all; 0 where the server does not say)."""

RETRY_SECONDS = (0.5, 2.0)
"""Pauses before the second and third try of a download that failed on the way, while BENCH_TIMEOUT is not over."""

MOST_BYTES = 1 << 31
"""of a file whose size is not declared"""

_CHUNK_BYTES = 1 << 20
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][\w .+=@,-]*", re.ASCII)
_MEND_MIRROR = "Repair or unset BENCH_MIRROR."
_log = logging.getLogger("bench")


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be fetched and checked.

    kind, group, name  its place in cache and mirror, e.g. "datasets", "set12", "01.png"
    url                the original address
    sha256, git_blob   hex digests of the bytes; one of the two at least. A git blob id is the SHA-1 of
                       "blob <size>", a zero byte, and the bytes
    size               in bytes, if known
    """

    kind: str
    group: str
    name: str
    url: str
    sha256: str | None = None
    git_blob: str | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if not (self.sha256 or self.git_blob):
            raise ValueError(f"{self} needs a sha256 or a git blob id")
        for part in (self.kind, self.group, self.name):
            if not _PLAIN_NAME.fullmatch(part):
                raise DataError(f"{self}: '{part}' is not a plain name. Names hold no folders and no leading dots.")

    def __str__(self) -> str:
        return f"{self.kind}/{self.group}/{self.name}"

    @property
    def cached(self) -> Path:
        """Where the cache keeps it, whether it is there or not."""
        return cache_dir() / self.kind / self.group / self.name

    def problem(self, path: Path) -> str | None:
        """What is wrong with the bytes in `path`, as "sha256 is 9f2c… instead of 41ab…", or None."""
        with open_regular(path) as opened:
            found_size = os.fstat(opened.fileno()).st_size
            if self.size is not None and found_size != self.size:
                return f"it has {found_size} bytes instead of {self.size}"
            if self.sha256:
                name, expected, digest = "sha256", self.sha256, hashlib.sha256()
            else:
                name, expected, digest = "git blob id", str(self.git_blob), hashlib.sha1(usedforsecurity=False)
                digest.update(b"blob %d\0" % found_size)
            left = found_size
            while chunk := opened.read(min(_CHUNK_BYTES, left)):  # and no more, if it grows
                digest.update(chunk)
                left -= len(chunk)
        found = digest.hexdigest()
        return None if found == expected else f"its {name} is {found} instead of {expected}"


def is_offline() -> bool:
    """Whether BENCH_OFFLINE forbids the network."""
    return os.environ.get("BENCH_OFFLINE", "").lower() not in ("", "0", "false", "no")


def fetch(
    kind: str,
    group: str,
    name: str,
    url: str,
    sha256: str | None = None,
    git_blob: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Path of a file whose checksum has just been verified. The arguments are those of RemoteFile.

    Raises DataError: no cache, mirror or address has it; bytes that fail the check (they are not kept); a cache
    that cannot be written; a network that is forbidden or fails.
    """
    return _fetch(RemoteFile(kind, group, name, url, sha256, git_blob, size), progress, threading.Event())


def fetch_all(
    files: Sequence[RemoteFile], progress: Callable[[int, int], None] | None = None, threads: int = 4
) -> tuple[Path, ...]:
    """Fetch many files, several at a time; what is cached already is only checked, so a new call resumes.

    progress  called after each file, in the calling thread, with (files done, files in all)
    The first failure is raised; files that were had by then stay in the cache.
    """
    paths: dict[RemoteFile, Path] = {}
    pool, stop = ThreadPoolExecutor(threads), threading.Event()
    try:
        tasks = {pool.submit(_fetch, file, None, stop): file for file in files}
        for task in as_completed(tasks):
            paths[tasks[task]] = task.result()
            if progress:
                progress(len(paths), len(tasks))
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    return tuple(paths[file] for file in files)


def verify(files: Iterable[RemoteFile]) -> dict[RemoteFile, FileState]:
    """The state of each file in the cache; nothing is fetched."""
    return {file: _state(file) for file in files}


def can_be_had(file: RemoteFile) -> bool:
    """Whether `fetch` may bring it: it is cached, a mirror folder has it, or the network is not forbidden."""
    if not is_offline() or _state(file) == "ok":
        return True
    mirror = os.environ.get("BENCH_MIRROR", "")
    folder = None if _is_address(mirror) else folder_of("BENCH_MIRROR")
    return folder is not None and (folder / file.kind / file.group / file.name).is_file()


def _is_address(mirror: str) -> bool:
    return bool(re.match(r"https?://", mirror))


def _state(file: RemoteFile) -> FileState:
    try:
        return "damaged" if file.problem(file.cached) else "ok"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        at = in_a_line(file.cached)
        raise DataError(f"{file}: {at} cannot be read ({reason}). Remove it or set BENCH_CACHE.") from None


# --- cache, mirror, original -----------------------------------------------------------------------


def _fetch(file: RemoteFile, progress: Progress | None, stop: threading.Event) -> Path:
    state = _state(file)
    if state == "ok":
        return file.cached
    if state == "damaged":
        _log.warning("%s: the cached file is damaged (%s). Fetching it again.", file, file.problem(file.cached))
    path = _from_mirror(file, progress, stop)
    if path is None and is_offline():
        found = "damaged" if state == "damaged" else "not"
        raise DataError(
            f"{file} is {found} in the cache ({in_a_line(cache_dir())}), no local mirror has it, and BENCH_OFFLINE "
            "forbids the network. Set BENCH_MIRROR to a folder that has it, or unset BENCH_OFFLINE."
        )
    return path or _download(file, file.url, progress, stop)


def _from_mirror(file: RemoteFile, progress: Progress | None, stop: threading.Event) -> Path | None:
    """The file from BENCH_MIRROR, or None: no mirror is set, it lacks the file, or it may not be reached."""
    mirror = os.environ.get("BENCH_MIRROR", "")
    if _is_address(mirror):
        address = "/".join([mirror.rstrip("/"), *(quote(part) for part in (file.kind, file.group, file.name))])
        try:
            return None if is_offline() else _download(file, address, progress, stop)
        except _NotFoundError:
            return None
    folder = folder_of("BENCH_MIRROR")
    if folder is None:
        return None
    if not folder.is_dir():
        named = in_a_line(mirror, 200)
        raise DataError(f"BENCH_MIRROR is '{named}', which is neither a folder nor an http(s) address.")
    source = folder / file.kind / file.group / file.name
    try:
        return _from_folder(file, source, stop)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{file}: {in_a_line(source)} cannot be read ({error.strerror}). {_MEND_MIRROR}") from None


def _from_folder(file: RemoteFile, source: Path, stop: threading.Event) -> Path:
    """Copy a mirrored file into the cache; where that cannot be written, the checked original serves."""
    try:
        with open_regular(source) as opened, _place_in_cache(file, stop) as part:
            if part is not None:
                _copy(opened, part, file, stop)
                _check(file, part, f"from {in_a_line(source)}", _MEND_MIRROR)
    except CacheError as error:
        _log.info("%s is read from the mirror: %s", file, error)
        if problem := file.problem(source):
            raise DataError(f"{file} from {in_a_line(source)} is refused: {problem}. {_MEND_MIRROR}") from None
        return source
    return file.cached


def _copy(opened: IO[bytes], part: IO[bytes], file: RemoteFile, stop: threading.Event) -> None:
    """As many bytes as the file has now, and one more than it should have at most."""
    left = os.fstat(opened.fileno()).st_size
    if file.size is not None:
        left = min(left, file.size + 1)
    while chunk := opened.read(min(_CHUNK_BYTES, left)):
        if stop.is_set():
            raise DataError(f"{file} was left.")
        part.write(chunk)
        left -= len(chunk)


def _download(file: RemoteFile, url: str, progress: Progress | None, stop: threading.Event) -> Path:
    """Download `url` into the cache. Raises _NotFoundError if there is no such file."""
    from bench.data.transfer import shown

    with _place_in_cache(file, stop) as part:
        if part is not None:
            _download_with_patience(file, url, part, progress, stop)
            at_fault = "The file was republished or damaged on the way." if url == file.url else _MEND_MIRROR
            _check(file, part, f"from {shown(url)}", at_fault)
    return file.cached


def _place_in_cache(file: RemoteFile, stop: threading.Event) -> AbstractContextManager[IO[bytes] | None]:
    return place(file.cached, lambda: _state(file) == "ok", timeout_seconds(), stop)


def _check(file: RemoteFile, part: IO[bytes], origin: str, at_fault: str) -> None:
    part.flush()
    if problem := file.problem(Path(part.name)):
        raise DataError(f"{file} {origin} is refused: {problem}. {at_fault}")


def _download_with_patience(
    file: RemoteFile, url: str, part: IO[bytes], progress: Progress | None, stop: threading.Event
) -> None:
    """Download, and try again where the fault may pass: no connection, a line that breaks, server errors."""
    from bench.data.transfer import LeftError, MissingError, TransferError, shown, transfer

    seconds = timeout_seconds()
    until = time.monotonic() + seconds
    for pause in (*RETRY_SECONDS, None):
        try:
            return transfer(url, part, size=file.size, most=MOST_BYTES, seconds=seconds, stop=stop, progress=progress)
        except LeftError:
            raise DataError(f"{file} was left.") from None
        except MissingError:
            raise _NotFoundError(
                f"{file}: {shown(url)} does not exist. Set BENCH_MIRROR to one that has it."
            ) from None
        except TransferError as error:
            if not error.passes or pause is None or time.monotonic() + pause > until:
                advice = "Try again later, or change BENCH_MIRROR."
                raise DataError(f"{file}: {shown(url)} cannot be fetched ({error}). {advice}") from None
            _log.info("%s: %s. Trying again in %s s.", shown(url), error, pause)
            stop.wait(pause)
            part.seek(0)
            part.truncate()


class _NotFoundError(DataError):
    """The server answers, but has no such file."""
