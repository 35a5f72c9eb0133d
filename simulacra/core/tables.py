"""Tables of keys as files and people write them, before anybody knows what they should hold;
damage of any kind is one line."""

import json
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from simulacra.core.errors import Mistake, shown

MOST = 2**24  # bytes of a file
DEEPEST = 32  # tables in tables
TOO_DEEP = f"tables in tables, more than {DEEPEST} deep"


def is_file(path: Path) -> bool:
    """Whether it is a file that can be read to its end; names that no system can have are none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read(path: Path) -> dict[str, Any]:
    """The raw contents of a TOML or JSON file in UTF-8, with or without a mark of byte order."""
    content = contents(path)
    try:
        raw = (
            json.loads(content, object_pairs_hook=_once)
            if path.suffix == ".json"
            else _toml(content)
        )
        if not isinstance(raw, dict):
            raise Mistake(f"cannot read {path}: it holds no table of keys")
        _shallow(raw)
    except (ValueError, RecursionError) as error:
        why = TOO_DEEP if isinstance(error, RecursionError) else shown(str(error), quoted=False)
        raise Mistake(f"cannot read {path}: {why}") from None
    return raw


def contents(path: Path) -> str:
    """The text of a file in UTF-8; its lines end as they do on any system."""
    try:
        if not path.is_file():
            raise Mistake(f"cannot read {path}: it is no file")
        if path.stat().st_size > MOST:
            raise Mistake(
                f"cannot read {path}: it has {path.stat().st_size:,} bytes; allowed: {MOST:,}"
            )
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        why = "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else error
        raise Mistake(f"cannot read {path}: {why}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _toml(text: str) -> dict[str, Any]:
    """A TOML file's tables. Of keys with thousands of dots its parser takes minutes."""
    if any(
        "=" in line and line.partition("=")[0].count(".") > 10 * DEEPEST
        for line in text.splitlines()
    ):
        raise RecursionError
    return tomllib.loads(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a key that stands there twice one value would be lost."""
    table = dict(pairs)
    if len(table) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"key {shown(twice)} stands there twice")
    return table


def _shallow(raw: dict[str, Any]) -> None:
    """RecursionError, before one comes from somewhere else, of what nobody meant."""
    level: list[Any] = [raw]
    for _ in range(DEEPEST):
        inner = [
            item.values() if isinstance(item, dict) else item
            for item in level
            if isinstance(item, (dict, list))
        ]
        level = [value for values in inner for value in values]
    if any(isinstance(item, (dict, list)) for item in level):
        raise RecursionError


def parted(text: str) -> tuple[str, Any]:
    """The key and the value of `key=value`."""
    key, equals, word = text.partition("=")
    if not equals or not key.strip():
        raise Mistake(f"--set takes key=value, found {shown(text)}; such as hyper.margin=20")
    value: Any
    try:
        table = tomllib.loads(f"value = {word}")
        value = table["value"] if len(table) == 1 else word
        _shallow({key: value})
    except tomllib.TOMLDecodeError:
        value = word
    except (ValueError, RecursionError) as error:
        why = TOO_DEEP if isinstance(error, RecursionError) else error
        raise Mistake(f"--set {shown(key, quoted=False)}: {why}") from None
    if key.count(".") >= DEEPEST:
        raise Mistake(f"--set {shown(key, quoted=False)}: {TOO_DEEP}")
    return key.strip(), value


# keys as people write them, and as they are in the files of runs, which keep their first names
OLD = {"model": "room"}


def called(key: str) -> str:
    """The name by which people know a key of config.json."""
    return next((new for new, old in OLD.items() if old == key), key)


def kept_names(raw: dict[str, Any], path: Path) -> dict[str, Any]:
    """A person's table with the keys that the files of runs have; a Mistake if it has both."""
    for new, old in OLD.items():
        if new in raw and old in raw:
            raise Mistake(
                f"{path}: {new} = {shown(raw[new])} and {old} = {shown(raw[old])}, its older name; "
                "allowed: one of them"
            )
    return {OLD.get(key, key): value for key, value in raw.items()}
