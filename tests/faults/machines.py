"""A cluster as processes of this machine: each is started again when it has ended, as a batch system would."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from tests.faults.campaign import Running, start

__all__ = ["HAS_DASK", "Cluster", "Service", "free_port"]

HAS_DASK = find_spec("distributed") is not None
HERE = dict.fromkeys(("scheduler", "worker-0", "worker-1"), "127.0.0.1")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


class Service:
    """A command that is to run for ever: `keep` starts it again when it has ended.

    inside  words that run it in a namespace
    left    command lines of what its ends have left behind (killed since)
    """

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        inside: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.left: list[str] = []
        self._start = lambda: start(words, folder, environment, inside)
        self._running: Running = self._start()

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def child(self) -> int | None:
        """The worker process that a nanny holds, if it has one just now."""
        held = (pid for pid, line in self._running.processes().items() if "multiprocessing.spawn" in line)
        return next(held, None)

    def said(self) -> str:
        """The end of what it has said since it was last started."""
        return self._running.err.read_text(errors="replace")[-2000:]

    def keep(self) -> None:
        """Start it again if it has ended."""
        if self._running.is_over():
            self.left += self._running.wait().orphans
            self._running = self._start()

    def end(self) -> None:
        """End it as a batch system does: with a signal, and ten seconds later with another."""
        self._running.send(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while not self._running.is_over() and time.monotonic() < deadline:
            time.sleep(0.02)
        self._running.send(signal.SIGKILL)
        self.left += self._running.wait(float("inf")).orphans


class Cluster:
    """A scheduler and workers with two slots each, in a `with` statement.

    address      of the scheduler, also when it is started again
    hosts        addresses of the machines `scheduler`, `worker-0`, …
    inside       words that run something on such a machine
    environment  of each
    """

    def __init__(
        self,
        folder: Path,
        hosts: Mapping[str, str] = HERE,
        inside: Mapping[str, Sequence[str]] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder, self._hosts, self._inside, self._environment = folder, hosts, inside or {}, environment
        port = free_port() if hosts is HERE else 8786
        self.address = f"tcp://{hosts['scheduler']}:{port}"
        self.scheduler = self._service("scheduler", "scheduler", "--port", str(port))
        self.workers = [
            self._service(name, "worker", self.address, "--nthreads", "2", "--memory-limit", "0")
            for name in hosts
            if name.startswith("worker")
        ]

    def _service(self, name: str, *words: str) -> Service:
        words = ("-m", "dask", *words, "--host", self._hosts[name], "--no-dashboard")
        return Service(name, words, self._folder, self._environment, self._inside.get(name, ()))

    @property
    def services(self) -> list[Service]:
        return [self.scheduler, *self.workers]

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        for service in [*self.workers, self.scheduler]:
            service.end()

    def keep(self) -> None:
        for service in self.services:
            service.keep()

    def left(self) -> list[str]:
        return [line for service in self.services for line in service.left]
