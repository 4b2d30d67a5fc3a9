"""Devices: the words that name one, which of them this machine has, and what each is called.

`cpu` is answered without importing torch.
"""

from __future__ import annotations

import re

from bench.errors import RequestError

__all__ = ["card", "check_device", "present"]

WORDS = re.compile(r"cpu|mps|cuda(:[0-9]{1,3})?")


def card(device: str) -> str:
    """What an accelerator is called, e.g. `NVIDIA H200`; empty for the CPU."""
    if device == "cpu":
        return ""
    import torch

    if device == "mps":
        told = getattr(torch.backends.mps, "get_name", None)  # older versions of torch lack it
        return str(told()) if told else "Apple GPU"
    return torch.cuda.get_device_name(device)


def present() -> dict[str, str]:
    """The devices of this machine and their cards: `{"cpu": "", "cuda:0": "NVIDIA H200"}`."""
    import torch

    words = ["cpu"]
    if torch.cuda.is_available():
        words += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        words.append("mps")
    return {word: card(word) for word in words}


def check_device(name: str) -> str:
    """The word that records have for a device, one for each: `cuda:0` is `cuda`.

    Raises RequestError unless this machine has it, and says what it has.
    """
    if name == "cpu":
        return name
    known = present()
    here = ", ".join(f"{word} ({card})" if card else word for word, card in known.items())
    if not WORDS.fullmatch(name):
        raise RequestError(f"--device {name}: expected cpu, cuda, cuda:N or mps; this machine has {here}.")
    kind, _, number = name.partition(":")
    word = f"cuda:{int(number or 0)}" if kind == "cuda" else kind
    if word not in known:
        raise RequestError(f"--device {name}: this machine has {here}.")
    return "cuda" if word == "cuda:0" else word
