"""What a server may do to a download: nothing but bring the file, in a time and a size that are known before.

The servers are those of the campaign of faults, which tries many more.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import sys
import threading
import time
from random import Random

import pytest
from bench.data import download
from bench.data.download import RemoteFile, fetch_all
from bench.data.errors import DataError
from bench.data.transfer import shown

from tests.faults.servers import KINDS, SERVES, serving

CONTENT = Random(0).randbytes(70_000)
SIZE = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def network(monkeypatch):
    """The network is this machine, and nobody waits long."""
    for name, value in {"BENCH_OFFLINE": "0", "NO_PROXY": "127.0.0.1", "BENCH_TIMEOUT": "0.3"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(download, "RETRY_SECONDS", (0, 0))


def files_at(port, n=1, size=SIZE):
    url = f"http://127.0.0.1:{port}/file"
    return [RemoteFile("datasets", "set0", f"{i}.png", url, SHA256, size=size) for i in range(n)]


def refusal(name, cache, size=SIZE):
    with serving(KINDS[name], CONTENT, Random(0)) as served:
        with pytest.raises(DataError, match=r"datasets/set0/0\.png") as refused:
            fetch_all(files_at(served.port, size=size))
        taken = served.taken[0]
    said = str(refused.value)
    assert said.isprintable()
    assert len(said) < 1000
    assert [*cache.rglob("*.p*")] == []
    return said, taken


@pytest.mark.parametrize("name", sorted(SERVES - {"late"}))
@pytest.mark.parametrize("size", [SIZE, None], ids=["declared", "undeclared"])
def test_a_server_may_send_the_file_in_any_way_of_http(name, size, monkeypatch):
    monkeypatch.setenv("BENCH_TIMEOUT", "30")
    with serving(KINDS[name], CONTENT, Random(0)) as served:
        [path] = fetch_all(files_at(served.port, size=size))
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a little more", "refused: its sha256 is"),
        ("a flood", "refused: its sha256 is"),
        ("a flood of chunks", "refused: its sha256 is"),
        ("more than it tells", "tells of 1 bytes instead of 70000"),
        ("a length of terabytes", "tells of 9999999999999 bytes instead of 70000"),
        ("a length of no end", "its Content-Length is 999"),
        ("a negative length", "its Content-Length is -1"),
        ("two lengths", "its Content-Length is 7, 70000"),
        ("resets in the body", "cannot be fetched"),
        ("stalls in the body", "bytes came within 0.3 s: BENCH_TIMEOUT"),
        ("drips the body", "bytes came within 0.3 s: BENCH_TIMEOUT"),
        ("stalls before its header", "no answer within 0.3 s: BENCH_TIMEOUT"),
        ("drips its header", "no answer within 0.3 s: BENCH_TIMEOUT"),
        ("a header without an end", "more than 100 headers"),
        ("a line without an end", "endless line"),
        ("a bomb of gzip", "coded as gzip"),
        ("an unknown sending", "coded as gzip, chunked"),
        ("bad chunks", "chunks are damaged"),
        ("HTTP/0.9", "does not answer in HTTP"),
        ("a TLS alert", "does not answer in HTTP"),
        ("closes at once", "closed the connection without an answer"),
        ("escapes in its words", "403 Forbidden"),
        ("a page of words", "tells of|broke off|instead of"),
        ("204 None", "204 No Content"),
        ("206 Partial", "206 Partial Content"),
        ("404 No", "does not exist"),
        ("999 Odd", "status 999, which is none of HTTP"),
        ("wrong bytes", "refused: its sha256 is"),
        ("leads to itself", "leads on more than 10 times"),
        ("leads to a file", "leads to file:///etc/passwd, which is not asked"),
        ("leads to ftp", "leads to ftp://127.0.0.1/file, which is not asked"),
        ("leads with a password", r"leads to http://…@127\.0\.0\.1:\d+/file, which is not asked"),
        ("leads to TLS on this port", "does not answer in TLS"),
        ("leads on without a word", "does not say where to"),
    ],
)
def test_what_is_not_the_file_is_refused_in_one_line(name, words, cache):
    said, taken = refusal(name, cache)
    assert re.search(words, said), said
    assert taken < 60 << 20


def test_what_comes_after_the_declared_size_is_not_waited_for():
    with serving(KINDS["stalls after the body"], CONTENT, Random(0)) as served:
        [path] = fetch_all(files_at(served.port))
    assert path.read_bytes() == CONTENT


def test_a_file_of_unknown_size_has_a_limit_too(cache, monkeypatch):
    monkeypatch.setattr(download, "MOST_BYTES", 1 << 20)
    assert "sends more than 1048576 bytes" in refusal("a flood", cache, size=None)[0]
    assert "more than the 1048576 that are taken" in refusal("a length of terabytes", cache, size=None)[0]


def test_a_slow_server_may_take_longer_than_the_limit_in_all(monkeypatch):
    """As long as each 256 KiB come in time."""
    content = Random(1).randbytes(6 << 18)

    def act(talk):
        talk.head(f"Content-Length: {len(content)}")
        for at in range(0, len(content), 1 << 18):
            time.sleep(0.15)
            talk.send(content[at : at + (1 << 18)])

    monkeypatch.setenv("BENCH_TIMEOUT", "0.6")
    with serving(act, content, Random(0)) as served:
        url, sha256 = f"http://127.0.0.1:{served.port}/", hashlib.sha256(content).hexdigest()
        [path] = fetch_all([RemoteFile("datasets", "set0", "0.png", url, sha256)])
    assert path.stat().st_size == len(content)


def test_a_name_server_that_does_not_answer_is_left(cache, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: over.wait(60) or [])
    with pytest.raises(DataError, match=r"no answer within 0\.3 s"):
        fetch_all(files_at(1))
    over.set()
    assert [*cache.rglob("*.p*")] == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse instead")
def test_so_is_a_machine_that_takes_no_connection(cache):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        callers = [socket.socket() for _ in range(3)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        with pytest.raises(DataError, match=r"no answer within 0\.3 s"):
            fetch_all(files_at(full.getsockname()[1]))
        for caller in callers:
            caller.close()
    assert [*cache.rglob("*.p*")] == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "it is no address of http or https"),
        ("ftp://127.0.0.1/a", "it is no address of http or https"),
        ("/etc/passwd", "it is no address of http or https"),
        ("http://user:secret@127.0.0.1/a", "holds a name or a password, which are not sent"),
        ("http:///a", "it names no server"),
        ("http://127.0.0.1:99999/a", "Port out of range"),
        ("http://[::1/a", "Invalid IPv6"),
        ("http://" + "a" * 300 + "/", "the name of its server is none"),
    ],
    ids=["file", "ftp", "path", "password", "nobody", "port", "bracket", "label"],
)
def test_only_addresses_of_http_are_asked(url, words, cache):
    with pytest.raises(DataError, match=words) as refused:
        fetch_all([RemoteFile("weights", "net", "w.pt", url, SHA256)])
    assert "secret" not in str(refused.value)
    assert str(refused.value).isprintable()


def test_never_from_https_to_http():
    from bench.data import transfer

    old = transfer._checked("https://example.invalid/a")
    assert transfer._redirected(old, "b").path == "/b"
    with pytest.raises(transfer.TransferError, match=r"leads from https to http://example\.invalid/a"):
        transfer._redirected(old, "http://example.invalid/a")


@pytest.mark.parametrize("word", ["0", "-1", "soon", "nan", "inf", "1e9"])
def test_another_word_for_the_timeout_is_one_line(word, monkeypatch):
    monkeypatch.setenv("BENCH_TIMEOUT", word)
    with pytest.raises(
        DataError, match=rf"BENCH_TIMEOUT is '{word}'\. Expected seconds, above 0 and at most 86400\."
    ):
        fetch_all(files_at(1))


class TestProxies:
    def test_are_asked_for_the_whole_address(self, server, monkeypatch):
        address = "http://example.invalid/file%20one?a=b"
        server.files[address] = CONTENT
        monkeypatch.setenv("http_proxy", server.url())
        assert fetch_all([RemoteFile("datasets", "set0", "0.png", address, SHA256)])[0].read_bytes() == CONTENT

    def test_are_those_of_http_alone(self, monkeypatch):
        monkeypatch.setenv("http_proxy", "socks5://me:secret@127.0.0.1:1")
        with pytest.raises(DataError, match=r"names a proxy that is none of http: socks5://…@127\.0\.0\.1:1"):
            fetch_all([RemoteFile("datasets", "set0", "0.png", "http://example.invalid/", SHA256)])


@pytest.mark.parametrize("n_files", [1, 6])
@pytest.mark.parametrize("name", ["stalls before its header", "drips its header", "stalls in the body"])
def test_ctrl_c_ends_it_at_once(name, n_files, cache, monkeypatch):
    monkeypatch.setenv("BENCH_TIMEOUT", "60")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    pressing = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    try:
        with serving(KINDS[name], CONTENT, Random(0)) as served:
            pressing.start()
            began = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                fetch_all(files_at(served.port, n_files))
            assert time.monotonic() - began < 10
    finally:
        pressing.join()
        signal.signal(signal.SIGINT, before)
    assert [*cache.rglob("*.p*")] == []


def test_an_address_is_shown_without_its_password():
    assert shown("https://me:secret@host:1/a@b") == "https://…@host:1/a@b"
    assert shown("http://host/\x1b[31m") == r"http://host/\x1b[31m"
