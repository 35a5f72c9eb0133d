"""Tables that were pasted into a page, taken into its results file as they are: unverified."""

import re
from pathlib import Path

from prose_numbers import BLOCK, NUMBER
from results_files import Column, Row, Table, beside, read, save

TABLE = re.compile(r"^\|.*\|\n\|(?:[-: ]+\|)+\n(?:\|.*\|(?:\n|\Z))+", re.M)
CODE = re.compile(r"^```.*?^```$", re.M | re.S)


def imported(page: Path) -> list[str]:
    """Take all tables of results of a page; a line for each that was found and whether it was."""
    text, told = page.read_text(), []
    file = read(beside(page))
    kept = [hit.span() for kind in (CODE, BLOCK) for hit in kind.finditer(text)]
    for hit in reversed([*TABLE.finditer(text)]):
        if any(start <= hit.start() < end for start, end in kept):
            continue
        head, _, *rows = [cells(line) for line in hit[0].strip().split("\n")]
        taken = is_of_results(rows)
        told.append(f"{'taken' if taken else 'left '} {page.name}: {' | '.join(head)[:90]}")
        if taken:
            name = _name(text[: hit.start()], set(file.tables))
            table = Table([Column(one) for one in head], [Row(list(row)) for row in rows])
            table.unverified = True
            file.tables = {name: table} | file.tables
            shown = f"<!-- table {page.stem}#{name} -->\n<!-- end -->\n"
            text = text[: hit.start()] + shown + text[hit.end() :]
    if file.tables:
        save(beside(page), file)
        page.write_text(text)
    return told[::-1]


def cells(line: str) -> list[str]:
    """Those of a row; a bar in code or behind a backslash parts nothing."""
    inside = line.strip()[1:-1]
    return [one.strip() for one in re.split(r"(?<!\\)\|(?=(?:[^`]*`[^`]*`)*[^`]*$)", inside)]


def is_of_results(rows: list[list[str]]) -> bool:
    """Whether every third cell right of the labels is little else than numbers."""
    each = [cell for row in rows for cell in row[1:] if cell]
    bare = [re.sub(rf"`[^`]*`|{NUMBER}|\bto\b|\bafter\b|[^a-zA-Z]", "", cell) for cell in each]
    numeric = [
        cell
        for cell, left in zip(each, bare, strict=True)
        if re.search(r"\d", cell) and len(left) < 10
    ]
    return 3 * len(numeric) > len(each)


def _name(before: str, taken: set[str]) -> str:
    """One from the heading or bold word above the table."""
    heads = re.findall(r"^(?:#+ (.*)|\*\*([^*]{3,40}?)\.?\*\*)", CODE.sub("", before), re.M)
    words = re.findall(r"[a-z0-9]+", (heads[-1][0] or heads[-1][1]).lower() if heads else "table")
    base = "_".join(words[:4])
    name, further = base, 2
    while name in taken:
        name, further = f"{base}_{further}", further + 1
    return name
