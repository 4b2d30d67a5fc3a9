"""A Dask cluster by its words: an address, a scheduler's file, or one that is started for the run.

`dask.distributed` is an extra, imported here alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.errors import RequestError
from bench.measure.environment import n_cores

__all__ = ["address_of", "client_of", "started"]

CONNECT_SECONDS = 10
MOST_WORKERS = 1024
EXPECTED = (
    "expected the address of a scheduler (tcp://HOST:8786), its file (scheduler.json), local, local:N, slurm or"
    " slurm:N"
)
ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://[^/]+:[0-9]{1,5}|inproc://.+")
STARTED = re.compile(r"(local|slurm)(?::([0-9]{1,6}))?")
JOBS_OF_SLURM = 1
LOGGERS = ("asyncio", "distributed", "distributed.client", "tornado.application")
"""to which Dask gives levels, each its own, when it is imported"""


@contextlib.contextmanager
def started(words: str) -> Iterator[str]:
    """The address of the scheduler that the words name; a cluster that is started for it ends with the block.

    Raises RequestError for words that name none, and where a package is missing.
    """
    _check_installed()
    named = STARTED.fullmatch(words)
    if not named:
        address = _address(words)
        with _quiet():
            yield address
        return
    kind, n = named.groups()
    n_workers = int(n) if n else n_cores() if kind == "local" else JOBS_OF_SLURM
    if not 1 <= n_workers <= MOST_WORKERS:
        raise RequestError(f"--cluster {words}: expected 1 to {MOST_WORKERS} workers.")
    with _quiet(), _local(n_workers) if kind == "local" else _slurm(n_workers) as cluster:
        yield cluster.scheduler_address


def address_of(words: str) -> str:
    """The address that the words name now: a scheduler that began again may have another. "" where it was started."""
    return "" if STARTED.fullmatch(words) else _address(words)


def client_of(address: str) -> Any:
    """A client of the scheduler. Raises RequestError if it does not answer, or speaks another language."""
    import distributed

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)
            with ThreadPoolExecutor(1) as apart:  # a notebook has a loop of its own
                apart.submit(asyncio.run, asyncio.wait_for(_knock(address), CONNECT_SECONDS)).result()
            return distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="bench")
    except RequestError:
        raise
    except Exception as error:  # of many kinds, as the address and who answers are
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise RequestError(
            f"--cluster: no Dask scheduler answers at {address} ({said}). Start one with `dask scheduler`."
        ) from None


async def _knock(address: str) -> None:
    """Raises an error if nobody answers in Dask's language, or another version does: a client of its own would wait
    for a web server for ever."""
    import distributed
    from distributed.core import rpc
    from distributed.security import Security

    secured = Security().get_connection_args("client")
    async with rpc(address, timeout=CONNECT_SECONDS, connection_args=secured) as scheduler:
        there = (await scheduler.versions())["packages"]["distributed"]
    if there != distributed.__version__:
        raise RequestError(
            f"--cluster: the scheduler at {address} has distributed {there}, and here is {distributed.__version__}:"
            " install the same."
        )


def _check_installed() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise RequestError("--cluster needs dask.distributed: pip install 'bench[cluster]'") from None


def _address(words: str) -> str:
    """The address itself, or that in a scheduler's file."""
    if "://" in words:
        return _checked(words, words)
    if not words.endswith(".json"):
        raise RequestError(f"--cluster {words}: {EXPECTED}.")
    import json

    try:
        told = json.loads(Path(words).expanduser().read_text(encoding="utf-8"))
        return _checked(str(told["address"]), words)
    except OSError as error:
        raise RequestError(
            f"--cluster {words}: {error.strerror}. `dask scheduler --scheduler-file {words}` writes it."
        ) from None
    except (ValueError, KeyError, TypeError):
        raise RequestError(f"--cluster {words}: it is not a file that `dask scheduler` wrote.") from None


def _checked(address: str, words: str) -> str:
    """The address. Dask takes half a minute to say that one will not do."""
    if not ADDRESS.fullmatch(address):
        raise RequestError(f"--cluster {words}: {address} is no address of a scheduler: expected tcp://HOST:8786.")
    return address


def _local(n_workers: int) -> Any:
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        memory_limit=0,  # of Dask's own process, in which no restorer runs
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    )


def _slurm(n_workers: int) -> Any:
    """As dask-jobqueue's own configuration says: queue, account, cores, memory."""
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise RequestError("--cluster slurm needs dask-jobqueue: pip install dask-jobqueue") from None
    try:
        cluster = SLURMCluster(worker_extra_args=["--memory-limit", "0"])
        cluster.scale(jobs=n_workers)
    except Exception as error:  # of its configuration
        said = " ".join(str(error).split())[:300]
        raise RequestError(f"--cluster slurm: {said}. See ~/.config/dask/jobqueue.yaml.") from None
    return cluster


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what Dask writes when workers end or a network is cut: the run says itself what became of them."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
