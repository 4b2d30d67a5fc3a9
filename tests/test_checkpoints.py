"""What a file of weights is, told by its content, without torch and without running anything of it."""

import json
import os
import subprocess
import sys

import pytest

from bench.checkpoints import card_in, kind_of, scan
from bench.errors import WeightsError
from tests.checkpoint_files import BROKEN, FOREIGN, READ, safetensors, saved, values, write

SAYS = {
    "torchscript": "a TorchScript program",
    "onnx": "an ONNX graph",
    "keras": "an HDF5 file",
    "matlab 7.3": "a MATLAB 7.3 file",
    "matlab 5": "a MATLAB 5 file",
    "npz": "an archive of NumPy arrays",
    "npy": "a NumPy array",
    "exported": "a program of torch.export",
    "a zip": "a zip archive",
    "gzip": "a compressed file (gzip)",
    "tar": "an archive (tar)",
    "tar in disguise": "an archive (tar)",
    "tensorflow index": "a checkpoint of TensorFlow",
    "gguf": "a GGUF file",
    "text": "text, which begins 'sigma 25'",
    "json": 'text, which begins \'{"message": "Not Found"}\'',
    "noise": "of no kind that is known here, and begins 03 04 05",
    "a plain pickle": "a Python pickle",
    "empty": "empty",
    "git lfs": "a pointer of Git LFS",
    "web page": "a web page",
    "xml answer": "a web page",
    "half a zip": "a zip file that is cut off",
    "half safetensors": "a safetensors file that is cut off",
    "the head of safetensors": "a safetensors file that is cut off",
    "a huge header": "a safetensors file whose header is damaged",
    "a header of nonsense": "a safetensors file whose header is damaged",
    "a header of numbers": "a safetensors file whose header is damaged",
    "offsets of text": "a safetensors file whose header is damaged",
}


@pytest.mark.parametrize("kind", READ)
def test_what_tensors_are_read_of_needs_no_remedy(tmp_path, kind):
    assert kind_of(write(tmp_path, kind)).remedy == ""


@pytest.mark.parametrize("kind", SAYS)
def test_what_a_file_is_and_what_to_do_is_said(tmp_path, kind):
    found = kind_of(write(tmp_path, kind))
    assert SAYS[kind] in found.words
    assert found.remedy.endswith(".")
    assert found.is_broken == (kind in BROKEN)


def test_the_name_of_a_file_decides_nothing(tmp_path):
    for kind, suffix in (("safetensors", ".pth"), ("state dict", ".safetensors"), ("onnx", ".pt"), ("empty", ".mat")):
        path = write(tmp_path, kind)
        assert kind_of(path.rename(path.with_suffix(suffix))).words == kind_of(write(tmp_path, kind)).words


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 9, 40, 200])
@pytest.mark.parametrize("kind", [*READ][:5])
def test_the_first_bytes_of_anything_are_of_some_kind_that_is_not_read(tmp_path, kind, cut):
    path = tmp_path / "cut.pth"
    path.write_bytes({**READ, **FOREIGN}[kind]()[:cut])
    found = kind_of(path)
    assert found.remedy or kind == "before torch 1.6"  # of those only reading tells


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"Cannot read the weights file .*none\.pth: No such file"):
        kind_of(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match=r"Cannot read the weights file .*: Is a directory"):
        kind_of(tmp_path)


@pytest.mark.parametrize(
    ("kind", "classes", "is_model"),
    [
        ("a whole model", "torch.nn.modules.container.Sequential", True),
        ("a whole model of old", "torch.nn.modules.container.Sequential", True),
        ("a model in a dict", "torch.nn.modules.container.Sequential", True),
        ("arguments", "argparse.Namespace", False),
        ("a call", f"{os.mkdir.__module__}.mkdir", False),
        ("optimizer", "", False),
    ],
)
def test_the_classes_in_a_pickle_are_read_and_not_made(tmp_path, kind, classes, is_model):
    pickled = scan(write(tmp_path, kind))
    assert classes in pickled.foreign if classes else not pickled.foreign
    assert pickled.is_model == is_model


@pytest.mark.parametrize("kind", READ)
def test_nothing_is_foreign_in_what_is_read(tmp_path, kind):
    pickled = scan(write(tmp_path, kind))
    assert not pickled.foreign
    assert not pickled.is_model


@pytest.mark.parametrize(
    ("content", "entries"),
    [
        ({"params": values(), "params_ema": values()}, {"params", "params_ema"}),
        ({"net": values()}, {"net"}),
        ({"epoch": 3, "model": values(), "arch": "params"}, {"epoch", "model", "arch", "params"}),  # values too
        (values(), {"0.weight", "0.bias", "2.weight", "2.bias"}),
    ],
)
def test_the_entries_of_a_checkpoint_are_known_without_reading_it(tmp_path, content, entries):
    (tmp_path / "x.pth").write_bytes(saved(content))
    assert {*scan(tmp_path / "x.pth").entries} == entries


@pytest.mark.parametrize("content", [b"", b"\x80", b"\x80\x02", b"\x80\x02}X\xff\xff\xff\x7f", bytes(100)])
def test_what_is_no_pickle_has_no_entries(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    assert scan(tmp_path / "x.pth") == ((), (), False, 0)


CARD = {"setting": "denoise sigma 25 gray", "recipe": {"task": "denoise"}}


@pytest.mark.parametrize(
    ("metadata", "card"),
    [
        ({"card": json.dumps(CARD)}, CARD),
        ({"card": "[1, 2]"}, {}),
        ({"card": "{nope"}, {}),
        ({"format": "pt"}, {}),
        ({}, {}),
    ],
)
def test_the_card_of_weights_is_in_the_header(tmp_path, metadata, card):
    (tmp_path / "x.safetensors").write_bytes(safetensors(values(), **metadata))
    assert card_in(tmp_path / "x.safetensors") == card


@pytest.mark.parametrize("kind", ["state dict", "onnx", "a huge header", "empty", "half safetensors"])
def test_other_files_have_no_card(tmp_path, kind):
    assert card_in(write(tmp_path, kind)) == {}


def test_kinds_are_told_without_torch(tmp_path):
    files = [str(write(tmp_path, kind)) for kind in ("state dict", "safetensors", "a whole model", "torchscript")]
    code = (
        "import sys; from pathlib import Path; from bench.checkpoints import card_in, kind_of, scan\n"
        "[(kind_of(Path(f)), scan(Path(f)), card_in(Path(f))) for f in sys.argv[1:]]\n"
        "print({'torch', 'numpy', 'safetensors'} & {*sys.modules})"
    )
    assert subprocess.check_output([sys.executable, "-c", code, *files], text=True) == "set()\n"
