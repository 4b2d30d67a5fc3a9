"""Python files that are named by their paths: how they are imported, and which names they cannot have."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from bench.errors import RestorerError

__all__ = ["check_name", "hidden_by", "import_file"]


def import_file(path: Path) -> ModuleType:
    """The module in a file, which may import its neighbours; one in a package may import relative to that, too."""
    path = path.resolve()
    packages, top = _packages(path)
    sys.path.insert(0, str(path.parent))
    if packages:
        sys.path.insert(1, str(top))
    name = ".".join([*packages, path.stem])
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _packages(path: Path) -> tuple[list[str], Path]:
    """The packages that a file lies in, from the outermost, and the folder of that; none if another has its name."""
    packages: list[str] = []
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        packages.insert(0, folder.name)
        folder = folder.parent
    loaded = sys.modules.get(packages[0]) if packages else None
    is_another = loaded is not None and getattr(loaded, "__file__", None) != str(folder / packages[0] / "__init__.py")
    return ([], folder) if is_another else (packages, folder)


def check_name(path: Path) -> None:
    """Raise RestorerError for a file that has the name of another module: who imports that would get the file."""
    if another := hidden_by(path):
        raise RestorerError(f"{path} hides {another} '{path.stem}' from whatever imports it. Rename the file.")


def hidden_by(path: Path) -> str:
    """In words, the module elsewhere that has the name of a file, or of a package's folder; "" if there is none."""
    name = path.parent.name if path.name == "__init__.py" else path.stem
    elsewhere = [place for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]
    if name in sys.stdlib_module_names:
        return "Python's own module"
    if PathFinder.find_spec(name, elsewhere) and not _is_installed(path):
        return "the installed package"
    return ""


def _is_installed(path: Path) -> bool:
    return any(part in ("site-packages", "dist-packages") for part in path.resolve().parts)
