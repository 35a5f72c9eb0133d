"""Data sets, one a file; the folder is the list of them, files that begin with an underscore excepted."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from simulacra.contract import Data
from simulacra.errors import choose


def names() -> list[str]:
    """Every data set's name, in alphabetical order."""
    return sorted(found.name for found in iter_modules(__path__) if not found.name.startswith("_"))


def module(name: str) -> ModuleType:
    """The module of one data set; it holds `Options` and `Data`."""
    return import_module(f"{__name__}.{choose('data set', name, names())}")


def load(options: Any, root: Path | None) -> Data:
    """The data set that these options belong to, its files read from the data folder `root`."""
    return module(options.__struct_config__.tag).Data(options, root)
