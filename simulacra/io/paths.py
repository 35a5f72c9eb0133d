"""Paths of data as a person types them:
inside the data folder, or else relative to the working directory."""

import json
import tomllib
from pathlib import Path

KEY = "data.path"


def typed(changes: list[str], root: Path | None) -> tuple[list[str], list[str]]:
    """Changes `key=value` in which a relative data.path that is not in the data folder `root`, but
    in the working directory, has become absolute, so that the config means the same anywhere; and
    what is said of it."""
    found, notes = [], []
    for text in changes:
        key, _, word = text.partition("=")
        path = _word(word) if key.strip() == KEY else ""
        if path and not Path(path).expanduser().is_absolute():
            text, said = _placed(text, path, root)
            notes += said
        found.append(text)
    return found, notes


def lacking(path: str, root: Path | None) -> str:
    """What is said of a data.path that cannot be found: which path was looked for, and where."""
    meant, here = Path(path).expanduser(), Path(path).expanduser().absolute()
    if root is not None or meant.is_absolute():
        return f"data.path: {meant if root is None else root / meant} is not there"
    where = (
        "is in the working directory, but a config means the data folder,"
        if here.exists()
        else f"is not there (looked for {here}),"
    )
    return (
        f"data.path is '{path}', which {where} and there is no data folder; name one with --data "
        "or SIMULACRA_DATA, or give an absolute path"
    )


def _word(word: str) -> str:
    """A value as `--set` takes it, if it is a text."""
    try:
        value = tomllib.loads(f"value = {word}")["value"]
    except tomllib.TOMLDecodeError:
        return word
    return value if isinstance(value, str) else ""


def _placed(text: str, path: str, root: Path | None) -> tuple[str, list[str]]:
    here = Path(path).absolute()
    if not here.exists():
        return text, []
    inside = root / path if root else None
    if inside is None or not inside.exists():
        return f"{KEY}={json.dumps(str(here), ensure_ascii=False)}", []
    if inside.resolve() == here.resolve():
        return text, []
    return text, [
        f"{KEY}: {inside} is read, in the data folder, and not {here}, in the working directory"
    ]
