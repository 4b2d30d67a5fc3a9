"""Devices: one word for each, and what is refused says what this machine has."""

import subprocess
import sys

import pytest
import torch

from bench.errors import RequestError
from bench.measure.devices import card, check_device, present


@pytest.fixture
def has(monkeypatch):
    """Gives this machine the named CUDA cards, and perhaps Apple's."""

    def has(*cards, mps=""):
        named = {"cuda": cards[0] if cards else "", **{f"cuda:{i}": name for i, name in enumerate(cards)}}
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cards))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(cards))
        monkeypatch.setattr(torch.cuda, "get_device_name", named.get)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
        monkeypatch.setattr(torch.backends.mps, "get_name", lambda: mps, raising=False)

    return has


def test_a_device_has_one_word(has):
    has("NVIDIA H200", "NVIDIA H100", mps="Apple M2")
    words = ("cpu", "cuda", "cuda:0", "cuda:00", "cuda:1", "mps")
    assert [check_device(word) for word in words] == ["cpu", "cuda", "cuda", "cuda", "cuda:1", "mps"]


def test_each_device_is_called_what_its_card_is(has):
    has("NVIDIA H200", "NVIDIA H100", mps="Apple M2")
    assert present() == {"cpu": "", "cuda:0": "NVIDIA H200", "cuda:1": "NVIDIA H100", "mps": "Apple M2"}
    assert card("cuda") == "NVIDIA H200"


@pytest.mark.parametrize(
    ("cards", "asked", "says"),
    [
        (["NVIDIA H200"], "cuda:1", "--device cuda:1: this machine has cpu, cuda:0 (NVIDIA H200)."),
        ([], "cuda", "--device cuda: this machine has cpu."),
        ([], "mps", "--device mps: this machine has cpu."),
        ([], "gpu", "--device gpu: expected cpu, cuda, cuda:N or mps; this machine has cpu."),
        (["NVIDIA H200"], "cuda:-1", "--device cuda:-1: expected cpu, cuda, cuda:N or mps; this machine has cpu,"),
    ],
)
def test_what_this_machine_lacks_is_refused_with_what_it_has(has, cards, asked, says):
    has(*cards)
    with pytest.raises(RequestError) as refusal:
        check_device(asked)
    assert str(refusal.value).startswith(says)


def test_the_cpu_is_known_without_torch():
    code = (
        "import sys; from bench.measure.devices import card, check_device; "
        "print(check_device('cpu'), card('cpu') == '', "
    )
    asked = subprocess.run([sys.executable, "-c", code + "'torch' in sys.modules)"], capture_output=True, text=True)
    assert asked.stdout == "cpu True False\n"
