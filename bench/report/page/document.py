"""The file itself: text, style, program and data in one HTML document that the browser lets ask for nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources

from bench.report.page.contents import Contents

__all__ = ["as_json", "document"]

PROGRAM = (
    *("data.js", "sorting.js", "filter.js", "details.js", "tables.js"),
    *("plots.js", "axes.js", "costs.js", "levels.js"),
    *("pictures.js", "panes.js", "zoom.js", "papers.js", "start.js"),
)
"""The files of the page's program, in the order in which they are put together."""


def document(title: str, contents: Contents, files: Sequence[bytes] = ()) -> str:
    """The page as text.

    title  of the document, any text
    files  PNG files, which the contents refer to by place
    """
    style, program = _asset("page.css"), _program()
    policy = {
        "default-src": "'none'",
        "script-src": f"'sha256-{_hash(program)}'",
        "style-src": f"'sha256-{_hash(style)}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return _filled(
        _asset("page.html"),
        {
            "POLICY": "; ".join(f"{directive} {source}" for directive, source in policy.items()),
            "TITLE": html.escape(title),
            "STYLE": style,
            "DATA": as_json(contents),
            "FILES": "\n".join(_embedded(number, file) for number, file in enumerate(files)),
            "PROGRAM": program,
        },
    )


def _filled(template: str, parts: Mapping[str, str]) -> str:
    """The template with each `{{NAME}}` replaced, once: what is put in is not looked at again."""
    pieces = template.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    return "".join(filled)


def as_json(contents: Contents) -> str:
    """JSON that ends no element it stands in: `<` is written as an escape."""
    text = json.dumps(contents, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _without_surrogates(text).replace("<", "\\u003c")


def _without_surrogates(text: str) -> str:
    """Half a surrogate pair, which is in no UTF-8 file, becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _embedded(number: int, file: bytes) -> str:
    """A file as text that the browser looks at only when the program asks for it."""
    return f'<script type="text/plain" id="file-{number}">{base64.b64encode(file).decode()}</script>'


def _program() -> str:
    files: Sequence[str] = [_asset(name) for name in PROGRAM]
    return '"use strict";\n(() => {\n' + "\n".join(files) + "})();\n"


def _asset(name: str) -> str:
    return (resources.files("bench.report.page") / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
