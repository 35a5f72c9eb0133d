"""Progress of a training for a person: a bar in a terminal, a line now and then in a file."""

import time
from pathlib import Path
from types import TracebackType

from rich import progress
from rich.console import Console

PAUSE = 20.0  # seconds between lines about one stage in a file


class Progress:
    """A context in which `tick` is told of steps and `saved` of checkpoints."""

    def __init__(self, console: Console, steps: int, batch: int, title: str):
        self.console, self.steps, self.batch, self.title = console, steps, batch, title
        self.live = console.is_terminal
        self.losses = ""
        self.begun: tuple[float, int] | None = None  # when, and at which step, this process began
        self.spoke = time.monotonic()
        self.bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            progress.TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("[dim]{task.fields[losses]}"),
            console=console,
            disable=not self.live,
        )
        self.task = self.bar.add_task(title, total=steps, rate="", losses="")

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def tick(self, step: int, row: dict[str, float]) -> None:
        """Note that a step is done, with its log row if it was logged."""
        now = time.monotonic()
        self.begun = self.begun or (now, step)
        if row:
            shown = [
                name
                for name in row
                if name.startswith("loss") and not name.endswith("_from_equilibrium")
            ]
            self.losses = " ".join(f"{name} {row[name]:.3g}" for name in shown)
        rate = self._rate(now, step)
        self.bar.update(self.task, completed=step, rate=rate, losses=self.losses)
        if not self.live and now - self.spoke > 10:
            self._say(now, step)

    def saved(self, path: Path) -> None:
        """Note that a checkpoint is on disk and painted."""
        if not self.live and self.begun:
            self._say(time.monotonic(), int(path.stem))

    def _say(self, now: float, step: int) -> None:
        self.spoke = now
        parts = self._rate(now, step), self._left(now, step), self.losses
        told = ", ".join(part for part in parts if part)
        line = f"{self.title}: {step:,}/{self.steps:,} {told}".rstrip()
        self.console.print(line, markup=False, soft_wrap=True)

    def _speed(self, now: float, step: int) -> float:
        assert self.begun
        return (step - self.begun[1]) / max(1e-9, now - self.begun[0])

    def _rate(self, now: float, step: int) -> str:
        speed = self._speed(now, step)
        if not speed:  # of the first step that this process makes nothing is known yet
            return ""
        per_second = speed * self.batch
        return f"{per_second:,.0f} examples/s" if per_second >= 1 else f"{1 / speed:,.0f} s a step"

    def _left(self, now: float, step: int) -> str:
        speed = self._speed(now, step)
        left = (self.steps - step) / speed / 60 if speed else 0.0
        return f"{left:.1f} min left" if left else ""


class Stages:
    """A context in which `update` is told of named stages, one after the other, and the share of
    each that is done. In a file it is a line when a stage begins, and one every PAUSE seconds."""

    def __init__(self, console: Console, quiet: bool = False):
        self.console, self.quiet = console, quiet
        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            progress.TaskProgressColumn(),
        )
        self.live = console.is_terminal and not quiet
        self.bar = progress.Progress(
            *columns, progress.TimeElapsedColumn(), console=console, disable=not self.live
        )
        self.tasks: dict[str, progress.TaskID] = {}
        self.spoke = time.monotonic()

    def __enter__(self) -> "Stages":
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def update(self, stage: str, share: float) -> None:
        """Note how far a stage is, 0 to 1."""
        if stage not in self.tasks:
            self.tasks[stage] = self.bar.add_task(stage, total=1.0)
            self._say(f"{stage} ...")
        elif time.monotonic() - self.spoke > PAUSE and share < 1:
            self._say(f"{stage}: {share:.0%}")
        self.bar.update(self.tasks[stage], completed=share)

    def _say(self, line: str) -> None:
        self.spoke = time.monotonic()
        if not (self.live or self.quiet):
            self.console.print(line, markup=False)
