"""What a file of weights is, told by its content, and what can be known of it without torch and without running it.

Tensors are read (`bench.state_dicts`) of safetensors and of state dicts that `torch.save` wrote. Everything else is
called by its name, with what to do about it.
"""

from __future__ import annotations

import contextlib
import json
import pickletools
import struct
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import WeightsError

__all__ = [
    "AVERAGED",
    "READABLE",
    "SAFETENSORS",
    "TORCH",
    "USUAL",
    "Kind",
    "Pickled",
    "card_in",
    "complaint",
    "kind_of",
    "metadata_in",
    "scan",
    "shown",
    "why_not_read",
]


@dataclass(frozen=True)
class Kind:
    """words: what a file is; remedy: what to do about it, "" where tensors are read of it.

    suffixes   that files of it have
    is_broken  whatever would read it
    """

    words: str
    remedy: str = ""
    suffixes: tuple[str, ...] = ()
    is_broken: bool = False


EXPORT = "Where it was made, save its tensors: torch.save(model.state_dict(), 'weights.pth')."
CONVERT = "Convert it to safetensors or a state dict with the network's names, or read it in a `load` of your own."
PROGRAM = f"It is a program rather than tensors. {EXPORT}"
AGAIN = "Fetch it again."

SAFETENSORS = Kind("safetensors", suffixes=(".safetensors",))
TORCH = Kind("a checkpoint of PyTorch", suffixes=(".pth", ".pt", ".ckpt", ".model", ".bin", ".tar", ""))
READABLE = (SAFETENSORS, TORCH)

EMPTY = Kind("empty", AGAIN, is_broken=True)
CUT_ZIP = Kind("a zip file that is cut off, as by a download that broke off", AGAIN, is_broken=True)
CUT_SAFETENSORS = Kind("a safetensors file that is cut off, as by a download that broke off", AGAIN, is_broken=True)
DAMAGED_SAFETENSORS = Kind("a safetensors file whose header is damaged", AGAIN, is_broken=True)
POINTER = Kind(
    "a pointer of Git LFS and not the file that it stands for",
    "Fetch that one: `git lfs pull` in its repository.",
    is_broken=True,
)
WEB_PAGE = Kind(
    "a web page and not the file that was to be downloaded",
    "Open its address in a browser to see what it says, and fetch the file itself.",
    is_broken=True,
)
TORCHSCRIPT = Kind("a TorchScript program", "It runs as it is: ask for it as torchscript:FILE(range=1).")
EXPORTED = Kind("a program of torch.export", PROGRAM)
ONNX = Kind("an ONNX graph", "It runs as it is: ask for it as onnx:FILE(range=1).")
HDF5 = Kind("an HDF5 file, as Keras and MATLAB write them", CONVERT, (".h5", ".hdf5", ".mat", ".keras"))
MATLAB_73 = replace(HDF5, words="a MATLAB 7.3 file (HDF5)")
MATLAB_5 = Kind("a MATLAB 5 file", CONVERT, (".mat",))
NPZ = Kind("an archive of NumPy arrays", CONVERT, (".npz",))
NPY = Kind("a NumPy array", CONVERT, (".npy",))
TENSORFLOW = Kind("a checkpoint of TensorFlow", CONVERT, (".ckpt", ".index"))
GGUF = Kind("a GGUF file", CONVERT, (".gguf",))
PICKLE = Kind("a Python pickle that torch.save did not write: to read it could run code", EXPORT, (".pkl",))
UNPACK = "Unpack it, and name the file that is in it."
ZIP = Kind("a zip archive", UNPACK, (".zip",))
TAR = Kind("an archive (tar)", UNPACK)

MARKS = {
    b"\x89HDF\r\n\x1a\n": HDF5,
    b"MATLAB 7.3 MAT-file": MATLAB_73,
    b"MATLAB 5.0 MAT-file": MATLAB_5,
    b"\x93NUMPY": NPY,
    b"GGUF": GGUF,
    b"\x1f\x8b": Kind("a compressed file (gzip)", UNPACK),
    b"BZh": Kind("a compressed file (bzip2)", UNPACK),
    b"\xfd7zXZ": Kind("a compressed file (xz)", UNPACK),
    b"\x28\xb5\x2f\xfd": Kind("a compressed file (zstd)", UNPACK),
    b"7z\xbc\xaf\x27\x1c": Kind("an archive (7z)", UNPACK),
    b"Rar!": Kind("an archive (rar)", UNPACK),
    b"version https://git-lfs": POINTER,
}
"""By a file's first bytes."""

PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
TORCH_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""what torch.save wrote first, before version 1.6 made its files zip archives"""
TENSORFLOW_MAGIC = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
"""the last bytes of a table of TensorFlow's"""
PAGES = (b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body", b"<error")
ONNX_FIELDS = b"\x12\x1a\x22\x2a\x32\x3a\x42"
"""that may follow the version which an ONNX graph begins with"""

AVERAGED = ("params_ema", "state_dict_ema", "model_ema", "net_ema", "ema_state_dict", "ema")
"""What checkpoints call a state dict that is a running mean over the training. Where there is one it is meant."""
USUAL = ("params", "state_dict", "model", "net", "model_state_dict")
"""What they call one that is not."""

HEAD_BYTES = 4096
MOST_HEADER_BYTES = 100_000_000
"""of a safetensors file: the format's own limit"""
MOST_PICKLED_BYTES = 1 << 24
MOST_SHOWN = 60


def kind_of(path: Path) -> Kind:
    """What the file is. Raises WeightsError if it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            size = file.seek(0, 2)
            file.seek(max(0, size - len(TENSORFLOW_MAGIC)))
            tail = file.read()
    except OSError as error:
        raise WeightsError(f"Cannot read the weights file {path}: {error.strerror}.") from None
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    marked = next((kind for mark, kind in MARKS.items() if head.startswith(mark)), None)
    if marked is not None:
        return marked
    if head[:2] in PICKLES:
        if TORCH_MAGIC not in head[:64]:
            return PICKLE
        return TAR if tarfile.is_tarfile(path) else TORCH  # torch before 2.6 ran what a tar of this name held
    if head[8:9] == b"{" and b"\0" in head[:8]:
        return _kind_of_safetensors(path, size)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGES):
        return WEB_PAGE
    if head[:1] == b"\x08" and head[1:2] <= b"\x20" and head[2:3] and head[2:3] in ONNX_FIELDS:
        return ONNX
    if head[257:262] == b"ustar":
        return TAR
    if tail == TENSORFLOW_MAGIC:
        return TENSORFLOW
    return _kind_of_other(head) if head else EMPTY


def _kind_of_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return CUT_ZIP
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return TORCHSCRIPT
    if "data.pkl" in inner:
        return TORCH
    if "archive_format" in inner:
        return EXPORTED
    if any(name.endswith(".npy") for name in names):
        return NPZ
    if "model.weights.h5" in names:
        return replace(HDF5, words="a model of Keras")
    return replace(ZIP, words=f"a zip archive of {shown(names[0])}") if names else ZIP


def _kind_of_safetensors(path: Path, size: int) -> Kind:
    with path.open("rb") as file:
        (n_bytes,) = struct.unpack("<Q", file.read(8))
        if n_bytes > MOST_HEADER_BYTES:
            return DAMAGED_SAFETENSORS
        if n_bytes + 8 > size:
            return CUT_SAFETENSORS
        try:
            header = json.loads(file.read(n_bytes))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            return CUT_SAFETENSORS if max(ends, default=0) > size - 8 - n_bytes else SAFETENSORS
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return DAMAGED_SAFETENSORS


def _kind_of_other(head: bytes) -> Kind:
    text = head.decode("utf-8", "replace").partition("\n")[0].strip()
    if text.isprintable() and "�" not in text[:MOST_SHOWN]:
        return Kind(f"text, which begins {shown(text)}", f"{AGAIN} Expected safetensors or a state dict.")
    begins = head[:8].hex(" ")
    return Kind(f"of no kind that is known here, and begins {begins}", "Expected safetensors or a state dict.")


def complaint(path: Path, kind: Kind) -> str:
    """`net.onnx is an ONNX graph. …`"""
    return f"{path} is {kind.words}. {kind.remedy}"


def shown(text: str) -> str:
    """Words of a file's in quotes."""
    return f"'{_plain(text)}'"


def _plain(text: str) -> str:
    """Short, and harmless to a terminal."""
    short = text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"
    return short if short.isprintable() else ascii(short)[1:-1]


# --- the header of safetensors -----------------------------------------------------------------------------


def metadata_in(path: Path) -> Mapping[str, str]:
    """The texts in the header of a safetensors file; none of another file."""
    if kind_of(path) is not SAFETENSORS:
        return {}
    with path.open("rb") as file:
        (n_bytes,) = struct.unpack("<Q", file.read(8))
        metadata = json.loads(file.read(n_bytes)).get("__metadata__")
    return metadata if isinstance(metadata, dict) else {}


def card_in(path: Path) -> Mapping[str, Any]:
    """What `bench train` says of the weights that it wrote; empty for others."""
    try:
        card = json.loads(metadata_in(path).get("card", "{}"))
    except (ValueError, TypeError, RecursionError):
        card = None
    return card if isinstance(card, dict) else {}


# --- the pickle in a checkpoint of PyTorch -----------------------------------------------------------------


class Pickled(NamedTuple):
    """What a pickle names.

    foreign   classes and functions that no state dict needs
    entries   its texts of the first level: the keys, if it is a dict, and the texts among its values
    is_model  whether it holds a whole module
    protocol  of pickle
    """

    foreign: tuple[str, ...]
    entries: tuple[str, ...]
    is_model: bool
    protocol: int


CLOSE = {"TUPLE", "LIST", "DICT", "SETITEMS", "APPENDS", "ADDITEMS", "FROZENSET", "OBJ", "INST", "POP_MARK"}
"""instructions that end what a MARK began"""
TEXT = {"BINUNICODE", "SHORT_BINUNICODE", "UNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"}
CONTAINERS = {"collections.OrderedDict", "collections.defaultdict", "collections.Counter", "_codecs.encode"}
BUILTINS = {"set", "frozenset", "bytearray", "complex", "slice", "range", "list", "dict", "int", "float", "tuple"}


def scan(path: Path) -> Pickled:
    """What the pickle in a checkpoint names, told from its instructions. None is carried out."""
    depth, protocol, first = 0, 0, ""
    classes: dict[str, None] = {}
    levels: dict[int, dict[str, None]] = {}
    last = ["", ""]
    for name, given in _instructions(path):
        if name == "PROTO":
            protocol = given
        elif name in TEXT:
            levels.setdefault(depth, {})[given] = None
            last = [last[1], given]
        elif name in ("GLOBAL", "INST", "STACK_GLOBAL"):
            found = ".".join(last) if name == "STACK_GLOBAL" else given.replace(" ", ".", 1)
            classes[found] = None
            first = first or found
        elif name == "MARK" or name.startswith("EMPTY_"):
            first = first or "a container"
        depth += (name == "MARK") - (name in CLOSE)
    foreign = tuple(found for found in classes if _is_foreign(found))
    is_model = any(found.startswith("torch.nn.modules.") for found in foreign)
    is_model |= first in foreign and not first.startswith("numpy.")
    entries = tuple(levels[min(levels)]) if levels else ()
    return Pickled(foreign, entries, is_model, protocol)


def _is_foreign(found: str) -> bool:
    module, _, name = found.rpartition(".")
    if module in ("builtins", "__builtin__"):
        return name not in BUILTINS
    if module.startswith(("torch.nn.modules", "torch.nn.parallel", "torch.fx", "torch.jit", "torch.optim")):
        return True
    return module.partition(".")[0] != "torch" and found not in CONTAINERS


def _instructions(path: Path) -> Iterator[tuple[str, Any]]:
    """Of the pickle that holds a checkpoint's content; none if there is no such pickle, or up to where it breaks."""
    with contextlib.suppress(Exception):  # whatever may be wrong with the archive or the pickle
        stream, n_before = _pickle_in(path)
        for _ in range(n_before):
            all(True for _ in pickletools.genops(stream))
        for code, given, _ in pickletools.genops(stream):
            yield code.name, given


def _pickle_in(path: Path) -> tuple[BytesIO, int]:
    """The pickle's beginning, and how many others stand before it."""
    with path.open("rb") as file:
        head = file.read(64)
        if TORCH_MAGIC in head:  # its magic number, its protocol and what system wrote it are pickles of their own
            return BytesIO(head + file.read(MOST_PICKLED_BYTES)), 3
    with zipfile.ZipFile(path) as archive:
        name = next((name for name in archive.namelist() if name.endswith("/data.pkl")), "")
        with archive.open(name) as file:
            return BytesIO(file.read(MOST_PICKLED_BYTES)), 0


def why_not_read(path: Path) -> str:
    """Why torch reads no state dict of a checkpoint without running code, and what to do."""
    foreign, _, is_model, protocol = scan(path)
    if is_model:
        return f"{path} is a whole model ({_plain(foreign[0])}): to read it would run its code. {EXPORT}"
    if foreign:
        return (
            f"{path} holds more than tensors ({_plain(foreign[0])}): to read that could run code."
            " Where it was made, save its state dict alone."
        )
    if protocol > 2:
        return (
            f"{path} is pickled by protocol {protocol}, of which torch reads nothing without running code. {EXPORT}"
        )
    return f"{path} is damaged or cut off: torch cannot read it. {AGAIN}"
