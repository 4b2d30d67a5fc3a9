"""How Sphinx builds the pages: `tox -e docs`, or `python -m sphinx -W -b html docs docs/_build/html`.

Nothing is taken from the network, neither by the build nor by the pages. Those that show figures are made from
records by `generate.py`; the gallery runs its examples.
"""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
os.environ["BENCH_OFFLINE"] = "1"  # the examples run on pictures that are embedded
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # beside other work, threads that wait in a loop take many times as long

project = "bench"
author = "the bench contributors"
version = release = version_of("bench")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_gallery.gen_gallery"]
included = [f"generated/{name}.md" for name in ("cluster_rates", "costs", "eight_bits", "scale", "tiles")]
exclude_patterns = ["_build", "examples", *included, "gallery/*.py", "gallery/*.ipynb", "gallery/*.zip"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
suppress_warnings = ["config.cache"]

myst_enable_extensions = ["tasklist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"
add_module_names = False
default_role = "code"
smartquotes = False  # what is shown is to be typed

html_theme = "furo"
html_title = "bench"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
pygments_style = "default"

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "ignore_pattern": r"__init__\.py",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "capture_repr": (),
    "show_memory": False,
    "show_signature": False,
    "image_scrapers": ("matplotlib",),
    "remove_config_comments": True,
    "write_computation_times": False,
}


def setup(app: Sphinx) -> None:
    import docstrings
    import generate

    app.connect("builder-inited", lambda app: generate.write_all(Path(app.srcdir) / "generated"), priority=100)
    app.connect("autodoc-process-docstring", docstrings.to_rest)
    app.connect("build-finished", see_that_nothing_is_loaded)


LOADS = re.compile(r"""<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)=["'](?:https?:)?//""")


def see_that_nothing_is_loaded(app: Sphinx, error: Exception | None) -> None:
    """Fail if a page would load anything from the network: it is to look the same on a train."""
    if error is not None:
        return
    files = sorted(Path(app.outdir).rglob("*.html")) + sorted(Path(app.outdir).rglob("*.css"))
    for file in files:
        text = file.read_text(encoding="utf-8")
        found = LOADS.search(text) or re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", text)
        if found:
            raise ExtensionError(f"{file} loads from the network: {text[found.start() : found.end() + 60]}")
