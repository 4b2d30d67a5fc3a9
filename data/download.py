"""Verified files: from the cache, else the mirror, else the original address. Used for images and weights alike.

| variable        | meaning                                                                            |
|-----------------|------------------------------------------------------------------------------------|
| `BENCH_CACHE`   | the cache folder (default: the user's cache folder for `bench`)                    |
| `BENCH_MIRROR`  | a folder or URL laid out as `<kind>/<group>/<name>`, asked before the original     |
| `BENCH_OFFLINE` | 1 forbids the network; the cache and a mirror that is a folder still serve         |

A file is written beside its place in the cache, checked, and moved there in one step: any number of processes
may fetch the same file, and nobody ever sees half of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from bench.data.errors import DataError

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
"""Pauses before the second and third try of a download that failed on the way."""

TIMEOUT_SECONDS = 30.0
"""How long a server may stay silent."""

_CHUNK_BYTES = 1 << 16
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
        with path.open("rb") as opened:
            found_size = os.fstat(opened.fileno()).st_size
            if self.size is not None and found_size != self.size:
                return f"it has {found_size} bytes instead of {self.size}"
            if self.sha256:
                name, expected, digest = "sha256", self.sha256, hashlib.sha256()
            else:
                name, expected, digest = "git blob id", str(self.git_blob), hashlib.sha1(usedforsecurity=False)
                digest.update(b"blob %d\0" % found_size)
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
        found = digest.hexdigest()
        return None if found == expected else f"its {name} is {found} instead of {expected}"


def cache_dir() -> Path:
    """The folder that downloads are kept in: BENCH_CACHE, or the user's cache folder."""
    if chosen := os.environ.get("BENCH_CACHE"):
        return Path(chosen).expanduser().absolute()
    try:
        import pooch
    except ImportError:  # a bare machine: the folder that pooch names on Linux
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "bench"
    return Path(pooch.os_cache("bench"))


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
    return _fetch(RemoteFile(kind, group, name, url, sha256, git_blob, size), progress)


def fetch_all(
    files: Sequence[RemoteFile], progress: Callable[[int, int], None] | None = None, threads: int = 4
) -> tuple[Path, ...]:
    """Fetch many files, several at a time; what is cached already is only checked, so a new call resumes.

    progress  called after each file, in the calling thread, with (files done, files in all)
    The first failure is raised; files that were had by then stay in the cache.
    """
    paths: dict[RemoteFile, Path] = {}
    pool = ThreadPoolExecutor(threads)
    try:
        tasks = {pool.submit(_fetch, file, None): file for file in files}
        for task in as_completed(tasks):
            paths[tasks[task]] = task.result()
            if progress:
                progress(len(paths), len(tasks))
    finally:
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
    return bool(mirror) and (Path(mirror).expanduser() / file.kind / file.group / file.name).is_file()


def _state(file: RemoteFile) -> FileState:
    try:
        return "damaged" if file.problem(file.cached) else "ok"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError as error:
        raise DataError(f"{file}: the cached file cannot be read ({error}). Remove it or set BENCH_CACHE.") from None


# --- cache, mirror, original -----------------------------------------------------------------------


def _fetch(file: RemoteFile, progress: Progress | None) -> Path:
    state = _state(file)
    if state == "ok":
        return file.cached
    if state == "damaged":
        _log.warning("%s: the cached file is damaged (%s). Fetching it again.", file, file.problem(file.cached))
    path = _from_mirror(file, progress)
    if path is None and is_offline():
        found = "damaged" if state == "damaged" else "not"
        raise DataError(
            f"{file} is {found} in the cache ({cache_dir()}), no local mirror has it, and BENCH_OFFLINE forbids the "
            "network. Set BENCH_MIRROR to a folder that has it, or unset BENCH_OFFLINE."
        )
    return path or _download(file, file.url, progress)


def _from_mirror(file: RemoteFile, progress: Progress | None) -> Path | None:
    """The file from BENCH_MIRROR, or None: no mirror is set, it lacks the file, or it may not be reached."""
    mirror = os.environ.get("BENCH_MIRROR", "")
    if re.match(r"https?://", mirror):
        address = "/".join([mirror.rstrip("/"), *(quote(part) for part in (file.kind, file.group, file.name))])
        try:
            return None if is_offline() else _download(file, address, progress)
        except _NotFoundError:
            return None
    if not mirror:
        return None
    folder = Path(mirror).expanduser()
    if not folder.is_dir():
        raise DataError(f"BENCH_MIRROR is '{mirror}', which is neither a folder nor an http(s) address.")
    source = folder / file.kind / file.group / file.name
    return _from_folder(file, source) if source.is_file() else None


def _from_folder(file: RemoteFile, source: Path) -> Path:
    """Copy a mirrored file into the cache; where that cannot be written, the checked original serves."""
    if problem := file.problem(source):
        raise DataError(f"{file} from {source} is refused: {problem}. {_MEND_MIRROR}")
    try:
        with _place_in_cache(file) as temporary:
            temporary.write_bytes(source.read_bytes())
    except _CacheError as error:
        _log.info("%s is read from the mirror: %s", file, error)
        return source
    return file.cached


def _download(file: RemoteFile, url: str, progress: Progress | None) -> Path:
    """Download `url` into the cache. Raises _NotFoundError if there is no such file."""
    _need_pooch(file, url)
    with _place_in_cache(file) as temporary:
        _download_with_patience(file, url, temporary, progress)
        if problem := file.problem(temporary):
            at_fault = "The file was republished or damaged on the way." if url == file.url else _MEND_MIRROR
            raise DataError(f"{file} from {url} is refused: {problem}. {at_fault}")
    return file.cached


def _need_pooch(file: RemoteFile, url: str) -> None:
    """Only a download needs pooch, and the machine may lack it. Raises DataError."""
    try:
        import pooch  # noqa: F401
    except ImportError as error:
        raise DataError(
            f"{file} would be downloaded from {url}, and the package pooch, which does that, cannot be imported "
            f"({error}). Run pip install pooch, or set BENCH_MIRROR to a folder that has the file."
        ) from None


def _download_with_patience(file: RemoteFile, url: str, target: Path, progress: Progress | None) -> None:
    """Download, and try again where the fault may pass: no connection, silence, server errors."""
    from requests.exceptions import RequestException

    for pause in (*RETRY_SECONDS, None):
        try:
            return _download_once(url, target, progress)
        except RequestException as error:
            status = error.response.status_code if error.response is not None else None
            if status == 404:
                raise _NotFoundError(f"{file}: {url} does not exist. Set BENCH_MIRROR to one that has it.") from None
            for_good = status is not None and status < 500 and status not in (408, 429)
            if pause is None or for_good:
                advice = "Try again later, or change BENCH_MIRROR."
                raise DataError(f"{file}: {url} cannot be fetched ({_reason(error)}). {advice}") from error
            _log.info("%s: %s. Trying again in %s s.", url, _reason(error), pause)
            time.sleep(pause)


def _download_once(url: str, target: Path, progress: Progress | None) -> None:
    import pooch

    bar = _Bar(progress) if progress else False
    download = pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK_BYTES, timeout=TIMEOUT_SECONDS)
    download(url, str(target), None)


class _Bar:
    """What pooch takes for a progress bar."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.total, self.done = progress, 0, 0

    def update(self, n_bytes: int) -> None:
        self.done = min(self.done + n_bytes, self.total or self.done + n_bytes)
        self.progress(self.done, self.total)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass


class _NotFoundError(DataError):
    """The server answers, but has no such file."""


class _CacheError(DataError):
    """The cache folder cannot be written."""


@contextlib.contextmanager
def _place_in_cache(file: RemoteFile) -> Iterator[Path]:
    """A temporary file beside the file's place; moved there at the end, unless the body raised."""
    target = file.cached
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise _unwritable(error) from None
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as error:
        raise _unwritable(error) from None
    finally:
        temporary.unlink(missing_ok=True)


def _unwritable(error: OSError) -> _CacheError:
    return _CacheError(
        f"The cache folder {cache_dir()} cannot be written ({error.strerror or error}). "
        "Set BENCH_CACHE to a folder that can."
    )


def _reason(error: Exception) -> str:
    """The innermost words of a chain of network errors; every level repeats the address."""
    text = str(error).rsplit("): ", 1)[-1].split(" for url: ")[0]
    return text.strip("'\")( ").split(" ([Errno")[0] or type(error).__name__
