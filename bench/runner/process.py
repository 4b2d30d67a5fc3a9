"""What is not ours in a process of its own, from loading to its answers; a restorer's is what runs and checks alike
are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.plugins.identity import Code, built_in_folder
from bench.plugins.importing import hidden_by
from bench.plugins.names import spelled
from bench.plugins.registry import RestorerSpec
from bench.runner.lifeline import Nursery
from bench.runner.messages import Answer, Bring, Failure, Load, Prepare, Ready, Reply, Restore, Show, Shown, Unable
from bench.runner.nursery import NUMERICS
from bench.runner.worker import Limits, Worker
from bench.task import Observation
from bench.tasks import Setting

if TYPE_CHECKING:
    from bench.restorer import WeightsFile

__all__ = ["Process", "RestorerProcess"]


class Process:
    """Starts the process when it is needed, and a new one when it died. What could not be loaded once is not tried
    again, unless the process died of it: then it is tried once more.

    load    the first message: what it is to be
    code    of that
    unseen  files of its own that its answers used, and that its code's hash does not know of

    threads  that numerical libraries may use in it
    shares   whether it shares the cores with others of its kind
    kind     of worker: `bench.runner.debug.HereWorker` has it in this process
    """

    def __init__(
        self,
        load: Load | Bring,
        code: Code,
        threads: int,
        limits: Limits,
        *,
        shares: bool = False,
        kind: type[Worker] = Worker,
    ) -> None:
        self.limits, self.threads, self.shares = limits, threads, shares
        self.unseen: set[str] = set()
        self._load, self._kind, self._modules = load, kind, _modules(code)
        self._worker: Worker | None = None
        self._nursery: Nursery | None = None  # is held: the next process may be a fork of it, or another restorer's
        self._hopeless: dict[Any, Failure | Unable] = {}
        self._died: set[Any] = set()
        self._is_stopped = False

    def start(self) -> None:
        """Begin to load, if it has not; does not wait."""
        if None in self._hopeless or (self._worker is not None and self._worker.alive):
            return
        self.rest()
        self._worker = self._kind(self._load, self.threads, self.limits, shares=self.shares, modules=self._modules)
        self._nursery = self._worker.nursery
        if self._is_stopped:
            self._worker.cut()

    def loaded(self) -> Failure | None:
        """Wait until it is loaded; why it cannot be, or None."""
        self._answer_to_load()
        failed = self._hopeless.get(None)
        return failed if isinstance(failed, Failure) else None

    def stop(self) -> None:
        """Kill the process, and any that will be started; from any thread, without waiting."""
        self._is_stopped = True
        if (worker := self._worker) is not None:
            worker.cut()

    def rest(self) -> None:
        """End the process, if there is one; another may start soon, of this or of another restorer."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def close(self) -> None:
        """End the process, and its nursery if nobody else holds that."""
        self.rest()
        self._nursery = None

    def _answer_to_load(self) -> Reply | None:
        """None if it is known that it cannot be loaded."""
        self.start()
        if None in self._hopeless:
            return None
        assert self._worker is not None
        answer = self._worker.loaded()
        if isinstance(answer, Failure):
            if self._died_first(None):
                return self._answer_to_load()
            self._give_up(None, answer)
        return answer

    def _give_up(self, of: Any, answer: Failure | Unable) -> None:
        self._hopeless[of] = answer

    def _died_first(self, of: Any) -> bool:
        """Whether the process died, and had not died before of the same question."""
        assert self._worker is not None
        is_first = self._worker.died and of not in self._died
        self._died.add(of)
        return is_first


def _modules(code: Code) -> tuple[str, ...]:
    """Those of NUMERICS that it imports at once.

    None, if a file of its own has the name of a module elsewhere: who has imported much may know that one already.
    """
    wanted = tuple(name for name in NUMERICS if name in code.packages)
    own = (file for file in code.files if file.suffix == ".py" and not file.is_relative_to(built_in_folder()))
    return () if wanted and any(map(hidden_by, own)) else wanted


class RestorerProcess(Process):
    """A restorer's. What could not be prepared once is not tried again either, as above.

    said    what it printed for its last answer; where it could not be loaded or prepared, what it printed then

    watch    whether to note which files it opens
    visible  see `bench.runner.messages.Load`
    others   as of `Process`
    """

    def __init__(
        self,
        spec: RestorerSpec,
        device: str,
        threads: int,
        limits: Limits,
        *,
        shares: bool = False,
        watch: bool = False,
        visible: str = "",
        kind: type[Worker] = Worker,
    ) -> None:
        self.spec = spec
        info = spec.info
        load = Load(
            info.target,
            spec.variant,
            spelled(spec.parameters),
            (spec.inside.info.target, spec.inside.variant) if spec.inside else ("", ""),
            spec.ensemble,
            device,
            info.name,
            info.version,
            "" if info.is_built_in or info.value else str(info.source.resolve().parent),
            spec.code.held,
            watch,
            visible,
            b"" if info.value is None else info.value.content,
        )
        super().__init__(load, spec.code, threads, limits, shares=shares, kind=kind)
        self._device = device
        self._prepared: tuple[Setting, WeightsFile | None] | None = None
        self._last_words: dict[Any, str] = {}
        self.said = ""

    def ready(
        self, setting: Setting, weights: WeightsFile | None, *, untrained: bool = False
    ) -> Failure | Unable | None:
        """Have it prepared for a setting; what prevents that, or None.

        untrained  a network without weights may go on as it was initialised
        """
        wanted, self.said = (setting, weights), ""
        answer = self._answer_to_load()
        for what in (None, wanted):
            if what in self._hopeless:
                self.said = self._last_words[what]
                return self._hopeless[what]
        assert isinstance(answer, Ready)
        if answer.needs_weights and weights is None and not untrained:  # a listing reads one file, not its bases'
            return Unable(f"{self.spec.name} needs weights, and none are declared for {setting}")
        kind = self._device.partition(":")[0]
        if (
            kind not in answer.devices
        ):  # it would compute elsewhere, and its time would stand under this device's name
            return Unable(f"{self.spec.name} computes on {', '.join(answer.devices)}, not on {kind}")
        if self._prepared == wanted:
            return None
        self._prepared = None
        assert self._worker is not None
        prepared = self._worker.ask(Prepare(setting, weights))
        if isinstance(prepared, Failure) and self._died_first(wanted):
            return self.ready(setting, weights, untrained=untrained)
        if isinstance(prepared, (Failure, Unable)):
            self._give_up(wanted, prepared)
            return prepared
        self._prepared = wanted
        return None

    def restore(
        self, seen: Observation, *, timed: bool = False, readings: int | None = None, seed: int = 0
    ) -> Answer | Failure:
        """Its answer, once `ready` has said that nothing prevents it."""
        assert self._worker is not None
        answer = self._worker.ask(Restore(seen, timed, readings, seed))
        assert isinstance(answer, (Answer, Failure))
        self.said = self._worker.said()
        if isinstance(answer, Answer):
            self.unseen |= {*answer.unseen}
        return answer

    def show(self, seen: Observation, pixel: tuple[int, int]) -> Shown | Failure:
        """Its maps, likewise."""
        assert self._worker is not None
        shown = self._worker.ask(Show(seen, pixel))
        assert isinstance(shown, (Shown, Failure))
        self.said = self._worker.said()
        return shown

    def rest(self) -> None:
        super().rest()
        self._prepared = None

    def _give_up(self, of: Any, answer: Failure | Unable) -> None:
        super()._give_up(of, answer)
        assert self._worker is not None
        self.said = self._last_words[of] = self._worker.said()
