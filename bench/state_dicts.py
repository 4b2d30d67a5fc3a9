"""Tensors of a weights file into a network: read without running anything of the file's, and what does not fit."""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from bench.checkpoints import (
    AVERAGED,
    READABLE,
    SAFETENSORS,
    TORCH,
    USUAL,
    complaint,
    kind_of,
    metadata_in,
    scan,
    shown,
    why_not_read,
)
from bench.errors import WeightsError

__all__ = ["content_of", "explained", "load_as_published", "load_into", "named_alike", "options_in"]

MOST_LEVELS = 3
"""of entries within entries in which a state dict is looked for"""
MOST_UNPACKED = 100
"""times the size of a file that its content may have: torch.save does not compress"""
CHUNK_BYTES = 1 << 20

WRAPPERS = ("module.", "_orig_mod.")
"""before every name: of DataParallel and AveragedModel, and of torch.compile"""
COUNTERS = ("n_averaged", "num_batches_tracked")
"""Last words of names of which a network that does not learn has no use."""

Shapes = Mapping[str, tuple[int, ...]]


def load_into(network: nn.Module, path: Path) -> None:
    """Copy the file's tensors into the network, all of them, by their names.

    They are looked for at the top of a checkpoint and in its entries: `AVERAGED` first, then `USUAL`, then any; a
    wrapper's word before every name is left out. Numbers become those of the network, float32 as a rule.

    Raises WeightsError if the file holds no state dict, several that differ, or one that does not fit.
    """
    own = network.state_dict()
    state = _chosen([_unwrapped(state, own) for state in _states(content_of(path))], own, path)
    with explained(network, path):
        network.load_state_dict(_usable(state.tensors, own, path))


def load_as_published(network: nn.Module, path: Path, reader: str, load: Callable[[], None]) -> None:
    """`load()`, the reader of published weights, or else `load_into`: a user's file may be of either kind.

    reader  its name
    Raises WeightsError if neither can read the file.
    """
    try:
        with explained(network, path):
            load()
        return
    except Exception as error:  # whatever a reader of one format does with another
        wrong = error
    if isinstance(wrong, WeightsError) or kind_of(path) in READABLE:
        try:
            load_into(network, path)
            return
        except WeightsError as plainly:
            raise (wrong if isinstance(wrong, WeightsError) else plainly) from None
    told = f"{type(wrong).__name__}: {wrong}".rstrip(".")
    words = f"is {kind_of(path).words} and cannot be read as the published weights are ('{reader}')"
    raise WeightsError(f"{path} {words}: {told}.") from None


def named_alike(own: Mapping[str, Tensor], path: Path) -> Mapping[str, Tensor]:
    """The file's tensors of the names that a network has; their shapes may be others.

    Of the first state dict that has one: `AVERAGED`, then `USUAL`, then any. Empty if none has.

    Raises WeightsError if the file cannot be read, or such a tensor's numbers are not of the network's kind.
    """
    states = [_unwrapped(state, own) for state in _states(content_of(path))]
    for state in (state for kind in _by_kind(states) for state in kind):
        found = {name: tensor for name, tensor in state.tensors.items() if name in own}
        for name, tensor in found.items():
            _check_numbers(name, tensor, own[name], path)
            found[name] = tensor if tensor.layout == torch.strided else tensor.to_dense()
        if found:
            return found
    return {}


def options_in(path: Path) -> dict[str, Any]:
    """The network's options that stand in the file: in the metadata of safetensors, or as an entry `options`.

    Empty where there are none, or the file is not read. Raises WeightsError for metadata that are no options.
    """
    kind = kind_of(path)
    if kind is SAFETENSORS:
        try:
            options = json.loads(metadata_in(path).get("options", "{}"))
        except (ValueError, TypeError, RecursionError):
            options = None
        if not isinstance(options, dict):
            raise WeightsError(f"{path}: `options` in its metadata are no JSON object, as `bench train` writes them.")
        return options
    if kind is not TORCH or "options" not in scan(path).entries:
        return {}
    try:
        content = content_of(path)
    except WeightsError:  # `load` may read it by other means, or will say what is wrong
        return {}
    options = content.get("options") if isinstance(content, dict) else None
    return options if isinstance(options, dict) and _is_plain(options) else {}


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(part) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float))


# --- reading ---------------------------------------------------------------------------------------------


def content_of(path: Path) -> Any:
    """What the file holds. Raises WeightsError if that cannot be read without running code."""
    kind = kind_of(path)
    if kind is SAFETENSORS:
        from safetensors.torch import load_file

        try:
            return dict(sorted(load_file(path).items(), key=lambda item: _place(item[0])))
        except Exception as error:  # SafetensorError, KeyError for a kind of numbers that torch lacks, …
            raise WeightsError(f"{path} cannot be read as safetensors ({error}). Fetch or make it again.") from None
    if kind is not TORCH:
        raise WeightsError(complaint(path, kind))
    _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what torch is about to drop: nothing that a reader could change
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises many kinds, and its advice is to run whatever the file holds
        raise WeightsError(why_not_read(path)) from None


def _place(name: str) -> list[tuple[int, str]]:
    """Where a name stands among others, as PyTorch has them: by number, weights before biases. safetensors sorts."""
    *parents, last = name.split(".")
    parts = [(len(part), part) if part.isdecimal() else (-1, part) for part in parents]
    return [*parts, (-2 if last.endswith("weight") else -1, last)]


def _check_archive(path: Path) -> None:
    """Raise WeightsError if a zip file unpacks to absurdly much, or its checksums are not its content's.

    torch does not look at them: a bit that changed on the way would be another weight. 0 stands for none.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        n_bytes = sum(member.file_size for member in archive.infolist())
        if n_bytes > MOST_UNPACKED * path.stat().st_size:
            raise WeightsError(f"{path} unpacks to {n_bytes / path.stat().st_size:.0f} times its size: not read.")
        try:
            for member in archive.infolist():
                with archive.open(member) as file:
                    while member.CRC and file.read(CHUNK_BYTES):
                        pass
        except Exception:  # whatever an archive that is damaged leads to
            told = f"{path} is damaged: {shown(member.filename)} is not what was written. Fetch it again."
            raise WeightsError(told) from None


class _State(NamedTuple):
    """A state dict, and the entries in which it lies."""

    where: tuple[str, ...]
    tensors: OrderedDict[str, Tensor]

    def __str__(self) -> str:
        return shown(".".join(self.where)) if self.where else "the file itself"


def _states(content: Any, where: tuple[str, ...] = ()) -> Iterator[_State]:
    """The state dicts in what torch has read; of an optimizer's state there is none."""
    if isinstance(content, (list, tuple)):
        content = {f"[{place}]": entry for place, entry in enumerate(content) if not isinstance(entry, Tensor)}
    if not isinstance(content, dict) or "param_groups" in content or len(where) >= MOST_LEVELS:
        return
    names = [name for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)]
    if names:
        tensors = OrderedDict((name, content[name]) for name in names)
        tensors._metadata = _versions(content)  # type: ignore[attr-defined]
        yield _State(where, tensors)
    for name, value in content.items():
        if isinstance(name, str):
            yield from _states(value, (*where, name))


def _versions(content: Any) -> Mapping[str, Mapping[str, Any]]:
    """What `state_dict()` says of the layers' versions, which they go by when they load."""
    told = getattr(content, "_metadata", None)
    is_such = isinstance(told, dict) and all(isinstance(entry, dict) for entry in told.values())
    return told if is_such else {}  # type: ignore[return-value]


def _unwrapped(state: _State, own: Mapping[str, Tensor]) -> _State:
    """Without the wrappers' words that stand before every name, and not before every name of the network."""
    tensors = state.tensors
    while True:
        names = [name for name in tensors if name not in COUNTERS]
        wrapper = next((word for word in WRAPPERS if names and _all_begin(names, word)), "")
        if not wrapper or _all_begin(own, wrapper):
            return state._replace(tensors=tensors)
        tensors = tensors.copy()
        tensors.pop("n_averaged", None)
        consume_prefix_in_state_dict_if_present(tensors, wrapper)


def _all_begin(names: Iterable[str], word: str) -> bool:
    return all(name.startswith(word) for name in names)


def _chosen(states: Sequence[_State], own: Mapping[str, Tensor], path: Path) -> _State:
    """The state dict that is meant: the first kind of which one fits, or else the first of all."""
    if not states:
        raise WeightsError(f"{path} {_no_state(content_of(path))}")
    kinds = _by_kind(states)
    fitting = [[state for state in kind if not _misfit(_shapes(state.tensors), _shapes(own))] for kind in kinds]
    best = next((kind for kind in fitting if kind), None)
    if best is None:
        return kinds[0][0]
    if any(not _same(best[0].tensors, other.tensors) for other in best[1:]):
        several = ", ".join(map(str, best))
        raise WeightsError(
            f"{path} holds several state dicts that fit and differ: {several}. Save the one that is meant alone."
        )
    return best[0]


def _by_kind(states: Sequence[_State]) -> list[list[_State]]:
    """Those that are likely meant first; each kind has one at least."""
    kinds = [[state for state in states if {*state.where} & {*names}] for names in (AVERAGED, USUAL)]
    return [kind for kind in [*kinds, [*states]] if kind]


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    pairs = [(one[name], other[name]) for name in _shapes(one)]
    return all(a.dtype == b.dtype and torch.equal(a.to_dense(), b.to_dense()) for a, b in pairs if not a.is_meta)


def _no_state(content: Any) -> str:
    if isinstance(content, Tensor):
        return f"holds a single tensor of {_size(tuple(content.shape))}, without a name. Expected a state dict."
    if isinstance(content, dict) and ("param_groups" in content or any("optim" in str(key) for key in content)):
        return "holds the state of an optimizer, and no network's. Name the file of the network's weights."
    keys = ", ".join(shown(str(key)) for key in [*content][:5]) if isinstance(content, dict) else ""
    return f"holds no tensors by their names{f' ({keys})' if keys else ''}. Expected a state dict."


def _usable(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path) -> OrderedDict[str, Tensor]:
    """The tensors as they can be copied. Raises WeightsError for numbers that are not those of float weights."""
    usable = OrderedDict((name, tensor) for name, tensor in own.items() if _counts(name))
    usable._metadata = getattr(tensors, "_metadata", {})  # type: ignore[attr-defined]
    for name, tensor in tensors.items():
        if name in own and tensor.shape == own[name].shape:
            _check_numbers(name, tensor, own[name], path)
            tensor = tensor if tensor.layout == torch.strided else tensor.to_dense()
        if name in own or not _counts(name):
            usable[name] = tensor
    return usable


def _check_numbers(name: str, given: Tensor, own: Tensor, path: Path) -> None:
    if given.is_meta:
        raise WeightsError(f"{path}: {shown(name)} has a shape and no values. {_FULL}")
    if own.is_floating_point() and not given.is_floating_point():
        kinds = [str(tensor.dtype).removeprefix("torch.") for tensor in (given, own)]
        raise WeightsError(f"{path}: {shown(name)} is {kinds[0]} in the file and {kinds[1]} in the network. {_FULL}")


_FULL = "Save the weights as they were trained, in full precision."


# --- what does not fit -------------------------------------------------------------------------------------


@contextmanager
def explained(network: nn.Module, path: Path) -> Iterator[None]:
    """Within it, a state dict that the network refuses is a WeightsError that says what differs, and likely why."""
    given: dict[str, tuple[int, ...]] = {}

    def note(state: Mapping[str, Any], *_: Any) -> None:
        given.clear()
        given.update(_shapes(state))

    noting = network._register_load_state_dict_pre_hook(note)  # type: ignore[no-untyped-call]
    try:
        yield
    except RuntimeError:
        misfit = _misfit(given, _shapes(network.state_dict())) if given else ""
        if not misfit:
            raise
        raise WeightsError(f"{path} does not fit the network: {misfit}.") from None
    finally:
        noting.remove()


def _shapes(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(t.shape) for name, t in tensors.items() if isinstance(t, Tensor) and not _counts(name)}


def _counts(name: str) -> bool:
    return name.rpartition(".")[2] in COUNTERS


def _misfit(given: Shapes, own: Shapes) -> str:
    """What differs first between a file and a network, and the likely reason; "" if nothing does."""
    extra, missing = [name for name in given if name not in own], [name for name in own if name not in given]
    reshaped = [name for name in own if given.get(name, own[name]) != own[name]]
    if extra or missing:
        sides = (("file", "network", extra), ("network", "file", missing))
        told = [
            f"the {has} has {shown(names[0])}{_and_more(names)} that the {lacks} lacks"
            for has, lacks, names in sides
            if names
        ]
        return f"{', '.join(told)}. Most likely {_why_other_names(given, own, extra, missing)}"
    if reshaped:
        first = reshaped[0]
        sizes = f"{_size(given[first])} in the file and {_size(own[first])} in the network"
        others = f", and {len(reshaped) - 1} more differ" if len(reshaped) > 1 else ""
        return f"{shown(first)} is {sizes}{others}. Most likely {_why_other_shapes(given[first], own[first])}"
    return ""


def _and_more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one number"


def _why_other_names(given: Shapes, own: Shapes, extra: Sequence[str], missing: Sequence[str]) -> str:
    n_tensors = f"{len(given)} tensors in the file, {len(own)} in the network"
    if word := _word_before(given, own):
        return f"the network's names behind {shown(word)}: save the state dict of that part alone"
    if word := _word_before(own, given):
        return f"the network's names without their {shown(word)}: save the state dict of the whole network"
    if any(re.search(r"weight_[gv]$|parametrizations\.", name) for name in extra):
        return "weight normalisation that was not merged before saving (torch.nn.utils.remove_weight_norm)"
    if _kernels(given) == _kernels(own):  # all else alike
        has_statistics = [any(name.endswith("running_mean") for name in names) for names in (given, own)]
        if has_statistics == [True, False]:
            return "batch normalisation, which the network does not have, or has merged into its convolutions"
        if has_statistics == [False, True]:
            return "a network without batch normalisation, or one that has merged it into its convolutions"
    if [*given.values()] == [*own.values()] or _by_place(given) == _by_place(own):
        return "the same architecture under other names: a `load` of your own can rename them"
    reshaped = [name for name in own if name in given and given[name] != own[name]]
    if reshaped and (colours := _why_other_colours(given[reshaped[0]], own[reshaped[0]])):
        return colours
    if not extra:
        return f"a network of fewer layers, or a part of one ({n_tensors})"
    if not missing:
        return f"a network of more layers ({n_tensors})"
    kept = len(given) - len(extra)
    return f"another version of the architecture ({n_tensors})" if kept else f"another architecture ({n_tensors})"


def _kernels(shapes: Shapes) -> list[tuple[int, ...]]:
    return [shape for shape in _by_place(shapes) if len(shape) > 1]


def _by_place(shapes: Shapes) -> list[tuple[int, ...]]:
    return [shapes[name] for name in sorted(shapes, key=_place)]


def _word_before(longer: Shapes, shorter: Shapes) -> str:
    """What stands before every name of `longer`, which are those of `shorter` else; "" if that is not so."""
    some = next(iter(shorter), "")
    words = {name.removesuffix(some) for name in longer if name.endswith(f".{some}")}
    return next((word for word in words if {*longer} == {word + name for name in shorter}), "")


def _why_other_shapes(given: tuple[int, ...], own: tuple[int, ...]) -> str:
    if colours := _why_other_colours(given, own):
        return colours
    if sorted(given) == sorted(own):
        return "axes in another order, as MATLAB and TensorFlow have them"
    if prod(given) == prod(own):
        return "the same numbers in another shape"
    if len(given) == len(own) > 2 and given[:2] == own[:2]:
        return "kernels of another size"
    return "layers of other widths: weights of another setting or of other options"


def _why_other_colours(given: tuple[int, ...], own: tuple[int, ...]) -> str:
    """Of a tensor that has three times as many channels in one of them; "" if it does not."""
    ratios = {(a, b) for a, b in zip(given, own, strict=False) if a != b} if len(given) == len(own) else set()
    if ratios and all(a == 3 * b for a, b in ratios):
        return "weights for colour pictures, and a network for gray ones"
    if ratios and all(b == 3 * a for a, b in ratios):
        return "weights for gray pictures, and a network for colour ones"
    return ""
