"""How messages pass the pipe: a prefix, a JSON header, raw arrays, and the message's token as its end.

    prefix  four bytes that every message begins with, and the header's length
    header  one JSON object
    arrays  their bytes; how many, the runner's header says of a question, and its own question of an answer
    end     the token of the question: whatever else was written in between has moved it

A plugin shares its process with one end, so the runner believes nothing that comes from there. Neither end unpickles.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PREFIX", "TOKEN_BYTES", "BadMessageError", "Channel", "frame", "header_bytes", "memory_of", "parsed"]

MAGIC = b"bnch"
PREFIX = struct.Struct(">4sI")
TOKEN_BYTES = 8
MOST_ANSWER_BYTES = 1 << 16
"""of an answer's header"""
MOST_QUESTION_BYTES = 1 << 28
"""of a question's header, which lists the files of the restorer's code"""

Array = NDArray[Any]


class BadMessageError(Exception):
    """What came through the pipe is not the message that was due. Says why."""


def frame(fields: Mapping[str, Any], arrays: Sequence[Array], token: bytes) -> list[memoryview]:
    """A message as the pieces to be sent, one after the other; those of the arrays share their memory."""
    header = json.dumps(fields, allow_nan=False).encode()
    first = PREFIX.pack(MAGIC, len(header)) + header
    return [memoryview(first), *map(memory_of, arrays), memoryview(token)]


def memory_of(array: Array) -> memoryview:
    """The bytes of an array in C order: its own memory, if it lies so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def header_bytes(prefix: bytes, most: int = MOST_ANSWER_BYTES) -> int:
    """The header's length. Raises BadMessageError for what no message begins with, and for more than `most`."""
    magic, length = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise BadMessageError("it begins as no message does")
    if length > most:
        raise BadMessageError(f"a header of {length} bytes, expected {most} at most")
    return int(length)


def parsed(header: bytes) -> dict[str, Any]:
    """The JSON object of a header. Raises BadMessageError for anything else."""
    try:
        fields = json.loads(header.decode(), object_pairs_hook=_unique, parse_constant=_refused)
    except (ValueError, RecursionError):  # bytes that are no text, text that is no JSON, brackets without end
        raise BadMessageError("its header is not JSON") from None
    if type(fields) is not dict:
        raise BadMessageError("its header is not a JSON object")
    return fields


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key that stands twice")
    return fields


def _refused(constant: str) -> None:
    raise ValueError(constant)


class Channel:
    """The end of the pipe in the restorer's process. It waits as long as it takes: the runner holds the limits."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def receive(self) -> tuple[dict[str, Any], list[Array]]:
        """The fields and arrays of the next question. Raises EOFError once the runner is gone."""
        prefix = self._read(bytearray(PREFIX.size))
        fields = parsed(self._read(bytearray(header_bytes(prefix, MOST_QUESTION_BYTES))))
        arrays = [np.empty(shape, dtype) for dtype, shape in fields.pop("arrays")]
        for array in arrays:
            self._read(memory_of(array))
        if self._read(bytearray(TOKEN_BYTES)).hex() != fields["token"]:
            raise BadMessageError("something else has read from the pipe")
        return fields, arrays

    def send(self, fields: Mapping[str, Any], arrays: Sequence[Array], token: str) -> None:
        for piece in frame(fields, arrays, bytes.fromhex(token)):
            while piece:
                piece = piece[os.write(self.fd, piece) :]

    def close(self) -> None:
        os.close(self.fd)

    def _read(self, into: Any) -> Any:
        """`into`, filled."""
        left = memoryview(into)
        while left:
            n_bytes = os.readv(self.fd, [left])
            if not n_bytes:
                raise EOFError
            left = left[n_bytes:]
        return into
