"""Which data sets there are: the files in data/, those that begin with an underscore excepted.
Nothing is imported until it is asked for."""

import os
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from simulacra.core import source
from simulacra.core.errors import Mistake, choose

if TYPE_CHECKING:  # which imports torch, and a list of names needs none
    from simulacra.core.contract import Data
    from simulacra.core.fingerprint import Files


FOLDER = Path(__file__).parent.parent / "data"


def names() -> list[str]:
    """Every data set's name, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def path(name: str) -> Path:
    """The file of one data set."""
    return FOLDER / f"{choose('data set', name, names())}.py"


def headline(name: str) -> str:
    """What a data set is, in a line; read without importing it."""
    return source.headline(path(name))


def module(name: str) -> ModuleType:
    """The module of one data set; it holds `Options` and `Data`."""
    return import_module(f"simulacra.data.{choose('data set', name, names())}")


def fingerprint(options: Any, root: Path | None) -> "Files":
    """Of the files that training on these options reads; empty of data that are generated, and of
    those that are held to a published checksum whenever they are read."""
    from simulacra.core.fingerprint import of_files

    one = module(options.__struct_config__.tag)
    if not hasattr(one, "files"):
        return {}
    return of_files(one.files(options, root), whole=getattr(one, "WHOLE", False))


def load(options: Any, root: Path | None) -> "Data":
    """The data set that these options belong to, its files read from the data folder `root`."""
    return module(options.__struct_config__.tag).Data(options, root)


def data_root(option: Path | None) -> Path | None:
    """The data folder: --data, or SIMULACRA_DATA, or None;
    a Mistake if it is named and not there."""
    said = os.environ.get("SIMULACRA_DATA")
    named = option or (Path(said) if said else None)
    if named and not named.is_dir():
        raise Mistake(f"no data folder {named}")
    return named.resolve() if named else None
