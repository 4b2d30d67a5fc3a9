"""All that is known of one thing by its name: a restorer, data set, task, metric or protocol; and what to cite."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from bench import escape
from bench.data import datasets
from bench.errors import PaperError, RequestError, unknown
from bench.judge.references import Reference, of_dataset, of_restorer
from bench.judge.references import of_metric as papers_of_metric
from bench.level import format_level
from bench.metric import METRICS, Metric
from bench.plugins.metrics import installed_metrics
from bench.plugins.registry import RestorerInfo, choose, infos
from bench.plugins.tasks import installed_tasks
from bench.plugins.weights import ORIGIN, declared_for, fault_of, state
from bench.protocol import PROTOCOLS
from bench.records.figures import metrics_of
from bench.report.drawing import draw, in_words
from bench.report.listing import entry, of_metric
from bench.task import Task
from bench.tasks import TASKS, colour_word

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["about", "cited"]


def about(name: str) -> str:
    """What there is to know of the restorer, data set, task, metric or protocol of that name, as text.

    Raises RequestError with the nearest names for one that is none, RestorerError for a file that is no plugin.
    """
    if name in infos():
        return _of_restorer(infos()[name])
    if name in datasets.names():
        return _of_dataset(datasets.get(name))
    tasks, metrics = {**TASKS, **installed_tasks()}, {**METRICS, **installed_metrics()}
    if isinstance(task := tasks.get(name), Task):
        return _of_task(task)
    if isinstance(metric := metrics.get(name), Metric):
        return "\n\n".join([_told([("", of_metric(metric))], name), *_bibtex(papers_of_metric(name))])
    if name in PROTOCOLS:
        return _told([("", PROTOCOLS[name].words)], name)
    if set(name) & set(":@+(/"):
        return _of_restorer(choose(name).info)
    known = [*infos(), *datasets.names(), *tasks, *metrics, *PROTOCOLS]
    raise RequestError(unknown("restorer, data set, task, metric or protocol", name, known))


FREE = "no terms beyond its licence"


def _of_restorer(info: RestorerInfo) -> str:
    facts = [
        ("", info.summary),
        ("tasks", ", ".join(sorted(info.tasks))),
        ("variants", " ".join(f"{info.name}:{variant}" for variant in info.variants)),
        ("parameters", ", ".join(f"{name}={default}" for name, default in info.takes.names.items())),
        ("written in", f"{info.source}"),
        *((f"needs {package}", terms or FREE) for package, terms in info.requires.items()),
        *(
            (f":{variant} needs {package}", terms or FREE)
            for variant, requires in info.requires_of.items()
            for package, terms in requires.items()
        ),
        ("unavailable", info.unavailable or ""),
        ("weights", fault_of(info)),
    ]
    parts = [_told(facts, info.name)]
    if not fault_of(info) and (rows := [*_weights(info)]):
        parts += [draw(in_words(["task", "pictures", "levels", "variants", "weights", "here"], rows))]
        parts += ["\n".join(_terms(info))]
    elif info.needs_weights:
        parts += ["It needs weights and declares none."]
    return "\n\n".join([*parts, *_bibtex(_papers(info, info.variants))])


def _papers(info: RestorerInfo, variants: Iterable[str]) -> list[Reference]:
    try:
        return of_restorer(info, variants)
    except PaperError:  # of a plugin of somebody else's: all else is told
        return []


def _weights(info: RestorerInfo) -> Iterator[list[str]]:
    """A row for each setting that a file serves."""
    for declaration in declared_for(info):
        for use in declaration.settings:
            levels = (" to " if use.is_range else ", ").join(map(format_level, use.levels))
            variants = [f":{name}" if name else "plain" for name in use.variants or ()]
            serves = [use.task, colour_word(use.channels), levels, ", ".join(variants) or "all"]
            yield [*serves, declaration.label, state(declaration)]


def _terms(info: RestorerInfo) -> Iterator[str]:
    """`published weights, 12 files: trained on bsd400; MIT (…)`"""
    declared = declared_for(info)
    kinds = Counter((ORIGIN[d.trained_by], ", ".join(d.trained_on), d.licence) for d in declared)
    for (origin, sets, licence), n in kinds.items():
        yield from entry(origin, f"{n} file{'s' * (n > 1)}, trained on {sets}; {licence}")


def _of_dataset(dataset: datasets.Dataset) -> str:
    n_here = sum(found == "ok" for found in datasets.verify(dataset).values())
    facts = [
        ("", dataset.title),
        ("pictures", f"{dataset.images}, {' and '.join(map(colour_word, dataset.channels))}"),
        ("here", f"{n_here} of {dataset.images}"),
        ("terms", dataset.terms),
        ("from", dataset.url or dataset.embedded),
        ("composed of", ", ".join(dataset.composed_of)),
        *((f"overlaps {other}", text) for other, text in dataset.overlaps.items()),
        *(("note", note) for note in dataset.notes),
    ]
    return "\n\n".join([_told(facts, dataset.name), *_bibtex(of_dataset(dataset.name))])


def _of_task(task: Task) -> str:
    option = f"--{task.level.option}"
    facts = [
        ("", task.title),
        ("level", f"{option}: {task.level.expected}"),
        ("unless said", f"{option} {','.join(map(format_level, task.levels))}"),
        ("restorers", ", ".join(name for name, info in infos().items() if task.name in info.tasks)),
    ]
    return _told(facts, task.name)


def _told(facts: Iterable[tuple[str, str]], name: str) -> str:
    lines = [escape.terminal(name)]
    for what, text in facts:
        lines += entry(what, text) if text else []
    return "\n".join(lines)


def _bibtex(references: Sequence[Reference]) -> list[str]:
    return ["\n".join(map(escape.terminal, reference.bibtex.split("\n"))) for reference in references]


# --- what to cite ----------------------------------------------------------------------------------------


def cited(frame: pd.DataFrame) -> tuple[str, list[str]]:
    """BibTeX of all that good records rest on, each entry once below a line that says of what it is; and those
    restorers and data sets of which we know no paper."""
    good = frame[frame["status"] == "ok"]
    used: dict[tuple[str, str], list[Reference]] = {}
    for name, variant in dict.fromkeys(maker for named in good["restorer"] for maker in _makers(named)):
        papers = _papers(infos()[name], [variant]) if name in infos() else []
        used.setdefault(("restorer", name), []).extend(papers)
    used |= {("data set", name): of_dataset(name) for name in dict.fromkeys(good["dataset"])}
    ssim = ["ssim"] if good["ssim"].notna().any() else []
    used |= {("metric", name): papers_of_metric(name) for name in [*ssim, *metrics_of(good)]}
    of: dict[Reference, list[str]] = {}
    for (_, name), references in used.items():
        for reference in references:
            of.setdefault(reference, []).append(name)
    told = [
        f"% {escape.terminal(', '.join(dict.fromkeys(names)))}\n{_bibtex([reference])[0]}"
        for reference, names in of.items()
    ]
    return "\n\n".join(told), [f"{kind} {name}" for (kind, name), references in used.items() if not references]


def _makers(named: str) -> Iterator[tuple[str, str]]:
    """Restorer and variant of a record's name: `dncnn:bf16(tile=64)` has one, `vst:bm3d+` has two."""
    name, _, rest = re.split(r"[+(@]", named, maxsplit=1)[0].partition(":")
    if name in infos() and infos()[name].takes_denoiser:
        inside, _, variant = rest.partition(":")
        yield name, ""
        yield inside, variant
    else:
        yield name, rest
