"""Our docstrings for Sphinx: lists of arguments, code by indentation, and no mark-up but `code`.

A word or some, two spaces or more, and what they mean, over as many lines as it takes, are an entry of a list:

    methods, task  comma-separated text or lists
    repeats        noise realisations per image

Any other indented lines are code.
"""

from __future__ import annotations

import re

ENTRY = re.compile(r"(?P<names>[\w@+]+(?:, [\w@+]+)*) {2,}(?P<text>\S.*)")


def to_rest(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Rewrite a docstring in place, as `autodoc-process-docstring` asks for."""
    made: list[str] = []
    in_code = False
    for line in lines:
        entry = ENTRY.fullmatch(line)
        if entry:
            made += ["", f"``{entry['names']}``", f"    {escaped(entry['text'])}"]
            in_code = False
        elif line.startswith(" "):
            after_entry = made and made[-1].startswith("    ") and not in_code
            if after_entry:
                made.append(f"    {escaped(line.strip())}")
                continue
            if not in_code:
                made += ["", "::", ""]
                in_code = True
            made.append(line)
        elif not line:
            made.append(line)
        else:
            if made and made[-1].startswith("    "):
                made.append("")
            in_code = False
            made.append(escaped(line))
    lines[:] = made


def escaped(text: str) -> str:
    """What reStructuredText would take for mark-up, outside of `code`, as it is."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*|_\\])", r"\\\1", part) for part in parts)
