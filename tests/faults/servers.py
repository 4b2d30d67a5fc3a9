"""Servers that lie, stall, flood, lead astray and break off: a download ends, and brings the file or nothing.

Each kind is a function that is given a connection whose request has been read, and what the file is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import signal
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from bench.data import cache, download
from bench.data.download import RemoteFile
from bench.data.errors import DataError

from tests.faults.campaign import MEMORY_MIB, Outcome, Try, complaint, start

ATTEMPTS = 400

SECONDS = 0.4
"""BENCH_TIMEOUT in an attempt"""

SLACK_SECONDS = 2.5
"""for a loaded machine, beyond what BENCH_TIMEOUT allows for"""

INTERRUPTED_SECONDS = 1.0
MOST_BYTES = 32 << 20
"""of a file whose size is not declared, in an attempt"""

SPARE_BYTES = 16 << 20
"""what may lie in the buffers of the sockets, beside the file"""

SPARE_MIB = 64
WORDS_BYTES = 2_000


@dataclass
class Talk:
    """One connection. n: how many there were before it; sent: bytes that the other side took, of all connections."""

    line: socket.socket
    n: int
    content: bytes
    port: int
    over: threading.Event
    random: Random

    def send(self, *parts: bytes | str) -> None:
        for part in parts:
            self.line.sendall(part.encode("latin-1") if isinstance(part, str) else part)

    def head(self, *lines: str, status: str = "200 OK") -> None:
        self.send("\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]))

    def whole(self) -> None:
        self.head(f"Content-Length: {len(self.content)}")
        self.send(self.content)

    def stall(self) -> None:
        self.over.wait(30)

    def drip(self, content: bytes, pause: float = 0.05) -> None:
        for i in range(len(content)):
            if self.over.wait(pause):
                return
            self.send(content[i : i + 1])

    def flood(self, content: bytes) -> None:
        while not self.over.is_set():
            self.send(content)


Kind = Callable[[Talk], None]
KINDS: dict[str, Kind] = {}
SERVES = {"plainly", "late", "in chunks", "until it closes", "busy twice", "cut short once", "leads on twice"}
"""These bring the file in the end, if BENCH_TIMEOUT is not over by then."""


def kind(name: str) -> Callable[[Kind], Kind]:
    def known(act: Kind) -> Kind:
        KINDS[name] = act
        return act

    return known


def answers(name: str, *lines: str, status: str = "200 OK", body: bytes | None = None) -> None:
    """A kind that sends these lines of a header, and then the file or another body."""

    def act(talk: Talk) -> None:
        talk.head(*(line.format(n=len(talk.content), port=talk.port) for line in lines), status=status)
        talk.send(talk.content if body is None else body)

    KINDS[name] = act


# --- that bring the file ---

kind("plainly")(Talk.whole)
answers("until it closes", "Connection: close")


@kind("late")
def _late(talk: Talk) -> None:
    talk.over.wait(SECONDS / 3)
    talk.whole()


@kind("in chunks")
def _in_chunks(talk: Talk) -> None:
    talk.head("Transfer-Encoding: chunked")
    for at in range(0, len(talk.content), 5000):
        chunk = talk.content[at : at + 5000]
        talk.send(f"{len(chunk):x};odd=1\r\n", chunk, "\r\n")
    talk.send("0\r\nTrailer: yes\r\n\r\n")


@kind("busy twice")
def _busy(talk: Talk) -> None:
    talk.whole() if talk.n > 1 else talk.head("Content-Length: 0", status="503 Busy")


@kind("cut short once")
def _cut_once(talk: Talk) -> None:
    talk.head(f"Content-Length: {len(talk.content)}")
    talk.send(talk.content if talk.n else talk.content[: len(talk.content) // 2])


@kind("leads on twice")
def _leads_on(talk: Talk) -> None:
    talk.whole() if talk.n > 1 else talk.head("Location: ../else?where", "Content-Length: 0", status="302 Found")


# --- that are too long, too short, or not it ---


@kind("wrong bytes")
def _wrong_bytes(talk: Talk) -> None:
    talk.head(f"Content-Length: {len(talk.content)}")
    talk.send(bytes(len(talk.content)))


answers("a page of words", "Content-Type: text/html", body=b"<h1>Please log in</h1>")
answers("nothing", "Content-Length: 0", body=b"")
answers("more than it tells", "Content-Length: 1")
answers("a little more", "Connection: close", body=b"x" * 400_000)
answers("half of what it tells", "Content-Length: 99999999")
answers("less by one", "Content-Length: {n}1")
answers("a length of terabytes", "Content-Length: 9999999999999")
answers("a length of no end", "Content-Length: " + "9" * 5000)
answers("a negative length", "Content-Length: -1")
answers("a length in words", "Content-Length: many")
answers("two lengths", "Content-Length: {n}", "Content-Length: 7")
answers("two lengths in one", "Content-Length: {n}, 8")
answers("a length in hexadecimal", "Content-Length: 0x10")
answers("gzip unasked", "Content-Encoding: gzip", body=zlib.compress(bytes(1000), wbits=31))
answers("a bomb of gzip", "Content-Encoding: gzip", body=zlib.compress(bytes(1 << 26), wbits=31))
answers("gzip that is none", "Content-Encoding: gzip", body=b"\x1f\x8bnonsense")
answers("an unknown coding", "Content-Encoding: rot13")
answers("an unknown sending", "Transfer-Encoding: gzip, chunked")


@kind("a flood")
def _flood(talk: Talk) -> None:
    talk.head("Connection: close")
    talk.flood(bytes(1 << 16))


@kind("a flood of chunks")
def _flood_of_chunks(talk: Talk) -> None:
    talk.head("Transfer-Encoding: chunked")
    talk.flood(b"10000\r\n" + bytes(1 << 16) + b"\r\n")


@kind("other bytes each time")
def _changing(talk: Talk) -> None:
    wrong = bytes([talk.n]) * len(talk.content)
    talk.head(f"Content-Length: {len(wrong)}")
    talk.send(wrong if talk.n else wrong[: len(wrong) // 2])


# --- that stall and drip ---

kind("stalls before its header")(Talk.stall)


@kind("stalls in its header")
def _stalls_in_header(talk: Talk) -> None:
    talk.send("HTTP/1.1 200 OK\r\nContent-Le")
    talk.stall()


@kind("stalls before the body")
def _stalls_before(talk: Talk) -> None:
    talk.head(f"Content-Length: {len(talk.content)}")
    talk.stall()


@kind("stalls in the body")
def _stalls(talk: Talk) -> None:
    talk.head(f"Content-Length: {len(talk.content)}")
    talk.send(talk.content[: len(talk.content) // 2])
    talk.stall()


@kind("stalls in a chunk")
def _stalls_in_chunk(talk: Talk) -> None:
    talk.head("Transfer-Encoding: chunked")
    talk.send("ffff\r\n", talk.content[:10])
    talk.stall()


@kind("stalls after the body")
def _stalls_after(talk: Talk) -> None:
    talk.head()
    talk.send(talk.content)
    talk.stall()


@kind("drips its status")
def _drips_status(talk: Talk) -> None:
    talk.drip(b"HTTP/1.1 " + b" " * 1000)


@kind("drips its header")
def _drips_header(talk: Talk) -> None:
    talk.send("HTTP/1.1 200 OK\r\n")
    talk.drip(b"X: y\r\n" * 1000)


@kind("drips the body")
def _drips(talk: Talk) -> None:
    talk.head(f"Content-Length: {len(talk.content)}")
    talk.drip(talk.content)


@kind("drips chunks")
def _drips_chunks(talk: Talk) -> None:
    talk.head("Transfer-Encoding: chunked")
    talk.drip(b"1\r\nx\r\n" * 1000)


@kind("drips redirects")
def _drips_redirects(talk: Talk) -> None:
    talk.over.wait(0.1)
    talk.head(f"Location: /{talk.n}", "Content-Length: 0", status="302 Found")


# --- that do not speak HTTP, or not well ---

for _name, _line in {
    "HTTP/0.9": "<html>no status at all",
    "a bad status": "HTTP/1.1 abc OK\r\n\r\n",
    "a negative status": "HTTP/1.1 -20 OK\r\n\r\n",
    "a status of no end": "HTTP/1.1 200" + "0" * 70_000,
    "HTTP/7": "HTTP/7.3 200 OK\r\n\r\n",
    "another protocol": "SSH-2.0-OpenSSH_9.2\r\n",
    "a TLS alert": "\x15\x03\x01\0\x02\x02\x46",
    "binary": "\0\xff\0\xff" * 1000,
    "a line without a colon": "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "a header of zeros": "HTTP/1.1 200 OK\r\n\0\0\0: \0\r\n\r\n",
    "escapes in its words": "HTTP/1.1 403 \x1b[2J\x1b]0;owned\x07\r\nX: \x1b[31m\r\n\r\n",
    "a thousand lines of header": "HTTP/1.1 200 OK\r\n" + "".join(f"X{i}: y\r\n" for i in range(1000)) + "\r\n",
    "a line of a megabyte": "HTTP/1.1 200 OK\r\nX: " + "y" * (1 << 20) + "\r\n\r\n",
    "bad chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a negative chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n",
    "a chunk of terabytes": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\nabc",
    "a chunk cut off": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\nabc",
    "chunks without an end": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
}.items():
    KINDS[_name] = lambda talk, line=_line: talk.send(line)  # type: ignore[misc]


@kind("a header without an end")
def _endless_header(talk: Talk) -> None:
    talk.send("HTTP/1.1 200 OK\r\n")
    talk.flood(b"X: " + b"y" * 1000 + b"\r\n")


@kind("a line without an end")
def _endless_line(talk: Talk) -> None:
    talk.send("HTTP/1.1 200 OK\r\nX: ")
    talk.flood(b"y" * 65_536)


@kind("100 Continue without an end")
def _continues(talk: Talk) -> None:
    talk.flood(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


@kind("trailers without an end")
def _trailers(talk: Talk) -> None:
    talk.head("Transfer-Encoding: chunked")
    talk.send(f"{len(talk.content):x}\r\n", talk.content, "\r\n0\r\n")
    talk.flood(b"X: y\r\n" * 1000)


@kind("closes at once")
def _closes(talk: Talk) -> None:
    talk.line.close()


@kind("resets at once")
def _resets(talk: Talk) -> None:
    talk.line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    talk.line.close()


@kind("resets in the body")
def _resets_in_body(talk: Talk) -> None:
    talk.head(f"Content-Length: {len(talk.content)}")
    talk.send(talk.content[: len(talk.content) // 2])
    _resets(talk)


@kind("closes its half")
def _half(talk: Talk) -> None:
    talk.head(f"Content-Length: {len(talk.content)}")
    talk.line.shutdown(socket.SHUT_WR)
    talk.stall()


@kind("two answers at once")
def _two_answers(talk: Talk) -> None:
    talk.head("Content-Length: 3", "Connection: keep-alive")
    talk.send("abc")
    talk.whole()


# --- that answer something else ---

for _status in ("103 Hints", "204 None", "206 Partial", "304 Same", "401 No", "404 No", "407 Proxy"):
    answers(_status, "Content-Length: 0", status=_status, body=b"")
for _status in ("416 Range", "429 Too Many", "451 No", "500 Oh", "503 Busy", "599 Odd", "700 Odd", "999 Odd"):
    answers(_status, "Content-Length: 5", status=_status, body=b"words")

for _name, _where in {
    "to itself": "/file",
    "to a file": "file:///etc/passwd",
    "to ftp": "ftp://127.0.0.1/file",
    "to data": "data:,words",
    "to gopher": "gopher://127.0.0.1:70/1",
    "with a password": "http://user:secret@127.0.0.1:{port}/file",
    "to no host": "http:///file",
    "to a bad port": "http://127.0.0.1:99999/file",
    "to a bad host": "http://[::1/file",
    "to a closed port": "http://127.0.0.1:1/file",
    "to TLS on this port": "https://127.0.0.1:{port}/file",
    "to two lines": "/file\x0bX: y",
    "to nowhere": "",
    "to an endless address": "/" + "a" * 60_000,
    "to a scheme alone": "http:",
    "to an odd letter": "http://127.0.0.1:{port}/\xff\xfe",
    "to a host without a name": "http://" + "a" * 300 + ".invalid/",
}.items():
    answers(f"leads {_name}", f"Location: {_where}", status="302 Found", body=b"")
answers("leads on without a word", "Content-Length: 0", status="301 Moved", body=b"")


@kind("takes no connection")
def _takes_none(talk: Talk) -> None:
    """It never comes to that: the queue of the system is full."""


# --- the server ---


@dataclass
class Served:
    port: int
    over: threading.Event
    taken: list[int] = field(default_factory=lambda: [0])


class _Counting(socket.socket):
    """Counts what the other side, or the buffers between, took."""

    taken: list[int]

    def sendall(self, content: bytes, flags: int = 0) -> None:  # type: ignore[override]
        left = memoryview(content)
        while left:
            n_bytes = self.send(left[:65_536], flags)
            self.taken[0] += n_bytes
            left = left[n_bytes:]


def _hear_out(line: socket.socket) -> None:
    """Read the request, or the first of a handshake."""
    asked = b""
    while b"\r\n\r\n" not in asked and not asked.startswith(b"\x16\x03") and len(asked) < 100_000:
        more = line.recv(4096)
        if not more:
            break
        asked += more


@contextlib.contextmanager
def serving(act: Kind, content: bytes, random: Random) -> Iterator[Served]:
    """A server on this machine that treats every connection so."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=0 if act is _takes_none else 64)
    listening.settimeout(0.02)
    served = Served(listening.getsockname()[1], threading.Event())
    threads: list[threading.Thread] = []

    def talk(line: socket.socket, n: int) -> None:
        counting = _Counting(fileno=line.detach())
        counting.taken = served.taken
        counting.settimeout(10)
        with contextlib.suppress(OSError), counting:
            _hear_out(counting)
            act(Talk(counting, n, content, served.port, served.over, random))

    def listen() -> None:
        n = 0
        while not served.over.is_set():
            with contextlib.suppress(TimeoutError):
                line, _ = listening.accept()
                threads.append(threading.Thread(target=talk, args=(line, n), daemon=True))
                threads[-1].start()
                n += 1

    callers = [socket.socket() for _ in range(3 if act is _takes_none else 0)]
    for caller in callers:
        caller.setblocking(False)
        caller.connect_ex(listening.getsockname())
    if act is not _takes_none:
        threads.append(threading.Thread(target=listen, daemon=True))
        threads[0].start()
    try:
        yield served
    finally:
        served.over.set()
        for caller in callers:
            caller.close()
        for thread in threads:
            thread.join(5)
        listening.close()


# --- an attempt ---


def attempt(try_: Try) -> Outcome:
    """One kind of server; sometimes with Ctrl-C, for several files at once, or through the command line."""
    names = [*KINDS]
    name = names[try_.index % len(names)]
    content = try_.random.randbytes(try_.random.choice([1, 1000, 70_000, 300_000]))
    way = try_.random.choices(["one", "many", "stopped", "many stopped", "command"], [10, 4, 3, 2, 0.4])[0]
    with serving(KINDS[name], content, try_.random) as served, _environment(try_.folder, served.port, try_.random):
        if way == "command":
            return Outcome(f"{name}, command", *_command(try_.folder, f"http://127.0.0.1:{served.port}"))
        lost = _judged(name, way, content, served, try_)
    stopped = ", stopped" if "stopped" in way else ""
    return Outcome(f"{name}{stopped}", lost)


@contextlib.contextmanager
def _environment(folder: Path, port: int, random: Random) -> Iterator[None]:
    mirror = random.choice(["", f"http://127.0.0.1:{port}/mirror"])
    chosen = {
        "BENCH_CACHE": str(folder / "cache"),
        "BENCH_MIRROR": mirror,
        "BENCH_OFFLINE": "0",
        "BENCH_TIMEOUT": str(SECONDS),
        "NO_PROXY": "127.0.0.1",
    }
    before = {variable: os.environ.get(variable) for variable in chosen}
    usual = download.RETRY_SECONDS, download.MOST_BYTES
    download.RETRY_SECONDS, download.MOST_BYTES = (0.01, 0.02), MOST_BYTES
    os.environ.update(chosen)
    cache._sweep.cache_clear()
    try:
        yield
    finally:
        download.RETRY_SECONDS, download.MOST_BYTES = usual
        for variable, value in before.items():
            os.environ.pop(variable) if value is None else os.environ.update({variable: value})


def _judged(name: str, way: str, content: bytes, served: Served, try_: Try) -> str:
    """What was lost by it, or nothing."""
    size = try_.random.choice([None, len(content)])
    n_files = 6 if "many" in way else 1
    url, sha256 = f"http://127.0.0.1:{served.port}/file", hashlib.sha256(content).hexdigest()
    files = [RemoteFile("datasets", "set0", f"{i}.png", url, sha256, size=size) for i in range(n_files)]
    held, began = _peak_mib(), time.monotonic()
    stops = _Stop(try_.random.uniform(0.02, SECONDS)) if "stopped" in way else None
    said = _said(files, stops)
    seconds = time.monotonic() - began
    folder = files[0].cached.parent
    there = _settled(folder, {file.cached for file in files})
    limit = 2 * SECONDS * (3 if n_files > 1 else 1) * 2 + SLACK_SECONDS
    n_tries = 2 * n_files  # of the mirror, then of the original
    taken_limit = n_tries * ((len(content) if size else MOST_BYTES) + SPARE_BYTES)
    if way in ("one", "many") and name in SERVES - {"late"} and said:
        return f"the file was not had: {said}"
    if said.startswith("!"):
        return said
    if "\n" in said or len(said) > WORDS_BYTES or not said.isprintable() or "secret" in said:
        return f"an odd message: {said!r}"
    if there - {file.cached for file in files}:
        return f"left behind: {sorted(path.name for path in there)}"
    if any(path.read_bytes() != content for path in there):
        return "a file of other bytes is in the cache"
    if seconds > limit:
        return f"{seconds:.1f} s"
    if served.taken[0] > taken_limit:
        return f"{served.taken[0]} bytes were taken of a file of {len(content)}"
    return f"{_peak_mib() - held:.0f} MiB more" if _peak_mib() - held > SPARE_MIB else ""


def _settled(folder: Path, expected: set[Path]) -> set[Path]:
    """What is in a folder, once threads that were left have ended."""
    for _ in range(50):
        there = {*folder.iterdir()} if folder.is_dir() else set()
        if there <= expected:
            break
        time.sleep(0.02)
    return there


@dataclass
class _Stop:
    """Ctrl-C after some seconds; when it was pressed."""

    seconds: float
    pressed: float = 0.0

    def press(self) -> None:
        self.pressed = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)


def _said(files: Sequence[RemoteFile], stop: _Stop | None) -> str:
    """The words of the refusal; nothing if the files were had; with a ! before it what may not be."""
    timer = threading.Timer(stop.seconds, stop.press) if stop else None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        try:
            if timer:
                timer.start()
            for path in download.fetch_all(files) if len(files) > 1 else [_fetch(files[0])]:
                if not path.is_file():
                    return "!no file"
        except DataError as error:
            return str(error)
        except KeyboardInterrupt:
            late = time.monotonic() - (stop.pressed if stop else 0)
            return f"!Ctrl-C took {late:.1f} s" if late > INTERRUPTED_SECONDS else ""
        except Exception as error:
            return f"!{type(error).__name__}: {error}"
        finally:
            if timer:
                timer.cancel()
                with contextlib.suppress(KeyboardInterrupt):
                    timer.join()
                    time.sleep(0)
    except KeyboardInterrupt:  # it came when all was over
        return ""
    finally:
        signal.signal(signal.SIGINT, before)
    return ""


def _fetch(file: RemoteFile) -> Path:
    return download.fetch(file.kind, file.group, file.name, file.url, file.sha256, size=file.size)


def _command(folder: Path, mirror: str) -> tuple[str, float]:
    """`bench data fetch` of a known set from such a server, stopped on the way."""
    words = ["-c", "from bench.cli import main; main()", "data", "fetch", "set12"]
    running = start(words, folder, {"BENCH_MIRROR": mirror})
    while not running.is_over() and time.monotonic() - running.began < 1.5:
        time.sleep(0.02)
    pressed = time.monotonic()
    running.send(signal.SIGINT)
    ended = running.wait(30)
    late = time.monotonic() - pressed
    lost = complaint(ended, (0, 1, 2, 130, -signal.SIGINT))
    if not lost and ended.status == 130 and late > INTERRUPTED_SECONDS + 2:
        lost = f"Ctrl-C took {late:.1f} s"
    return lost, min(ended.peak_mib, MEMORY_MIB)


def _peak_mib() -> float:
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / (1 << 20 if sys.platform == "darwin" else 1 << 10)
