"""Whether a name, or a place in a file, is a restorer, a task or a metric."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Literal

from bench.errors import RestorerError
from bench.metric import METRICS
from bench.plugins.metrics import installed_metrics
from bench.plugins.names import plain
from bench.plugins.own import IN_FILE
from bench.plugins.source import attributes, parsed
from bench.plugins.tasks import installed_tasks
from bench.tasks import TASKS

__all__ = ["kind_of"]


def kind_of(asked: str) -> Literal["restorer", "task", "metric"]:
    """Of a name by where it is known. In a file: a function below @metric, or a class that observes."""
    if asked in TASKS or asked in installed_tasks():
        return "task"
    if asked in METRICS or asked in installed_metrics():
        return "metric"
    in_file = IN_FILE.fullmatch(asked)
    if not in_file:
        return "restorer"
    path, name = Path(plain(in_file["file"])).expanduser(), in_file["name"]
    try:
        body = parsed(path).body
        classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
        if name in classes and "observe" in attributes(path, name, classes):
            return "task"
    except RestorerError:  # whoever looks for a restorer there says what is wrong
        return "restorer"
    functions = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == name]
    marks = [ast.unparse(mark) for node in functions for mark in node.decorator_list]
    return "metric" if any(mark.partition("(")[0].rpartition(".")[2] == "metric" for mark in marks) else "restorer"
