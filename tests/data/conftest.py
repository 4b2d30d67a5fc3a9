"""A cache of its own for every test, no network, and the mirror for those that ask for it."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

MIRROR = os.environ.get("BENCH_MIRROR", "")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder; neither mirror nor network, unless the test says so."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    monkeypatch.delenv("BENCH_MIRROR", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mirror of the public files, for slow tests."""
    if not Path(MIRROR).is_dir() or not MIRROR:
        pytest.skip("BENCH_MIRROR names no folder: this test needs the public images")
    monkeypatch.setenv("BENCH_MIRROR", str(Path(MIRROR).absolute()))
    return Path(MIRROR).absolute()


class Server:
    """A web server on this machine. `files` maps a path to bytes, or to statuses and bytes to answer in turn."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | list[int | bytes]] = {}
        self.requests: Counter[str] = Counter()
        self.cut_short = 0
        """How many answers still break off halfway."""

    def answer(self, path: str) -> int | bytes:
        self.requests[path] += 1
        content = self.files.get(path, 404)
        return content.pop(0) if isinstance(content, list) else content

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running Server; the network (which is this machine alone) is allowed."""
    monkeypatch.setenv("BENCH_OFFLINE", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    site = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = site.answer(self.path)
            status, body = (answer, b"") if isinstance(answer, int) else (200, answer)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if site.cut_short:
                site.cut_short -= 1
                body = body[: len(body) // 2]
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.port = listening.server_port
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    listening.shutdown()
    listening.server_close()
    thread.join()
