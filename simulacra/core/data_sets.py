"""Which data sets there are: the files in data/, those that begin with an underscore excepted;
those that installed packages offer (installed.py); and those from outside, that a config names by
their file or module (external.py). Nothing is imported until it is asked for."""

import os
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulacra.core import errors, external, installed, source
from simulacra.core.errors import Mistake, choose, shown

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


def module(name: str) -> Any:
    """The module of one data set, or what stands for that of one from elsewhere; it holds `Options`
    and `Data`."""
    if external.is_outside(name):
        return external.loaded("data", name)
    if name in names():
        return import_module(f"simulacra.data.{name}")
    if one := installed.offer("data", name):
        return installed.load(one, "data")
    raise unknown(name)


def unknown(name: object) -> Mistake:
    """That there is no data set of this name, and which there are."""
    every = [*names(), *(one.name for one in installed.offers("data"))]
    found = shown(name, quoted=False)
    said = errors.unknown(f"data set '{found}'", found, every)
    return Mistake(f"{said}; or the path of a .py file, or package.module")


def fingerprint(options: Any, root: Path | None) -> "Files":
    """Of the files that training on these options reads; empty of data that are generated, and of
    those that are held to a published checksum whenever they are read."""
    from simulacra.core.contract import HasFiles, HasWhole
    from simulacra.core.fingerprint import of_files

    one = module(options.__struct_config__.tag)
    if isinstance(one, external.Outside):
        one, options = one.module, one.given(options)
    return (
        of_files(one.files(options, root), whole=isinstance(one, HasWhole) and one.WHOLE)
        if isinstance(one, HasFiles)
        else {}
    )


def load(options: Any, root: Path | None) -> "Data":
    """The data set that these options belong to, its files read from the data folder `root`; a
    Mistake if it is not what the contract asks for."""
    from simulacra.core.conform import check_data

    name = options.__struct_config__.tag
    one = module(name)
    if isinstance(one, external.Outside):
        _made_so(one.module.Data, name)
    found: Data = one.Data(options, root)
    check_data(found, name)
    return found


def _made_so(kind: Any, name: str) -> None:
    """A Mistake if a class is not made by Data(options, root)."""
    try:
        signature(kind).bind(None, None)
    except TypeError as error:
        raise Mistake(
            f"data set {name}: its Data is not made by Data(options, root): {error}"
        ) from None


def data_root(option: Path | None) -> Path | None:
    """The data folder: --data, or SIMULACRA_DATA, or None;
    a Mistake if it is named and not there."""
    said = os.environ.get("SIMULACRA_DATA")
    named = option or (Path(said) if said else None)
    if named and not named.is_dir():
        raise Mistake(f"no data folder {named}")
    return named.resolve() if named else None
