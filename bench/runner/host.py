"""The process in which a restorer runs: takes messages from the runner, answers with images and figures.

A fork of `bench.runner.supervisor`, which `bench.runner.worker` starts, one at a time for one restorer. What a plugin
prints goes to the standard error stream, which the runner keeps for the reason of a failure.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import io
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from bench.errors import BenchError
from bench.measure.clocks import Clock, Reading, clock_for, summarise, take_readings
from bench.measure.memory import peak_mib, reset_peak, return_free_memory
from bench.plugins.boundary import (
    MOST_CHARACTERS,
    BadAnswerError,
    check_answer,
    check_untouched,
    count,
    flag,
    handed,
    in_a_line,
    maps_of,
    number,
    text,
    words,
)
from bench.plugins.ensemble import SelfEnsemble
from bench.plugins.inside import DenoiserInside
from bench.plugins.names import read_parameters
from bench.plugins.unchanged import Unchanged, hold
from bench.restorer import Observation, Restorer, SeveralWeights, WeightsFile, WithDenoiser
from bench.runner.guest import Guest
from bench.runner.messages import (
    MOST_WORDS,
    Answer,
    Failure,
    Load,
    Message,
    Prepare,
    Ready,
    Reply,
    Restore,
    Show,
    Shown,
    Unable,
    question_of,
    written,
)
from bench.runner.unseen import Unseen
from bench.runner.wire import Channel

__all__ = ["Session", "main", "print_traceback", "reason_of"]

SEEDS = (random.seed, np.random.seed)
"""of the global generators; as they were before a plugin could put something else in their place"""


LITERAL = "write it as a literal in the class"


class Session:
    """One restorer's life in this process; or that of a task or metric of one's own, which is the guest's."""

    make: Callable[[WeightsFile | None], Restorer]
    restorer: Restorer
    device: str
    clock: Clock
    unseen: Unseen
    code: Unchanged
    weights = Unchanged({})

    def __init__(self) -> None:
        self.home = Path.cwd()  # which the restorer may leave
        self.guest = Guest()

    def handle(self, message: Message) -> Reply:
        if isinstance(message, Load):
            return self.load(message)
        if isinstance(message, Prepare):
            return self.prepare(message)
        if isinstance(message, Restore):
            return self.restore(message)
        if isinstance(message, Show):
            return self.show(message)
        return self.guest.handle(message)

    def load(self, message: Load) -> Ready:
        from bench.plugins.registry import load_class, made, maker
        from bench.plugins.things import revived
        from bench.plugins.value import loaded

        if message.visible:  # before anything looks for accelerators
            os.environ["CUDA_VISIBLE_DEVICES"] = message.visible
        self.unseen = Unseen(message.folder, [held.path for held in message.code])
        if message.watch:
            self.unseen.watch()
        self.code = hold(message.code)
        parameters, inside = read_parameters(message.parameters), message.inside[0]
        if message.value:
            thing = loaded(message.value)
            cls, own = revived(thing, message.target, message.name, message.variant, parameters)
        else:
            cls = load_class(message.target)
            check_words(cls, message)
            own = maker(cls, message.variant, parameters)
        inner = load_class(inside) if inside else None

        def make(weights: WeightsFile | None) -> Restorer:
            if inner is None:
                return own(weights)
            restorer = made(cls, message.variant, None, parameters)
            assert isinstance(restorer, WithDenoiser)
            make_inner = partial(made, inner, message.inside[1], parameters={})
            restorer.denoiser = DenoiserInside(lambda file: make_inner(weights=file), weights, message.device)
            return restorer

        self.make = (lambda weights: SelfEnsemble(make(weights))) if message.ensemble else make
        self.device = message.device
        if self.device.startswith("cuda:"):  # a plugin's own kernels go to the current device
            import torch

            torch.cuda.set_device(self.device)
        self.clock = clock_for(self.device)
        network = inner or cls
        return Ready(flag("needs_weights", network.needs_weights), words("devices", network.devices))

    def prepare(self, message: Prepare) -> Ready | Unable:
        file = message.weights
        files = [one.file for one in file.served] if isinstance(file, SeveralWeights) else [file] if file else []
        self.weights = Unchanged({str(self.home / one.path): one.sha256 for one in files})
        self.check_files()
        self.restorer = self.make(file)
        reason = text("why_not()", self.restorer.why_not(message.setting))
        if reason is not None:
            return Unable(reason)
        _seed(0)
        self.restorer.prepare(message.setting, self.device)
        self.check_files()
        self.warm: set[tuple[int, ...]] = set()
        self.macs: dict[tuple[int, ...], float | None] = {}
        return Ready()

    def restore(self, message: Restore) -> Answer:
        """Restore the observation, each call from a copy that is made while no clock runs.

        The image that is sent has its memory before the first call, and what that call answered with keeps its own
        until the last: so each later call finds the memory that the first one freed, and none is timed with fresh
        pages, which the kernel takes long to give.
        """
        self.check_files()  # before a call that may take minutes, and after it
        seen = message.seen
        shape = seen.image.shape
        is_warm = shape in self.warm
        if not is_warm:
            return_free_memory()
        _seed(message.seed)
        image, given = np.empty(seen.restored_shape, np.float32), handed(seen)
        reset_peak(self.device)
        x_hat, first = self.clock.time(partial(self.restorer.restore, given))
        peak = peak_mib(self.device)
        check_answer(x_hat, given, seen)
        image[...] = x_hat  # whose memory the next call may use again
        del given
        estimated_level = number("estimated_level", self.restorer.estimated_level)
        # the first call on images of a shape is the warm-up: it is not a reading
        readings = (
            take_readings(partial(self.read, seen), first if is_warm else None, message.readings)
            if message.timed
            else []
        )
        calls = readings if is_warm and readings else [first, *readings]
        self.warm.add(shape)
        if shape not in self.macs:
            self.macs[shape] = number("macs_per_pixel()", self.restorer.macs_per_pixel(handed(seen)), least=0)
        self.check_files()
        return Answer(
            image,
            timing=summarise(readings) if readings else None,
            peak_mib=peak,
            params=count("n_params()", self.restorer.n_params()),
            macs_per_pixel=self.macs[shape],
            estimated_level=estimated_level,
            seconds_restoring=sum(reading.seconds for reading in calls),
            unseen=() if is_warm else self.unseen.names()[:MOST_WORDS],
        )

    def show(self, message: Show) -> Shown:
        self.check_files()
        given = handed(message.seen)
        titles, maps = maps_of(self.restorer.maps(given, message.pixel), message.seen)
        check_untouched(given, message.seen)
        self.check_files()
        return Shown(titles, maps)

    def check_files(self) -> None:
        """Raise ChangedError if one that the restorer may have read is not the one that was planned."""
        self.code.check()
        self.weights.check()

    def read(self, seen: Observation) -> Reading:
        """One more call, for its time alone."""
        given = handed(seen)
        _, reading = self.clock.time(partial(self.restorer.restore, given))
        check_untouched(given, seen)
        return reading


def check_words(cls: type[Restorer], message: Load) -> None:
    """Raise BadAnswerError if the loaded class is called otherwise than its source says."""
    for what in ("name", "version"):
        found, declared = getattr(cls, what), getattr(message, what)
        if found != declared:
            raise BadAnswerError(f"its {what} is {found!r} when it runs, and {declared!r} in its source: {LITERAL}")


def answer(session: Session, message: Message) -> Reply:
    """A session's answer; whatever a plugin raises, `sys.exit()` too, costs its own cell only."""
    try:
        return session.handle(message)
    except BaseException as error:
        print_traceback(error)
        return Failure(reason_of(error))


def _seed(seed: int) -> None:
    """Restorers that draw random numbers draw the same ones for every cell, whatever ran before it."""
    for begin in SEEDS:
        begin(seed)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def _free_device_memory() -> None:
    """Give back what a failed cell held on the accelerator, so that the next one has it.

    Called when the exception is gone: its traceback holds the frames, and they the tensors.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()  # raises if a kernel's error has made CUDA useless to this process
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def print_traceback(error: BaseException) -> None:
    """Print the traceback, from the first frame that is the restorer's: what called it is ours."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(CALLING):
        frames = frames.tb_next
    with contextlib.suppress(Exception):  # it may have closed the stream
        traceback.print_exception(type(error), error, frames)


CALLING = (
    *(str(Path(__file__).resolve().parents[1] / room) + os.sep for room in ("runner", "measure", "plugins")),
    "<frozen importlib",
)


def reason_of(error: BaseException) -> str:
    """`ValueError: text (my.py, line 12)`: the innermost place in the traceback. What the engine says needs none."""
    if isinstance(error, (BadAnswerError, BenchError)):
        return in_a_line(str(error))
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return in_a_line(f"{type(error).__name__}: {_text_of(error)}")
    where = f" ({in_a_line(os.path.basename(frames[-1].filename), 100)}, line {frames[-1].lineno})"  # noqa: PTH119
    return in_a_line(f"{type(error).__name__}: {_text_of(error)}", MOST_CHARACTERS - len(where)) + where


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as another:
        return f"its text cannot be had, __str__ raised {type(another).__name__}"


def serve(session: Session, channel: Channel) -> bool:
    """Answer one question of the runner's; False once it is gone."""
    home = os.getpid()
    try:
        asked, arrays = channel.receive()
    except EOFError:
        return False
    number, token = asked.pop("number"), asked.pop("token")
    said = answer(session, question_of(asked, arrays))
    if os.getpid() != home:  # a fork of the plugin's came back from its call
        os._exit(1)
    if isinstance(said, Failure):
        try:
            _free_device_memory()
        except Exception:  # the next cell gets a new process
            sys.exit(said.reason)
    told, images = written(said)
    channel.send({**told, "number": number}, images, token)
    return True  # and its images are gone: they are not to count in the next cell's peak


def main(pipe: int) -> None:
    """Serve the pipe of this file descriptor until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to handle
    channel = Channel(pipe)
    os.set_inheritable(channel.fd, False)  # what the plugin starts has no part in it
    os.register_at_fork(after_in_child=channel.close)
    os.dup2(2, 1)  # a plugin's print must not mix with the table
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what it printed is there when it dies, above its traceback
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)  # the runner's, before it ends a process that does not answer
    session = Session()
    while serve(session, channel):
        pass
