"""Pictures of strangers, decoded in a process of its own: what a file does to its decoder costs that picture alone.

    pixels, note = decode(path)   # as `bench.data.decode.decode`
    values = photo(path)          # with 16 bits, alpha and profile, for who restores it

The process starts with the first picture, serves all threads one after the other, and ends with this process. It has
a limit of memory, and one of time for each picture. It is replaced when it dies.

A question is a line of JSON. An answer is a line of JSON, its length before it, and the values of the picture if it
was asked for them, of a photo its colour profile too. Both are bounded, and nothing that is received is run.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from bench.data.errors import DataError, in_a_line
from bench.data.limits import most_pixels
from bench.data.picture import MOST_ICC_BYTES, Values, read_header, read_values

try:
    import fcntl
    import resource
except ImportError:  # no POSIX
    fcntl = resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["decode", "header", "photo", "serve"]

SECONDS = {"header": 10.0, "values": 60.0, "photo": 60.0}
"""for one picture; the largest that is allowed takes a few"""

_MIB = 1 << 20
_BASE_BYTES = 512 * _MIB
_BYTES_A_PIXEL = {"header": 16, "values": 16, "photo": 32}
"""that decoding takes at most: Pillow's own four, those of a conversion, and the values as bytes, each once more. The
four channels of 16 bits that a photo may have are eight bytes, put together of two halves"""

_CHANNELS = {"header": (1, 3), "values": (1, 3), "photo": (1, 2, 3, 4)}
_BITS = {"header": (8,), "values": (8,), "photo": (8, 16)}

_LENGTH = struct.Struct("<I")
_MOST_HEADER = 16_384
_PIPE_BYTES = _MIB
_START = (
    "import sys; sys.path[:] = filter(None, sys.path); "  # a json.py of the current folder, which may be a stranger's
    "import json; sys.path[:] = json.loads(sys.argv[1]); from bench.data.decoder import serve; serve()"
)


def header(path: Path) -> tuple[int, int, int] | None:
    """(width, height, channels) as `decode` will give them, or None if the header cannot be read."""
    most_pixels()  # raises
    try:
        values = _ask("header", path)
    except DataError:  # `decode` says what is wrong
        return None
    return values.width, values.height, values.channels


def photo(path: Path) -> Values:
    """The values of a photo, as stored, and what is to be kept beside them: see `bench.data.photo`.

    Raises DataError, naming the file, as `decode` does; transparency is no fault here.
    """
    return _ask("photo", path)


def decode(path: Path) -> tuple[NDArray[np.uint8], str]:
    """What `bench.data.decode.decode` answers and raises; DataError too if the file is too much for the process."""
    from bench.data.decode import pixels_of

    return pixels_of(_ask("values", path))


# --- this process -----------------------------------------------------------------------------------------


class _EndedError(Exception):
    """The process gave no answer. Says how it ended."""


class _Process:
    """The other process, and the two pipes to it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(sys.path)],
            # NumPy's threads have memory of their own; Python 3.10 does not know the other variable
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._questions, self._answers = self._process.stdin, self._process.stdout
        self._waiting = select.poll()
        self._waiting.register(self._answers, select.POLLIN)
        _widen(self._answers.fileno())

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, what: str, path: Path, most: int) -> Values:
        """Raises DataError if the file is at fault, and _EndedError, once it has been ended, if it is of no use."""
        question = {"what": what, "path": os.path.abspath(path), "pixels": most}  # noqa: PTH100  links stay
        self._seconds = SECONDS[what]
        self._deadline = time.monotonic() + self._seconds
        try:
            self._questions.write(json.dumps(question).encode() + b"\n")
            (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
            answer = _parsed(self._read(min(length, _MOST_HEADER)))
            if "error" in answer:
                raise DataError(in_a_line(answer["error"]))
            values, n_bytes, n_icc = _checked(answer, what, most)
            return values._replace(content=self._read(n_bytes), icc=self._read(n_icc))
        except DataError:
            raise
        except (EOFError, OSError, TypeError, ValueError, KeyError):
            raise _EndedError(self._end_in_words()) from None
        except BaseException:  # Ctrl-C too: the rest of the answer would be taken for the next
            self.end()
            raise

    def _read(self, n_bytes: int) -> bytearray:
        into = bytearray(n_bytes)
        left = memoryview(into)
        while left:
            seconds = self._deadline - time.monotonic()
            if seconds <= 0 or not self._waiting.poll(1000 * seconds):
                self.end()
                raise _EndedError(f"was not decoded within {self._seconds:g} s")
            n_read = self._answers.readinto(left)  # type: ignore[attr-defined]
            if not n_read:
                raise EOFError
            left = left[n_read:]
        return into

    def _end_in_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        status = self._process.poll()
        self.end()
        if status is None:
            return "made the process that decodes pictures answer with nonsense"
        if status < 0:
            return f"ended the process that decodes pictures ({signal.Signals(-status).name})"
        return f"ended the process that decodes pictures (status {status})"

    def end(self) -> None:
        self.let_go()
        self._process.kill()
        self._process.wait()

    def let_go(self) -> None:
        """Close this process's ends of the pipes: the other one ends by itself."""
        for pipe in (self._questions, self._answers):
            with contextlib.suppress(OSError):
                pipe.close()

    def forget(self) -> None:
        """In a fork of this process, whose child the other one is not."""
        self.let_go()
        self._process.returncode = 0


def _parsed(header: bytearray) -> dict[str, Any]:
    answer = json.loads(header)
    if not isinstance(answer, dict):
        raise TypeError(answer)
    return answer


def _checked(answer: dict[str, Any], what: str, most: int) -> tuple[Values, int, int]:
    """What the header of an answer says, and how many bytes of content and of profile follow it."""
    width, height, channels, bits, orientation, n_icc = map(int, answer["numbers"])
    notes = tuple(in_a_line(note, 300) for note in answer["notes"][:10])
    quality = in_a_line(answer["quality"], 20)
    is_size = width >= 1 and height >= 1 and width * height <= most
    is_kind = channels in _CHANNELS[what] and bits in _BITS[what] and 1 <= orientation <= 8
    if not (is_size and is_kind and 0 <= n_icc <= MOST_ICC_BYTES):
        raise ValueError(answer["numbers"])
    n_bytes = 0 if what == "header" else width * height * channels * (bits // 8)
    return Values(width, height, channels, b"", notes, bits, orientation, quality), n_bytes, n_icc


def _widen(pipe: int) -> None:
    with contextlib.suppress(AttributeError, OSError):  # Linux alone has it, up to a limit of the user's
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


_one_at_a_time = threading.Lock()
_process: _Process | None = None


def _ask(what: str, path: Path) -> Values:
    global _process
    most = most_pixels()
    with _one_at_a_time:
        if _process is not None and not _process.is_alive:
            _process.end()
            _process = None
        try:
            _process = _process or _Process()
            return _process.ask(what, path, most)
        except OSError as error:
            raise DataError(f"{in_a_line(path)}: no process can be started to decode it ({error}).") from None
        except _EndedError as ended:
            raise DataError(f"{in_a_line(path)} {ended}. Replace or remove it.") from None


@atexit.register
def _end() -> None:
    if _process is not None:
        _process.end()


def _begin_anew() -> None:
    global _process, _one_at_a_time
    if _process is not None:
        _process.forget()
    _process, _one_at_a_time = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


# --- the other process ------------------------------------------------------------------------------------


def serve() -> None:
    """Answer questions from the standard input until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asks
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    while line := questions.readline():
        question = json.loads(line)
        _limit(question["what"], question["pixels"])
        told, *parts = _answer(question["what"], Path(question["path"]))
        header = json.dumps(told).encode()
        _send(answers, _LENGTH.pack(len(header)), header, *parts)


def _limit(what: str, pixels: int) -> None:
    """Hold this process to the memory that a picture of so many pixels takes, and to the time for one."""
    os.environ["BENCH_MAX_PIXELS"] = str(pixels)
    if resource is not None:
        most = _BASE_BYTES + _BYTES_A_PIXEL[what] * pixels
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        with contextlib.suppress(ValueError, OSError):  # the user's own limit is lower, or the system has none
            resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        signal.alarm(int(SECONDS[what]) + 5)  # if who asks is dead, or stopped


def _answer(what: str, path: Path) -> tuple[dict[str, Any], bytes | bytearray, bytes | bytearray]:
    try:
        values = _values(what, path)
    except DataError as error:
        return {"error": str(error)}, b"", b""
    numbers = [*values[:3], values.bits, values.orientation, len(values.icc)]
    return {"numbers": numbers, "notes": values.notes, "quality": values.quality}, values.content, values.icc


def _values(what: str, path: Path) -> Values:
    if what == "header":
        return Values(*read_header(path), b"", ())
    if what == "values":
        return read_values(path)
    from bench.data.photo_values import read_photo_values  # with NumPy, which most runs need not wait for

    return read_photo_values(path)


def _send(answers: BinaryIO, *parts: bytes | bytearray) -> None:
    for part in parts:
        answers.write(part)
    answers.flush()
    if resource is not None:
        signal.alarm(0)
