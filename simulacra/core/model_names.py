"""Which models there are: the files in models/ that end with `Model = ...`; those that installed
packages offer (installed.py); and those from outside, that a config names by their file or module
(external.py). Nothing is imported until it is asked for."""

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from simulacra.core import external, installed
from simulacra.core.errors import Mistake, shown, unknown

HERE = Path(__file__).parent.parent  # the package


@cache
def model_files() -> dict[str, Path]:
    """The file of each model by its name: those in models/ that end with `Model = ...`."""
    files = sorted((HERE / "models").glob("**/*.py"))
    return {path.stem: path for path in files if "\nModel = " in path.read_text(encoding="utf-8")}


def models() -> list[str]:
    """The names of the models."""
    return sorted(model_files())


def model(name: str) -> Any:
    """A model of this name, or one from outside that was admitted; its Hyper and Model are the
    contract."""
    if external.is_outside(name):
        return external.loaded("model", name)
    if name in models():
        return import_module(
            ".".join(("simulacra", *model_files()[name].relative_to(HERE).with_suffix("").parts))
        )
    if one := installed.offer("model", name):
        return installed.load(one, "model")
    raise Mistake(f"{unknown_model(name)}; or the path of a .py file, or package.module")


def unknown_model(name: str) -> str:
    """That there is no model of this name, and which there are."""
    every = [*models(), *(one.name for one in installed.offers("model"))]
    return unknown(f"model '{shown(name, quoted=False)}'", name, every)
