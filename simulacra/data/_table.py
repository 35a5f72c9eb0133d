"""A .csv file of numbers, every cell that is none told about by row and column."""

import csv
import math
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from simulacra.errors import Mistake

DELIMITERS = ";\t,"  # the first of them that the first line has


@dataclass(frozen=True)
class Table:
    """R rows in the order of the file."""

    columns: list[str]  # C names, or numbers from 1 where there is no header
    values: np.ndarray  # (R, C) float64, finite
    ids: list[str]  # of each row; empty if not asked for
    labels: list[str]  # of each row; empty if not asked for


def number(cell: str) -> float | None:
    """The number that the cell holds, None if it is text; underscores are no digits."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def lines(file: Path) -> Iterator[list[str]]:
    """The rows of cells, blank ones at the end left out."""
    blank = 0
    with file.open(newline="", encoding="utf-8-sig") as text:
        first = text.readline()
        delimiter = next((one for one in DELIMITERS if one in first), ",")
        for row in csv.reader(chain([first], text), delimiter=delimiter, strict=True):
            if not any(cell.strip() for cell in row):
                blank += 1
                continue
            yield from ([] for _ in range(blank))
            blank = 0
            yield [cell.strip() for cell in row]


def position(file: Path, columns: list[str], name: str, option: str) -> int:
    """Which column has that name."""
    if name not in columns:
        raise Mistake(f"data.{option} = '{name}' is no column of {file}; there is: {', '.join(columns)}")
    return columns.index(name)


def cell(file: Path, row: int, column: str, text: str) -> float:
    """The finite number in a cell; a Mistake names the cell."""
    value = number(text)
    if value is None or not math.isfinite(value):
        found = f"holds {text!r}" if text else "is empty"
        hint = "" if value is not None or not text else "; data.columns chooses the channels"
        raise Mistake(f"{file}: row {row}, column '{column}' {found}; allowed: finite numbers{hint}")
    return value


def header(file: Path, first: list[str], named: bool) -> list[str] | None:
    """The names of the columns if the first row has them: it must where the options name some."""
    if not named and all(number(text) is not None for text in first):
        return None
    twice = next((name for name in first if first.count(name) > 1), None)
    if twice is not None:
        raise Mistake(f"{file}: two columns are called '{twice}'; allowed: different names")
    return first


def parsed(file: Path, rows: Iterator[list[str]], chosen: Sequence[str], ident: str, label: str) -> Table:
    """The table of these rows."""
    first = next(rows, None)
    if first is None:
        raise Mistake(f"{file} is empty")
    names = header(file, first, bool(ident or label))
    columns = names or [str(i + 1) for i in range(len(first))]
    keys = {option: position(file, columns, name, option) for option, name in (("id", ident), ("label", label)) if name}
    places = [position(file, columns, name, "columns") for name in chosen]
    places = places or [i for i in range(len(columns)) if i not in keys.values()]
    if not places:
        raise Mistake(f"{file} has no column of values; it has: {', '.join(columns)}")
    values, words = array("d"), {"id": list[str](), "label": list[str]()}
    for row, cells in enumerate(rows if names else chain([first], rows), 2 if names else 1):
        if len(cells) != len(columns):
            raise Mistake(f"{file}: row {row} has {len(cells)} cells; allowed: {len(columns)}, as in the first row")
        values.extend(cell(file, row, columns[i], cells[i]) for i in places)
        for option, i in keys.items():
            if not cells[i]:
                raise Mistake(f"{file}: row {row}, column '{columns[i]}' is empty; allowed: the {option} of its series")
            words[option].append(cells[i])
    if not values:
        raise Mistake(f"{file} holds a header and no rows")
    return Table([columns[i] for i in places], np.array(values).reshape(-1, len(places)), words["id"], words["label"])


def read(file: Path, chosen: Sequence[str] = (), ident: str = "", label: str = "") -> Table:
    """The chosen columns as numbers, all but those of ids and labels if none is chosen."""
    try:
        return parsed(file, lines(file), chosen, ident, label)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Mistake(f"cannot read {file}: {error}; allowed: comma-separated text in UTF-8") from None


def grouped(file: Path, ids: list[str]) -> tuple[list[str], np.ndarray]:
    """The ids in order of appearance and the rows of each, (N, T)."""
    found: dict[str, list[int]] = {}
    for row, ident in enumerate(ids):
        found.setdefault(ident, []).append(row)
    ((usual, _),) = Counter(len(rows) for rows in found.values()).most_common(1)
    odd = next((ident for ident, rows in found.items() if len(rows) != usual), None)
    if odd is not None:
        raise Mistake(f"{file}: series '{odd}' has {len(found[odd])} rows, others have {usual}; allowed: all of one length")
    return list(found), np.array(list(found.values()))


def classes(file: Path, ids: list[str], labels: list[list[str]]) -> tuple[list[str], np.ndarray]:
    """The classes' names, numbers in order of size and text in alphabetical order, and the class of each id (N,)."""
    for ident, found in zip(ids, labels, strict=True):
        if len(set(found)) > 1:
            raise Mistake(f"{file}: series '{ident}' is labelled {' and '.join(sorted(set(found)))}; allowed: one label")
    words = {found[0] for found in labels}
    numeric = all(number(word) is not None for word in words)
    names = sorted(words, key=lambda word: (number(word) if numeric else 0.0, word))
    places = {word: i for i, word in enumerate(names)}
    return names, np.array([places[found[0]] for found in labels])
