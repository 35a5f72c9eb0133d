"""Data sets, one a file; the folder is the list of them, files that begin with an underscore excepted."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from simulacra.contract import Data
from simulacra.errors import choose
from simulacra.fingerprint import Files, of_files


def names() -> list[str]:
    """Every data set's name, in alphabetical order."""
    return sorted(found.name for found in iter_modules(__path__) if not found.name.startswith("_"))


def module(name: str) -> ModuleType:
    """The module of one data set; it holds `Options` and `Data`."""
    return import_module(f"{__name__}.{choose('data set', name, names())}")


def fingerprint(options: Any, root: Path | None) -> Files:
    """Of the files that training on these options reads; empty of data that are generated, and of those that are held to a
    published checksum whenever they are read."""
    one = module(options.__struct_config__.tag)
    return of_files(one.files(options, root), whole=getattr(one, "WHOLE", False)) if hasattr(one, "files") else {}


def load(options: Any, root: Path | None) -> Data:
    """The data set that these options belong to, its files read from the data folder `root`."""
    return module(options.__struct_config__.tag).Data(options, root)
