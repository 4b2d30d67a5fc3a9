"""`bench completion`: what a shell asks, and what it is answered, when Tab is pressed. Imports nothing heavy.

A shell hands over the line as it is typed and is answered with whole words, so that no rule of its own of what ends a
word (a colon, an `@`) comes between. Where nothing is answered it offers files.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any

import typer

from bench.cli.options import app
from bench.errors import BenchError, RequestError, unknown

__all__ = ["candidates", "completion"]

SCRIPTS = {
    "bash": """\
_bench() {
    local IFS=$'\\n' line=${COMP_LINE:0:COMP_POINT}
    local word=${line##*[[:space:]]}
    local before=${word%"${word##*[:=@]}"}  # bash takes these for ends of words
    COMPREPLY=($("$1" complete -- "$line" 2> /dev/null))
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
}
complete -o default -F _bench bench
""",
    "zsh": """\
#compdef bench
_bench() {
    local -a found
    found=("${(@f)$(${words[1]} complete -- "${(j: :)words[1,CURRENT]}" 2> /dev/null)}")
    if [[ -n ${found[1]} ]]; then compadd -a found; else _files; fi
}
if [[ ${funcstack[1]} == _bench ]]; then _bench "$@"; else compdef _bench bench; fi
""",
    "fish": """\
function __bench_complete
    bench complete -- (commandline -cp) 2> /dev/null
end
complete -c bench -n '__bench_complete | string length -q' -f -a '(__bench_complete)'
""",
}


@app.command()
def completion(shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print what has a shell complete commands, options and names at Tab.

    For bash: eval "$(bench completion bash)", in ~/.bashrc to have it always.
    """
    if shell not in SCRIPTS:
        raise RequestError(unknown("shell", shell, SCRIPTS))
    print(SCRIPTS[shell], end="")


@app.command(hidden=True)
def complete(line: Annotated[str, typer.Argument(help="The line up to the cursor.")]) -> None:
    """Print what the last word of a line may become, a line each."""
    for candidate in candidates(line, typer.main.get_command(app)):
        print(candidate)


def candidates(line: str, command: Any) -> list[str]:
    """What the last word of the line may become, whole; none where a file or free text is meant.

    command  of `bench`, as typer makes it
    """
    words = [*_split(line), *([""] if line[-1:].isspace() else [])]
    named, option = "", None
    for word in words[1:-1]:
        if inner := getattr(command, "commands", {}).get(word):
            command, named = inner, f"{named} {word}".strip()
        else:
            option = _option(command, word) if option is None else None
    last = words[-1] if len(words) > 1 else ""
    if option is not None:
        return _of_list(last, _known(named, option))
    option, equals, value = last.partition("=")
    if equals and _option(command, option):
        return [f"{option}={found}" for found in _of_list(value, _known(named, option))]
    if last.startswith("-"):
        return _starting(last, _options(command))
    inside = [name for name, inner in getattr(command, "commands", {}).items() if not inner.hidden]
    return _starting(last, inside or _known(named))


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # a quote that is still open
        return line.split()


def _options(command: Any) -> Iterator[str]:
    for parameter in command.params:
        if parameter.param_type_name == "option":
            yield from (name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("--"))
    yield "--help"


def _option(command: Any, word: str) -> str | None:
    """The long name of an option that takes a value; None for what is no such option."""
    for parameter in command.params:
        if parameter.param_type_name == "option" and word in parameter.opts and not parameter.is_flag:
            return str(parameter.opts[0])
    return None


def _starting(word: str, known: Iterable[str]) -> list[str]:
    return [name for name in known if name.startswith(word)]


def _of_list(word: str, known: Iterable[str]) -> list[str]:
    """Of a word that may be a list, `bm3d,dn`: what its last part may become, behind the others."""
    before, comma, last = word.rpartition(",")
    return [f"{before}{comma}{name}" for name in _starting(last, known)]


# --- what there is ---------------------------------------------------------------------------------------


def _known(command: str, option: str = "") -> Sequence[str]:
    """What may stand behind an option of a command, or as its argument; nothing for files and free text."""
    known = KNOWN.get(f"{command} {option}".strip(), KNOWN.get(option))
    try:
        return [] if known is None else [*known()]
    except BenchError:
        return []


def _restorers() -> Iterator[str]:
    from bench.plugins.registry import infos
    from bench.plugins.weights import ORIGIN, all_declarations

    origins = {(d.restorer, ORIGIN[d.trained_by]) for d in all_declarations()}
    for name, info in infos().items():
        yield name
        yield from (f"{name}:{variant}" for variant in info.variants)
        yield from (f"{name}@{origin}" for restorer, origin in sorted(origins) if restorer == info.name)


def _restorers_alone() -> Iterable[str]:
    from bench.plugins.registry import infos

    return infos()


def _networks() -> Iterator[str]:
    from bench.plugins.registry import infos

    return (name for name, info in infos().items() if info.needs_weights)


def _tasks() -> Iterable[str]:
    from bench.plugins.tasks import installed_tasks
    from bench.tasks import TASKS

    return (*TASKS, *installed_tasks())


def _metrics() -> Iterable[str]:
    from bench.metric import METRICS
    from bench.plugins.metrics import installed_metrics

    return (*METRICS, *installed_metrics())


def _datasets() -> Iterable[str]:
    from bench.data.datasets import get, names

    return (name for name in names() if get(name).role != "part")


def _protocols() -> Iterable[str]:
    from bench.protocol import PROTOCOLS

    return PROTOCOLS


def _patterns() -> Iterable[str]:
    return ("RGGB", "BGGR", "GRBG", "GBRG")


def _devices() -> Iterable[str]:
    return ("cpu", "cuda", "mps")


def _formats() -> Iterable[str]:
    from bench.report.drawing import FORMATS

    return FORMATS


def _papers() -> Iterable[str]:
    from bench.judge.papers import names

    return ("all", *names())


def _weights() -> Iterator[str]:
    from bench.plugins.weights import all_declarations

    declared = all_declarations()
    yield from dict.fromkeys(d.restorer for d in declared)
    yield from (f"{d.restorer}.{d.tag}" for d in declared)


def _listings() -> Iterable[str]:
    from bench.report.listing import CACHED, LISTINGS

    return ("all", *LISTINGS, *CACHED)


KNOWN: dict[str, Callable[[], Iterable[str]]] = {
    "--methods": _restorers,
    "--task": _tasks,
    "--metrics": _metrics,
    "--datasets": _datasets,
    "--protocol": _protocols,
    "--pattern": _patterns,
    "--device": _devices,
    "--format": _formats,
    "--paper": _papers,
    "export --format": lambda: ("csv", "jsonl", "parquet"),
    "list": _listings,
    "info": lambda: (*_restorers_alone(), *_datasets(), *_tasks(), *_protocols()),
    "check": lambda: (*_restorers(), *_tasks(), *_metrics()),
    "train": _networks,
    "data fetch": _datasets,
    "data verify": _datasets,
    "weights fetch": _weights,
    "weights verify": _weights,
    "completion": lambda: SCRIPTS,
}
"""by option; by command and option, which comes first; by command for its argument"""
