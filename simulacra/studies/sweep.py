"""Sweep: train and measure every run of a sheet, each in a process of its own.

    OUT/sheet.toml      the sheet that these runs are of
    OUT/CELL,seed=N/    a run folder
    OUT/CELL,seed=N.txt what its processes said
    OUT/sweep.jsonl     a line a finished process: run, command, seconds

What is done is not done again, and what was broken goes on where it stands.
"""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from simulacra.core import (
    config,
    data_sets,
    external,
    fingerprint,
    locks,
    run,
    signals,
    tensorboard,
)
from simulacra.core.config import Config
from simulacra.core.errors import Mistake
from simulacra.io.paint import write
from simulacra.studies.sheet import Cell, Sheet

SHEET, LEDGER = "sheet.toml", "sweep.jsonl"


class Job(NamedTuple):
    """A run of a sheet."""

    cell: Cell
    seed: int
    folder: Path
    train: list[str]  # words after `simulacra`
    measure: list[str]
    config: Config

    def __str__(self) -> str:
        return f"{self.cell}, seed {self.seed}"

    def rows(self) -> list[dict[str, Any]]:
        """What was measured at its end; a Mistake if its folder holds another run."""
        if not (self.folder / "config.json").exists():
            return []
        there = config.completed(run.config_of(self.folder))
        if changed := run.differences(there, config.plain(self.config)):
            lines = "; ".join(
                f"{key} is {a} there, {b} in the sheet" for key, (a, b) in changed.items()
            )
            raise Mistake(
                f"{self.folder} holds a run of another config: {lines}. "
                "Choose another folder with -o"
            )
        return [
            row
            for row in run.read_rows(self.folder / "metrics.jsonl")
            if row.get("step") == self.config.steps
        ]


@dataclass
class Crew:
    """The processes that are at work, and what they may use."""

    root: Path | None = None  # the data folder
    threads: int = 1  # of each
    stopped: bool = False
    children: set["subprocess.Popen[bytes]"] = field(default_factory=set)
    guard: threading.Lock = field(default_factory=threading.Lock)
    # the verb that is at work on a run, and the machine that it is at
    doing: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)

    def run(self, words: list[str], log: Path) -> int:
        """The exit status of `simulacra WORDS`, whose words are added to a file. It is in a session
        of its own, so that only `stop` tells it of a Ctrl-C."""
        env = os.environ | {
            "OMP_NUM_THREADS": str(self.threads),
            "MKL_NUM_THREADS": str(self.threads),
        }
        env |= {"SIMULACRA_DATA": str(self.root)} if self.root else {}
        with log.open("ab") as said:
            with self.guard:
                if self.stopped:
                    return 130
                command = [sys.executable, "-m", "simulacra", *words]
                child = subprocess.Popen(
                    command,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                self.children.add(child)
            code = child.wait()
        with self.guard:
            self.children.discard(child)
        return code

    def finish(
        self, todo: list[Job], at_once: int, notify: Callable[[Job, str], None]
    ) -> list[str]:
        """Which of the jobs failed, and why. After a signal that asks to end all save and end."""
        failed = []
        with signals.heard(signals.interrupt), ThreadPoolExecutor(at_once) as pool:
            futures = {pool.submit(work, job, self): job for job in todo}
            try:
                for future in as_completed(futures):
                    job, why = futures[future], future.result()
                    failed += [f"{job}: {why}"] if why else []
                    notify(job, f"failed: {why}" if why else "done")
            except KeyboardInterrupt:
                self.stop()
                pool.shutdown(cancel_futures=True)
                raise
        return failed

    def stop(self) -> None:
        """Ask all to save and end; nobody begins anew."""
        with self.guard:
            self.stopped = True
            for child in self.children:
                child.send_signal(signal.SIGINT)


def jobs(sheet: Sheet, out: Path, preset: str | None = None, device: str = "cpu") -> list[Job]:
    """All runs, seed by seed, so that every cell has one before any has two."""
    return [
        job(sheet, cell, seed, out, preset, device)
        for seed in sheet.seeds
        for cell in sheet.cells()
    ]


def job(
    sheet: Sheet,
    cell: Cell,
    seed: int,
    out: Path,
    preset: str | None = None,
    device: str = "cpu",  # of the training; measuring is done where the sheet's words say
) -> Job:
    """One run of a sheet."""
    verb, *options = shlex.split(sheet.measure)
    folder, checked = out / cell.folder(seed), sheet.resolved(cell, seed, preset)
    sets = [word for change in sheet.changes(cell, seed) for word in ("--set", change)]
    asked, where = preset or sheet.preset, [] if device == "cpu" else ["--device", device]
    train = ["train", sheet.source_of(cell), "--preset", asked, "--run", str(folder), *sets]
    # the sheet's own config names it
    own = any(map(external.is_outside, config.code_of(checked).values()))
    measure = [verb, str(folder), *options, *(["--trust"] if own else [])]
    return Job(cell, seed, folder, [*train, *where], measure, checked)


def measured(job: Job) -> bool:
    """Whether the end of the run was measured in just this way."""
    path = job.folder.parent / LEDGER
    if not path.exists():
        return False
    stat = path.stat()
    said = _ledger(path, stat.st_size, stat.st_mtime_ns).get(job.folder.name, set())
    return " ".join(_own(job.measure, job)) in said and bool(job.rows())


@lru_cache(1)  # of ten thousand runs each asks for it
def _ledger(path: Path, size: int, changed: int) -> dict[str, set[str]]:
    """The commands that each run has behind it, from a file of this size and time."""
    found: dict[str, set[str]] = {}
    for row in run.read_rows(path):
        found.setdefault(row["run"], set()).add(row["command"])
    return found


def _own(words: list[str], job: Job) -> list[str]:
    return [word for word in words if word != str(job.folder)]


def done(job: Job) -> bool:
    """Whether nothing is left to do."""
    return measured(job) and (job.folder / "done").exists()


def sweep(
    sheet: Sheet,
    text: bytes,
    out: Path,
    *,
    preset: str | None = None,
    device: str = "cpu",
    at_once: int = 2,
    crew: Crew | None = None,
    notify: Callable[[Job, str], None] = lambda job, what: None,
) -> None:
    """Finish all runs of a sheet, `text` being its file.
    A Mistake at the end names those that failed."""
    todo, crew = jobs(sheet, out, preset, device), crew or Crew()
    with run.reached(out):
        out.mkdir(parents=True, exist_ok=True)
    with run.alone(out, "sweeping"):
        known = out / SHEET
        if known.exists() and known.read_bytes() != text:
            left = sorted(path.name for path in out.iterdir() if (path / "config.json").exists())
            lost = sorted(set(left) - {job.folder.name for job in todo})
            if lost:
                raise Mistake(
                    f"{out} holds {lost[0]}, a run that this sheet has not; "
                    "choose another folder with -o"
                )
        _same_data([job for job in todo if done(job)], crew.root)
        write(known, text)
        if found := [job.config for job in todo]:
            tensorboard.compared(out, _varied(found), sheet.metrics())
        failed = crew.finish([job for job in todo if not done(job)], at_once, notify)
    if failed:
        raise Mistake(f"{len(failed)} of {len(todo)} runs failed: {'; '.join(failed)}")


def _varied(configs: list[Config]) -> list[str]:
    """The keys in which the configs of a sheet differ, but for the seed."""
    first, *others = [tensorboard.hparams(config.plain(one)) for one in configs]
    return [key for key in first if any(one.get(key) != first[key] for one in others)]


def _same_data(jobs: list[Job], root: Path | None) -> None:
    """A Mistake if a finished run was trained on other data than there are now.
    Where there are none, nothing is compared."""
    seen: dict[Any, fingerprint.Files] = {}
    for job in jobs:
        before = run.fingerprint_of(job.folder)
        if before is None:
            continue
        with suppress(Mistake):
            if job.config.data not in seen:
                seen[job.config.data] = data_sets.fingerprint(job.config.data, root)
        if told := fingerprint.apart(before, seen.get(job.config.data, before)):
            raise Mistake(
                f"{job.folder} was trained on other data: {told}. "
                "Give it the old ones back, or choose another folder with -o"
            )


def work(job: Job, crew: Crew) -> str:
    """Train and measure; in words why not, or nothing."""
    try:
        return _ended(job, crew)
    except Mistake as mistake:
        return str(mistake)


def _ended(job: Job, crew: Crew) -> str:
    log = job.folder.with_name(job.folder.name + ".txt")
    for words in [job.train, *([] if measured(job) else [job.measure])]:
        begun = time.monotonic()
        if code := crew.run(words, log):
            return (
                "stopped" if crew.stopped else f"{_why(log) or f'exit status {code}'} (see {log})"
            )
        row: dict[str, Any] = {"run": job.folder.name, "command": " ".join(_own(words, job))}
        _note(job.folder.parent, row | {"seconds": round(time.monotonic() - begun, 1)})
    return ""


def _note(out: Path, row: dict[str, Any]) -> None:
    """Add a row to the ledger, one process at a time: two machines that add to a file of a shared
    disk at once may lose a row."""
    with (out / f"{LEDGER}.lock").open("w", encoding="utf-8") as file:
        while not locks.hold(file):
            time.sleep(0.05)
        run.append_rows(out / LEDGER, [row])


def _why(log: Path) -> str:
    """The last error in a file, or else its last line."""
    lines = log.read_text("utf-8", errors="replace").strip().splitlines()
    return next(reversed([line for line in lines if line.startswith("error: ")] or lines), "")
