"""The numbers of the documents: written by commands, never pasted.

    # a row a run, a column a metric: KEY[:HEAD[:FORMAT [UNIT]]]
    python scripts/docs.py add PAGE#ID --from RUN... --columns coverage 'frechet:Fréchet:.2f'
    # a row a metric of one run, with interval and floor
    python scripts/docs.py add PAGE#ID --from RUN --by-metric --columns coverage 'kid:KID:.2e'
    # cells of a sweep, or its claims; or any JSON that a command printed
    python scripts/docs.py add PAGE#ID --from SWEEP/table.json [--claims]
    python scripts/docs.py add PAGE#ID --from FILE.json --command '...' --columns a.b:words
    # all tables into the pages (make docs), and whether all is in order
    python scripts/docs.py write
    python scripts/docs.py check
    # what was pasted by hand: taken in as unverified; the ledger lowered to what is left
    python scripts/docs.py import PAGE...
    python scripts/docs.py ledger
    # tables whose config or measure changed are said to be old
    python scripts/docs.py outdated

PAGE is the name of one in docs/results. Given again with an ID that is there, `add` keeps columns
and labels unless others are given. docs/CONTRIBUTING.md says what holds.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import prose_numbers
from prose_numbers import BLOCK, pasted, unverified
from results_files import (
    HOME,
    RESULTS,
    beside,
    faults,
    listed,
    markdown,
    read,
    save,
    stale,
    table_of,
)
from results_rows import Wish, table_from

from simulacra.core.errors import Mistake

LEDGER = HOME / "docs" / "unverified.json"
PASTED = "*Unverified: the numbers of this page were pasted by hand and not made again {}.*"
PARTLY = (
    "*Unverified: numbers of this page that are in no table with a command below it were pasted by "
    "hand and not made again {}.*"
)


def pages() -> list[Path]:
    """The README, the guides and the results: where every number of a result has to come from
    somewhere."""
    return [
        HOME / "README.md",
        *sorted((HOME / "docs").glob("*.md")),
        *sorted(RESULTS.glob("*.md")),
    ]


def called(page: Path) -> str:
    """A page's name in the ledger."""
    return page.relative_to(HOME).as_posix()


# --- pages ----------------------------------------------------------------------------------------


def generated(page: Path, text: str) -> str:
    """A page as its results files have it; a Mistake if it shows a table that there is not."""
    # twice, since the line on what is unverified counts what was written before it
    return _filled(page, _filled(page, text))


def _filled(page: Path, text: str) -> str:
    """All that is between markers, written anew."""

    def block(hit: re.Match[str]) -> str:
        kind, reference = hit[1], hit[2]
        if kind == "table":
            path, name = table_of(reference)
            if name not in (file := read(path)).tables:
                raise Mistake(
                    f"{called(page)} shows {reference}, and {called(path)} has no such table"
                )
            inside = markdown(file.tables[name])
        elif kind == "statements":
            inside = listed(read(beside(page)).statements, reference.replace("_", " "))
        else:
            inside = state(page, text) if kind == "state" else answers()
        middle = f"\n{inside}\n\n" if inside else ""
        return f"<!-- {kind}{' ' * bool(reference)}{reference} -->\n{middle}<!-- end -->"

    return BLOCK.sub(block, text)


def state(page: Path, text: str) -> str:
    """The line that says what of a page is unverified; nothing if all is well."""
    tables = read(beside(page)).tables.values()
    old = [table for table in tables if table.unverified]
    if not old and not unverified(page, text)[0]:
        return ""
    home = "../" if page.parent == RESULTS else ""
    means = f"([what that means]({home}CONTRIBUTING.md#add-a-number))"
    return (PASTED if len(old) == len(tables) else PARTLY).format(means)


def answers() -> str:
    """A row a page of results, in the order of the site: its question, and its first bold line."""
    listed = re.findall(r"results/(\w+\.md)$", (HOME / "properdocs.yml").read_text(), re.M)
    lines = ["| question | answer |", "|---|---|"]
    for name in listed:
        text = (RESULTS / name).read_text()
        title, answer = (
            re.search(r"^# (.*)$", text, re.M),
            re.search(r"^\*\*(.*?)\*\*", text, re.M | re.S),
        )
        if name != "index.md" and title:
            lines.append(
                f"| [{title[1]}]({name}) | {' '.join(answer[1].split()) if answer else ''} |"
            )
    return "\n".join(lines)


def write() -> list[str]:
    """All pages as their results files have them; the names of those that changed."""
    changed = []
    for page in pages():
        text = page.read_text()
        if (now := generated(page, text)) != text:
            page.write_text(now)
            changed.append(called(page))
    return changed


# --- the ledger -----------------------------------------------------------------------------------


class Count(NamedTuple):
    """Numbers of results in a page and its results file."""

    verified: int
    unverified: int
    outdated: int
    examples: list[str]  # of unverified ones in the prose


def count(page: Path) -> Count:
    """Of one page; tables that a file only holds for prose count too."""
    text, tables = page.read_text(), read(beside(page)).tables.values()
    lost, held = unverified(page, text)
    numbers = [
        (table, len([*prose_numbers.leaves([row.cells for row in table.rows])])) for table in tables
    ]
    made = sum(n for table, n in numbers if not table.unverified and not table.outdated)
    old = sum(n for table, n in numbers if table.outdated)
    by_hand = sum(pasted(table) for table in tables if table.unverified)
    return Count(made + held, by_hand + len(lost), old, [one.text for one in lost])


def ledger() -> dict[str, dict[str, int]]:
    """What it allows, by page."""
    return json.loads(LEDGER.read_text()) if LEDGER.exists() else {}


def counts() -> dict[str, Count]:
    """Of every page."""
    return {called(page): count(page) for page in pages()}


def beyond(found: dict[str, Count], allowed: dict[str, dict[str, int]]) -> list[str]:
    """Where the ledger says another number than there is, in a line each."""
    wrong = []
    for name, one in found.items():
        most = allowed.get(name, {}).get("unverified", 0)
        if one.unverified > most:
            wrong.append(
                f"{name}: {one.unverified} unverified numbers, allowed {most}; make them by "
                "docs.py add, say whose they are (given), or leave them out; "
                f"in prose: {', '.join(one.examples)}"
            )
        elif one.unverified < most:
            wrong.append(
                f"{name}: {one.unverified} unverified numbers, the ledger says {most}: "
                "python scripts/docs.py ledger"
            )
        if one.outdated != (old := allowed.get(name, {}).get("outdated", 0)):
            wrong.append(
                f"{name}: {one.outdated} outdated numbers, the ledger says {old}: docs.py ledger"
            )
    return wrong + [f"{name}: in the ledger, and no page" for name in allowed.keys() - found.keys()]


def lower(raised: bool = False) -> str:
    """Write the ledger; a Mistake if unverified numbers rose, unless that is allowed."""
    found, allowed = counts(), ledger()
    rose = [
        name
        for name, one in found.items()
        if one.unverified > allowed.get(name, {}).get("unverified", 0)
    ]
    if rose and not raised and LEDGER.exists():
        raise Mistake("; ".join(one for one in beyond(found, allowed) if one.split(":")[0] in rose))
    kept = {
        name: {"unverified": one.unverified} | ({"outdated": one.outdated} if one.outdated else {})
        for name, one in found.items()
        if one.unverified or one.outdated
    }
    lines = [f" {json.dumps(name)}: {json.dumps(kept[name])}" for name in sorted(kept)]
    LEDGER.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return told(found)


def told(found: dict[str, Count]) -> str:
    """The sum, in one line."""
    every = found.values()
    made, left = sum(one.verified for one in every), sum(one.unverified for one in every)
    old = sum(one.outdated for one in every)
    return f"{made:,} numbers verified, {left:,} unverified, {old:,} outdated"


# --- commands -------------------------------------------------------------------------------------


def complaints() -> list[str]:
    """All that is not in order, in a line each."""
    files = [beside(page) for page in pages()]
    wrong = [line for path in files if path.exists() for line in faults(path, read(path))]
    there = {*(HOME / "docs").glob("*.json"), *RESULTS.glob("*.json")}
    alone = there - {*files, LEDGER}
    wrong += [f"{called(path)}: a results file without a page" for path in sorted(alone)]
    for page in pages():
        text = page.read_text()
        if generated(page, text) != text:
            wrong.append(f"{called(page)}: differs from its results file; make docs")
    return wrong + beyond(counts(), ledger())


def add(wish: Wish) -> str:
    """Make or update a table; what to put into the page, if it does not show it yet."""
    path, name = table_of(wish.table)
    file = read(path)
    file.tables[name] = table_from(wish, file, file.tables.get(name))
    save(path, file)
    page = path.with_suffix(".md")
    shown = f"<!-- table {path.stem}#{name} -->\n<!-- end -->"
    write()
    there = f"<!-- table {path.stem}#{name} -->" in page.read_text()
    return "" if there else f"to show it, put into {called(page)}:\n{shown}"


def outdated() -> list[str]:
    """Say of every table that is stale why; the names of those marked."""
    marked = []
    for page in pages():
        path = beside(page)
        file = read(path)
        for name, table in file.tables.items():
            if not table.unverified and (why := "; ".join(stale(file, table))) != table.outdated:
                table.outdated = why
                marked.append(f"{called(page)}#{name}: {why or 'holds again'}")
        if path.exists():
            save(path, file)
    write()
    return marked


def parsed(words: list[str]) -> argparse.Namespace:
    """What a person asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("add")
    one.add_argument("table", metavar="PAGE#ID")
    one.add_argument("--from", dest="sources", nargs="+", type=Path, required=True)
    one.add_argument("--columns", nargs="+", default=[])
    one.add_argument("--labels", nargs="+", default=[])
    one.add_argument("--head", default="", help="above the labels")
    one.add_argument("--where", nargs="+", default=[], metavar="KEY=VALUE", help="rows of metrics")
    one.add_argument("--command", default="", help="that made the numbers")
    one.add_argument("--config", default="", help="whose changes the run's config is, by name")
    one.add_argument("--by-metric", action="store_true", help="a row a metric")
    one.add_argument("--claims", action="store_true", help="of a sweep")
    verbs.add_parser("write")
    verbs.add_parser("check")
    taken = verbs.add_parser("import")
    taken.add_argument("pages", nargs="+", type=Path)
    low = verbs.add_parser("ledger")
    low.add_argument("--raise", dest="raised", action="store_true", help="a person's decision")
    verbs.add_parser("outdated")
    return parser.parse_args(words)


def done(given: argparse.Namespace) -> list[str]:
    """Do what is asked for; lines to print."""
    if given.verb == "add":
        wish = {key: value for key, value in vars(given).items() if key != "verb"}
        return [add(Wish(**wish))]
    if given.verb == "write":
        return write()
    if given.verb == "import":
        from results_import import imported

        found = [line for page in given.pages for line in imported(page.resolve())]
        write()
        return found
    if given.verb == "ledger":
        return [lower(given.raised)]
    if given.verb == "outdated":
        return outdated()
    if wrong := complaints():
        raise Mistake("\n".join(wrong))
    return [told(counts())]


def main() -> None:
    """The command line."""
    try:
        lines = done(parsed(sys.argv[1:]))
    except Mistake as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2)
    print("\n".join(line for line in lines if line), end="\n" * any(lines))


if __name__ == "__main__":
    main()
