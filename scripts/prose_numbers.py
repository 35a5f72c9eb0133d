"""Numbers of a page that a reader would take for results: those with decimals, with a unit or with
an interval, in prose and in tables that no results file writes. Code, links, names of papers and
versions are left out.

Such a number is verified if it rounds from a value, of the same unit, in a table that a command
made: of the page's own results file, or of that of a results page that the page links to.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from results_files import RESULTS, Results, Table, beside, read

KINDS = "table|statements|state|answers"  # of what is written into pages
BLOCK = re.compile(rf"^<!-- ({KINDS}) ?(\S*) -->\n(.*?)^<!-- end -->$", re.M | re.S)
NUMBER = r"-?\d(?:[\d,]*\d)?(?:\.\d+)?(?:e-?\d+)?|-?\.\d+"
UNITS = {
    r"%": "%",
    r"(?:processor\s)?(?:s|seconds?)": "s",
    r"(?:processor\s)?(?:min|minutes?)": "minutes",
    r"hours?": "hours",
    r"days?": "days",
    r"ms|milliseconds?": "ms",
    r"dB|decibels?": "dB",
    r"nats?": "nats",
    r"bits?": "bits",
    r"px|pixels?": "px",
    r"points?": "points",
    r"kB": "kB",
    r"MB": "MB",
    r"GB": "GB",
    r"GFLOPs?": "GFLOP",
    r"(?:(?:frames|steps|pictures|images|runs)(?:/s| a (?:processor )?second))": "/s",
    r"times (?:as|faster|slower|the|that)": "times",
}
UNIT = "|".join(f"(?P<u{i}>{pattern})" for i, pattern in enumerate(UNITS))
FOUND = re.compile(
    rf"(?<![\w.,/@^-])(?P<n>{NUMBER})(?P<to>(?:\sto|\sand|,)(?=\s(?:{NUMBER})))?"
    rf"(?:\s?(?:{UNIT})(?![\w/]))?(?P<open>\s(?=\[))?(?![\w]|[-/]\w)"
)
NAMES = (
    r"arXiv|sections?|figure|table|equation|eq\.|appendix|theorem|chapter|version|A|GPL|CC BY[-\w]*"
    r"|torch|Python|gymnasium|envpool|pycma|cosmic-ray's"
)  # before numbers that count no thing
LEFT_OUT = [
    r"^```.*?^```$",  # code
    r"<!--.*?-->",
    r"`[^`]*`",
    r"!\[[^\]]*\]\([^)]*\)",  # pictures
    r"\]\([^)]*\)",  # where links go
    rf"\b(?:{NAMES})\.? ?v?\d[\d.,]*(?: (?:to|and) \d[\d.]*)?",
    r"\b\d+(?:\.\d+){2,}\b",  # versions and addresses
    r"\b95 %",  # of intervals
    r"\b\d+x\d+(?:x\d+)?\b",  # sizes
    r"\[-?[01], 1\]",  # ranges
    r"\b(?=[0-9a-f]*[a-f])[0-9a-f]{7,12}\b",  # commits and hashes
]
OUT = re.compile("|".join(LEFT_OUT), re.M | re.S)


class Number(NamedTuple):
    """As it stands in the text."""

    text: str
    value: float  # without its sign: a gain may be told as a loss
    half: float  # of a unit in its last place
    unit: str

    def of(self, value: float, unit: str) -> bool:
        """Whether it rounds from a value of that unit. Its own unit may be left out, but for %."""
        shown = 100 * value if unit == "%" else value
        alike = unit == self.unit or (not self.unit and unit != "%")
        return alike and abs(abs(shown) - self.value) <= self.half * (1 + 1e-6)


def number(text: str, unit: str = "") -> Number:
    """One, from its digits."""
    plain = Decimal(text.replace(",", ""))
    half = float(Decimal(1).scaleb(int(plain.as_tuple().exponent))) / 2
    return Number(f"{text} {unit}".strip(), abs(float(plain)), half, unit)


def numbers(text: str) -> Iterator[Number]:
    """Those of a text that has no code: with decimals, a unit or an interval; the last first."""
    unit = ""
    for hit in reversed(list(FOUND.finditer(text))):
        units = [name for i, name in enumerate(UNITS.values()) if hit[f"u{i}"]]
        unit = units[0] if units else (unit if hit["to"] else "")  # of the last of a row
        inside = re.match(r"[^\[\]\n]*\]", text[hit.end() :]) and "[" in text[: hit.start()]
        digits = hit["n"]
        if unit or inside or hit["open"] or "." in digits or "e" in digits:
            yield number(digits, unit)


def prose(text: str) -> str:
    """A page without what results files write into it and what is no number of a result."""
    # what was found of statements is told by hand
    kept = BLOCK.sub(lambda hit: hit[3] if hit[1] == "statements" else "\n", text)
    return OUT.sub(" ", re.sub(r"\n +", "\n", kept))


def loose(text: str) -> list[Number]:
    """The numbers of a page outside of what results files write, in its order."""
    return [*numbers(prose(text))][::-1]


# --- where they may come from ---------------------------------------------------------------------


def known(file: Results) -> tuple[list[tuple[float, str]], list[Number]]:
    """Values with units of what commands made, and numbers that are given."""
    found = []
    for table in file.tables.values():
        if table.unverified or table.outdated:
            continue
        for row in table.rows:
            for column, item in zip(table.columns, row.cells, strict=True):
                found += [(value, row.unit or column.unit) for value in leaves(item)]
    return found, [one for text in file.given for one in _given(text)]


def _given(text: str) -> list[Number]:
    digits, _, unit = text.partition(" ")
    return [number(digits, unit)]


def leaves(item: Any) -> Iterator[float]:
    """All numbers of a cell that is not of words."""
    if isinstance(item, dict):
        item = list(item.values())
    if isinstance(item, list):
        for one in item:
            yield from leaves(one)
    elif isinstance(item, int | float) and not isinstance(item, bool):
        yield float(item)


def sources(page: Path, text: str) -> list[Path]:
    """The results files that a page's prose may draw on: its own, and those of the results pages
    that it links to."""
    links = re.findall(r"\]\(([^)#\s]+\.md)(?:#[^)]*)?\)", text)
    there = [(page.parent / link).resolve() for link in links if "://" not in link]
    linked = [beside(one) for one in there if one.parent == RESULTS.resolve()]
    return [one for one in dict.fromkeys([beside(page), *linked]) if one.exists()]


def unverified(page: Path, text: str) -> tuple[list[Number], int]:
    """The loose numbers of a page that come from no results file, and how many do."""
    pool = [known(read(path)) for path in sources(page, text)]
    values = {pair for found, _ in pool for pair in found}
    given = {(one.value, one.half, one.unit) for _, found in pool for one in found}
    lost, held = [], 0
    for one in loose(text):
        if (one.value, one.half, one.unit) in given or any(one.of(*pair) for pair in values):
            held += 1
        else:
            lost.append(one)
    return lost, held


def pasted(table: Table) -> int:
    """How many numbers an unverified or outdated table holds; its first column are names."""
    texts = [str(item) for row in table.rows for item in row.cells[1:] if item is not None]
    return sum(len(re.findall(rf"(?<![\w.])(?:{NUMBER})", text)) for text in texts)
