"""A .csv file of numbers, every cell that is none told about by row and column."""

import csv
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from simulacra.core.errors import Mistake
from simulacra.io.header import holds_names, number

DELIMITERS = ";\t,"  # the first of them that the first line has outside of quotes
LONGEST = 2**24  # characters of the first line
INDEX = re.compile(r"(Unnamed: 0(_level_\d+)?)?")  # what pandas calls the column of row labels
# numbers written for one country's eyes
LOCAL = re.compile(r"[+-]?\d[\d.,'\u2019\s]*\d%?|[+-]?\d+%")


@dataclass(frozen=True)
class Asked:
    """How a file is to be read."""

    columns: Sequence[str] = ()  # the channels by name; empty: all but the others below
    ident: str = ""  # the column of ids
    label: str = ""  # the column of labels
    header: bool | None = None  # whether the first row holds names; None: it is found out


ALL = Asked()


@dataclass(frozen=True)
class Table:
    """R rows in the order of the file."""

    columns: list[str]  # C names, or numbers from 1 where there is no header
    values: np.ndarray  # (R, C) float64, finite
    ids: list[str]  # of each row; empty if not asked for
    labels: list[str]  # of each row; empty if not asked for
    notes: list[str]  # what a person should be told


def lines(file: Path) -> Iterator[list[str]]:
    """The rows of cells, blank ones at the end left out."""
    blank = 0
    with file.open(newline="", encoding="utf-8-sig") as text:
        first = text.readline(LONGEST)
        if len(first) == LONGEST:
            raise Mistake(
                f"{file}: the first line has {LONGEST} characters or more; allowed: rows of cells"
            )
        bare = re.sub(r'"[^"]*"', "", first)
        delimiter = next((one for one in DELIMITERS if one in bare), ",")
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
        raise Mistake(
            f"data.{option} = '{name}' is no column of {file}; there is: {', '.join(columns)}"
        )
    return columns.index(name)


def cell(file: Path, row: int, column: str, text: str) -> float:
    """The finite number in a cell; a Mistake names the cell."""
    value = number(text)
    if value is None or not math.isfinite(value):
        found = f"holds {text!r}" if text else "is empty"
        raise Mistake(
            f"{file}: row {row}, column '{column}' {found}; "
            f"allowed: finite numbers{hint(text, value)}"
        )
    return value


def hint(text: str, value: float | None) -> str:
    """What may help somebody whose cell holds this text."""
    if value is not None or not text:
        return ""
    if len(re.split(r"[\s|]+", text)) > 1 and all(
        number(part) is not None for part in re.split(r"[\s|]+", text)
    ):
        return ", cells separated by commas, semicolons or tabs"
    if LOCAL.fullmatch(text):
        return ", with a decimal point and without separators of thousands, such as 1234.5"
    return "; data.columns chooses the channels"


def names_of(file: Path, asked: Asked) -> list[str] | None:
    """The names of the columns, None if the first row is one of numbers.
    A Mistake if it could be either."""
    rows = lines(file)
    first = next(rows, None)
    if not first:
        raise Mistake(
            f"{file} is empty"
            if first is None
            else f"{file}: the first row is empty; allowed: names or numbers"
        )
    known = asked.header
    if known is None:
        known = True if asked.ident or asked.label else holds_names(first, rows)
    if known is None:
        try:
            parsed(file, None, Asked(header=False))  # a cell that is no number is told about first
        except Mistake as told:
            raise Mistake(f"{told}; if the first row holds names, set data.header=true") from None
        shown = ", ".join(first[:5]) + ", ..." * (len(first) > 5)
        raise Mistake(
            f"{file}: the first row ({shown}) could be names or numbers; "
            "set data.header=true if it holds names, data.header=false if it is a row of numbers"
        )
    if (
        known
        and (twice := next((name for name in first if first.count(name) > 1), None)) is not None
    ):
        raise Mistake(f"{file}: two columns are called '{twice}'; allowed: different names")
    return first if known else None


def chosen(
    file: Path, columns: list[str], asked: Asked, keys: Iterable[int]
) -> tuple[list[int], list[int], list[str]]:
    """The places of the channels, those of columns that must be empty,
    and what was left out, in words."""
    if asked.columns:
        return [position(file, columns, name, "columns") for name in asked.columns], [], []
    notes, places = [], [i for i in range(len(columns)) if i not in keys]
    if 0 in places and INDEX.fullmatch(columns[0]):
        places.remove(0)
        what = (
            f"the first column, '{columns[0]}',"
            if columns[0]
            else "the first column has no name and"
        )
        notes.append(
            f"{file}: {what} is taken for an index and left out; data.columns chooses the channels"
        )
    nameless = [i for i in places if not columns[i]]
    notes.extend(
        f"{file}: column {i + 1} has no name and is empty; it is left out" for i in nameless
    )
    places = [i for i in places if i not in nameless]
    if not places:
        raise Mistake(f"{file} has no column of values; it has: {', '.join(columns)}")
    return places, nameless, notes


def parsed(file: Path, names: list[str] | None, asked: Asked) -> Table:
    """The table of the rows below the names, or of all rows."""
    rows = lines(file)
    first = next(rows)
    columns = names or [str(i + 1) for i in range(len(first))]
    wanted = (("id", asked.ident), ("label", asked.label))
    keys = {option: position(file, columns, name, option) for option, name in wanted if name}
    places, nameless, notes = chosen(file, columns, asked, keys.values())
    values, words = array("d"), {"id": list[str](), "label": list[str]()}
    for row, cells in enumerate(rows if names else chain([first], rows), 2 if names else 1):
        if len(cells) != len(columns):
            raise Mistake(
                f"{file}: row {row} has {len(cells)} cells; "
                f"allowed: {len(columns)}, as in the first row"
            )
        values.extend(cell(file, row, columns[i], cells[i]) for i in places)
        if odd := next((i + 1 for i in nameless if cells[i]), 0):
            raise Mistake(
                f"{file}: row {row}, column {odd} holds {cells[odd - 1]!r} and has no name; "
                "data.columns chooses columns"
            )
        for option, i in keys.items():
            if not cells[i]:
                raise Mistake(
                    f"{file}: row {row}, column '{columns[i]}' is empty; "
                    f"allowed: the {option} of its series"
                )
            words[option].append(cells[i])
    if not values:
        raise Mistake(f"{file} holds a header and no rows")
    shaped = np.array(values).reshape(-1, len(places))
    return Table([columns[i] for i in places], shaped, words["id"], words["label"], notes)


def read(file: Path, asked: Asked = ALL) -> Table:
    """The chosen columns as numbers, all but those of ids and labels if none is chosen."""
    try:
        return parsed(file, names_of(file, asked), asked)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Mistake(
            f"cannot read {file}: {error}; allowed: comma-separated text in UTF-8"
        ) from None


def grouped(file: Path, ids: list[str]) -> tuple[list[str], np.ndarray]:
    """The ids in order of appearance and the rows of each, (N, T)."""
    found: dict[str, list[int]] = {}
    for row, ident in enumerate(ids):
        found.setdefault(ident, []).append(row)
    ((usual, _),) = Counter(len(rows) for rows in found.values()).most_common(1)
    odd = next((ident for ident, rows in found.items() if len(rows) != usual), None)
    if odd is not None:
        raise Mistake(
            f"{file}: series '{odd}' has {len(found[odd])} rows, others have {usual}; "
            "allowed: all of one length"
        )
    return list(found), np.array(list(found.values()))


def classes(file: Path, ids: list[str], labels: list[list[str]]) -> tuple[list[str], np.ndarray]:
    """The classes' names, numbers in order of size and text in alphabetical order,
    and the class of each id (N,)."""
    for ident, found in zip(ids, labels, strict=True):
        if len(set(found)) > 1:
            raise Mistake(
                f"{file}: series '{ident}' is labelled {' and '.join(sorted(set(found)))}; "
                "allowed: one label"
            )
    words = {found[0] for found in labels}
    numeric = all(number(word) is not None for word in words)
    names = sorted(words, key=lambda word: (number(word) if numeric else 0.0, word))
    places = {word: i for i, word in enumerate(names)}
    return names, np.array([places[found[0]] for found in labels])
