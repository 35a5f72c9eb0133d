"""Which meaning a measured number has. A metric whose meaning changed has another version from then
on, and numbers of two versions do not stand in one column.

A row of metrics.jsonl carries the version of its metric; one that carries none is of version 1.
Older scores carry that of their simulator under this name.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from simulacra.core.errors import Mistake

VERSIONS = {
    "memorisation": 2,  # 1: of the first training pictures only, as many as there were samples
}
"""Of the metrics whose meaning changed; all others are of version 1."""


def version(row: Mapping[str, Any]) -> int:
    """That of a row."""
    return int(renamed(row).get("version", 1))


def renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the names of today."""
    if isinstance(row.get("version"), str):
        return {
            ("simulator_version" if name == "version" else name): value
            for name, value in row.items()
        }
    return dict(row)


def stamped(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row that is written now, with the version of its metric."""
    return {**row, "version": VERSIONS.get(row["metric"], 1)}


def alike(metric: str, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """A Mistake if runs, by name, have the metric in different versions;
    it says which must be measured again."""
    found: dict[int, list[str]] = {}
    for name, row in rows:
        found.setdefault(version(row), []).append(name)
    if len(found) > 1:
        newest = max(found)
        old = [
            f"version {number} for {'; '.join(names)}"
            for number, names in sorted(found.items())
            if number < newest
        ]
        raise Mistake(
            f"{metric} has changed its meaning: it is of {', of '.join(old)}, "
            f"and of version {newest} for the others; measure those again"
        )
