"""Files of weights as people bring them, made small: `write(folder, kind)`, for every kind of KINDS."""

import argparse
import io
import json
import os
import pickle
import struct
import tarfile
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

__all__ = ["BROKEN", "FOREIGN", "READ", "WAS_HERE", "network", "values", "write"]


def network(channels=1, width=4):
    """What the files of READ fit, with numbers of its own."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(channels, width, 3), nn.ReLU(), nn.Conv2d(width, channels, 3))


def values(net=None):
    return {name: tensor.clone() for name, tensor in (net or network()).state_dict().items()}


def write(folder, kind):
    """The path of a file of this kind, made anew."""
    content = {**READ, **FOREIGN, **BROKEN}[kind]()
    path = folder / f"{kind.replace(' ', '-')}{SUFFIX.get(kind, '.pth')}"
    path.write_bytes(content)
    return path


def saved(content, **options):
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def safetensors(tensors, **metadata):
    from safetensors.torch import save

    return save(tensors, metadata)


def renamed(first, tensors=None):
    return {first + name: tensor for name, tensor in (tensors or values()).items()}


def doubled():
    return {name: 2 * tensor for name, tensor in values().items()}


def trained():
    """A network and its optimizer after a step."""
    net = network()
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.zeros(1, 1, 8, 8)).sum().backward()
    optimizer.step()
    return optimizer


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return saved({name: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8) for name, t in values().items()})


def transposed():
    """The same numbers, of which no tensor is contiguous in memory."""
    return {name: t.mT.contiguous().mT if t.ndim > 1 else t for name, t in values().items()}


def scripted():
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network()), file)
    return file.getvalue()


def zipped(**files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tar_in_disguise():
    """An archive whose first member is called what torch.save once wrote first."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", encoding="latin1") as archive:
        archive.addfile(tarfile.TarInfo("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."))
    return file.getvalue()


def bomb():
    """Says in a few kilobytes that it holds gigabytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, 2))
        archive.writestr("a/data/0", bytes(32 << 20))
    return file.getvalue()


def flipped():
    """A state dict of which one bit of one number has changed on the way."""
    content = bytearray(saved(values()))
    place = bytes(content).index(values()["0.weight"].numpy().tobytes())
    content[place + 2] ^= 0x40
    return bytes(content)


WAS_HERE = Path(tempfile.gettempdir()) / "bench-was-here"


class Calls:
    """What a hostile file asks to be called."""

    def __reduce__(self):
        return os.mkdir, (str(WAS_HERE),)


READ = {
    "safetensors": lambda: safetensors(values()),
    "safetensors behind module": lambda: safetensors(renamed("module.")),
    "state dict": lambda: saved(network().state_dict()),
    "plain dict": lambda: saved(values()),
    "before torch 1.6": lambda: saved(network().state_dict(), _use_new_zipfile_serialization=False),
    "params": lambda: saved({"params": values()}),
    "params_ema": lambda: saved({"params": doubled(), "params_ema": values()}),
    "net_ema before net": lambda: saved({"net_ema": values(), "net": doubled()}),
    "an ema that is none": lambda: saved({"ema": {"decay": torch.tensor(0.999)}, "model": values()}),
    "state_dict": lambda: saved({"state_dict": values(), "epoch": 3}),
    "model": lambda: saved({"model": values(), "optimizer": trained().state_dict()}),
    "net": lambda: saved({"net": values()}),
    "model_state_dict": lambda: saved({"model_state_dict": values(), "loss": 0.1}),
    "two levels": lambda: saved({"model": {"state_dict": values(), "arch": "net"}}),
    "a list": lambda: saved([values(), 20, 5]),
    "module": lambda: saved(renamed("module.")),
    "module in state_dict": lambda: saved({"state_dict": renamed("module."), "epoch": 3}),
    "compiled": lambda: saved(renamed("_orig_mod.")),
    "compiled and parallel": lambda: saved(renamed("module._orig_mod.")),
    "averaged": lambda: saved(torch.optim.swa_utils.AveragedModel(network()).state_dict()),
    "net and another": lambda: saved({"net": values(), "discriminator": values(network(width=7))}),
    "alike twice": lambda: saved({"model": values(), "net": values()}),
    "beside numbers": lambda: saved({"state_dict": values(), "rng": torch.zeros(9, dtype=torch.uint8)}),
    "parameters": lambda: saved({name: nn.Parameter(t) for name, t in values().items()}),
    "float64": lambda: saved({name: t.double() for name, t in values().items()}),
    "not contiguous": lambda: saved(transposed()),
    "channels last": lambda: saved(network().to(memory_format=torch.channels_last).state_dict()),
    "sparse": lambda: saved({name: t.to_sparse() for name, t in values().items()}),
    "requiring gradients": lambda: saved({name: t.requires_grad_() for name, t in values().items()}),
    "views of one": lambda: saved({name: torch.stack([t, t])[1] for name, t in values().items()}),
}
"""Of each the tensors are `values()`."""

FOREIGN = {
    "a whole model": lambda: saved(network()),
    "a whole model of old": lambda: saved(network(), _use_new_zipfile_serialization=False),
    "a model in a dict": lambda: saved({"model": network(), "epoch": 1}),
    "numbers of numpy": lambda: saved({"params": values(), "best": np.float64(3)}),
    "arrays of numpy": lambda: saved({name: t.numpy() for name, t in values().items()}),
    "arguments": lambda: saved({"state_dict": values(), "args": argparse.Namespace(lr=1)}),
    "a call": lambda: saved({"params": values(), "x": Calls()}),
    "a plain pickle": lambda: pickle.dumps(values()),
    "a later protocol": lambda: saved(values(), pickle_protocol=4),
    "torchscript": scripted,
    "onnx": lambda: b"\x08\x08\x12\x07pytorch\x1a\x051.4.0:\xd2\x01\n$",
    "keras": lambda: b"\x89HDF\r\n\x1a\n" + bytes(100),
    "matlab 7.3": lambda: b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n" + bytes(100),
    "matlab 5": lambda: b"MATLAB 5.0 MAT-file, Platform".ljust(128) + bytes(100),
    "npz": lambda: zipped(**{"a.npy": b"\x93NUMPY"}),
    "npy": lambda: b"\x93NUMPY\x01\x00" + bytes(100),
    "exported": lambda: zipped(**{"m/archive_format": "pt2", "m/models/model.json": "{}"}),
    "a zip": lambda: zipped(**{"weights/net.pth": "x"}),
    "gzip": lambda: b"\x1f\x8b\x08\x00" + bytes(100),
    "tar": lambda: b"weights.pth".ljust(257, b"\0") + b"ustar\0" + bytes(300),
    "tar in disguise": tar_in_disguise,
    "tensorflow index": lambda: bytes(100) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb",
    "gguf": lambda: b"GGUF\x03" + bytes(100),
    "text": lambda: b"sigma 25\nlayers 17\n",
    "json": lambda: json.dumps({"message": "Not Found"}).encode(),
    "noise": lambda: bytes(range(3, 103)),
    "a single tensor": lambda: saved(torch.zeros(3, 4)),
    "optimizer": lambda: saved({"optimizer": trained().state_dict(), "epoch": 3}),
    "a bare optimizer": lambda: saved(trained().state_dict()),
    "rates of an optimizer": lambda: saved({"state": {}, "param_groups": [{"lr": torch.tensor(0.1)}]}),
    "numbers": lambda: saved({"epoch": 3, "lr": [0.1, 0.2]}),
    "nothing": lambda: saved({}),
    "tensors by numbers": lambda: saved({0: torch.zeros(3)}),
    "a list of tensors": lambda: saved([torch.zeros(3), torch.zeros(3)]),
    "two networks": lambda: saved({"model": values(), "net": doubled()}),
    "int8": lambda: saved({name: t.to(torch.int8) for name, t in values().items()}),
    "quantised": quantised,
    "complex": lambda: saved({name: t.cfloat() for name, t in values().items()}),
    "no values": lambda: saved({name: t.to("meta") for name, t in values().items()}),
    "unpacks to much": bomb,
    "later kinds of numbers": lambda: safetensors(values()).replace(b'"F32"', b'"F3X"'),
}
"""Nothing of these gets into a network."""

BROKEN = {
    "empty": lambda: b"",
    "git lfs": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "web page": lambda: b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>",
    "xml answer": lambda: b'\xef\xbb\xbf<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "half a zip": lambda: saved(values())[:-300],
    "half a file of old": lambda: saved(values(), _use_new_zipfile_serialization=False)[:-40],
    "a third of a file of old": lambda: saved(values(), _use_new_zipfile_serialization=False)[:300],
    "half safetensors": lambda: safetensors(values())[:-10],
    "the head of safetensors": lambda: safetensors(values())[:60],
    "a flipped bit": flipped,
    "a huge header": lambda: struct.pack("<Q", 2**40) + b'{"a":' + bytes(100),
    "a header of nonsense": lambda: struct.pack("<Q", 10) + b'{"a": nope' + bytes(100),
    "a header of numbers": lambda: struct.pack("<Q", 8) + b'{"a": 1}' + bytes(100),
    "offsets of text": lambda: struct.pack("<Q", 38) + b'{"a": {"data_offsets": ["x", "yyyyy"]}}'[:38] + bytes(100),
}
"""Of no use to anybody."""

SUFFIX = {
    "safetensors": ".safetensors",
    "safetensors behind module": ".safetensors",
    "half safetensors": ".safetensors",
    "a whole model": ".pt",
    "onnx": ".onnx",
    "keras": ".h5",
    "matlab 7.3": ".mat",
    "matlab 5": ".mat",
    "git lfs": ".safetensors",
}
