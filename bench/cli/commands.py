"""All commands: each module adds its own to the application, in the order in which `bench --help` lists them."""

from __future__ import annotations

# ruff: isort: off
from bench.cli import run, why, restore, table, plot, page, compare, listing, check  # noqa: F401
from bench.cli import train, ablate, data, weights, merge, store, completion  # noqa: F401

# ruff: isort: on
from bench.cli.options import app as app
