"""What the stages of a chain took, and what each was worth on the same tracks.

# a row in ledger, whatever ends the stage but a kill
with timed(ledger, "codes", folder): ...
# Markdown, gains by track over the stage before
table([Stage("eye", minutes(ledger, "eye", run)), ...], "32 tracks")
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from simulacra.core import run
from simulacra.metrics.world.returns import Score, Summary, paired


class Stage(NamedTuple):
    """A folder of a chain."""

    name: str
    minutes: float | None  # None: nobody measured them
    score: Score | None = None  # None: it does not drive, or nobody asked
    before: Score | None = None  # of the stage that it went on from


@contextmanager
def timed(ledger: Path, stage: str, place: Path) -> Iterator[None]:
    """Note in a .jsonl what a stage takes that makes files at a place;
    one that finds all done only looks at them."""
    begun, there = time.monotonic(), _files(place)
    try:
        yield
    finally:
        if _files(place) != there:
            run.append_rows(
                ledger, [{"stage": stage, "seconds": round(time.monotonic() - begun, 1)}]
            )


def _files(place: Path) -> int:
    return sum(1 for _ in place.rglob("*")) + place.exists()


def minutes(ledger: Path, stage: str, folder: Path) -> float | None:
    """Of a run, by its clock; of anything else,
    by the ledger, over all sittings that were not killed."""
    if clock := run.read_rows(folder / "clock.jsonl"):
        return clock[-1]["seconds"] / 60
    spent = [row["seconds"] for row in run.read_rows(ledger) if row["stage"] == stage]
    return sum(spent) / 60 if spent else None


def table(stages: Sequence[Stage], tracks: str) -> str:
    """A line a stage. Intervals: 95 % over tracks; gains are paired."""
    heads = "stage", "minutes", f"score on {tracks}", "gain, track by track"
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for stage in stages:
        score = _ends(stage.score.summary()) if stage.score else ""
        gain = _ends(paired(stage.score, stage.before)) if stage.score and stage.before else ""
        lines.append(f"| {stage.name} | {_spent(stage.minutes)} | {score} | {gain} |")
    known = [stage.minutes for stage in stages if stage.minutes is not None]
    return "\n".join([*lines, f"| all of these | {_spent(sum(known))} | | |"]) + "\n"


def _spent(found: float | None) -> str:
    return "" if found is None else f"{found:.1f}"


def _ends(found: Summary) -> str:
    return (
        f"{round(found.mean)}"
        if found.n == 1
        else f"{round(found.mean)} [{round(found.low)}, {round(found.high)}]"
    )
