"""Train a room: from a checked config to a finished run folder."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from simulacra import config, data, fit, play, run
from simulacra.config import Config
from simulacra.contract import Batch, Data
from simulacra.errors import Mistake
from simulacra.measure import health
from simulacra.reopen import Opened, build, chosen_device, machine, to
from simulacra.verbs.paint import paint


@dataclass(frozen=True)
class Outcome:
    """How a call of train ended."""

    step: int
    done: bool  # False: a signal stopped it
    already: bool  # True: nothing was left to do
    health: list[str]  # sentences for a person
    pictures: list[Path]  # the last that were painted


def train(
    checked: Config,
    folder: Path,
    root: Path | None,  # the data folder
    *,
    device: str = "cpu",
    extend: bool = False,  # allow more steps than the run in the folder was made for
    tensorboard: bool = False,
    tick: Callable[[int, dict[str, float]], None] = lambda step, row: None,
    saved: Callable[[Path], None] = lambda path: None,  # told of every checkpoint, after it was painted
) -> Outcome:
    """Train, or go on training, the run in `folder`."""
    with _processes(checked), _signals() as stop:
        first = play.rank() == 0
        where = chosen_device(device)
        source = data.load(checked.data, root)
        like = source.draw(0, checked.batch, checked.seed)
        model = build(checked, like, where)
        with run.locked(folder) if first else contextlib.nullcontext():
            if first:
                run.begin(folder, config.plain(checked), machine(root, where), like, extend=extend)
            if play.processes() > 1:
                dist.barrier()
            opened = run.Run(folder, config.plain(checked), writer=first, tensorboard=tensorboard)
            try:
                return _play(opened, checked, model, source, root, where, stop, tick, saved)
            finally:
                opened.close()


def _play(
    opened: run.Run,
    checked: Config,
    model: Any,
    source: Data,
    root: Path | None,
    where: torch.device,
    stop: Callable[[], bool],
    tick: Callable[[int, dict[str, float]], None],
    saved: Callable[[Path], None],
) -> Outcome:
    pictures: list[Path] = []
    path: Path | None = None

    def draw(k: int) -> Batch:
        batch = source.draw(k, checked.batch, checked.seed)
        return to(where, {name: play.own_rows(value) for name, value in batch.items()})

    clock = fit.fit(
        model,
        draw,
        opened,
        steps=checked.steps,
        log_every=checked.log_every,
        save_every=checked.save_every,
        stop=stop,
        tick=tick,
    )
    try:
        for path in clock:
            if opened.writer:
                pictures = paint(Opened(opened.folder, checked, model, int(path.stem), root, where), source)
                saved(path)
    except fit.NotFinite as error:
        files = run.checkpoints(opened.folder)
        last = f"the last good checkpoint is {files[-1]}" if files else "no checkpoint was written before it"
        raise Mistake(f"training stopped: {error}; {last}") from None
    step = int(path.stem) if path else int(run.checkpoints(opened.folder)[-1].stem)
    done = step >= checked.steps
    if done and not (opened.folder / "done").exists():
        opened.finish(step, model)
    rows = run.read_rows(opened.folder / "log.jsonl") if opened.writer else []
    return Outcome(step, done, path is None, health.summary(rows, equilibrium(model)), pictures)


def equilibrium(model: Any) -> dict[str, float]:
    """The analytic equilibrium of each of the room's losses, where it states one."""
    return model.equilibrium() if hasattr(model, "equilibrium") else {}


@contextlib.contextmanager
def _processes(checked: Config) -> Iterator[None]:
    """Join the other processes that torchrun started, if it did."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield
        return
    if checked.batch % count:
        raise Mistake(f"batch = {checked.batch} cannot be shared equally by {count} processes")
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=timedelta(minutes=10))
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a question that the clock asks between steps; the second one interrupts."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
