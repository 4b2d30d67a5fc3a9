"""One file over HTTP, with an end to everything: to bytes, seconds and redirects, and at once when it is left.

The transfer runs in a thread of its own, which may wait for a name server, a handshake or a header for as long as it
likes: who asked waits in short steps, sees how far it is, and leaves it when its time is over or Ctrl-C is pressed.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from typing import IO
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from bench.data.errors import in_a_line

__all__ = ["LeftError", "MissingError", "TransferError", "shown", "transfer"]

MOST_REDIRECTS = 10
STEP_BYTES = 1 << 18
"""that must come within each BENCH_TIMEOUT: 9 kB/s as a rule"""

_CHUNK_BYTES = 1 << 16
_POLL_SECONDS = 0.1
_BACKSTOP_SECONDS = 5.0
"""after BENCH_TIMEOUT, when who waited has left: for a thread that nobody can reach, in a handshake"""

_MOST_WORDS = 150
_REDIRECTS = (301, 302, 303, 307, 308)
_MISSING = (404, 410)
_PASSING = (408, 429)
"""statuses that another try may change, as those from 500 on"""

_UNQUOTED = "!#$%&'()*+,/:;=?@[]~"


class TransferError(Exception):
    """Why there is no file, in words. passes: whether another try may help."""

    def __init__(self, reason: str, *, passes: bool = False) -> None:
        super().__init__(in_a_line(reason, _MOST_WORDS))
        self.passes = passes


class MissingError(TransferError):
    """The server answers, but has no such file."""


class LeftError(Exception):
    """The transfer was left, as its `stop` was set."""


def transfer(
    url: str,
    target: IO[bytes],
    *,
    size: int | None,
    most: int,
    seconds: float,
    stop: threading.Event,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write what `url` answers into `target`, which is empty.

    size      in bytes, if known: a server that tells of another is refused, and no more are read
    most      bytes, whatever the size
    seconds   for the answer to begin, and then for each 256 KiB of it
    stop      set by another thread to have it left within a tenth of a second
    progress  called in this thread with (bytes so far, bytes in all; 0 if that is not known)
    Raises TransferError, LeftError, and OSError if the target cannot be written.
    """
    under_way = _Transfer(url, target, size, most, seconds)
    under_way.start()
    try:
        _wait(under_way, seconds, stop, progress)
    finally:
        under_way.leave()


def _wait(
    under_way: _Transfer, seconds: float, stop: threading.Event, progress: Callable[[int, int], None] | None
) -> None:
    step, deadline = -1, time.monotonic() + seconds
    while not under_way.over.wait(_POLL_SECONDS):
        if stop.is_set():
            raise LeftError
        if progress and under_way.answered:
            progress(under_way.n_bytes, under_way.total)
        if under_way.step > step:
            step, deadline = under_way.step, time.monotonic() + seconds
        elif time.monotonic() > deadline:
            came = f"only {under_way.n_bytes % STEP_BYTES} bytes came" if under_way.answered else "no answer"
            raise TransferError(_too_slow(came, seconds))
    if under_way.failure is not None:
        raise under_way.failure
    if progress:
        progress(under_way.n_bytes, under_way.total or under_way.n_bytes)


class _WriteError(Exception):
    """The target cannot be written. Holds the OSError."""


class _Transfer(threading.Thread):
    """What goes on in the other thread.

    answered  whether the file itself is coming; n_bytes of it have, of `total` (0: not known)
    over      set at the end; then `failure` says how it failed, None if it did not
    """

    def __init__(self, url: str, target: IO[bytes], size: int | None, most: int, seconds: float) -> None:
        super().__init__(name="bench-transfer", daemon=True)
        self.url, self.target, self.size, self.most, self.seconds = url, target, size, most, seconds
        self.answered, self.n_bytes, self.total = False, 0, size or 0
        self.failure: BaseException | None = None
        self.over = threading.Event()
        self._is_left = False
        self._socket: socket.socket | None = None

    @property
    def step(self) -> int:
        """It grows with each step for which there is more time."""
        return self.n_bytes // STEP_BYTES + 1 if self.answered else 0

    def leave(self) -> None:
        """End it soon, if it is not over; nothing is written any more."""
        self._is_left = True
        line = self._socket
        if line is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(line, socket.SHUT_RDWR)  # not SSL's own, which another thread may be reading

    def run(self) -> None:
        try:
            self._follow()
        except _WriteError as error:
            self.failure = error.__cause__
        except TransferError as error:
            self.failure = error
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.failure = TransferError(_in_words(error, self.seconds), passes=_may_pass(error))
        except BaseException as error:  # a bug: raised where it is waited for
            self.failure = error
        finally:
            self.over.set()

    def _follow(self) -> None:
        url = _checked(self.url)
        for _ in range(MOST_REDIRECTS + 1):
            if self._is_left:
                return
            connection, address, headers = _connection(url, self.seconds + _BACKSTOP_SECONDS)
            with contextlib.closing(connection):
                connection.connect()
                self._socket = connection.sock
                connection.request("GET", address, headers=headers)
                with connection.getresponse() as answer:
                    if answer.status not in _REDIRECTS:
                        self._receive(answer)
                        return
                    url = _redirected(url, answer.headers.get("Location"))
        raise TransferError(f"it leads on more than {MOST_REDIRECTS} times")

    def _receive(self, answer: http.client.HTTPResponse) -> None:
        told = self._told_bytes(answer)
        self.total = told or self.total
        self.answered = True
        while self.n_bytes != self.size and (chunk := answer.read1(self._wanted())):
            if self._is_left:
                return
            if self.n_bytes + len(chunk) > self.most:
                raise TransferError(f"it sends more than {self.most} bytes")
            try:
                self.target.write(chunk)
            except (OSError, ValueError) as error:
                raise _WriteError from error
            self.n_bytes += len(chunk)
        expected = self.size if told is None else told
        if expected is not None and self.n_bytes < expected:
            raise TransferError(f"it broke off after {self.n_bytes} of {expected} bytes", passes=True)

    def _wanted(self) -> int:
        """Bytes to read next. What comes after the last of a known size is not waited for, nor looked at."""
        return _CHUNK_BYTES if self.size is None else min(_CHUNK_BYTES, self.size - self.n_bytes)

    def _told_bytes(self, answer: http.client.HTTPResponse) -> int | None:
        """The length that the header tells, if any. Raises TransferError for an answer that is not the file."""
        status = answer.status
        if status != HTTPStatus.OK:
            kind = MissingError if status in _MISSING else TransferError
            raise kind(_status_in_words(status), passes=status in _PASSING or status >= 500)
        coding, sending = (answer.headers.get(f"{of}-Encoding", "").strip() for of in ("Content", "Transfer"))
        if coding.lower() not in ("", "identity") or sending.lower() not in ("", "chunked"):
            raise TransferError(f"it sends the file coded as {coding or sending}, which was not asked for")
        if sending:
            return None
        told = {part.strip() for line in answer.headers.get_all("Content-Length", []) for part in line.split(",")}
        if not told:
            return None
        length = next(iter(told))
        if len(told) > 1 or not re.fullmatch(r"[0-9]{1,15}", length):
            raise TransferError(f"its Content-Length is {', '.join(sorted(told))}")
        if self.size is not None and int(length) != self.size:
            raise TransferError(f"it tells of {length} bytes instead of {self.size}")
        if int(length) > self.most:
            raise TransferError(f"it tells of {length} bytes, more than the {self.most} that are taken")
        return int(length)


# --- addresses ------------------------------------------------------------------------------------------


def shown(url: str) -> str:
    """An address as it may be printed: in one line, and without a password."""
    return in_a_line(re.sub(r"(?<=://)[^/?#]*@", "…@", url), 300)


def _checked(url: str) -> SplitResult:
    """The parts of an address that can be asked. Raises TransferError; ValueError too, of what is none."""
    parts = urlsplit(url)
    parts = parts._replace(path=quote(parts.path, safe=_UNQUOTED), query=quote(parts.query, safe=_UNQUOTED))
    if parts.scheme not in ("http", "https"):
        raise TransferError("it is no address of http or https")
    if "@" in parts.netloc:
        raise TransferError("it holds a name or a password, which are not sent")
    if not parts.hostname:
        raise TransferError("it names no server")
    _ = parts.port  # raises ValueError
    return parts


def _redirected(old: SplitResult, location: str | None) -> SplitResult:
    if not location:
        raise TransferError("it leads on, and does not say where to")
    address = urljoin(urlunsplit(old), location)
    try:
        new = _checked(address)
    except (TransferError, ValueError):
        raise TransferError(f"it leads to {shown(address)}, which is not asked") from None
    if (old.scheme, new.scheme) == ("https", "http"):
        raise TransferError(f"it leads from https to {shown(address)}, which anyone on the way could change")
    return new


def _connection(url: SplitResult, seconds: float) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
    """A connection to the server, or to the environment's proxy; what to ask it for; with what headers."""
    headers = {"User-Agent": "bench", "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
    address = urlunsplit(("", "", url.path or "/", url.query, ""))
    host = url.hostname or ""
    proxy = None if proxy_bypass(url.netloc) else getproxies().get(url.scheme)
    if not proxy:
        return _made(url.scheme, host, url.port, seconds), address, headers
    through = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if through.scheme != "http" or not through.hostname:
        raise TransferError(f"the environment names a proxy that is none of http: {shown(proxy)}")
    passing = _authorization(through)
    connection = _made(url.scheme, through.hostname, through.port or 80, seconds)
    if url.scheme == "https":
        connection.set_tunnel(host, url.port, headers=passing)
        return connection, address, headers
    return connection, urlunsplit(url._replace(path=url.path or "/", fragment="")), {**headers, **passing}


def _made(scheme: str, host: str, port: int | None, seconds: float) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=seconds, context=_authorities())
    return http.client.HTTPConnection(host, port, timeout=seconds)


def _authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    words = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(words.encode()).decode()}"}


@cache
def _authorities() -> ssl.SSLContext:
    """Those that this system trusts, and those of certifi where it is installed: some systems have none."""
    context = ssl.create_default_context()
    with contextlib.suppress(ImportError):
        import certifi

        context.load_verify_locations(certifi.where())
    return context


# --- words ----------------------------------------------------------------------------------------------


def _too_slow(came: str, seconds: float) -> str:
    return f"{came} within {seconds:g} s: BENCH_TIMEOUT allows for more"


def _status_in_words(status: int) -> str:
    """`503 Service Unavailable`: the words are ours, and not the server's."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"status {status}, which is none of HTTP"


def _may_pass(error: Exception) -> bool:
    """Whether it is a fault of the line, and not of the address or of what the server says."""
    if isinstance(error, ssl.SSLError):
        return False
    return isinstance(error, (OSError, http.client.IncompleteRead))


_WORDS: dict[type[Exception], str] = {
    http.client.RemoteDisconnected: "it closed the connection without an answer",
    http.client.IncompleteRead: "it broke off, or its chunks are damaged",
    http.client.LineTooLong: "its header has an endless line",
    http.client.BadStatusLine: "it does not answer in HTTP",
    http.client.InvalidURL: "it is no address",
    UnicodeError: "the name of its server is none",
}


def _in_words(error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return _too_slow("no answer", seconds)
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            return words
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}; SSL_CERT_FILE names others to trust"
    if isinstance(error, ssl.SSLError):
        return f"it does not answer in TLS ({error.reason})"
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error) or type(error).__name__
