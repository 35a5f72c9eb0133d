"""Train a model: from a checked config to a finished run folder."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from simulacra.core import (
    answers,
    config,
    data_sets,
    distributed,
    external,
    installed_record,
    loop,
    packed,
    parts,
    precision,
    run,
    signals,
    threads,
)
from simulacra.core.config import Config
from simulacra.core.contract import (
    Agent,
    AutoEncoder,
    Batch,
    Data,
    Game,
    HasCheck,
    HasLook,
    HasNotes,
    HasView,
    HasWon,
    option,
)
from simulacra.core.errors import Mistake
from simulacra.core.files import write_text
from simulacra.core.load import Opened, build, chosen_device, machine, to
from simulacra.core.state import untouched
from simulacra.core.warm_start import Begun, begin
from simulacra.metrics.health import health, verdict
from simulacra.metrics.images import extractors
from simulacra.metrics.images.prdc import too_few
from simulacra.tasks._monitor import Monitor, with_log
from simulacra.tasks.paint import paint

CPU = torch.device("cpu")
LOOKED = 20_000  # training examples at which a model looks before its first step, at most


@dataclass(frozen=True)
class Outcome:
    """How a call of train ended."""

    step: int
    done: bool  # False: a signal stopped it
    already: bool  # True: nothing was left to do
    health: list[str]  # sentences for a person
    pictures: list[Path]  # the last that were painted
    status: int = 0  # of a program that a signal stopped so; 0: none came


def train(
    checked: Config,
    folder: Path,
    root: Path | None,  # the data folder
    *,
    device: str = "cpu",
    extend: bool = False,  # allow more steps than the run in the folder was made for
    tensorboard: bool = False,
    tick: Callable[[int, dict[str, float]], None] = lambda step, row: None,
    # told of every checkpoint, after it was painted
    saved: Callable[[Path], None] = lambda path: None,
    # told, a line each, what a person should know
    notify: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Train, or go on training, the run in `folder`."""
    if packed.is_packed(folder):
        raise Mistake(
            f"{folder} is a packed run, which is only looked at; choose another folder with --run"
        )
    if (folder / "config.json").exists():
        # what changes nothing is refused where a run begins, not where an older one goes on
        checked = config.settled(checked)
    where = chosen_device(device)
    with computing(checked, folder, notify, where) as asked:
        first = distributed.rank() == 0
        source = data_sets.load(checked.data, root)
        fits(checked, source, notify if first else lambda line: None)
        like = answers.drawn_batch(source, 0, checked.batch, checked.seed)
        model, begun = built(checked, folder, source, like, where)
        for line in _shared_otherwise(folder, model, checked.hyper):
            if first:
                notify(line)
        opened = run.Run(folder, config.plain(checked), writer=first, tensorboard=tensorboard)
        stage = _Stage(opened, checked, model, source, root, where)
        with contextlib.ExitStack() as held:
            mistake = None
            if first:
                try:
                    held.enter_context(run.locked(folder))
                    for line in _recorded(stage, like, begun, extend):
                        notify(line)
                except Mistake as error:
                    mistake = str(error)
            if mistake := _told(mistake):
                raise Mistake(mistake)
            try:
                precision.compile_nets(checked.compile, model)
                with precision.compilable(checked.compile):
                    return _play(stage, asked, tick, saved, notify)
            finally:
                opened.close()


def _shared_otherwise(folder: Path, model: Any, hyper: Any) -> list[str]:
    """What to say of a run that goes on with another number of processes; a Mistake if its model
    computes something that depends on the number."""
    before = [start.get("processes", 1) for start in run.starts(folder)]
    now = distributed.world_size()
    if not run.checkpoints(folder) or not before or before[-1] == now:
        return []
    if why := parts.of_own_rows(model, hyper):
        raise Mistake(
            f"{folder} was trained by {before[-1]} processes, each of which looks at its own rows "
            f"of a batch ({why}), so {now} would train something else; allowed: {before[-1]}"
        )
    return [
        f"processes = {now}, where {before[-1]} were at work before: sums are rounded otherwise, "
        "so the bits will not be those of an unbroken run"
    ]


def built(
    checked: Config, folder: Path, source: Data, like: Batch, where: torch.device
) -> tuple[Any, Begun | None]:
    """The model, and what it begins from, if it begins and from anything."""
    model = build(checked, like, where)
    run.storable(model, checked.model)
    if run.checkpoints(folder):
        return model, None
    if checked.model not in config.models():  # the package's own are tested
        answers.tried(model, to(where, like))
    begun = begin(checked, model, folder, where)
    _met(model, like, partial(_examples, source, where))
    return model, begun


def _met(model: Any, like: Batch, examples: Callable[[], Iterator[Batch]]) -> None:
    """The model has seen its data before the first step, if it asks for that; `like` is the first
    batch."""
    if isinstance(model, HasCheck):
        model.check(like)
    if isinstance(model, HasLook):
        model.look(examples, len(next(iter(like.values()))))


def _examples(source: Data, device: torch.device) -> Iterator[Batch]:
    """Training examples, each once, in batches:
    all of them, but for at most 1 % of a remainder, or a fixed part of many."""
    n = min(source.size("train"), LOOKED)
    size = min(range(min(128, n), min(256, n) + 1), key=lambda size: n % size)
    for k in range(n // size):
        yield to(device, source.draw(k, size, 0))


def fits(checked: Config, source: Data, notify: Callable[[str], None]) -> None:
    """A Mistake if the model is told of other classes than the data have; what the data took for
    granted is told."""
    for note in source.notes if isinstance(source, HasNotes) else ():
        notify(note)
    if source.extractor in extractors.names() and (few := too_few(source.size("held_out"))):
        notify(few)
    asked = option(checked.hyper, "classes", 0)
    if asked not in (0, source.classes):
        allowed = (
            f"0 or {source.classes}, as many as the data have"
            if source.classes
            else "0, the data have no labels"
        )
        raise Mistake(f"hyper.classes = {asked}; allowed: {allowed}")


@dataclass(frozen=True)
class _Stage:
    """What the clock plays on."""

    run: run.Run
    config: Config
    model: Any
    source: Data
    root: Path | None
    device: torch.device

    def draw(self, k: int) -> Batch:
        """This process's rows of the batch of step k."""
        batch = self.source.draw(k, self.config.batch, self.config.seed)
        return to(self.device, {name: distributed.own_rows(value) for name, value in batch.items()})

    def held_out(self) -> Batch:
        """This process's rows, equally many in each, of at most a batch of held-out examples;
        the same at every step."""
        share = min(self.config.batch, self.source.size("held_out")) // distributed.world_size()
        batch = self.source.take("held_out", share * distributed.world_size() or 1)
        return to(
            self.device,
            {
                name: distributed.own_rows(value) if share else value
                for name, value in batch.items()
            },
        )

    def rows(self) -> list[dict[str, Any]]:
        """The run's log, with what the collapse monitor saw at its checkpoints."""
        return with_log(self.run.folder)

    @cached_property
    def monitor(self) -> Monitor:
        """What looks for collapses."""
        return Monitor(self.source)

    def paint(self, step: int) -> list[Path]:
        """The pictures of a step; the collapse monitor looks at other samples of it."""
        try:
            with untouched(self.model, self.run.remembered):
                opened = Opened(
                    self.run.folder, self.config, self.model, step, self.root, self.device
                )
                pictures = paint(opened, self.source)
                self.monitor.note(opened, self.run.saves(step))
                if self.run.events:
                    with run.full_disk(self.run.folder):
                        self.run.events.pictures(step, pictures)
                return pictures
        except Mistake as error:
            raise Mistake(f"{error}; {run.last_good(self.run.folder)}") from None


def _recorded(stage: _Stage, like: Batch, begun: Begun | None, extend: bool) -> list[str]:
    """The start is recorded in the run folder, or is refused; what a person should know of it."""
    folder, checked, source = stage.run.folder, stage.config, stage.source
    keep_view = _seen(folder, stage.model, source, like)
    names = config.code_of(checked)
    code = installed_record.record(names)
    start = machine(stage.root, stage.device) | ({"init_from": begun.record} if begun else {})
    start |= {installed_record.RECORD: code} if code else {}
    how: dict[str, Any] = {
        "extend": extend,
        "known": config.completed,
        "sources": external.sources(names),
        "files": partial(data_sets.fingerprint, checked.data, stage.root),
    }
    before = run.starts(folder)
    lines = run.begin(folder, config.plain(checked), start, like, **how)
    lines += installed_record.differences(
        before[-1].get(installed_record.RECORD, {}) if before else {}, code
    )
    keep_view()
    return [*([begun.said] if begun else []), *external.unkept(names), *lines]


def _seen(folder: Path, model: Any, source: Data, like: Batch) -> Callable[[], None]:
    """What writes down what a run sees of a world, where its model or its data may see one; a
    Mistake if it sees something else than before. All others know nothing of worlds."""
    if not isinstance(model, (Agent, AutoEncoder)) and not isinstance(source, HasView):
        return lambda: None
    from simulacra.models.world import seeing

    return partial(seeing.keep, folder, seeing.begun(folder, model, source, like))


def _play(
    stage: _Stage,
    asked: list[int],
    tick: Callable[..., None],
    saved: Callable[[Path], None],
    notify: Callable[[str], None],
) -> Outcome:
    stop = partial(bool, asked)
    checked, pictures, step, already = stage.config, [], stage.config.steps, stage.run.finished()
    back = not already
    while back:
        back = False
        unseen = stage.held_out()
        how: dict[str, Any] = {
            "steps": checked.steps,
            "held_out": unseen,
            "stop": stop,
            "tick": tick,
            "notify": notify,
        }
        how["around"] = partial(precision.cast, checked.autocast, stage.device)
        clock = loop.fit(stage.model, stage.draw, stage.run, **how)
        try:
            for path in clock:
                step = int(path.stem)
                if stage.run.writer:
                    pictures = stage.paint(step)
                    saved(path)
                if checked.rollback:
                    _meet()  # the first process has written what it saw
                if (
                    checked.rollback
                    and stage.run.saves(step)
                    and not health.healthy(stage.rows(), _settings(stage.model))
                ):
                    back = _roll_back(stage, step, "collapsed")
                    break
        except loop.NotFinite as error:
            back = bool(checked.rollback) and _roll_back(stage, error.step, str(error))
            if not back:
                raise Mistake(
                    f"training stopped: {error}; {run.last_good(stage.run.folder)}"
                ) from None
    well = _judged(stage) if stage.run.writer else []
    if step >= checked.steps and not already:
        stage.run.finish(step, stage.model)
    ended = signals.status(asked[0]) if asked else 0
    return Outcome(step, step >= checked.steps, already, well, pictures, ended)


def _judged(stage: _Stage) -> list[str]:
    """What a person is told of the run's health; the states in it stay, in health.json."""
    rows, settings = stage.rows(), _settings(stage.model)
    place, found = stage.run.folder / "health.json", health.states(rows, settings)
    told = json.dumps({"states": [asdict(spell) for spell in found]}) + "\n"
    if not place.exists() or place.read_text("utf-8") != told:
        with run.full_disk(stage.run.folder):
            write_text(place, told)
    return verdict.summary(rows, equilibrium(stage.model), settings)


def _roll_back(stage: _Stage, step: int, why: str) -> bool:
    """Go back to the last healthy checkpoint, if the config still allows it and there is one. All
    processes look at the folder before the first one changes it, and none goes on before that is
    done."""
    folder, rows = stage.run.folder, stage.rows()
    tried = len(run.read_rows(folder / "rollbacks.jsonl"))
    steps = [int(path.stem) for path in run.checkpoints(folder) if stage.run.saves(int(path.stem))]
    good = [k for k in steps if health.healthy(rows, _settings(stage.model), step=k)]
    stopped = f"training stopped at step {step:,}: {why}"
    if not good:
        raise Mistake(
            f"{stopped}; no healthy checkpoint is kept to roll back to (keep = {stage.config.keep})"
        )
    if tried >= stage.config.rollback:
        raise Mistake(
            f"{stopped} again after {tried} rollbacks; step {good[-1]:,} is the last healthy one"
        )
    _meet()
    stage.run.roll_back(step, good[-1], why)
    _meet()
    return True


def _settings(model: Any) -> health.Settings:
    won = dict(model.won()) if isinstance(model, HasWon) else {}
    return health.Settings(equilibrium=equilibrium(model), won=won)


def equilibrium(model: Any) -> dict[str, float]:
    """The analytic equilibrium of each of the model's losses, where it states one."""
    return dict(model.equilibrium()) if isinstance(model, Game) else {}


@contextlib.contextmanager
def computing(
    checked: Config,
    folder: Path,
    note: Callable[[str], None],
    where: torch.device = CPU,
) -> Iterator[list[int]]:
    """Join the other processes, take the run's number of threads, and collect the signals that ask
    to end."""
    own = threads.held(run.starts(folder))
    with _processes(checked, where), signals.asked() as numbers, own as told:
        for line in told if distributed.rank() == 0 else ():
            note(line)
        yield numbers


@contextlib.contextmanager
def _processes(checked: Config, where: torch.device) -> Iterator[None]:
    """Join the other processes that torchrun started, if it did; what they tell each other lies on
    the CPU or on their device."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield
        return
    if checked.batch % count:
        raise Mistake(f"batch = {checked.batch} cannot be shared equally by {count} processes")
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo", timeout=timedelta(minutes=10)
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def _told(what: str | None) -> str | None:
    """What the first process has to tell, known to all."""
    words = [what]
    if distributed.world_size() > 1:
        dist.broadcast_object_list(words)
    return words[0]


def _meet() -> None:
    """Wait until all processes are here."""
    if distributed.world_size() > 1:
        dist.barrier()
