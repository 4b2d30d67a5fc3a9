"""Restorers that are careless with what they are given, or with what they give: none may reach another's cells.

All denoise, most by doing nothing: what is right for them is what `noisy` gives, or a failure.
"""

import contextlib
import os
import random
import stat
import sys
import time

import numpy as np

from bench.restorer import Restorer


class Idle(Restorer):
    """Answers with the observation itself."""

    name, tasks = "idle", {"denoise"}

    def restore(self, seen):
        return seen.image


# --- they change what they are given ---------------------------------------------------------------


class Sharing(Restorer):
    """Smooths in place, in memory that torch shares with the observation."""

    name, tasks = "sharing", {"denoise"}

    def restore(self, seen):
        import torch

        y = torch.from_numpy(seen.image).permute(2, 0, 1)[None]
        y += 0.5 * (torch.nn.functional.avg_pool2d(y, 3, 1, 1, count_include_pad=False) - y)
        return y[0].permute(1, 2, 0).numpy()


class ClipsLater(Restorer):
    """Leaves its input alone at the first call, and clips it at each later one."""

    name, tasks = "clips-later", {"denoise"}
    called = False

    def restore(self, seen):
        if self.called:
            np.clip(seen.image, 0, 1, out=seen.image)
        self.called = True
        return seen.image.copy()


class Forgets(Restorer):
    """Sets the level to nought, past the lock of a frozen class."""

    name, tasks = "forgets", {"denoise"}

    def restore(self, seen):
        object.__setattr__(seen, "sigma", np.zeros(2))
        return seen.image.copy()


class Flattens(Restorer):
    """Gives the observation another shape, in place."""

    name, tasks = "flattens", {"denoise"}

    def restore(self, seen):
        x_hat = seen.image.copy()
        seen.image.shape = seen.image.shape[:2]
        return x_hat


class FillsMask(Restorer):
    """Marks every colour as measured."""

    name, tasks = "fills-mask", {"demosaick"}

    def restore(self, seen):
        seen.mask[...] = True
        return np.repeat(seen.image, 3, axis=2)


# --- they use memory again, or keep it -------------------------------------------------------------


class Buffer(Restorer):
    """Answers in a buffer of its own, used again at the next call."""

    name, tasks = "buffer", {"denoise"}
    buffer = None

    def restore(self, seen):
        if self.buffer is None or self.buffer.shape != seen.image.shape:
            self.buffer = np.empty_like(seen.image)
        self.buffer[...] = seen.image
        return self.buffer


class Window(Restorer):
    """Answers with a view of a bigger buffer, which the next call clears."""

    name, tasks = "window", {"denoise"}
    buffer = np.zeros((80, 80, 3), np.float32)

    def restore(self, seen):
        height, width, channels = seen.image.shape
        self.buffer[...] = 0
        window = self.buffer[8 : 8 + height, 8 : 8 + width, :channels]
        window[...] = seen.image
        return window


class Keeps(Restorer):
    """Answers with the observation, keeps it, and clears it at the next call."""

    name, tasks = "keeps", {"denoise"}
    kept = None

    def restore(self, seen):
        if self.kept is not None:
            self.kept[...] = 0
        self.kept = seen.image
        return seen.image


# --- what they answer with is no plain array -------------------------------------------------------


class Masked(Restorer):
    name, tasks = "masked", {"denoise"}

    def restore(self, seen):
        return np.ma.masked_greater(seen.image, 0.9)


class Own(np.ndarray):
    """An array that says little of itself."""

    def __array_finalize__(self, of):
        self.name = "mine"


class OwnArray(Restorer):
    name, tasks = "own-array", {"denoise"}

    def restore(self, seen):
        return seen.image.view(Own)


class Labelled(Restorer):
    """A plain array whose dtype carries something of its own."""

    name, tasks = "labelled", {"denoise"}

    def restore(self, seen):
        return seen.image.astype(np.dtype(np.float32, metadata={"made by": lambda: self}))


# --- figures and words -------------------------------------------------------------------------------


class Counted(Idle):
    """Counts its parameters as NumPy does."""

    name = "counted"

    def n_params(self):
        return np.sum([3, 4])


class CountedByTorch(Idle):
    name = "counted-by-torch"

    def n_params(self):
        import torch

        return torch.tensor([3, 4]).sum()

    def macs_per_pixel(self, seen):
        seen.image[...] = 0
        return np.float32(4.5)


class CountsLazily(Idle):
    name = "counts-lazily"

    def n_params(self):
        return (size for size in (3, 4))


class ManyLevels(Idle):
    name = "many-levels"

    def restore(self, seen):
        self.estimated_level = [20.0, 30.0]
        return seen.image


class NoMacs(Idle):
    name = "no-macs"

    def macs_per_pixel(self, seen):
        return float("nan")


class Undecided(Idle):
    name = "undecided"

    def why_not(self, setting):
        return False


class OneDevice(Idle):
    """Names its devices where a listing does not look, and as one word."""

    name = "one-device"


OneDevice.devices = "cpu"


# --- they raise, each in an odd way ------------------------------------------------------------------


class SpeechlessError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


class RaisesSpeechless(Idle):
    name = "raises-speechless"

    def restore(self, seen):
        raise SpeechlessError


class RaisesItsOwn(Idle):
    name = "raises-its-own"

    def restore(self, seen):
        class LocalError(Exception):
            held = sys.stderr

        raise LocalError("made here")


class RaisesSurrogates(Idle):
    name = "raises-surrogates"

    def restore(self, seen):
        raise ValueError(b"caf\xe9".decode(errors="surrogateescape"))


class RaisesMuch(Idle):
    name = "raises-much"

    def restore(self, seen):
        raise ValueError("much " * 10**6)


class Quits(Idle):
    name = "quits"

    def restore(self, seen):
        sys.exit()


class Interrupts(Idle):
    name = "interrupts"

    def restore(self, seen):
        raise KeyboardInterrupt


# --- they change the process -------------------------------------------------------------------------


class ReplacesRandom(Idle):
    """Puts something else in the place of the random generators."""

    name = "replaces-random"

    def restore(self, seen):
        np.random = random.seed = sys.modules["torch"] = None
        return seen.image


class ClosesStderr(Idle):
    name = "closes-stderr"

    def restore(self, seen):
        with contextlib.suppress(OSError):
            os.close(2)
        raise ValueError("its last words")


# --- they draw numbers -------------------------------------------------------------------------------


class Draws(Idle):
    """Draws from NumPy's global generator, which each call finds with the same seed."""

    name = "draws"

    def restore(self, seen):
        return seen.image + np.float32(np.random.normal())


class DrawsItsOwn(Idle):
    """Draws from a generator of its own."""

    name = "draws-its-own"

    def restore(self, seen):
        return seen.image + np.float32(np.random.default_rng(0).normal())


class Alternates(Idle):
    """Answers differently at every second call, whatever the seed."""

    name = "alternates"
    turn = 0

    def restore(self, seen):
        self.turn = 1 - self.turn
        return seen.image + np.float32(self.turn)


class DropoutLeftOn(Idle):
    name = "dropout-left-on"

    def prepare(self, setting, device):
        import torch

        self.net = torch.nn.Dropout(0.2)

    def restore(self, seen):
        import torch

        return self.net(torch.tensor(seen.image)).numpy()


class ForksTwice(Idle):
    """Comes back from each call in two processes."""

    name = "forks-twice"

    def prepare(self, setting, device):
        os.fork()

    def restore(self, seen):
        child = os.fork()
        return seen.image if child else 0 * seen.image


class ClosesEverything(Idle):
    name = "closes-everything"

    def restore(self, seen):
        os.closerange(3, 256)
        time.sleep(60)


class Babbles(Idle):
    name = "babbles"

    def restore(self, seen):
        for fd in range(3, 64):
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(os.fstat(fd).st_mode):
                    os.write(fd, b"\0\0\0\x04junk")
        return seen.image.copy()
