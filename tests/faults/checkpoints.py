"""What a training has written is damaged, forged or cut off by a kill, and the training is asked to go on.

It ends with the weights of a training that nothing befell, bit for bit, and a log that agrees, or it is refused
in one line, and nothing in the folder is lost.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import json
import math
import os
import resource
import shutil
import signal
import struct
import tempfile
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load

from bench.errors import BenchError
from bench.training import checkpoint as checkpoints
from bench.training.crops import Crops
from bench.training.session import train
from tests.conftest import PLUGINS
from tests.faults.campaign import Outcome, Try

ATTEMPTS = 600

NET = f"{PLUGINS}/net.py:Affine"
STEPS = [0, 5, 10, 15, 20]
"""at which its recipe validates"""
KILLED_AT = 13
SECONDS = 30
"""for one training, which takes half a second"""

FILES = ("log.csv", "curves.svg", "weights.safetensors", "weights.json", "last.safetensors", "last.json")


def attempt(try_: Try) -> Outcome:
    torch.set_num_threads(1)  # a fork has none of the threads of this process
    kinds = [name for name, weight in KINDS.items() for _ in range(weight)]
    kind = kinds[try_.index % len(kinds)]
    folder = try_.folder / "training"
    return Outcome(kind, MAKE[kind](folder, try_.random))


# --- trainings that nothing befell -----------------------------------------------------------------------


class StoppedError(Exception):
    pass


@functools.cache
def whole() -> Path:
    """The folder of a training that was let alone."""
    return _made(lambda folder: trained(folder))


@functools.cache
def half() -> Path:
    """The folder of one that was stopped between two validations."""

    def stopped(folder: Path) -> None:
        original = Crops.batch

        def batch(self: Crops, step: int) -> Any:
            if step == KILLED_AT:
                raise StoppedError
            return original(self, step)

        with patch.object(Crops, "batch", batch), contextlib.suppress(StoppedError):
            trained(folder)

    return _made(stopped)


def _made(make: Callable[[Path], None]) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="bench-faults-training-"))
    make(folder)
    return folder


def trained(folder: Path, **options: Any) -> None:
    with contextlib.redirect_stderr(io.StringIO()):
        train(NET, {"sigma": "25"}, folder=folder, **options)


# --- what must hold --------------------------------------------------------------------------------------


def went_on(folder: Path, before: Mapping[str, bytes] | None = None, **options: Any) -> str:
    """Train on in a folder; what was lost.

    before  the files that a refusal must leave as they were
    """
    try:
        trained(folder, **options)
    except BenchError as error:
        return refusal(str(error)) or (changed(folder, before) if before is not None else "")
    except BaseException:
        return f"a traceback: {traceback.format_exc(limit=-1).splitlines()[-1]}"
    return unlike_whole(folder)


def refusal(said: str) -> str:
    """What is wrong with the words of a refusal."""
    if "\n" in said.strip() or not said.strip():
        return f"not one line: {said!r}"
    return f"a line of {len(said)} letters" if len(said) > 1000 else ""


def changed(folder: Path, before: Mapping[str, bytes]) -> str:
    now = contents(folder)
    return next((f"{name} was changed by a refusal" for name in before if now.get(name) != before[name]), "")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"}


def unlike_whole(folder: Path) -> str:
    """How the end of a training differs from that of one that nothing befell; "" if in nothing."""
    try:
        return _unlike_whole(folder)
    except Exception as error:  # a file that is missing or cannot be read
        return f"{type(error).__name__}: {error}"


def _unlike_whole(folder: Path) -> str:
    for stem in ("weights", "last"):
        ours, theirs = (weights_in(place / f"{stem}.safetensors") for place in (folder, whole()))
        if ours.keys() != theirs.keys() or not all(torch.equal(ours[name], theirs[name]) for name in ours):
            return f"other {stem}, without a word"
    if wrong := disagreement(folder):
        return wrong
    steps = [int(row["step"]) for row in rows(folder)]
    return "" if steps == STEPS else f"the log has steps {steps}"


def disagreement(folder: Path) -> str:
    """Where log, weights, card and checkpoint of a folder say different things."""
    kept = checkpoints.read(folder, 1e9)
    step, best = kept["step"], kept["best"]
    log = rows(folder)
    if [int(row["step"]) for row in log] != [n for n in STEPS if n <= step]:
        return f"the checkpoint is of step {step}, the log has {[row['step'] for row in log]}"
    if max(float(row["psnr_db"]) for row in log) != best["psnr_db"]:
        return "the best of the log is not the best of the checkpoint"
    card = json.loads((folder / "weights.json").read_text())
    if card != json.loads(json.dumps(best["card"])):
        return "weights.json is not the card of the checkpoint's best weights"
    weights = weights_in(folder / "weights.safetensors")
    if not all(torch.equal(weights[name], best["weights"][name]) for name in best["weights"]):
        return "weights.safetensors is not the best of the checkpoint"
    return ""


def weights_in(path: Path) -> dict[str, torch.Tensor]:
    return load(path.read_bytes())


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as opened:
        return list(csv.DictReader(opened))


def copied(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder)


# --- damage ----------------------------------------------------------------------------------------------


def flipped(content: bytes, random: Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(random.choice([1, 1, 1, 2, 8])):
        damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def cut(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content))]


def zeroed(content: bytes, random: Random) -> bytes:
    begin = random.randrange(len(content))
    length = min(len(content) - begin, random.choice([1, 64, 512, 4096]))
    return content[:begin] + bytes(length) + content[begin + length :]


def lengthened(content: bytes, random: Random) -> bytes:
    return content + random.randbytes(random.choice([1, 77, 5000]))


def garbage(content: bytes, random: Random) -> bytes:
    return random.choice([b"", b"\0", b"PK\x03\x04", b"not a file of ours\n", random.randbytes(2000)])


DAMAGES = (flipped, flipped, flipped, cut, zeroed, lengthened, garbage)


def damaged_checkpoint(folder: Path, random: Random) -> str:
    copied(half(), folder)
    path = folder / checkpoints.NAME
    content = path.read_bytes()
    damaged = random.choice(DAMAGES)(content, random)
    if damaged == content:  # zeros where there were zeros
        return went_on(folder)
    path.write_bytes(damaged)
    return must_be_refused(folder)


def must_be_refused(folder: Path) -> str:
    """A checkpoint that is not whole is refused by its name, and everything is left as it is."""
    before = contents(folder)
    try:
        trained(folder)
    except BenchError as error:
        wrong = refusal(str(error)) or changed(folder, before)
        return wrong or ("" if str(folder / checkpoints.NAME) in str(error) else f"not named: {error}")
    except BaseException:
        return f"a traceback: {traceback.format_exc(limit=-1).splitlines()[-1]}"
    return "went on from a damaged checkpoint"


def damaged_beside(folder: Path, random: Random) -> str:
    """Log, curves, weights and cards are written anew from the checkpoint."""
    copied(random.choice([half(), whole()]), folder)
    for name in random.sample(FILES, random.choice([1, 1, 2, 6])):
        path = folder / name
        if not path.exists():
            path.write_bytes(garbage(b"", random))
        elif random.random() < 0.2:
            path.unlink()
        else:
            path.write_bytes(random.choice(DAMAGES)(path.read_bytes(), random))
    return went_on(folder)


ODD_LOGS = (
    "step\n1\n",
    "step,total\nfive,six\n",
    "step,total,seconds,lr,loss,psnr_db,best_db\nnan,nan,nan,nan,nan,nan,nan\n",
    "step,total,seconds,lr,loss,psnr_db,best_db\n5,20\n",
    "step,total,seconds,lr,loss,psnr_db,best_db\n" + "5,20,1,1,1,1,1\n" * 10_000,
    'a,"b\nc',
    "\N{SNOWMAN}\r\r\n,,,,",
    "9" * 200_000,
)


def odd_log(folder: Path, random: Random) -> str:
    copied(half(), folder)
    (folder / "log.csv").write_text(random.choice(ODD_LOGS))
    return went_on(folder)


# --- forged checkpoints, with a checksum that is right ---------------------------------------------------


def odd_values(random: Random) -> list[Any]:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    cyclic: dict[str, Any] = {}
    cyclic["self"] = cyclic
    return [
        None,
        True,
        -1,
        0,
        3,
        10**40,
        -0.5,
        1e308,
        math.nan,
        math.inf,
        "",
        "words",
        "\ud800",
        b"bytes",
        [],
        [1, 2],
        [[0, 20, 0.0, 1.0, 1.0, 1.0, 1.0]],
        {},
        {"psnr_db": 1.0, "state": {}},
        {"weight": "none"},
        {1: {2: 3}},
        deep,
        cyclic,
        set(),
        OrderedDict(a=1),
        complex(1, 2),
        torch.zeros(3),
        torch.zeros(1).expand(10**12),
        torch.zeros(2, 2).to_sparse(),
        torch.empty(5, device="meta"),
        torch.tensor(math.nan),
        torch.zeros(1, 1, 3, 3),
        torch.zeros(1, 1, 3, 3, dtype=torch.int64),
        [torch.zeros(2)],
        torch.nn.Parameter(torch.zeros(1, 1, 3, 3)),
        random.randbytes(10),
    ]


def places(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All places in a tree, each by its keys."""
    if where:
        yield where
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*where, key))
    elif isinstance(value, list):
        for place in range(len(value)):
            yield from places(value[place], (*where, place))


def forged(folder: Path, random: Random) -> str:
    """A value of another kind, one too many or one too few, anywhere in a checkpoint.

    Many are harmless: what is lost is what ends in a traceback, or without a word in weights that are no numbers.
    """
    copied(half(), folder)
    content = checkpoints.read(folder, 1e9)
    *parents, last = random.choice(list(places(content)))
    at = content
    for key in parents:
        at = at[key]
    how = random.choice(["other", "other", "other", "less", "more"])
    if how == "other":
        at[last] = random.choice(odd_values(random))
    elif how == "less":
        del at[last]
    elif isinstance(at, dict):
        at[random.choice([f"{last}2", 7])] = random.choice(odd_values(random))
    else:
        at.append(random.choice(odd_values(random)))
    try:
        checkpoints.write(folder, content)
    except Exception:  # some cannot be written at all
        return ""
    return no_traceback(folder)


def no_traceback(folder: Path) -> str:
    """Refused in one line, or trained to an end whose files agree and whose weights are numbers."""
    try:
        trained(folder)
    except BenchError as error:
        return refusal(str(error))
    except BaseException:
        return f"a traceback: {traceback.format_exc(limit=-2).splitlines()[-1]}"
    weights = weights_in(folder / "weights.safetensors")
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        return "weights that are no numbers"
    kept = checkpoints.read(folder, 1e9)
    return "" if int(rows(folder)[-1]["step"]) == kept["step"] else "log and checkpoint disagree"


def other_contents(random: Random) -> list[Any]:
    return [
        torch.zeros(3),
        [1, 2, 3],
        {},
        {"state_dict": {"weight": torch.zeros(1, 1, 3, 3)}},
        torch.nn.Conv2d(1, 1, 3).state_dict(),
        "a text",
        None,
        {1: 2},
        *odd_values(random)[:4],
    ]


def other_object(folder: Path, random: Random) -> str:
    """What torch writes and is no checkpoint: a model, code to be run, an archive that unpacks to more."""
    copied(half(), folder)
    how = random.choice(["plain", "module", "code", "bomb", "swapped"])
    if how == "plain":
        seal(folder, random.choice(other_contents(random)))
    elif how == "module":
        seal(folder, torch.nn.Conv2d(1, 1, 3))
    elif how == "code":
        seal(folder, Runs(folder / "ran"))
    elif how == "bomb":
        bomb(folder)
    else:
        shutil.copy(folder / "weights.safetensors", folder / checkpoints.NAME)
    wrong = must_be_refused(folder)
    return "its code was run" if (folder / "ran").exists() else wrong


class Runs:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def seal(folder: Path, content: Any) -> None:
    """A file that torch writes of anything, with a checksum that is right."""
    with patch.object(checkpoints, "dict", lambda value: value, create=True):
        checkpoints.write(folder, content)


def bomb(folder: Path) -> None:
    import zipfile

    path = folder / checkpoints.NAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 24))
        archive.comment = b"x" * checkpoints.COMMENT_BYTES
    content = path.read_bytes()[: -checkpoints.COMMENT_BYTES]
    digest = checkpoints._digest(io.BytesIO(content), len(content))
    path.write_bytes(content + checkpoints.MARK + digest)
    assert struct.unpack("<H", content[-2:]) == (checkpoints.COMMENT_BYTES,)


# --- folders ---------------------------------------------------------------------------------------------


def odd_folder(folder: Path, random: Random) -> str:
    """--folder on what is no folder, or cannot be written in."""
    folder.parent.mkdir(exist_ok=True)
    how = random.choice(["file", "below a file", "long", "nul", "directories", "lock", "surrogate"])
    if how == "file":
        folder.write_bytes(b"mine")
        wrong = no_training(folder)
        return wrong or ("" if folder.read_bytes() == b"mine" else "the file was changed")
    if how == "below a file":
        folder.write_bytes(b"mine")
        return no_training(folder / "in it")
    if how == "long":
        return no_training(folder / ("n" * 300))
    if how == "nul":
        return no_training(Path(f"{folder}\0"))
    copied(half(), folder)
    if how == "directories":
        name = random.choice(
            ["checkpoint.pt", "log.csv", ".checkpoint.pt.part", "weights.safetensors", ".log.csv.part"]
        )
        path = folder / name
        path.unlink(missing_ok=True)
        (path / "in it").mkdir(parents=True)
        return no_training(folder)
    if how == "lock":
        (folder / ".lock").unlink(missing_ok=True)
        if random.random() < 0.5:
            (folder / ".lock").mkdir()
            return no_training(folder)
        (folder / ".lock").write_bytes(random.randbytes(5000))
        return went_on(folder)
    other = folder.with_name("t\udcff")
    folder.rename(other)
    return went_on(other)


def no_training(folder: Path) -> str:
    try:
        trained(folder)
    except BenchError as error:
        return refusal(str(error))
    except BaseException:
        return f"a traceback: {traceback.format_exc(limit=-1).splitlines()[-1]}"
    return "trained in a folder that is none"


def full_disk(folder: Path, random: Random) -> str:
    """Files may not grow beyond a size, as on a disk that is full; later they may."""
    copied(half(), folder)
    most = random.choice([0, 1, 100, 500, 2000, 8000])

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            trained(folder)
        finally:  # what it came to is written too
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    status, said = in_a_fork(limited, None)
    if status != 2:
        return f"ended with status {status}: {said}"
    return refusal(said) or went_on(folder)


# --- kills and neighbours --------------------------------------------------------------------------------


def in_a_fork(work: Callable[[], None], kill_after: float | None) -> tuple[int | None, str]:
    """Do work in a fork. Its status: 0; 2 for a BenchError, whose text comes too; 1; -9; None past its limit."""
    handle, place = tempfile.mkstemp(prefix="bench-faults-said-")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BenchError as error:
            os.write(handle, str(error).encode(errors="replace"))
            status = 2
        except BaseException:
            with contextlib.suppress(OSError):
                os.write(handle, traceback.format_exc(limit=-2).encode(errors="replace"))
        finally:
            os._exit(status)
    try:
        return waited_for(pid, kill_after), Path(place).read_text(errors="replace")
    finally:
        os.close(handle)
        os.unlink(place)  # noqa: PTH108


def waited_for(pid: int, kill_after: float | None) -> int | None:
    began = time.monotonic()
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        if (kill_after is not None and seconds > kill_after) or seconds > SECONDS:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return -signal.SIGKILL if seconds <= SECONDS else None
        time.sleep(0.001)


@functools.cache
def seconds_of_a_training() -> float:
    """In a fork, at the speed of this machine."""
    whole()
    with tempfile.TemporaryDirectory() as place:
        began = time.monotonic()
        in_a_fork(lambda: trained(Path(place, "t")), None)
        return time.monotonic() - began


def killed(folder: Path, random: Random) -> str:
    """kill -9 at any moment, up to three times; each time the files agree as far as the next start needs them to."""
    for _ in range(random.choice([1, 1, 2, 3])):
        seconds = random.random() * seconds_of_a_training()
        status, said = in_a_fork(lambda: trained(folder), seconds)
        if status not in (0, -signal.SIGKILL):
            return f"ended with status {status}: {said}"
    return went_on(folder)


def killed_while_writing(folder: Path, random: Random) -> str:
    """kill -9 just before or just after one of the files is put in its place, or in the middle of it."""
    if random.random() < 0.5:
        copied(half(), folder)
    last, how = random.randrange(1, 20), random.choice(["before", "after", "half"])
    original = os.replace
    n = 0

    def replace(part: Any, path: Any) -> None:
        nonlocal n
        n += 1
        if n == last and how == "half":
            os.truncate(part, Path(part).stat().st_size // 2)
        if n != last or how == "after":
            original(part, path)
        if n == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        with patch("os.replace", replace):
            trained(folder)

    whole()
    status, said = in_a_fork(work, None)
    if status not in (0, -signal.SIGKILL):
        return f"ended with status {status}: {said}"
    return went_on(folder)


def two_at_once(folder: Path, random: Random) -> str:
    """Two trainings of one folder: one trains, the other is told so, or comes later and finds it done."""
    whole()
    pause = random.random() * 0.3
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            trained(folder)
            status = 0
        except BenchError:
            status = 2
        finally:
            os._exit(status)
    time.sleep(pause)
    status, said = in_a_fork(lambda: trained(folder), None)
    first = waited_for(pid, None)
    if first not in (0, 2) or status not in (0, 2):
        return f"ended with {first} and {status}: {said}"
    if status == 2 and str(pid) not in said:
        return f"refused in other words: {said}"
    if first == status == 2:
        return "both were refused"
    return refusal(said) if status == 2 and refusal(said) else went_on(folder)


KINDS: Mapping[str, int] = {
    "damaged checkpoint": 6,
    "damaged file beside it": 3,
    "odd log": 1,
    "forged checkpoint": 6,
    "other object": 2,
    "odd folder": 2,
    "full disk": 1,
    "kill -9": 4,
    "kill -9 while writing": 4,
    "two at once": 1,
}
MAKE: Mapping[str, Callable[[Path, Random], str]] = {
    "damaged checkpoint": damaged_checkpoint,
    "damaged file beside it": damaged_beside,
    "odd log": odd_log,
    "forged checkpoint": forged,
    "other object": other_object,
    "odd folder": odd_folder,
    "full disk": full_disk,
    "kill -9": killed,
    "kill -9 while writing": killed_while_writing,
    "two at once": two_at_once,
}
