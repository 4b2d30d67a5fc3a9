"""A task or metric of one's own in this process, in the place of `Outsider`: saves the start of another."""

from pathlib import Path

import bench.runner.outsiders
import bench.runner.slot
from bench.plugins.registry import import_file
from bench.plugins.tasks import OwnTask
from bench.plugins.unchanged import Unchanged
from bench.runner.debug import HereWorker
from bench.runner.guest import Guest
from bench.runner.messages import Degrade, Failure, Judge
from bench.runner.process import RestorerProcess
from bench.runner.unseen import Unseen


def stay_here(monkeypatch):
    """Have runs start no process, neither for a restorer nor for a task or metric."""
    monkeypatch.setattr(bench.runner.outsiders, "Outsider", GuestHere)
    monkeypatch.setattr(
        bench.runner.slot, "RestorerProcess", lambda *given, **_: RestorerProcess(*given, kind=HereWorker)
    )


class GuestHere:
    """Does what Outsider does, without limits."""

    def __init__(self, one, limits, *, watch=False):
        place, _, name = one.place.target.rpartition(":")
        found = getattr(import_file(Path(place)), name)
        self.guest, self.unseen = Guest(), set()
        self.guest.code, self.guest.unseen = Unchanged({}), Unseen("", [])
        if isinstance(one, OwnTask):
            self.guest.task = found()
        else:
            self.guest.metric = found

    def loaded(self):
        return None

    def degrade(self, image, level, seed, *, disturbed=0):
        return self.handle(Degrade(image, level, seed, disturbed))

    def judge(self, restored, clean):
        return self.handle(Judge(restored, clean))

    def handle(self, message):
        try:
            return self.guest.handle(message)
        except Exception as error:
            return Failure(f"{type(error).__name__}: {error}")

    def stop(self):
        pass

    close = stop
