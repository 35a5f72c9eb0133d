"""What a person sees of a sweep over many machines: a table that lives in a terminal; elsewhere a
line for each run that has ended and each machine that was lost."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from simulacra.studies.sweep import Job

TAIL = 2**14  # bytes at the end of a log that hold its last row
AROUND = 8  # lines of a terminal that are not for runs
SAID = 3  # last lines about machines that are shown
VERBS = {"train": "trains", "measure": "is measured", "score": "is scored"}


class Board:
    """A context in which a sweep is watched; `notify` is told of runs, `tell` of machines."""

    def __init__(self, console: Console, todo: list["Job"]) -> None:
        self.console, self.todo = console, todo
        self.ended: dict[str, str] = {}
        self.said: list[str] = []
        self.nodes: Mapping[str, str] = {}
        self.doing: Mapping[str, str] = {}
        self.line: Callable[[Any, str], None] = lambda job, what: None
        self.live = Live(
            self, console=console, refresh_per_second=1, auto_refresh=console.is_terminal
        )

    def shows(
        self,
        nodes: Mapping[str, str],  # run: the machine at which it is
        doing: Mapping[str, str],  # run: the verb
        line: Callable[[Any, str], None],  # says that one has ended, where nothing lives
    ) -> None:
        """What is watched."""
        self.nodes, self.doing, self.line = nodes, doing, line

    def __enter__(self) -> "Board":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def notify(self, job: "Job", what: str) -> None:
        """Note that a run has ended, and how."""
        self.ended[job.folder.name] = what
        if not self.console.is_terminal:
            self.line(job, what)

    def tell(self, line: str) -> None:
        """Note what happened to a machine."""
        self.said.append(line)
        if not self.console.is_terminal:
            self.console.print(f"note: {escape(line)}", soft_wrap=True)

    def __rich__(self) -> Table:
        """The table as it is now: what is at work first, then what failed, waits, is done."""
        rows = sorted(map(self._row, self.todo), key=lambda row: row[0])
        room = max(3, self.console.height - AROUND)
        table = Table(title=self._title(), caption="\n".join(map(escape, self.said[-SAID:])))
        for name in "run", "machine", "", "step", "loss":
            table.add_column(name, justify="right" if name in ("step", "loss") else "left")
        for _, cells in rows[:room]:
            table.add_row(*map(escape, cells))
        if (left := len(rows) - room) > 0:
            table.add_row(f"... and {left:,} more", "", "", "", "")
        return table

    def _title(self) -> str:
        failed = sum(what != "done" for what in self.ended.values())
        parts = [
            f"{len(self.ended) - failed:,} of {len(self.todo):,} runs done",
            f"{len(self.nodes):,} at work on {len(set(self.nodes.values())):,} machines",
            *([f"{failed:,} failed"] if failed else []),
            *([f"{len(self.said):,} times a machine was lost"] if self.said else []),
        ]
        return ", ".join(parts)

    def _row(self, job: "Job") -> tuple[int, list[str]]:
        """Its rank in the table, and its cells."""
        name = job.folder.name
        if what := self.ended.get(name):
            steps = f"{job.config.steps:,}" if what == "done" else ""
            return (3 if what == "done" else 1), [str(job), "", what, steps, ""]
        if name not in self.nodes:
            return 2, [str(job), "", "waits", "", ""]
        row = _last(job.folder / "log.jsonl")
        loss = next((value for key, value in row.items() if key.startswith("loss")), None)
        verb = self.doing.get(name, "")
        step = f"{row.get('step', 0):,} of {job.config.steps:,}"
        shown = "" if loss is None else f"{loss:.3g}"
        return 0, [str(job), self.nodes[name], VERBS.get(verb, verb), step, shown]


def _last(log: Path) -> dict[str, Any]:
    """The last whole row of a log; empty if there is none."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            lines = file.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        return row if isinstance(row, dict) else {}
    return {}
