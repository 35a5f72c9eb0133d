"""Whether the first row of a table of numbers holds the columns' names or is a row like the others.

Years, wavelengths and the columns that pandas numbers are names that look like numbers. What could
be either is for the person to say: a row of names among the numbers, or a row of numbers lost as
names, is found by nobody later.
"""

import math
import re
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise

import numpy as np

FAR = 10.0  # ranges of the rows below; names lie farther outside
# numbers that only rise, or only fall, from which they could be names where the rows below do
# neither
RISING = 4
SAMPLE = 100_000  # rows that are looked at
# cells that are neither a number nor a name
MISSING = {"", "-", ".", "?", "n/a", "na", "none", "null"}
YEARS = range(1500, 2501)
# numbers that are not written as a computer writes them: 1,234; 1 234; <0.1; *3.1
ODD = re.compile(r"[^\w%]*\d[\d.,'\u2019\s]*[^\w%]*")


def number(cell: str) -> float | None:
    """The number that the cell holds, None if it is text; underscores are no digits."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def decimals(cell: str) -> int:
    """How many digits follow the point."""
    return len(re.split("[eE]", cell)[0].partition(".")[2])


def shape(cell: str) -> str:
    """The cell with every digit as 9 and every run of letters as a:
    equal for dates, and for ids of one kind."""
    return re.sub(r"[^\W\d]+", "a", re.sub(r"\d", "9", cell))


class Columns:
    """What the rows below the first one look like, column by column, `width` of them."""

    def __init__(self, width: int):
        self.low, self.high = [math.inf] * width, [-math.inf] * width
        # the numbers of decimals that occur
        self.written: list[set[int]] = [set() for _ in range(width)]
        self.rows: list[Sequence[str]] = []  # the first two
        self.count = 0

    def add(self, cells: Sequence[str]) -> None:
        """Look at one more row; cells that are no finite numbers count for nothing."""
        self.count += 1
        if self.count < 3:
            self.rows.append(cells)
        for i, cell in enumerate(cells):
            value = number(cell)
            if value is not None and math.isfinite(value):
                self.low[i], self.high[i] = min(self.low[i], value), max(self.high[i], value)
                self.written[i].add(decimals(cell))

    def beyond(self, i: int, value: float) -> float:
        """How far a value lies outside of column i, in its ranges;
        a constant column's is its size, 1 at least."""
        low, high = self.low[i], self.high[i]
        if low > high:
            return 0.0
        span = high - low or max(abs(low), 1.0)
        return max(low - value, value - high, 0.0) / span


def continues(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether the first three rows go on by equal steps in every column, and not all by none."""
    rows = [[number(cell) for cell in row] for row in (first, *below)]
    if len(rows) < 3 or any(
        value is None or not math.isfinite(value) for row in rows for value in row
    ):
        return False
    a, b, c = np.array(rows, np.float64)
    return bool(np.allclose(b - a, c - b, 1e-6, 1e-12) and (a != b).any())


def like_names(values: Sequence[float]) -> bool:
    """Whether numbers could be names that somebody counted or measured off: 0, 1, 2;
    2019, 2021; 400.0, 402.5, 405.0."""
    whole = all(value.is_integer() for value in values)
    if len(values) == 1:
        return whole and (values[0] in (0, 1) or values[0] in YEARS)
    if all(value in YEARS for value in values):
        return True
    steps = [b - a for a, b in pairwise(values)]
    if len(values) == 2:
        return whole and abs(steps[0]) == 1
    return all(math.isclose(step, steps[0], rel_tol=1e-6) for step in steps) or (
        whole and min(steps) > 0
    )


def is_monotone(values: Sequence[float]) -> bool:
    """Whether numbers only rise, or only fall."""
    steps = [b - a for a, b in pairwise(values)]
    return min(steps, default=0) > 0 or max(steps, default=0) < 0


def rises_alone(values: Sequence[float], below: Sequence[Sequence[str]]) -> bool:
    """Whether many numbers only rise or fall, as measured places do, and the rows below do not."""
    rows = [[number(cell) for cell in row] for row in below]
    plain = [[value for value in row if value is not None] for row in rows]
    return len(values) >= RISING and is_monotone(values) and not any(map(is_monotone, plain))


def of_numbers(first: Sequence[str], below: Columns, places: Sequence[int]) -> bool | None:
    """True if the numbers at these places of a first row are names, False if they are a row like
    the others, None if they could be either."""
    cells = [first[i] for i in places]
    values = [float(cell) for cell in cells]
    if not below.count or not all(map(math.isfinite, values)):
        return False
    outside = [below.beyond(i, value) for i, value in zip(places, values, strict=True)]
    alike = [decimals(cell) in below.written[i] for i, cell in zip(places, cells, strict=True)]
    # names differ; but years may be written above several columns
    if len(set(values)) < len(values):
        return None if min(outside) > FAR else False
    rows = [[row[i] for i in places] for row in below.rows]
    named = like_names(values) or rises_alone(values, rows)
    if named and min(outside) > FAR and not any(alike):
        return True
    if continues(cells, rows):
        return False
    if named or min(outside) > FAR:
        return None
    # names are written alike
    uneven = max(map(decimals, cells)) > 1 and len({*map(decimals, cells)}) > 1
    return False if (any(alike) or uneven) and min(outside) <= 1 else None


def numbered_rows(first: Sequence[str], below: Columns) -> bool:
    """Whether the first cell is empty above 0, 1, ...:
    so pandas writes a table whose columns are numbered, too."""
    return len(first) > 1 and not first[0] and [row[0] for row in below.rows] == ["0", "1"]


def holds_names(first: Sequence[str], rows: Iterable[Sequence[str]]) -> bool | None:
    """True if the first row of a table holds names,
    False if it is a row like those below, None if it could be either."""
    numbers = [i for i, cell in enumerate(first) if number(cell) is not None]
    words = [i for i, cell in enumerate(first) if i not in numbers and cell.lower() not in MISSING]
    spaced = len(first) == 1 and all(number(part) is not None for part in first[0].split())
    odd = [i for i in words if ODD.fullmatch(first[i]) and not spaced]
    if not numbers:
        return None if odd and len(odd) == len(words) else True
    below = Columns(len(first))
    for row in islice(rows, SAMPLE):
        if len(row) == len(first):
            below.add(row)
    if numbered_rows(first, below):
        return True
    answer = of_numbers(first, below, numbers)
    if not words or not below.count:
        return answer if below.count or not words else True
    if answer is False or odd:
        return None
    second = below.rows[0]
    kin = all(number(second[i]) is None and shape(first[i]) == shape(second[i]) for i in words)
    return None if kin else True
