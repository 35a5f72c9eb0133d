"""Sweeps on a Slurm cluster: a sheet as an array job, each run of it an element (by submitit).

An element that is asked to end (SIGTERM, SIGUSR1, or submitit's own SIGUSR2 before its time is
over) lets its training save, goes back into the queue, and goes on from there. Everything is on a
disk that all machines share, as Slurm has it.
"""

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from simulacra.core import extras
from simulacra.core.errors import Mistake
from simulacra.core.files import write_text
from simulacra.studies import sweep
from simulacra.studies.sheet import Cell, Sheet
from simulacra.studies.sweep import Crew, Job

FOLDER = "slurm"  # of what submitit keeps, in the sweep's
IDS = "jobs.json"  # in it: the number of each run's element
PAUSE = 5.0  # seconds between looks at the elements
QUEUED = {"PENDING", "RUNNING", "REQUEUED", "SUSPENDED", "CONFIGURING", "COMPLETING", "RESIZING"}
TIMEOUTS = 1000  # times that an element may go back into the queue because its time was over


class Asked(NamedTuple):
    """What all elements of a sweep share; a program that is started anew can read it."""

    sheet: Sheet
    out: Path  # absolute
    preset: str | None
    device: str
    root: Path | None  # the data folder
    threads: int


class Element:
    """One run, as submitit calls it."""

    def __init__(self, asked: Asked, cell: Cell, seed: int) -> None:
        self.asked, self.cell, self.seed = asked, cell, seed

    def __call__(self) -> str:
        """Train and measure; in words why not, or nothing."""
        asked, said = self.asked, list[str]()
        job = sweep.job(asked.sheet, self.cell, self.seed, asked.out, asked.preset, asked.device)
        self.crew = Crew(asked.root, asked.threads)
        _saves_too()
        # this thread hears signals, in which it waits for the other
        self.thread = threading.Thread(target=lambda: said.append(sweep.work(job, self.crew)))
        self.thread.start()
        self.thread.join()
        return said[0]

    def checkpoint(self) -> Any:
        """Have it save and end; what goes back into the queue."""
        from submitit.helpers import DelayedSubmission

        self.crew.stop()
        self.thread.join()
        return DelayedSubmission(Element(self.asked, self.cell, self.seed))


def _saves_too() -> None:
    """Have the signals by which schedulers end a job do what submitit's own does."""
    from submitit import JobEnvironment

    act = signal.getsignal(JobEnvironment()._usr_sig())
    for number in signal.SIGTERM, signal.SIGUSR1:
        signal.signal(number, act)


class SlurmCrew(Crew):
    """Runs as elements of an array job."""

    def __init__(self, asked: Asked, executor: Any, notify: Callable[[str], None]) -> None:
        super().__init__(asked.root, asked.threads)
        self.asked, self.executor, self.tell = asked, executor, notify
        self.ids = asked.out / FOLDER / IDS
        self.elements: dict[str, Any] = {}  # by the names of their folders

    def finish(
        self, todo: list[Job], at_once: int, notify: Callable[[Job, str], None]
    ) -> list[str]:
        """Which of the jobs failed, and why. Ctrl-C ends the waiting; the elements go on."""
        self.elements, failed = self._submitted(todo), []
        left = {job.folder.name: job for job in todo}
        while left:
            for name, job in list(left.items()):
                state = self._state(self.elements[name])
                if state is None:
                    why = _outcome(self.elements[name])
                    failed += [f"{job}: {why}"] if why else []
                    notify(left.pop(name), f"failed: {why}" if why else "done")
                elif state == "RUNNING":
                    self.nodes[name] = f"job {self.elements[name].job_id}"
                    self.doing[name] = "train" if not (job.folder / "done").exists() else "measure"
                else:
                    self.nodes.pop(name, None)
            time.sleep(PAUSE if left else 0)
        return failed

    def _state(self, element: Any) -> str | None:
        """The state that Slurm knows an element in; None if it has ended."""
        return None if element.done() else str(element.state)

    def _submitted(self, todo: list[Job]) -> dict[str, Any]:
        """The elements, by the names of their folders: those of an earlier call that are still in
        the queue, and new ones."""
        found = {}
        for name, number in self._earlier().items():
            element = self.executor.job_class(self.executor.folder, number)
            if element.state in QUEUED:
                found[name] = element
        new = [job for job in todo if job.folder.name not in found]
        with self.executor.batch():
            fresh = [self.executor.submit(Element(self.asked, job.cell, job.seed)) for job in new]
        found |= {job.folder.name: element for job, element in zip(new, fresh, strict=True)}
        self.ids.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.ids, json.dumps({name: one.job_id for name, one in found.items()}) + "\n")
        if new:
            self.tell(f"{len(new)} runs are elements of job {fresh[0].job_id.partition('_')[0]}")
        if old := len(todo) - len(new):
            self.tell(f"{old} runs are in the queue since an earlier call")
        return found

    def _earlier(self) -> dict[str, str]:
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads(self.ids.read_text("utf-8")))
        return {}


def _outcome(element: Any) -> str:
    """Why an element did not do its work; nothing if it did."""
    try:
        return str(element.result())
    except Exception as error:  # submitit pickles whatever it was
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        return lines[-1].strip() if lines else type(error).__name__


def executor(out: Path, settings: list[str], threads: int, gpus: float, at_once: int) -> Any:
    """What submits array jobs to Slurm; a Mistake if it is not installed, there is no Slurm here,
    or a setting KEY=VALUE is none of its."""
    try:
        import submitit
    except ImportError:
        raise Mistake(f"--slurm needs submitit; install it: {extras.install('cluster')}") from None
    chosen = _parsed(settings)
    chosen.setdefault("slurm_array_parallelism", at_once)
    chosen |= {"cpus_per_task": threads} | ({"gpus_per_node": int(gpus)} if gpus else {})
    try:
        found = submitit.AutoExecutor(out / FOLDER, "slurm", slurm_max_num_timeout=TIMEOUTS)
        found.update_parameters(name=out.name[:60], **chosen)
    except RuntimeError:
        raise Mistake(
            "--slurm: there is no srun here; allowed: a machine that submits jobs to Slurm"
        ) from None
    except (NameError, ValueError, AssertionError) as error:
        raise Mistake(f"--slurm-set: {' '.join(str(error).split())[:300]}") from None
    return found


def _parsed(settings: list[str]) -> dict[str, Any]:
    """KEY=VALUE,KEY=VALUE as submitit takes them: its own names, or sbatch's with `slurm_`."""
    from submitit import AutoExecutor

    found: dict[str, Any] = {}
    for word in (word for text in settings for word in text.split(",")):
        key, sign, value = word.partition("=")
        if not sign or not key.strip():
            raise Mistake(f"--slurm-set {word}: expected KEY=VALUE, such as partition=gpu")
        name = key.strip().replace("-", "_")
        if name == "time" and not value.strip().isdigit():
            raise Mistake(f"--slurm-set time={value}: expected minutes, a whole number")
        own = name in AutoExecutor._valid_parameters() or name.startswith("slurm_")
        number = value.strip().isdigit()
        found[name if own else f"slurm_{name}"] = int(value) if number else value.strip()
    return found
