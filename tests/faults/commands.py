"""Odd command lines: every command and option, with words that are good, odd or meant to harm, and odd files.

A command answers, or refuses in one line that begins with `bench:` (or in typer's own words), and in time. What it
prints holds nothing that a terminal obeys.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import resource
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import bench
from tests.faults.campaign import Ended, Outcome, Try, complaint, start
from tests.faults.campaign import bench as run_bench

ATTEMPTS = 2000

LIMIT = 60
ADDRESS_SPACE = 12 << 30
"""in bytes, that a command may ask for: one that reads /dev/zero is to end before the machine does"""
MOST_CHARACTERS = 4_000
"""of a line that tells of an error"""

# --- files that words may name -------------------------------------------------------------------

PLUGIN = """
from bench.restorer import Restorer


class Mine(Restorer):
    \"\"\"Gives back what it is given.\"\"\"

    name, tasks, variants = "mine", {"denoise", "deblock"}, ("fast",)

    def restore(self, seen):
        return seen.image
"""

SOURCES: Mapping[str, bytes] = {
    "mine.py": PLUGIN.encode(),
    "broken.py": b"class Mine(:\n",
    "bom.py": b"\xef\xbb\xbf" + PLUGIN.encode(),
    "latin.py": b"# -*- coding: latin-1 -*-\n# \xe9\n" + PLUGIN.encode(),
    "cookie.py": b"# -*- coding: no-such-thing -*-\n" + PLUGIN.encode(),
    "bytes.py": b"\xff\xfe\x00\x01" * 100,
    "nul.py": PLUGIN.encode() + b"\0",
    "deep.py": b"x = " + b"-" * 100_000 + b"1\n" + PLUGIN.encode(),
    "nested.py": b"x = " + b"(" * 100_000 + b")" * 100_000 + b"\n" + PLUGIN.encode(),
    "huge.py": PLUGIN.encode() + b"# much\n" * 400_000,
    "circle.py": b"class Mine(Other):\n    name, tasks = 'mine', {'denoise'}\nclass Other(Mine):\n    pass\n",
    "number.py": PLUGIN.replace('{"denoise", "deblock"}', "5").encode(),
    "escapes.py": PLUGIN.replace("Gives", "\\x1b[2JGives").replace('"mine"', '"mi\\x1b[2Jne"').encode(),
    "wide.py": PLUGIN.replace("name, tasks", "requires = {'': 5, 'x/y': 'z'}\n    name, tasks").encode(),
    "quits.py": b"import sys\nsys.exit(0)\n" + PLUGIN.encode(),
    "empty.py": b"",
}

WEIGHTS = """
["mine.one"]
settings = [{ task = "denoise", channels = 1, levels = [25] }]
path = "one.safetensors"
sha256 = "%s"
licence = "MIT"
trained_by = "us"
trained_on = ["sample"]
"""

PLAN = """
[[run]]
methods = "noisy"
task = "denoise"
datasets = "./photos"
sigma = [25]
quick = true
"""

ODD_TOML = (
    "5",
    "'x'",
    "[]",
    "{}",
    "[{}]",
    "nan",
    "inf",
    "-1",
    "1e400",
    "true",
    "[5]",
    "''",
    "'\\u001b'",
    "1979-05-27",
)


def odd_toml(random: Random, text: str) -> bytes:
    """A table with a value, a line or a byte changed."""
    lines = text.splitlines(keepends=True)
    i = random.randrange(len(lines))
    way = random.randrange(7)
    if way == 0:
        del lines[i]
    elif way < 5 and "=" in lines[i]:
        lines[i] = f"{lines[i].partition('=')[0]}= {random.choice(ODD_TOML)}\n"
    elif way == 5:
        lines[i] = "[" * random.choice((1, 9, 50_000)) + lines[i]
    content = bytearray("".join(lines).encode())
    if way == 6 and content:
        content[random.randrange(len(content))] = random.randrange(256)
    return bytes(content)


@functools.cache
def _records() -> tuple[bytes, bytes]:
    """A small store, and its CSV."""
    from bench.records.record import Record
    from bench.records.store import Store

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "s.sqlite")
        figures: dict[str, Any] = {"task": "denoise", "channels": 1, "dataset": "photos", "protocol": "standard-v1"}
        with Store(path) as store:
            for i in range(12):
                status = "failed" if i % 5 == 4 else "ok"
                store.add(
                    Record(
                        restorer=("noisy", "tv", "=cmd|' /C calc'!A0")[i % 3],
                        weights="",
                        level=(15.0, 25.0)[i % 2],
                        image=f"{i}.png",
                        repeat=0,
                        status=status,
                        reason="\x1b[2J\n\\input{x} | <script>" if status == "failed" else "",
                        psnr_db=None if status == "failed" else 20.0 + i,
                        ssim=None if status == "failed" else 0.5,
                        key=f"{i:024}-untimed",
                        **figures,
                    )
                )
        bench.export(path, "csv", Path(folder, "s.csv"))
        return path.read_bytes(), Path(folder, "s.csv").read_bytes()


@functools.cache
def _picture() -> bytes:
    from PIL import Image

    held = io.BytesIO()
    Image.linear_gradient("L").resize((24, 20)).save(held, "png")
    return held.getvalue()


def lay(folder: Path, random: Random) -> None:
    """The files that the words below name."""
    store, csv = _records()
    for place in ("photos", "empty"):
        (folder / place).mkdir()
    for name in ("photos/1.png", "photos/2.png", "one.png", "one.safetensors"):
        (folder / name).write_bytes(_picture())
    (folder / "good.sqlite").write_bytes(store)
    (folder / "cut.sqlite").write_bytes(store[: random.randrange(len(store))])
    (folder / "byte.sqlite").write_bytes(b"S")
    (folder / "records.csv").write_bytes(csv)
    damaged = bytearray(csv)
    for _ in range(random.randrange(1, 5)):
        damaged[random.randrange(len(damaged))] = random.randrange(256)
    (folder / "odd.csv").write_bytes(damaged)
    for name, content in SOURCES.items():
        (folder / name).write_bytes(content)
    if random.random() < 0.4:  # with an odd one nothing of that folder runs
        (folder / "weights.toml").write_bytes(odd_toml(random, WEIGHTS % ("0" * 64)))
    (folder / "plan.toml").write_bytes(odd_toml(random, PLAN))
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")


# --- words -----------------------------------------------------------------------------------------

ANY = (
    *("", " ", ",", ",,,", "--", "-", "é", "\u202eabc", "\x1b[2J", "a\nb", "\r", "\udcff\udcfe", "[red]", "%s%n"),
    *(
        "x" * 300,
        "x" * 20_000,
        "../" * 1500,
        "💥",
        "None",
        "true",
        "=1+1",
        "~",
        "~nobody/x",
        "$HOME",
        "*",
        "٣",
        "²",
        "{0}",
    ),
)
NUMBERS = (
    *("-0.0", "nan", "inf", "-inf", "1e400", "-1", "0", "1", "2", "1e9", "1000000000", "9" * 20, "9" * 5000, "0x10"),
    *("1_000", "25,", "25,,50", "25;50", "1e-400", "25.0000000001", "0.1", "½", " 25 ", "255.1", "100", "1,2,3"),
)
METHODS = (
    *("@", "+", ":", "noisy@", "noisy+", "noisy++", "noisy:@+", "@noisy", "noisy@published", "noisy@/dev/zero"),
    *("noisy@photos", "dncnn@one.png", "dncnn@pipe", "mine.py:Mine", "./mine.py", "./mine.py:", "./mine.py:Mine+"),
    *("./mine.py:Mine:fast", "./mine.py:Mine@one.safetensors", "./mine.py:Mine@published", "./no.py:Mine"),
    *("noisy,noisy", "noisy,nosiy", "tv:x", "dncnn@ours", "bench.methods.tv:TotalVariation", "jpeg", "pipe.py:X"),
    *(f"./{name}:Mine" for name in SOURCES),
)
PATHS = (
    *(".", "/", "..", "/dev/null", "/dev/zero", "/dev/full", "/proc/self/mem", "/proc/self/environ", "pipe", "loop"),
    *("photos", "empty", "one.png", "good.sqlite", "cut.sqlite", "byte.sqlite", "records.csv", "odd.csv"),
    *("new.sqlite", "new/deep/new.sqlite", "new.csv", "\udcff.sqlite", "file:good.sqlite?mode=rw", "d/" * 2500 + "x"),
    *("mine.py", "plan.toml", "no\nline", "new.png", "new.html", "loop/x", ".csv", "records.csv/", "good.sqlite/x"),
)
SELECTS = (
    *("level == 25", "restorer == 'tv'", "level =", "@x", "level == level == level", "(" * 5000, "not " * 3000 + "1"),
    *("__import__('os')", "level in []", "restorer == 5", "psnr_db > 'a'", "1", "'a' 'b'", "level == 1e400", "\\"),
)
DATASETS = (
    *("sample", "./photos", "photos", "./empty", "one.png", "./photos,./photos/", "./photos,photos", "set12"),
    *("./pipe", "./loop", "./no", "photos/1.png"),
)

GOOD: Mapping[str, Sequence[str]] = {
    "--methods": ("noisy", "./mine.py:Mine"),
    "--task": ("denoise",),
    "--datasets": ("./photos",),
    "--store": ("good.sqlite", "new.sqlite"),
    "--format": ("text", "markdown", "latex", "html", "csv"),
    "--output": ("out.png", "out.csv", "out.html"),
    "--device": ("cpu",),
    "--protocol": ("standard-v1",),
    "--select": ("level == 25",),
    "--plan": ("plan.toml",),
    "--paper": ("dncnn-2017", "all"),
    "--jobs": ("1",),
    "--threads": ("1",),
}
BY_OPTION: Mapping[str, Sequence[str]] = {
    "--methods": METHODS,
    "--only": METHODS,
    "--store": PATHS,
    "--output": PATHS,
    "--folder": PATHS,
    "--start": PATHS,
    "--plan": PATHS,
    "--pictures": PATHS,
    "--save": PATHS,
    "--select": SELECTS,
    "--datasets": (*DATASETS, *PATHS),
    "--task": ("denoise,deblock", "denois", "superres", "demosaick", "denoise-blind", "DENOISE", "denoise,denoise"),
    "--format": ("TEXT", "pdf", "csv,html", "parquet", "jsonl", "txt"),
    "--device": ("cuda", "cuda:0", "cuda:-1", "cuda:99999999999999999999", "mps", "tpu", "cpu:0", "CPU", "meta"),
    "--protocol": ("kair-v1", "standard", "standard-v2", "dncnn-v1"),
    "--pattern": ("RGGB", "rggb", "XXXX", "BGGR,RGGB"),
    "name": METHODS,
    "names": ("sample", "set12", "dncnn", "dncnn.gray-25", "sc", "no-such", *PATHS),
    "what": ("all", "restorers", "weights", "datasets", "tasks", "restorer", "protocols"),
    "files": ("one.png", "photos", *PATHS),
    "stores": PATHS,
    "store": PATHS,
}


class Parameter(NamedTuple):
    name: str
    is_flag: bool
    is_required: bool

    @property
    def is_option(self) -> bool:
        return self.name.startswith("-")


@functools.cache
def commands() -> Mapping[tuple[str, ...], Sequence[Parameter]]:
    """Every command of the application with its options and arguments."""
    import typer

    from bench.cli.commands import app

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Sequence[Parameter]]]:
        inner = getattr(command, "commands", {})
        for name, below in inner.items():
            yield from walk(below, (*words, name))
        if words and not inner:
            of_it = [p for p in command.params if hasattr(p, "opts")]
            yield words, [Parameter(p.opts[0], getattr(p, "is_flag", False), p.required) for p in of_it]

    return dict(walk(typer.main.get_command(app), ()))


NEVER = ("--write",)
"""what would change the checkout"""

HEAVY = {"train": 0.6, "check": 0.3, "restore": 2.0, "run": 6.0, "table": 3.0, "export": 3.0, "compare": 3.0}
"""how often a command is tried, beside the others"""


def made_words(random: Random) -> tuple[list[str], str]:
    """A command line, and what is odd about it."""
    known = commands()
    weights = [HEAVY.get(words[0], 1.0) if parameters else 0.3 for words, parameters in known.items()]
    chosen = random.choices([*known], weights)[0]
    parameters = [p for p in known[chosen] if p.name not in NEVER]
    odd = random.choice(parameters).name if parameters else ""
    words: list[str] = []
    for p in parameters:
        likely = 0.85 if p.name == "--store" and chosen != ("run",) else 0.15
        if not (p.is_required or p.name == odd or random.random() < likely):
            continue
        if p.is_flag:
            words.append(p.name)
            continue
        value = _value(random, p.name, is_odd=p.name == odd or random.random() < 0.05)
        words += (
            [f"{p.name}={value}"] if value.startswith("-") and p.is_option else [p.name, value][not p.is_option :]
        )
    if chosen == ("run",) and "--dry-run" not in words and random.random() < 0.85:
        words.append("--dry-run")
    if chosen == ("reference",) and "--plan" not in words:
        words += ["--plan", "plan.toml"]
    way = random.random()
    if way < 0.02 and words:
        words.pop(random.randrange(len(words)))
        odd = "a word left out"
    elif way < 0.04:
        words.insert(random.randrange(len(words) + 1), random.choice(ANY))
        odd = "a word too many"
    elif way < 0.05:
        words.append("--no-such-option")
        odd = "an unknown option"
    elif way < 0.06:
        words += words
        odd = "all twice"
    return [*chosen, *words], f"{' '.join(chosen)} {odd}".strip()


def _value(random: Random, name: str, *, is_odd: bool) -> str:
    if not is_odd and name in GOOD:
        return random.choice(GOOD[name])
    pools = [BY_OPTION.get(name, NUMBERS)] * 3 + [ANY, NUMBERS if name not in BY_OPTION else METHODS]
    value = random.choice(random.choice(pools))
    if random.random() < 0.05:
        value = f"{value},{random.choice(ANY)}"
    return value.replace("\0", "")


# --- what surrounds a command ----------------------------------------------------------------------

ENVIRONMENTS: Sequence[Mapping[str, str]] = (
    {"BENCH_CACHE": "/dev/null"},
    {"BENCH_CACHE": "x" * 5000},
    {"BENCH_CACHE": "~nobody/x"},
    {"BENCH_MIRROR": "nonsense"},
    {"BENCH_MIRROR": "/dev/null"},
    {"BENCH_MIRROR": "pipe"},
    {"BENCH_OFFLINE": "perhaps"},
    {"BENCH_TIMEOUT": "nan"},
    {"BENCH_MAX_PIXELS": "-1"},
    {"COLUMNS": "-1", "LINES": "x"},
    {"COLUMNS": "9" * 30},
    {"HOME": ""},
    {"TMPDIR": "/no/such/place"},
    {"LANG": "tlh", "LC_ALL": "tlh"},
    {"TERM": "nonsense", "NO_COLOR": "1", "FORCE_COLOR": "1"},
)

MAIN = "import sys; sys.argv[0] = 'bench'; from bench.cli import main; main()"
AGAIN = "import os, sys; {}; os.execv(sys.executable, [sys.executable, '-c', {!r}, *sys.argv[1:]])"
SURROUNDINGS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "standard output closed": (AGAIN.format("os.close(1)", MAIN), {}),
    "standard error closed": (AGAIN.format("os.close(2)", MAIN), {}),
    "standard input closed": (AGAIN.format("os.close(0)", MAIN), {}),
    "a full disk behind it": (AGAIN.format("os.dup2(os.open('/dev/full', os.O_WRONLY), 1)", MAIN), {}),
    "an ASCII terminal": ("", {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}),
    "warnings as errors": ("", {"PYTHONWARNINGS": "error"}),
    "in a folder that is gone": ("import os; os.mkdir('g'); os.chdir('g'); os.rmdir('../g')", {}),
}


def _surrounded(words: Sequence[str], folder: Path, first: str, environment: Mapping[str, str]) -> Ended:
    """The command in a process of its own, which does something before."""
    return start(["-c", f"{first}\n{MAIN}", *words], folder, environment).wait(LIMIT)


# --- an attempt --------------------------------------------------------------------------------------


def attempt(try_: Try) -> Outcome:
    random = try_.random
    words, kind = made_words(random)
    lay(try_.folder, random)
    around = {"BENCH_OFFLINE": "1", "BENCH_CACHE": str(try_.folder / "cache"), "BENCH_MIRROR": ""}
    with _address_space():
        if random.random() < 0.04:
            name = random.choice([*SURROUNDINGS])
            first, environment = SURROUNDINGS[name]
            ended = _surrounded(words, try_.folder, first, {**around, **environment})
            return Outcome(f"{words[0]} with {name}", said(ended, is_whole=False), ended.peak_mib)
        if random.random() < 0.08:
            environment = random.choice(ENVIRONMENTS)
            kind = f"{words[0]} with {'/'.join(environment)}"
            around |= environment
        ended = run_bench(words, try_.folder, around, LIMIT)
    return Outcome(kind, said(ended), ended.peak_mib)


@contextlib.contextmanager
def _address_space() -> Iterator[None]:
    """A limit that what is started inherits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def said(ended: Ended, *, is_whole: bool = True) -> str:
    """What is wrong with how a command ended, with its words; or ""."""
    wrong = complaint(ended, (0, 1, 2)) or _wrong_words(ended, is_whole=is_whole)
    wrong = wrong if len(wrong) < 400 else f"{wrong[:200]} … {wrong[-200:]}"
    return f"{wrong} <- bench {' '.join(map(_short, ended.words))}" if wrong else ""


def _short(word: str) -> str:
    return ascii(word) if len(word) < 90 else f"{word[:40]!a}…({len(word)})"


def _wrong_words(ended: Ended, *, is_whole: bool) -> str:
    lines = [line for line in ended.err.splitlines() if line.strip()]
    by_typer = any(line.startswith(("Usage: ", "Error: ")) for line in lines)
    for noise in ("Warning", "Exception ignored"):
        if any(f"{noise}:" in line or line.startswith(noise) for line in lines):
            return f"said: {next(line for line in lines if noise in line)}"
    if by_typer:
        return ""
    if ended.status == 2 and is_whole and sum(line.startswith("bench: ") for line in lines) != 1:
        return f"status 2 and {len(lines)} lines: {lines[-1:]}"
    if any(len(line) > MOST_CHARACTERS for line in lines):
        return "a line without end"
    printed = ended.err if "export" in ended.words else ended.err + ended.out
    unseen = {letter for letter in printed if not letter.isprintable() and letter != "\n"}
    return f"printed {''.join(sorted(unseen))!a}" if unseen else ""


def _preload() -> None:
    """Import what commands do, once and not in each fork."""
    import numpy  # noqa: F401
    import pandas  # noqa: F401
    import PIL.Image  # noqa: F401
    import tabulate  # noqa: F401

    import bench.cli.commands
    import bench.judge.papers
    import bench.report.comparing
    import bench.report.listing
    import bench.report.preview
    import bench.report.result
    import bench.runner.request
    import bench.runner.run  # noqa: F401


_preload()
