"""Pictures of one's own, restored: arrays in and out. What a run asks of a restorer for a cell is asked here too.

Restorers of gray pictures serve colour ones as the field has it: noise is removed from each channel alone; JPEG's
artefacts and low resolution from luma, the colours being kept or enlarged by bicubic interpolation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from math import inf
from typing import TYPE_CHECKING

from bench.errors import OutOfReachError, RequestError, RestorerError
from bench.level import Level, format_level
from bench.measure.devices import check_device
from bench.measure.environment import n_cores
from bench.measure.memory import available_mib
from bench.plugins.cards import remarks
from bench.plugins.things import spec_of
from bench.plugins.weights import candidates, check_origin, declarations, pick
from bench.restoring.tiles import AUTO, OVERLAP, check_tiles, cut, enlarged, sides, tiles
from bench.runner.answer import remark_on
from bench.runner.messages import Failure, Unable
from bench.runner.process import RestorerProcess
from bench.runner.worker import Limits
from bench.task import Image, Observation, Task, parse_levels
from bench.tasks import TASKS, Setting, get_task

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Restored", "Restoring", "Watch", "as_pictures"]

ESTIMATOR = EntryPoint("sigma", "bench.methods.noise:estimate_sigma", "bench.estimators")
"""image (H, W, C) in [0, 1] -> sigma on the 0-255 scale"""

EXPECTED = {
    "denoise": "--sigma S, or --sigma auto",
    "deblock": "--quality Q, unless the file is a JPEG, which tells it",
    "superres": "--scale 2, 3 or 4",
}
"""what must be told of a picture before its task can be done"""

RESTORABLE = ("denoise", "denoise-blind", "deblock", "demosaick", "superres")
"""What a picture of one's own may need. The other tasks are told what only who degraded it knows."""

JFIF = (0.299, 0.587, 0.114)
"""luma of a JPEG file, of R, G and B: from 0 to 1 as they are"""

BLACK, STUDIO_SWING = 16 / 255, 219 / 255
BT601 = (65.481 / 255, 128.553 / 255, 24.966 / 255)
"""luma of super-resolution: MATLAB's, as of `bench.data.colour.luma`, from 16/255 to 235/255"""

VISIBLE = 0.5
"""grey levels of 255: what is less is mostly rounded away"""

SHARE = 0.8
"""of the memory that is there, what a restorer may hold unless a limit is given: the pictures need some too"""

LEAST_MIB = 256
"""that a process with a network holds before it has seen a picture: a share that is less is no limit to set"""

Watch = Callable[[float], None]
"""is told which share of the picture was done in this step; less than 0: so much is to be done again"""


@dataclass(frozen=True)
class Restored:
    """image: float32 (H, W, C), as the restorer answered, not clipped; remarks: what is to be known of it."""

    image: Image
    remarks: tuple[str, ...] = ()


class Restoring:
    """One restorer at one task, in a process of its own, for any number of pictures. Use it in a `with` statement.

    name      as after --methods, or a thing of Python: see `bench.plugins.things`
    levels    by kind, one of each, as a run takes them: sigma may be "auto"; None where the picture tells
    tile      most rows and columns that are restored at a time; None: the whole picture; "auto": the whole, or where
              the memory does not hold it so many as it holds
    overlap   pixels around a tile that the restorer sees too
    limits    of each picture, or each tile of one; None: as long as it takes. Where there is none of memory, a share
              of what is free now is taken

    Raises a BenchError for what will not do.
    """

    def __init__(
        self,
        name: object,
        task: str = "denoise",
        levels: Mapping[str, object] | None = None,
        *,
        tile: int | str | None = None,
        overlap: int = OVERLAP,
        device: str = "cpu",
        threads: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.spec, self.task = spec_of(name), _restorable(task)
        self.asked = _asked(self.task, levels or {})
        self.tile, self.overlap = check_tiles(tile, overlap), overlap
        self._check_restorer()
        threads = n_cores() if threads is None else threads
        if threads < 1:
            raise RequestError(f"--threads {threads}: expected a whole number of at least 1.")
        self._process = RestorerProcess(self.spec, check_device(device), threads, _with_memory(limits or Limits(inf)))
        self._begin_with: dict[tuple[int, ...], int] = {}  # of a shape: which of the sides of tiles it was done with

    def __enter__(self) -> Restoring:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()

    def restore(self, image: Image, *, quality: int | None = None, watch: Watch | None = None) -> Restored:
        """The restored picture.

        image    float32 (H, W, C) in [0, 1], C = 1 or 3; demosaick: the mosaic, C = 1
        quality  of the JPEG file that it was read from, where none was asked for

        Raises RestorerError with the restorer's reason, WeightsError if there are none for this picture, RequestError
        for what is not known of it.
        """
        does = {"demosaick": self._demosaick, "deblock": self._deblock, "superres": self._enlarge}
        if self.task.name == "deblock" and self.asked is None:
            return self._deblock(image, quality, watch or _nobody)
        return does.get(self.task.name, self._denoise)(image, self.asked, watch or _nobody)

    # --- the tasks -----------------------------------------------------------------------------------

    def _denoise(self, image: Image, asked: Level | None, watch: Watch) -> Restored:
        """In colour; or each channel as a gray picture, where the restorer has no other way."""
        import numpy as np

        told: list[str] = []
        is_blind = self.task.name == "denoise-blind"
        channels = image.shape[2]
        sigma = _estimated(image) if is_blind or asked == AUTO else float(self._known(asked))
        settings = [Setting(self.task.name, sigma, c) for c in ([channels, 1] if channels > 1 else [1])]
        if is_blind or asked == AUTO:
            settings = [self._nearest(setting) for setting in settings]
        setting, why_not = self._first_within_reach(settings)
        if asked == AUTO:
            used = "" if setting.level == sigma else f"; {self.spec.name} is told {format_level(setting.level)}"
            told.append(f"sigma is estimated at {sigma:g}{used}")
        if why_not:
            told.append(f"each channel was restored alone, as a gray picture: {why_not}")
        parts = [image] if setting.channels == channels else [image[..., c : c + 1] for c in range(channels)]
        known = None if is_blind else float(setting.level)
        answers = []
        for part in parts:
            seen = Observation(part, self.task.name, sigma=known)
            answers.append(self._answer(seen, setting, lambda share: watch(share / len(parts)), told))
        return Restored(np.concatenate(answers, axis=2), tuple(dict.fromkeys(told)))

    def _deblock(self, image: Image, asked: Level | None, watch: Watch) -> Restored:
        """Of colour pictures the luma that JPEG compresses: JFIF's, which is full-swing.

        (The papers compress MATLAB's studio-swing luma. DnCNN gains 0.00 to 0.01 dB more from JFIF's, on twelve
        pictures of cbsd68 at quality 10 and 30: the network meets the very steps that the tables name.)
        """
        quality, told = int(self._known(asked)), list[str]()
        y = _weighted(image, JFIF) if image.shape[2] == 3 else image
        setting = Setting("deblock", float(quality), 1)
        y_hat = self._answer(Observation(y, "deblock", quality=quality), setting, watch, told)
        x_hat = y_hat if image.shape[2] == 1 else image + (y_hat - y)  # Cb and Cr as they were
        return Restored(x_hat, tuple(told))

    def _enlarge(self, image: Image, asked: Level | None, watch: Watch) -> Restored:
        """Of colour pictures the luma; their colours are enlarged by MATLAB's bicubic interpolation."""
        from bench.data.degrade import bicubic

        scale, told = int(self._known(asked)), list[str]()
        y = _weighted(image, BT601, BLACK) if image.shape[2] == 3 else image
        seen = Observation(y, "superres", scale=scale)
        y_hat = self._answer(seen, Setting("superres", float(scale), 1), watch, told)
        if image.shape[2] == 1:
            return Restored(y_hat, tuple(told))
        gained = (y_hat - bicubic(y, scale)) / STUDIO_SWING  # which each of R, G and B gains, the colours being kept
        return Restored((bicubic(image, scale) + gained).astype(image.dtype), tuple(told))

    def _demosaick(self, mosaic: Image, asked: Level | None, watch: Watch) -> Restored:
        from bench.data.degrade import bayer

        if mosaic.shape[2] != 1:
            raise RequestError("demosaick takes a mosaic, of one channel, and this picture has 3. Save it as gray.")
        pattern, told = str(asked or self.task.levels[0]), list[str]()
        mosaic, mask = bayer(mosaic.repeat(3, axis=2), pattern)
        seen = Observation(mosaic, "demosaick", pattern=pattern, mask=mask)
        return Restored(self._answer(seen, Setting("demosaick", pattern, 3), watch, told), tuple(told))

    # --- the restorer --------------------------------------------------------------------------------

    def _check_restorer(self) -> None:
        info = self.spec.info
        if info.unavailable:
            raise RestorerError(f"{info.name} {info.unavailable}.")
        if self.task.name not in info.tasks:
            raise RequestError(f"{info.name} does not {self.task.name} (it does {', '.join(sorted(info.tasks))}).")
        check_origin(self.spec)
        if self.task.name in ("denoise", "superres"):  # to deblock, a file may tell
            self._known(self.asked)

    def _known(self, asked: Level | None) -> Level:
        if asked is None:
            raise RequestError(f"{self.task.name} must be told {EXPECTED[self.task.name]}.")
        return asked

    def _nearest(self, setting: Setting) -> Setting:
        """The nearest one that the restorer has weights for; the same if it needs none."""
        info, sigma = self.spec.info, float(setting.level)
        uses = [
            use
            for declaration in declarations(info.companion("weights.toml"))
            if declaration.restorer == info.name
            for use in declaration.settings
            if (use.task, use.channels) == (setting.task, setting.channels)
        ]
        levels = [
            min(max(sigma, use.levels[0]), use.levels[1]) if use.is_range else level
            for use in uses
            for level in use.levels
        ]
        known = [replace(setting, level=level) for level in levels]
        served = [one for one in known if candidates(self.spec, one)]
        return min(served, key=lambda one: abs(float(one.level) - sigma), default=setting)

    def _first_within_reach(self, settings: list[Setting]) -> tuple[Setting, str]:
        """The first that the restorer can do, and why not the one before. Raises what the first one raises."""
        errors: list[OutOfReachError] = []
        for setting in settings:
            try:
                self._prepare(setting)
                return setting, " ".join(map(str, errors))
            except OutOfReachError as error:
                errors.append(error)
        raise errors[0]

    def _prepare(self, setting: Setting) -> list[str]:
        """Have the restorer ready; remarks on the weights that it has. Raises OutOfReachError if it cannot do it."""
        picked = pick(self.spec, setting)
        prevented = self._process.ready(setting, picked.file)
        if isinstance(prevented, Unable):
            raise OutOfReachError(prevented.reason)
        if isinstance(prevented, Failure):
            raise RestorerError(f"{self.spec.name}: {prevented.reason}.")
        stand_in = picked.file is not None and picked.instead_of
        told = [f"weights of ours stand in for published ones: {picked.instead_of}"] if stand_in else []
        return [*told, *remarks(self.spec, picked.file, setting)]

    def _answer(self, seen: Observation, setting: Setting, watch: Watch, told: list[str]) -> Image:
        """The restorer's answer, whole or in tiles; what is odd about it is added to `told`."""
        shape = seen.image.shape
        choices = sides(self.tile, *shape[:2])
        k = self._begin_with.get(shape, 0)
        while isinstance(answer := self._in_tiles(seen, setting, choices[k], watch, told), Failure):
            if k + 1 == len(choices) or not _is_of_memory(answer.reason):
                raise RestorerError(f"{self.spec.name}: {answer.reason}{self._advice(answer.reason)}.")
            k += 1
        self._begin_with[shape] = k
        return answer

    def _in_tiles(
        self, seen: Observation, setting: Setting, side: int | None, watch: Watch, told: list[str]
    ) -> Image | Failure:
        import numpy as np

        x_hat, factor = np.empty(seen.restored_shape, np.float32), seen.scale or 1
        height, width = seen.image.shape[:2]
        seams: list[Image] = []
        done = 0.0
        for tile in tiles(height, width, side, self.overlap):
            told += self._prepare(setting)  # it may have died of the last one
            answer = self._process.restore(cut(seen, tile))
            if isinstance(answer, Failure):
                watch(-done)
                return answer
            seams += [answer.x_hat[tile.within(at, factor)] - x_hat[enlarged(at, factor)] for at in tile.seams]
            x_hat[enlarged(tile.kept, factor)] = answer.x_hat[tile.within(tile.kept, factor)]
            share = tile.n_pixels / (height * width)
            done += share
            watch(share)
        by_itself = side is not None and self.tile == AUTO
        in_tiles = f"in tiles of {side} pixels, for the memory does not hold the whole picture" if by_itself else ""
        told += filter(None, [in_tiles, remark_on(x_hat, seen), _remark_on_seams(seams)])
        return x_hat

    def _advice(self, reason: str) -> str:
        if "time limit" in reason:
            return "; --time-limit gives it more"
        if not _is_of_memory(reason) or self.tile == AUTO:
            return ""
        return "; --tile auto restores a picture in pieces" if self.tile is None else "; a smaller --tile takes less"


def _with_memory(limits: Limits) -> Limits:
    """The same, and where no memory is named a share of what is there now, so that nothing else is driven out.

    None where that share would not do for the process alone: it could restore nothing.
    """
    share = round(SHARE * (available_mib() or 0))
    return limits if limits.memory_mib is not None or share < LEAST_MIB else replace(limits, memory_mib=float(share))


def _is_of_memory(reason: str) -> bool:
    """Whether a restorer failed for want of memory: by an exception, our limit or the system's."""
    return "memory" in reason.lower()


def as_pictures(image: ArrayLike) -> tuple[list[Image], int]:
    """float32 pictures (H, W, C) of what a user may have, copies; and how many dimensions it had. RequestError else.

    image  (H, W), (H, W, C), or a stack of pictures (N, H, W, C), C = 1 or 3: floats in [0, 1], or uint8 or uint16
    """
    import numpy as np

    given = np.asarray(image)
    stack = given[np.newaxis, ..., np.newaxis] if given.ndim == 2 else given[np.newaxis] if given.ndim == 3 else given
    if stack.ndim != 4 or stack.shape[3] not in (1, 3) or not stack.size:
        expected = "(H, W), (H, W, 1) or (H, W, 3), or (N, H, W, C) for a stack of pictures"
        raise RequestError(f"The image has shape {given.shape}, expected {expected}.")
    if stack.dtype in (np.uint8, np.uint16):
        most = np.float32(np.iinfo(stack.dtype).max)
        return [picture.astype(np.float32) / most for picture in stack], given.ndim
    if stack.dtype.kind != "f":
        raise RequestError(f"The image is of {stack.dtype}, expected floats in [0, 1], uint8 or uint16.")
    for number, picture in enumerate(stack):
        which = f"Picture {number} of the stack" if given.ndim == 4 else "The image"
        if not np.isfinite(picture).all():
            raise RequestError(f"{which} has values that are not finite.")
        if picture.mean() > 2:
            mean = f"{picture.mean():.3g}"
            raise RequestError(f"{which} has a mean of {mean}, expected values in [0, 1]: divide by 255.")
    return [picture.astype(np.float32) for picture in stack], given.ndim


def _estimated(image: Image) -> float:
    """The standard deviation of its noise, on the 0-255 scale, to a tenth."""
    return round(float(ESTIMATOR.load()(image)), 1)


def _remark_on_seams(differences: Sequence[Image]) -> str:
    """By how much tiles differ where they meet; empty if that is not to be seen."""
    most = 255 * max((float(abs(one).max()) for one in differences if one.size), default=0.0)
    if most < VISIBLE:
        return ""
    return f"tiles differ by up to {most:.1f} grey levels of 255 where they meet; a larger --overlap may help"


def _nobody(share: float) -> None:
    pass


def _restorable(name: str) -> Task:
    if name not in RESTORABLE and (name in TASKS or ".py:" in name):
        raise RequestError(
            f"--task {name} is for `bench run` alone. A picture of your own is restored at: {', '.join(RESTORABLE)}."
        )
    return get_task(name)


def _asked(task: Task, levels: Mapping[str, object]) -> Level | None:
    """The level that was asked for. Raises RequestError for one of another kind, or several."""
    for kind, value in levels.items():
        if value is not None and (kind != task.level.name or task.name == "denoise-blind"):
            raise RequestError(f"--{kind} does not concern {task.name}.")
    value = levels.get(task.level.name)
    if value is None or value == AUTO:
        if value == AUTO and task.name != "denoise":
            raise RequestError(f"--{task.level.name} auto: {task.name} takes {task.level.expected}.")
        return value if value is None else AUTO
    found = parse_levels(task, str(value))
    if len(found) > 1:
        raise RequestError(f"--{task.level.name} {value}: a picture is restored at one level.")
    return found[0]


def _weighted(image: Image, weights: tuple[float, float, float], black: float = 0.0) -> Image:
    """Luma (H, W, 1) of a picture (H, W, 3) in [0, 1], not rounded."""
    import numpy as np

    y: Image = (black + image @ np.array(weights)).astype(np.float32)[..., np.newaxis]
    return y
