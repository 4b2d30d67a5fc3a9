"""Which workers a cluster has, and what each can do for a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from bench.measure.engine import engine
from bench.runner.executors import station
from bench.runner.executors.station import About, Slots

__all__ = ["Present", "Roster", "fetch", "run_on", "slots_of"]

LOOK_SECONDS = 10.0
"""that a scheduler has to say which workers there are"""
ASK_SECONDS = 60.0
"""that workers have to say what they are: the first imports come from a slow disk perhaps"""
FETCH_SECONDS = 10.0
"""for answers: each is small, unless it has pictures"""
GPU = "GPU"
"""the resource that says how many GPUs are a worker's: `dask worker --resources GPU=2`"""


@dataclass(frozen=True)
class Present:
    """A worker. about: what it says of itself; None if it cannot, and `fault` says why.

    host       its address, without the port
    n_threads  as the worker was started
    n_gpus     as the worker was started, None if it was not said
    """

    host: str
    n_threads: int
    n_gpus: int | None
    about: About | None
    fault: str = ""

    def why_not(self, device: str) -> str:
        """Why it cannot measure; "" if it can."""
        if self.about is None:
            return self.fault
        if self.about.engine != engine():
            return f"it has bench {self.about.engine}, and here is {engine()}: install the same, and start it again"
        if not self.about.cards or self.n_gpus == 0:
            return f"it has no {device} device"
        return ""


class Roster:
    """The workers of a cluster, each asked once what it is."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._known: dict[tuple[str, str], Present] = {}

    def look(self, client: Any) -> dict[str, Present]:
        """The workers there are, by address. Raises what Dask does if the scheduler does not answer."""
        told = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=LOOK_SECONDS)["workers"]
        keys = {address: (address, str(worker["local_directory"])) for address, worker in told.items()}
        new = [address for address, key in keys.items() if key not in self._known]
        answers = run_on(client, ASK_SECONDS, station.about, self.device, workers=new) if new else {}
        for address in new:
            self._known[keys[address]] = _present(told[address], answers.get(address))
        self._known = {key: self._known[key] for key in keys.values()}
        return {address: self._known[key] for address, key in keys.items()}


def _present(told: Mapping[str, Any], answer: Any) -> Present:
    gpus = told["resources"].get(GPU)
    n_gpus = None if gpus is None else int(gpus)
    if isinstance(answer, str):
        return Present(told["host"], told["nthreads"], n_gpus, About.of(answer))
    said = (
        " ".join(f"{type(answer).__name__}: {answer}".split())[:300] if answer is not None else "it does not answer"
    )
    return Present(told["host"], told["nthreads"], n_gpus, None, said)


def run_on(client: Any, seconds: float, function: Any, *given: Any, workers: Collection[str] | None = None) -> Any:
    """What a function answers in each worker process, by address: its answer, or what it raised."""
    there = None if workers is None else [*workers]
    return client.sync(client._run, function, *given, workers=there, on_error="return", callback_timeout=seconds)


def fetch(client: Any, futures: Sequence[Any]) -> Sequence[Any]:
    """The answers of calls that are over. Raises what Dask does; fewer come if one is lost."""
    return cast(Sequence[Any], client.sync(client._gather, futures, errors="skip", callback_timeout=FETCH_SECONDS))


def slots_of(
    worker: Present,
    others: Collection[Present],
    device: str,
    threads: int | None,
    timed: bool,
    memory_mib: float | None,
) -> Slots:
    """The slots of a worker, one of `others`: as many as its threads, or its GPUs; or one, if it is timed on a CPU.

    threads     of each; None: its share of the cores
    memory_mib  of each, if that is limited: there are no more than have room
    """
    about = worker.about
    assert about is not None
    near = [one for one in others if one.about and (one.about.host, one.about.cores) == (about.host, about.cores)]
    if device == "cpu":
        n, n_near = (1, 1) if timed else (worker.n_threads, sum(one.n_threads for one in near))
        cards = [("", "")] * n
    else:
        cards = [*about.cards.items()][: worker.n_gpus]
        n_near = sum(len([*one.about.cards][: one.n_gpus]) for one in near if one.about)
    if memory_mib is not None and about.memory_mib is not None:
        cards = cards[: max(1, int(about.memory_mib / memory_mib / len(near)))]
    return Slots(device, threads or max(1, len(about.cores) // max(1, n_near)), cards)
