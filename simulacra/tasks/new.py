"""New: a model of one's own begun, as a file, a config and a test that work as they are; or a
game, as one file."""

import keyword
import re
from importlib.util import find_spec
from pathlib import Path

from simulacra.core import config, data_sets, installed
from simulacra.core.errors import Mistake, shown
from simulacra.core.files import write_text
from simulacra.envs import WORLDS

TEMPLATES = Path(__file__).parent / "templates"
# how each file is called, and what it is made of
FILES = {"{}.py": "model.py.txt", "{}.toml": "model.toml.txt", "test_{}.py": "test_model.py.txt"}
GAME = {"{}.py": "game.py.txt"}
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,49}")


def checked_name(name: str) -> str:
    """The name, if a model, its files and its runs can have it; otherwise a Mistake."""
    start = f"name = {shown(name)}"
    if not WORD.fullmatch(name):
        raise Mistake(
            f"{start}; allowed: a letter, then letters, digits and _ without accents, 50 at most"
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise Mistake(f"{start} is a word of Python's own; choose another")
    if name.startswith("test_"):
        raise Mistake(f"{start} begins as tests do; choose another")
    offered = {"model": "model", "data": "data set"}
    taken = {
        "model": config.models(),
        "config": config.configs(),
        "data set": data_sets.names(),
        "game": list(WORLDS),
    }
    for kind, names in taken.items():
        if name in names:
            raise Mistake(f"{start} is that of a {kind} of the package; choose another")
    for kind in installed.GROUPS:
        if one := installed.offer(kind, name):
            raise Mistake(f"{start} is that of a {offered[kind]} of {one.package}; choose another")
    return name


def new(name: str, folder: Path, files: dict[str, str] = FILES) -> list[Path]:
    """The files written, model, config and test, or a game; a Mistake, and nothing written, if one
    is there or the name cannot be had."""
    paths = [folder / pattern.format(checked_name(name)) for pattern in files]
    for path in paths:
        if path.exists() or path.is_symlink():
            raise Mistake(f"{path} is there already; choose another name, or another folder (-o)")
    if hides(name):
        raise Mistake(
            f"name = '{name}' is that of a Python module, which {name}.py would hide; choose "
            "another"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, template in zip(paths, files.values(), strict=True):
            text = (TEMPLATES / template).read_text(encoding="utf-8")
            write_text(path, re.sub(r"\bNAME\b|(?<=test_)NAME\b", name, text))
    except OSError as error:
        raise Mistake(f"cannot write into {folder}: {error.strerror}") from None
    return paths


def hides(name: str) -> bool:
    """Whether Python can import a module of this name."""
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # it is there, and says nothing of itself
        return True
