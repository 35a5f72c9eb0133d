"""Progress of a training for a person: a bar in a terminal, a line now and then in a file."""

import time
from pathlib import Path
from types import TracebackType

from rich import progress
from rich.console import Console


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
        self.bar.update(self.task, completed=step, rate=self._rate(now, step), losses=self.losses)
        if not self.live and now - self.spoke > 10:
            self._say(now, step)

    def saved(self, path: Path) -> None:
        """Note that a checkpoint is on disk and painted."""
        if not self.live and self.begun:
            self._say(time.monotonic(), int(path.stem))

    def _say(self, now: float, step: int) -> None:
        self.spoke = now
        pace = f"{self._rate(now, step)}{self._left(now, step)}"
        told = f"{self.title}: {step:,}/{self.steps:,} {pace} {self.losses}"
        self.console.print(told, markup=False, soft_wrap=True)

    def _speed(self, now: float, step: int) -> float:
        assert self.begun
        return (step - self.begun[1]) / max(1e-9, now - self.begun[0])

    def _rate(self, now: float, step: int) -> str:
        speed = self._speed(now, step)
        if speed * self.batch >= 1 or not speed:
            return f"{speed * self.batch:,.0f} examples/s"
        return f"{1 / speed:,.0f} s a step"

    def _left(self, now: float, step: int) -> str:
        speed = self._speed(now, step)
        return f", {(self.steps - step) / speed / 60:.1f} min left," if speed else ""


class Stages:
    """A context in which `told` hears of named stages, one after the other,
    and the share of each that is done."""

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
            if not (self.live or self.quiet):
                self.console.print(f"{stage} ...", markup=False)
        self.bar.update(self.tasks[stage], completed=share)
