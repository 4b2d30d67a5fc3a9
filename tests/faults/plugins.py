"""Restorers that misbehave, each in its own way and in one run with one that does not.

What a plugin does may cost its own cells. It may not cost another's, nor the run, nor give a figure to the wrong
picture: the neighbour's figures are what they are alone, and each of its own is a failure in a line or the right one.
"""

from __future__ import annotations

import importlib
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

import bench
from bench.measure.quality import load_libraries
from bench.runner import worker
from tests.faults import campaign
from tests.faults.campaign import Outcome, Try, complaint

__all__ = ["ATTEMPTS", "KINDS", "attempt"]

LOADING_SECONDS = 3
"""in the place of bench.runner.worker.START_SECONDS, which no kind is worth"""

MOST_REASON = 500
MOST_STORE_BYTES = 1 << 20

SOURCE = """
import atexit, builtins, ctypes, errno, fcntl, gc, io, json, math, multiprocessing, os, random, resource, select
import functools, shutil, signal, socket, stat, struct, subprocess, sys, tempfile, threading, time, warnings
from pathlib import Path

import numpy as np

from bench.restorer import Restorer

def sockets():
    for fd in range(3, 256):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                yield fd
        except OSError:
            pass

def write(fd, what):
    try:
        os.write(fd, what)
    except OSError:
        pass

{top}

class Bad(Restorer):
    name, tasks = "bad", {{"denoise"}}

{body}

    def prepare(self, setting, device):
{prepare}

    def restore(self, seen):
{restore}
        return seen.image

{after}
"""

FAILS, RIGHT, EITHER, SKIPPED = "fails", "right", "either", "skipped"


@dataclass(frozen=True)
class Kind:
    """Lines of a plugin, and what is to become of its cells.

    top      before the class, after: behind it
    says     part of each reason
    seconds  --time-limit
    options  further words of the command
    weights  a file that it is asked with
    """

    becomes: str
    restore: str = "pass"
    prepare: str = "pass"
    top: str = ""
    body: str = ""
    after: str = ""
    says: str = ""
    seconds: float = 20
    options: tuple[str, ...] = ()
    weights: str = ""

    @property
    def source(self) -> str:
        deep = " " * 8
        return SOURCE.format(
            top=textwrap.dedent(self.top),
            after=textwrap.dedent(self.after),
            body=textwrap.indent(textwrap.dedent(self.body), deep[:4]),
            prepare=textwrap.indent(textwrap.dedent(self.prepare), deep),
            restore=textwrap.indent(textwrap.dedent(self.restore), deep),
        )


def fails(says: str = "", **lines: Any) -> Kind:
    return Kind(FAILS, says=says, **lines)


def hangs(**lines: Any) -> Kind:
    return Kind(FAILS, says="no answer within the time limit", seconds=1, **lines)


def right(**lines: Any) -> Kind:
    return Kind(RIGHT, **lines)


def either(**lines: Any) -> Kind:
    return Kind(EITHER, **lines)


UNREADABLE = "what came through its pipe cannot be read"
TALKS = """
from bench.runner.wire import Channel, frame
send, answers = Channel.send, []

def instead(f):
    Channel.send = f
"""
"""before the class: `instead` puts something else in the place of what sends an answer"""


def answers(becomes: str, says: str, lines: str, **more: Any) -> Kind:
    """One whose process answers to `restore` as `lines` do, with self, told, images and token."""
    defined = f"def instead_of_it(self, told, images, token):\n{textwrap.indent(textwrap.dedent(lines), ' ' * 4)}"
    return Kind(becomes, says=says, top=f"{TALKS}\n{defined}", restore="instead(instead_of_it)", **more)


def lies(says: str, change: str) -> Kind:
    """One whose process changes the fields of its answers."""
    return answers(FAILS, says, f"send(self, {{**told, {change}}}, images, token)")


KINDS: dict[str, Kind] = {
    # --- it ends, or does not, wherever it is asked ---
    "raises when imported": fails("ValueError: no", top="raise ValueError('no')"),
    "raises no Exception when imported": fails("Own", top="class Own(BaseException): pass\nraise Own('no')"),
    "imports what there is not": fails("No module named 'no_such'", top="import no_such"),
    "quits when imported": fails("SystemExit", top="sys.exit(0)"),
    "ends when imported": fails("exited with status 0", top="os._exit(0)"),
    "aborts when imported": fails("killed by SIGABRT", top="os.abort()"),
    "kills itself when imported": fails("killed by SIGKILL", top="os.kill(os.getpid(), 9)"),
    "never is imported": fails("no answer within the time limit", top="time.sleep(600)"),
    "recurses when imported": fails("RecursionError", top="def f(): f()\nf()"),
    "raises when made": fails("ValueError", body="def __init__(self, *given): raise ValueError('no')"),
    "ends when made": fails("exited with status 4", body="def __init__(self, *given): os._exit(4)"),
    "is made another": fails("AttributeError", body="def __new__(cls, *given): return 7"),
    "raises when asked why not": fails("ValueError", body="def why_not(self, setting): raise ValueError('no')"),
    "has no words for why not": fails("expected text or None", body="def why_not(self, setting): return 7"),
    "has a million words for why not": Kind(SKIPPED, body="def why_not(self, setting): return 'much ' * 10**6"),
    "raises when prepared": fails("ValueError", prepare="raise ValueError('no')"),
    "quits when prepared": fails("SystemExit", prepare="sys.exit('no')"),
    "ends when prepared": fails("exited with status 5", prepare="os._exit(5)"),
    "crashes when prepared": fails("killed by SIGSEGV", prepare="ctypes.string_at(0)"),
    "never is prepared": hangs(prepare="time.sleep(600)"),
    "stops itself when prepared": hangs(prepare="os.kill(os.getpid(), signal.SIGSTOP)"),
    "raises": fails("ValueError: no (bad.py, line ", restore="raise ValueError('no')"),
    "interrupts": fails("KeyboardInterrupt", restore="raise KeyboardInterrupt"),
    "quits": fails("SystemExit: 3", restore="sys.exit(3)"),
    "leaves a generator": fails("GeneratorExit", restore="raise GeneratorExit"),
    "ends": fails("exited with status 0", restore="os._exit(0)"),
    "aborts": fails("killed by SIGABRT", restore="os.abort()"),
    "crashes": fails("killed by SIGSEGV", restore="os.kill(os.getpid(), signal.SIGSEGV)"),
    "kills itself": fails("killed by SIGKILL", restore="os.kill(os.getpid(), signal.SIGKILL)"),
    "kills its group": fails("killed by", restore="os.killpg(0, signal.SIGKILL)"),
    "terminates its parent": either(restore="os.kill(os.getppid(), signal.SIGTERM)"),
    "kills its parent": fails("killed by SIGKILL", restore="os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)"),
    "stops its parent": right(restore="os.kill(os.getppid(), signal.SIGSTOP)"),
    "stops its parent and outlives it": right(
        restore="ctypes.CDLL(None).prctl(1, 0)\nos.kill(os.getppid(), signal.SIGSTOP)"
    ),
    "is killed by a signal without a name": fails("killed by signal 40", restore="os.kill(os.getpid(), 40)"),
    "stops itself": hangs(restore="os.kill(os.getpid(), signal.SIGSTOP)"),
    "sleeps": hangs(restore="time.sleep(600)"),
    "computes without end": hangs(restore="while True: pass"),
    "holds the lock of all threads": hangs(restore="ctypes.PyDLL(None).sleep(600)"),
    "ignores every signal and sleeps": hangs(
        restore="""
        for number in {*signal.valid_signals()} - {signal.SIGKILL, signal.SIGSTOP}:
            try:
                signal.signal(number, signal.SIG_IGN)
            except OSError:
                pass
        time.sleep(600)
        """
    ),
    "recurses": fails("RecursionError", restore="self.restore(seen)"),
    "recurses without a limit": fails(
        "killed by",
        restore="sys.setrecursionlimit(10**9)\nrepr(functools.reduce(lambda x, _: [x], range(10**6), []))",
    ),
    "eats memory": fails(
        "grew past the limit of 500 MiB",
        restore="hoard = []\nwhile True: hoard.append(np.ones(2**20)); time.sleep(0.001)",
        options=("--memory-limit", "500"),
    ),
    "asks for more memory than there is": fails("MemoryError", restore="np.ones(2**45)"),
    "dies while another thread of its works": fails(
        "exited with status 6",
        restore="threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True).start()\nos._exit(6)",
    ),
    # --- it answers with what is no answer ---
    "answers with nothing": fails("NoneType", restore="return None"),
    "answers with a list": fails("builtins.list", restore="return seen.image.tolist()"),
    "answers with text": fails("builtins.str", restore="return 'x'"),
    "answers with an array of its own": fails(
        "Own", top="class Own(np.ndarray): pass", restore="return seen.image.view(Own)"
    ),
    "answers with a masked array": fails("MaskedArray", restore="return np.ma.array(seen.image)"),
    "answers with a file": fails(
        "memmap", restore="return np.memmap(tempfile.TemporaryFile(), np.float32, 'w+', shape=seen.image.shape)"
    ),
    "answers in float64": fails("float64", restore="return seen.image.astype(float)"),
    "answers with objects": fails("object", restore="return seen.image.astype(object)"),
    "answers in the other order of bytes": fails(">f4", restore="return seen.image.astype('>f4')"),
    "answers with another shape": fails("answered with shape", restore="return seen.image[1:]"),
    "answers with no dimension": fails("answered with shape ()", restore="return np.ones((), np.float32)"),
    "answers with a terabyte": fails(
        "answered with shape", restore="return np.broadcast_to(np.float32(0), (2**38, 1, 1))"
    ),
    "answers with nan": fails("not finite", restore="return np.full_like(seen.image, np.nan)"),
    "answers with inf": fails("not finite", restore="return np.full_like(seen.image, -np.inf)"),
    "answers in columns": right(restore="return np.asfortranarray(seen.image)"),
    "answers upside down": right(restore="return seen.image[::-1].copy()[::-1]"),
    "answers with what cannot be written to": right(restore="seen.image.flags.writeable = False"),
    "changes what it is given": fails("changed the observation", restore="seen.image[...] += 1"),
    "changes how it is given": fails(
        "changed the observation", restore="seen.image.shape = seen.image.shape[:2] + (1, 1)"
    ),
    "frees what it is given": either(restore="seen.image.resize((0,), refcheck=False)"),
    # --- its figures ---
    "counts a generator": fails("n_params()", body="def n_params(self): return (n for n in [7])"),
    "counts less than nothing": fails("n_params()", body="def n_params(self): return -1"),
    "counts too far": fails("n_params()", body="def n_params(self): return 10**40"),
    "counts no number": fails("n_params()", body="def n_params(self): return float('nan')"),
    "counts true": fails("n_params()", body="def n_params(self): return True"),
    "counts and quits": fails("SystemExit", body="def n_params(self): sys.exit()"),
    "counts a text": fails("macs_per_pixel()", body="def macs_per_pixel(self, seen): return '7'"),
    "counts without end": fails("macs_per_pixel()", body="def macs_per_pixel(self, seen): return 10**400"),
    "counts negative products": fails("macs_per_pixel()", body="def macs_per_pixel(self, seen): return -5.0"),
    "has many levels": fails("estimated_level", body="estimated_level = [20.0, 30.0]"),
    "has a level that raises": fails(
        "ValueError", body="@property\ndef estimated_level(self): raise ValueError('no')"
    ),
    "names no devices": fails("devices is 7", after="Bad.devices = 7"),
    "names a device in letters": fails("devices is 'cpu'", after="Bad.devices = 'cpu'"),
    "does not know what it needs": fails("needs_weights is 'no'", after="Bad.needs_weights = 'no'"),
    "is of another version when it runs": fails("its version is '2' when it runs", after="Bad.version = '2'"),
    "has another name when it runs": fails("its name is", after="Bad.name = 'noisy'"),
    "is another class when it runs": fails("not a class derived from", after="Bad = 7"),
    # --- it fails in odd words ---
    "raises what has no words": fails(
        "its text cannot be had",
        top="class E(Exception):\n    def __str__(self): raise RuntimeError",
        restore="raise E",
    ),
    "raises what quits for words": fails(
        "its text cannot be had", top="class E(Exception):\n    def __str__(self): sys.exit()", restore="raise E"
    ),
    "raises what is no text": fails(
        "its text cannot be had", top="class E(Exception):\n    def __str__(self): return 7", restore="raise E"
    ),
    "raises a hundred million letters": fails("ValueError: xxx", restore="raise ValueError('x' * 10**8)"),
    "raises a class with a long name": fails("EEE", restore="raise type('E' * 10**6, (Exception,), {})('no')"),
    "raises surrogates": fails(r"ValueError: \udce9\ud800", restore=r"raise ValueError('\udce9\ud800')"),
    "raises lines and colours": fails(
        r"ValueError: a b \x1b[31m \x00", restore=r"raise ValueError('a\n\nb \x1b[31m \0')"
    ),
    "raises a chain without end": fails(
        "ValueError", restore="a, b = ValueError(1), ValueError(2)\na.__cause__, b.__cause__ = b, a\nraise a"
    ),
    "prints a hundred megabytes": right(restore="for _ in range(100): os.write(1, b'x' * 2**20)"),
    "prints a hundred megabytes when imported": right(top="for _ in range(100): print('x' * 2**20)"),
    "prints without end": hangs(restore="while True: os.write(2, b'x' * 2**16)"),
    "prints from a thread without end": right(
        restore="threading.Thread(target=lambda: [write(2, b'x' * 999) for _ in iter(int, 1)], daemon=True).start()"
    ),
    "prints, then dies": fails("exited with status 1: xxx", restore="os.write(2, b'x' * 10**6)\nos._exit(1)"),
    "closes what it prints to": right(restore="os.closerange(1, 3)"),
    "has nothing to print to": right(restore="sys.stdout = sys.stderr = sys.__stderr__ = None"),
    # --- it writes to the pipe, reads from it, closes it ---
    "writes junk to all that is open": fails(UNREADABLE, restore="for fd in range(3, 64): write(fd, b'junk' * 99)"),
    "writes numbers to all that is open": fails(UNREADABLE, restore="for fd in range(3, 64): write(fd, bytes(256))"),
    "writes a pickle that runs code": fails(
        UNREADABLE, restore=r"for fd in sockets(): write(fd, b'\0\0\0\x15cos\nabort\n(tR.cos\nabort\n')"
    ),
    "says that much will come": fails(
        "header of 4294967295 bytes", restore=r"for fd in sockets(): write(fd, b'bnch\xff\xff\xff\xff')"
    ),
    "begins a message and sleeps": hangs(
        restore=r"for fd in sockets(): write(fd, b'bnch\0\0\xff\0{')" + "\ntime.sleep(600)"
    ),
    "begins a message and goes on": fails(UNREADABLE, restore=r"for fd in sockets(): write(fd, b'bnch\0\0\0\x40{')"),
    "nests brackets": fails(
        "not JSON", restore="for fd in sockets(): write(fd, struct.pack('>4sI', b'bnch', 60000) + b'[' * 60000)"
    ),
    "writes from a thread without end": fails(
        UNREADABLE,
        restore="threading.Thread(target=lambda: [write(fd, b'a') for _ in iter(int, 1) for fd in sockets()],"
        " daemon=True).start()\ntime.sleep(0.1)",
    ),
    "writes while the answer goes": answers(
        FAILS,
        UNREADABLE,
        """
        pieces = frame(told, images, bytes.fromhex(token))
        for piece in pieces:
            os.write(self.fd, piece[:-4]); os.write(self.fd, b'junk'); os.write(self.fd, piece[-4:])
        """,
    ),
    "reads from the pipe": either(
        restore="threading.Thread(target=lambda: [os.read(fd, 99) for fd in sockets()], daemon=True).start()\n"
        "time.sleep(0.05)",
        seconds=1,
    ),
    "closes all that is open": fails("", restore="os.closerange(3, 256)"),
    "closes all that is open and sleeps": fails("closed its pipe", restore="os.closerange(3, 256)\ntime.sleep(600)"),
    "opens something else in the pipe's place": fails(
        "", restore="for fd in sockets(): os.dup2(os.open(os.devnull, os.O_RDWR), fd)", seconds=1
    ),
    "shuts the pipe": fails("", restore="for fd in sockets(): socket.socket(fileno=fd).shutdown(socket.SHUT_RDWR)"),
    "makes the pipe impatient": either(restore="for fd in sockets(): os.set_blocking(fd, False)"),
    # --- its answers are forged ---
    "answers twice": answers(  # the other may come when the first, which is right, has been taken
        EITHER, UNREADABLE, "send(self, told, images, token); send(self, told, images, token)"
    ),
    "answers a little later too": answers(
        EITHER,
        "",
        "send(self, told, images, token); time.sleep(0.02); send(self, told, [0 * x for x in images], token)",
    ),
    "answers to the message before": answers(
        EITHER,
        "answered twice",
        "answers.append((told, images, token)); send(self, *answers[-2:][0])",
    ),
    "answers to no message": lies("answered twice, or to no question", "'number': 10**40"),
    "answers to a number in letters": lies("answered twice, or to no question", "'number': '3'"),
    "answers with another's end": answers(FAILS, UNREADABLE, "send(self, told, images, '00' * 8)"),
    "answers with a picture too little": answers(FAILS, "", "send(self, told, [], token); os._exit(0)"),
    "answers with half a picture": answers(
        FAILS, "no answer within the time limit", "send(self, told, [x[:5] for x in images], token)", seconds=1
    ),
    "answers with a picture more": answers(FAILS, UNREADABLE, "send(self, told, images * 2, token)"),
    "answers with values of its own": answers(
        FAILS, "not finite", "send(self, told, [np.nan * x for x in images], token)"
    ),
    "answers that it is ready": lies("no answer to Restore", "'kind': 'Ready'"),
    "answers in a list of kinds": lies("kind is ['Answer'], expected text", "'kind': ['Answer']"),
    "has more fields": lies("not the fields of Answer", "'more': 1"),
    "has text for a number": lies("params is '7'", "'params': '7'"),
    "has a list for a number": lies("peak_mib is [1]", "'peak_mib': [1]"),
    "has true for a number": lies("params is True", "'params': True"),
    "has a number past all stores": lies("params is 1000", "'params': 10**40"),
    "has less than no seconds": lies("seconds_restoring is -1", "'seconds_restoring': -1.0"),
    "has seconds that are text": lies("timing is", "'timing': 'abc'"),
    "has surrogates for files": answers(EITHER, "", "send(self, {**told, 'unseen': ['\\ud800']}, images, token)"),
    "fails in surrogates": answers(
        FAILS,
        r"\ud800",
        "send(self, {'kind': 'Failure', 'reason': '\\ud800' * 9999, 'number': told['number']}, [], token)",
    ),
    # --- it starts others ---
    "comes back twice": right(restore="child = os.fork()\nseen = seen if child else None"),
    "comes back twice from its preparation": right(prepare="os.fork()"),
    "comes back twice when imported": right(top="os.fork()"),
    "goes on in a child": fails("exited with status 0", restore="if os.fork(): os._exit(0)"),
    "goes on in a child of a session of its own": fails(
        "exited with status 0", restore="if os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)"
    ),
    "leaves a child that holds the pipe": fails(
        "exited with status 7",
        restore="""
        copies = [os.dup(fd) for fd in sockets()]
        if not os.fork(): os.setsid(); time.sleep(600)
        os._exit(7)
        """,
    ),
    "leaves a child that writes to the pipe": either(
        restore="""
        copies = [os.dup(fd) for fd in sockets()]
        if not os.fork():
            os.setsid()
            while True: [write(fd, b'junk') for fd in copies]
        """
    ),
    "leaves a child that sleeps": right(restore="if not os.fork(): time.sleep(600)"),
    "leaves a child in a session of its own": right(restore="if not os.fork(): os.setsid(); time.sleep(600)"),
    "leaves a grandchild": right(
        restore="if not os.fork():\n    if not os.fork(): os.setsid(); time.sleep(600)\n    os._exit(0)"
    ),
    "leaves a command": right(restore="subprocess.Popen(['sleep', '600'], start_new_session=True)"),
    "leaves many children": right(restore="for _ in range(20):\n    if not os.fork(): time.sleep(600)"),
    "works in a pool": right(
        restore="with multiprocessing.get_context('fork').Pool(2) as pool: assert pool.map(abs, [-1]) == [1]"
    ),
    "leaves a thread": right(restore="threading.Thread(target=time.sleep, args=(600,)).start()"),
    "leaves a thread that raises": right(restore="threading.Thread(target=lambda: 1 / 0).start()"),
    "leaves a thread that ends all": either(
        restore="threading.Thread(target=lambda: (time.sleep(0.02), os._exit(8))).start()"
    ),
    "never comes to its end": right(restore="atexit.register(time.sleep, 600)"),
    "raises when it is dropped": right(body="def __del__(self): raise ValueError('no')"),
    # --- it changes its process ---
    "goes elsewhere": right(restore="folder = tempfile.mkdtemp(); os.chdir(folder); os.rmdir(folder)"),
    "empties its environment": right(restore="os.environ.clear()"),
    "has a mask for all files": right(restore="os.umask(0o777)"),
    "is waked by a clock": fails(
        "",
        restore="signal.signal(signal.SIGALRM, lambda *_: 1 / 0)\nsignal.setitimer(0, 0.001, 0.001)\ntime.sleep(0.1)",
    ),
    "is killed by a clock": fails("killed by SIGALRM", restore="signal.setitimer(0, 0.01)\ntime.sleep(600)"),
    "may open no more files": either(restore="resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))"),
    "may use no more time": fails(
        "killed by SIG", restore="resource.setrlimit(resource.RLIMIT_CPU, (1, 2))\nwhile True: pass"
    ),
    "may use no more memory": either(restore="resource.setrlimit(resource.RLIMIT_AS, (2**20, 2**20))"),
    "may write no files": right(restore="resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"),
    "is polite": right(restore="os.nice(19)"),
    "does not die with its parent": right(prepare="ctypes.CDLL(None).prctl(1, 0)"),
    "knows no numbers": either(
        restore="np.isfinite = lambda x: np.ones(x.shape, bool)\nreturn np.full_like(seen.image, np.nan)"
    ),
    "knows no JSON": fails("", restore="json.dumps = None"),
    "writes JSON of its own": fails(UNREADABLE, restore="json.dumps = lambda *given, **named: 'x'"),
    "knows no packing": either(restore="struct.Struct = struct.pack = None"),
    "writes less than it says": fails(
        "", restore="write_all = os.write\nos.write = lambda fd, x: write_all(fd, x[:9]) + 9", seconds=1
    ),
    "writes all twice": fails(
        "",
        restore="write_all = os.write\nos.write = lambda fd, x: (write_all(fd, x), write_all(fd, x))[0]",
        seconds=1,
    ),
    "writes nothing": hangs(restore="os.write = lambda fd, x: len(x)"),
    "writes without end": hangs(restore="os.write = lambda fd, x: 0"),
    "is always someone else": fails("exited with status 1", restore="os.getpid = lambda: random.random()"),
    "has no time": fails("", top="import bench.measure.clocks as clocks\nclocks.perf_counter = lambda: 'now'"),
    "goes back in time": fails(
        UNREADABLE, top="import bench.measure.clocks as clocks\nclocks.perf_counter = lambda: -time.monotonic()"
    ),
    "opens nothing": either(restore="builtins.open = io.open = None"),
    "knows no modules": either(restore="sys.modules.clear()"),
    "knows no built-ins": either(restore="builtins.isinstance = builtins.len = None"),
    "collects no garbage": right(restore="gc.disable(); gc.freeze()"),
    "is watched": right(restore="sys.settrace(lambda *_: None); sys.setprofile(lambda *_: None)"),
    "raises for every warning": right(restore="np.seterr(all='raise'); warnings.simplefilter('error')"),
    "may not recurse": either(restore="sys.setrecursionlimit(60)"),
    "sends its main thread an error": either(
        restore="threading.Timer(0.01, lambda: ctypes.pythonapi.PyThreadState_SetAsyncExc("
        "ctypes.c_ulong(threading.main_thread().ident), ctypes.py_object(ValueError))).start()"
    ),
    # --- its files change in mid-run ---
    "edits itself": right(restore="with open(__file__, 'a') as file: file.write('\\nx = 1\\n')"),
    "edits itself and dies": fails(
        "",
        restore=r"""
        with open(__file__, 'a') as file: file.write('\nx = 1\n')
        if seen.image.shape[0] < 20: os._exit(9)
        """,
    ),
    "deletes itself": right(restore="Path(__file__).unlink(missing_ok=True)"),
    "replaces itself by what does not run": right(restore="Path(__file__).write_text('(')"),
    "edits what it imports later": right(
        prepare="(Path(__file__).parent / 'helper.py').write_text('GAIN = 0.5\\n')",
        restore="from helper import GAIN\nseen.__dict__['image'] = seen.image if GAIN == 1 else 0 * seen.image",
    ),
    "edits what it reads": fails(
        "helper.txt changed since the run was planned",
        body="reads = ['helper.txt']",
        prepare="(Path(__file__).parent / 'helper.txt').write_text('2')",
    ),
    "edits its own weights": fails(
        "w.npy changed since the run was planned",
        body="def __init__(self, variant, weights): super().__init__(variant, weights)",
        restore="with open(self.weights.path, 'ab') as file: file.write(b'more')",
        weights="w.npy",
    ),
    "replaces its own weights": fails(
        "w.npy changed since the run was planned",
        prepare="""
        new = self.weights.path.with_suffix('.new')
        new.write_bytes(b'new')
        new.replace(self.weights.path)
        """,
        weights="w.npy",
    ),
    "deletes its own weights": fails(
        "w.npy changed since the run was planned",
        restore="self.weights.path.unlink(missing_ok=True)",
        weights="w.npy",
    ),
}
"""By name; `attempt` takes each in turn."""

ATTEMPTS = 2 * len(KINDS)
"""each once before its neighbour, one cell at a time, and once behind it, side by side"""


def attempt(try_: Try) -> Outcome:
    _alone()
    name = [*KINDS][try_.index % len(KINDS)]
    kind, turn = KINDS[name], try_.index // len(KINDS) % 2
    _write(try_.folder, kind)
    own = f"bad.py:Bad{f'@{kind.weights}' if kind.weights else ''}"
    words = ["run", "--methods", f"{own},noisy" if turn == 0 else f"noisy,{own}", *ASKED, *kind.options]
    words += ["--time-limit", f"{kind.seconds:g}", *(["--readings", "2"] if turn == 0 else ["--jobs", "2"])]
    usual, worker.START_SECONDS = worker.START_SECONDS, LOADING_SECONDS
    try:
        ended = campaign.bench(words, try_.folder, limit=90)
    finally:
        worker.START_SECONDS = usual
    return Outcome(name, complaint(ended, (0, 1)) or _wrong(try_.folder, kind), ended.peak_mib)


ASKED = ("--datasets", "photos", "--sigma", "25", "--store", "s.sqlite")


def _write(folder: Path, kind: Kind | None) -> None:
    """Two pictures, and the plugin with the files beside it."""
    (folder / "photos").mkdir()
    for n_rows in (16, 24):
        rows, columns = np.mgrid[:n_rows, :20]
        Image.fromarray((3 * columns + 7 * rows).astype(np.uint8)).save(folder / f"photos/{n_rows}.png")
    if kind is not None:
        (folder / "bad.py").write_text(kind.source)
        (folder / "helper.py").write_text("GAIN = 1\n")
        (folder / "helper.txt").write_text("1")
        (folder / "w.npy").write_bytes(b"weights of its own")


@cache
def _alone() -> dict[str, tuple[object, ...]]:
    """The neighbour's figures by picture, with nothing beside it. Imports what each run would."""
    for module in ("bench.report.result", "bench.report.progress", "bench.runner.request", "pandas", "tabulate"):
        importlib.import_module(module)
    load_libraries()
    with TemporaryDirectory() as folder:
        _write(Path(folder), None)
        campaign.bench(["run", "--methods", "noisy", *ASKED], Path(folder))
        return _figures(Path(folder), "noisy")


def _figures(folder: Path, restorer: str) -> dict[str, tuple[object, ...]]:
    frame = bench.read(folder / "s.sqlite")
    of_it = frame[frame["restorer"] == restorer]
    names = ["status", "psnr_db", "ssim", "input_sha256", "reason"]
    return {cell["image"]: tuple(cell[name] for name in names) for cell in of_it.to_dict("records")}


def _wrong(folder: Path, kind: Kind) -> str:
    """What is wrong with the records that the run left; "" if nothing is."""
    right, neighbour, own = _alone(), _figures(folder, "noisy"), _figures(folder, "bad")
    if neighbour != right:
        return f"its neighbour has {neighbour}, alone {right}"
    if {*own} != {*right}:
        return f"it has {len(own)} records of {len(right)} pictures"
    for image, (status, psnr_db, ssim, given, reason) in own.items():
        assert isinstance(reason, str)
        if len(reason) > MOST_REASON or not reason.isprintable():
            return f"a reason of {len(reason)} letters: {reason[:100]!r}"
        expected = {EITHER: ("ok", "failed"), RIGHT: ("ok",), FAILS: ("failed",), SKIPPED: ("skipped",)}[kind.becomes]
        if status not in expected:
            return f"{image} is {status}, expected {' or '.join(expected)}: {reason}"
        if status == "ok" and (psnr_db, ssim, given) != right[image][1:4]:
            return f"{image} has the figures {psnr_db, ssim, given}, expected {right[image][1:4]}"
        if status == "failed" and kind.says not in reason:
            return f"{image} failed because '{reason}', expected '{kind.says}'"
    n_bytes = sum(file.stat().st_size for file in folder.glob("s.sqlite*"))
    return f"a store of {n_bytes} bytes" if n_bytes > MOST_STORE_BYTES else ""
