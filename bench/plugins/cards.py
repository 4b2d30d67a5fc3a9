"""What weights that a user names were trained for: their card tells, or the declaration of the same file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bench.checkpoints import AVERAGED, TORCH, USUAL, card_in, kind_of, scan, shown
from bench.errors import BenchError
from bench.level import format_level
from bench.plugins.registry import RestorerSpec
from bench.plugins.weights import Use, uses_of
from bench.tasks import TASKS, Setting, colour_word, get_task

if TYPE_CHECKING:
    from bench.restorer import WeightsFile

__all__ = ["remarks", "settings"]


def remarks(spec: RestorerSpec, weights: WeightsFile | None, setting: Setting) -> Iterator[str]:
    """What is odd about a user's own file, used at this setting: trained for another, or holding several networks."""
    if weights is None or not weights.label.startswith("file:"):
        return
    name = f"{spec.name}@{weights.path.name}"
    uses = _uses(spec, weights)
    if uses and not any(use.fits(setting) for use in uses):
        yield f"{name}: trained for {', '.join(map(_in_words, uses))}, and used for {setting}"
    if kind_of(weights.path) is TORCH:
        entries = scan(weights.path).entries
        averaged, usual = ([key for key in keys if key in entries] for keys in (AVERAGED, USUAL))
        if averaged and usual:
            yield f"{name}: of its {shown(averaged[0])} and {shown(usual[0])} the first is read, if it fits"


def settings(spec: RestorerSpec, weights: WeightsFile) -> list[Setting]:
    """Settings that a user's file may be for: first what it was trained for, then all that there are."""
    uses = [use for use in _uses(spec, weights) if use.task in spec.info.tasks]
    likely = [Setting(use.task, use.levels[-1], use.channels) for use in uses]
    tasks = [get_task(name) for name in sorted(spec.info.tasks & {*TASKS})]
    of_each = [(task, channels) for task in tasks for channels in ((task.channels,) if task.channels else (1, 3))]
    usual = [Setting(task.name, task.levels[len(task.levels) // 2], channels) for task, channels in of_each]
    others = [Setting(task.name, level, channels) for task, channels in of_each for level in task.levels]
    return [*dict.fromkeys([*likely, *usual, *others])]


def _uses(spec: RestorerSpec, weights: WeightsFile) -> list[Use]:
    return _uses_in_card(weights) or uses_of(spec, weights.sha256)


def _uses_in_card(weights: WeightsFile) -> list[Use]:
    """The setting that `bench train` wrote into the file; none if there is no such card."""
    card = card_in(weights.path)
    try:
        recipe, words = card["recipe"], str(card["setting"]).split()
        task, channels, trained = recipe["task"], int(recipe["channels"]), recipe.get("levels") or []
        also = [_of_several(name, channels, levels) for name, levels in recipe.get("also", {}).items()]
        if trained:
            return [_of_several(task, channels, trained), *also]
        level = get_task(task).level.parse(words[2])
        return [] if level is None else [Use(task, channels, (level,), False, None), *also]
    except (BenchError, KeyError, IndexError, TypeError, ValueError, AttributeError):
        return []


def _of_several(task: str, channels: int, trained: Sequence[Any]) -> Use:
    levels = [float(level) for level in trained]
    return Use(task, channels, (min(levels), max(levels)), True, None)


def _in_words(use: Use) -> str:
    """`denoise sigma 5 to 25 colour`."""
    levels = (" to " if use.is_range else ", ").join(map(format_level, use.levels))
    return f"{use.task} {get_task(use.task).level.name} {levels} {colour_word(use.channels)}"
