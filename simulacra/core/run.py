"""A run folder: open, save, resume, log. The only writer of run folders.

config.json            resolved, every default spelled out
machine.json           a record for each start: versions, processor, threads, commit
data.json              the fingerprint of the files that it is trained on
model.py, data.py      the source of the model and of the data set, if they are from outside
shapes.json            shape and type of the training batch, so that the model can be rebuilt
                       without the data
view.json              of eyes, memories and agents of a world: what is shown of it
                       (envs/view.py)
log.jsonl              step, images seen, scalars: a function of the config alone, so broken and
                       unbroken runs agree
clock.jsonl            step and seconds, one line beside each line of the log
checkpoints/           <step>.pt, loadable under weights_only=True, written to a temporary file and
                       renamed
pictures/<step>/       painted from fixed held-out inputs and fixed noise
curves.png             the log, painted
rollbacks.jsonl        a line each time training went back to an older checkpoint (only if asked
                       for)
health.json            what the monitor saw in the log: states, their first and last step, words
metrics.jsonl          a line a measured value, with its provenance
events/                TensorBoard's view of the log
lock                   held by the process that trains here
done                   written last
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TextIO

import torch

from simulacra.core import fingerprint, locks
from simulacra.core.checkpoint import FORMAT as FORMAT
from simulacra.core.checkpoint import checkpoints as checkpoints
from simulacra.core.checkpoint import contents as contents
from simulacra.core.checkpoint import last_good as last_good
from simulacra.core.checkpoint import load as load
from simulacra.core.checkpoint import put
from simulacra.core.checkpoint import states as states
from simulacra.core.checkpoint import step_of as step_of
from simulacra.core.checkpoint import storable as storable
from simulacra.core.config import read, run_file
from simulacra.core.contract import Batch, Model
from simulacra.core.errors import Mistake
from simulacra.core.files import write, write_bytes, write_text
from simulacra.core.fingerprint import Files
from simulacra.core.fingerprint import digest as digest
from simulacra.core.random import fold
from simulacra.core.state import kept
from simulacra.core.tensorboard import Events, measured

# what a start leaves that was killed before it wrote the config
BEGUN = {"lock", "checkpoints", "model.py", "room.py", "data.py", "data.json"}


class Run:
    """An open run folder. `writer` is False in all processes but the first of a distributed run."""

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        *,
        writer: bool = True,
        tensorboard: bool = False,
    ):
        self.folder, self.config = folder, config
        self.writer, self.tensorboard = writer, tensorboard
        self.seed: int = config["seed"]
        self.events: Events | None = None
        self._log: TextIO | None = None
        self._clock: TextIO | None = None
        self._start = time.monotonic()
        self._turns: list[int] | None = None
        # attributes of the model, no parts, that its steps change
        self.remembered: set[str] = set()
        self.lost: set[str] = set()  # those that no checkpoint can hold
        self._stored = False  # whether a checkpoint was written by this process

    def seed_of(self, k: int) -> int:
        """The seed of step k. A rollback gives all steps
        from the one it went back to other noise, or they would collapse again."""
        if self._turns is None:
            self._turns = [row["to"] for row in read_rows(self.folder / "rollbacks.jsonl")]
        attempt = sum(to <= k for to in self._turns)
        again = ("attempt", attempt) if attempt else ()
        return fold(self.seed, "step", k, *again)

    def roll_back(self, k: int, to: int, why: str) -> None:
        """Drop the checkpoints after step `to` and note it, so that the clock goes on from there
        with other noise. A kill in between leaves a newest checkpoint from which the same rollback
        follows."""
        self._turns = None
        if not self.writer:
            return
        for path in checkpoints(self.folder):
            if int(path.stem) > to:
                path.unlink()
        append_rows(self.folder / "rollbacks.jsonl", [{"at": k, "to": to, "why": why}])

    def resume(self, model: Model) -> int:
        """Load the newest checkpoint into the model, rewind the log to it,
        and say at which step it stands."""
        files = checkpoints(self.folder)
        k = 0
        if files:
            saved = contents(files[-1])
            k, self.remembered = put(files[-1], saved, model), set(saved.get("remembered", {}))
        if not self.writer:
            return k
        self.close()
        with full_disk(self.folder):
            for partial in (self.folder / "checkpoints").glob(".*.partial"):
                partial.unlink()
            if files:
                self._prune(files[-1])  # a kill may have come between saving and removing
            rewind(self.folder / "log.jsonl", lambda step: step <= k and self.logs(step))
            row = rewind(self.folder / "clock.jsonl", lambda step: step <= k and self.logs(step))
            self._start = time.monotonic() - row.get("seconds", 0.0)
            self._log = (self.folder / "log.jsonl").open("a", encoding="utf-8")
            self._clock = (self.folder / "clock.jsonl").open("a", encoding="utf-8")
            if self.tensorboard:
                self.events = Events(self.folder / "events", k, self.config)
        return k

    def logs(self, k: int) -> bool:
        """Whether step k has a row in the log:
        the last of a run that was extended since has none."""
        return k % self.config["log_every"] == 0 or k == self.config["steps"]

    def saves(self, k: int) -> bool:
        """Whether step k has a checkpoint, be the run broken or not;
        a stop may have saved others."""
        return k % self.config["save_every"] == 0 or k == self.config["steps"]

    def path(self, k: int) -> Path:
        """Where the checkpoint of step k is or will be."""
        return self.folder / "checkpoints" / f"{k:08d}.pt"

    def log(self, k: int, scalars: dict[str, float]) -> None:
        """Append a row to the log and its time to the clock."""
        if not self.writer:
            return
        assert self._log and self._clock, "resume first"
        seconds = round(time.monotonic() - self._start, 3)
        with full_disk(self.folder):
            for file, row in (self._clock, {"seconds": seconds}), (self._log, scalars):
                told = {"step": k, "images": k * self.config["batch"], **row}
                file.write(json.dumps(told) + "\n")
                file.flush()
            if self.events:
                self.events.add(k, scalars)

    def save(self, k: int, model: Model) -> Path:
        """Write the checkpoint of step k, then remove those
        that the config's `keep` does not keep."""
        path = self.path(k)
        if not self.writer:
            return path
        if not self._stored:
            storable(model, self.config["room"])
        saved = {"format": FORMAT, "step": k, "parts": states(model)}
        saved |= {"remembered": kept(model, self.remembered)} if self.remembered else {}
        with full_disk(self.folder):
            if self._log:
                os.fsync(self._log.fileno())
            write(path, lambda file: torch.save(saved, file))
            self._stored = True
            self._prune(path)
        return path

    def _prune(self, newest: Path) -> None:
        """Remove what a stop saved, once there is a newer one, and all but the newest `keep` of the
        others. So a broken and an unbroken run have the same checkpoints."""
        if not self.config["keep"]:
            return
        found = checkpoints(self.folder)
        kept = [path for path in found if path == newest or self.saves(int(path.stem))]
        kept = kept[-self.config["keep"] :]
        for path in found:
            if path not in kept:
                path.unlink()

    def finish(self, k: int, model: Model) -> None:
        """Mark the run as done, with a digest of its final weights."""
        if self.writer:
            with full_disk(self.folder):
                if self.events:
                    self.events.end()
                done = {"steps": k, "weights": digest(states(model))}
                write_text(self.folder / "done", json.dumps(done) + "\n")

    def finished(self) -> bool:
        """Whether the run is marked as done and its last checkpoint is there."""
        return _finished(self.folder, self.config["steps"])

    def close(self) -> None:
        """Close the log, the clock and the event file."""
        for file in (self._log, self._clock, self.events):
            if file:
                # a full disk was told of when the row could not be written
                with contextlib.suppress(OSError):
                    file.close()


def _finished(folder: Path, steps: int) -> bool:
    return (folder / "done").exists() and (folder / "checkpoints" / f"{steps:08d}.pt").exists()


def begin(
    folder: Path,
    config: dict[str, Any],
    machine: dict[str, Any],
    like: Batch,
    *,
    extend: bool = False,  # allow more steps than the run was made for
    known: Any = dict,  # completes the config of an older run
    # FILE -> source of a model and of data from outside the package
    sources: Mapping[str, bytes] = MappingProxyType({}),
    files: Callable[[], Files] = dict,  # the fingerprint of the data
) -> list[str]:
    """Make the folder, or check that its run is of this config and these data; record the start if
    it is not done. Returns what a person should know."""
    there = standing(folder, config, extend=extend, known=known, files=files)
    now, notes = there.files, there.notes
    if there.finished and now is None:
        return notes  # nothing starts
    if there.longer:
        (folder / "done").unlink(missing_ok=True)
    with full_disk(folder):
        (folder / "checkpoints").mkdir(exist_ok=True)
        for name, source in sources.items():
            write_bytes(folder / name, source)
        if now and not there.known:
            write_text(folder / "data.json", json.dumps({"format": 1, "files": now}) + "\n")
        write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
        if there.finished:
            return notes
        write_text(folder / "machine.json", json.dumps([*starts(folder), machine], indent=2) + "\n")
        shapes = {
            name: [list(t.shape[1:]), str(t.dtype).removeprefix("torch.")]
            for name, t in like.items()
        }
        write_text(folder / "shapes.json", json.dumps(shapes) + "\n")
    return notes


class Standing(NamedTuple):
    """What a training finds in its folder."""

    notes: list[str]  # what a person should know
    finished: bool  # nothing is left to do
    longer: bool  # the run is to be extended
    known: bool  # the folder has a fingerprint of data
    files: Files | None  # that of now; None: nothing starts, and nothing is written


def standing(
    folder: Path, config: dict[str, Any], *, extend: bool, known: Any, files: Callable[[], Files]
) -> Standing:
    """What a training of this config finds in the folder, which may not be there; a Mistake if its
    run is of another config or other data. Nothing is written."""
    begun = (folder / "config.json").exists()
    found = known(config_of(folder)) if begun else config
    changed, has_data = differences(found, config), begun and (folder / "data.json").exists()
    moved = "data.path" in changed and has_data
    apart = {key: pair for key, pair in changed.items() if not (moved and key == "data.path")}
    longer = _longer(folder, apart, extend)
    finished = _finished(folder, config["steps"]) and not longer
    if finished and not moved:
        notes = _same_data(folder, files()) if has_data else []
        return Standing(notes, finished, longer, has_data, None)
    now = files()
    notes = _same_data(folder, now) if begun else []
    if moved:
        notes.append(f"the same data are in another place: data.path was {changed['data.path'][0]}")
    return Standing(notes, finished, longer, has_data, now)


def _longer(folder: Path, apart: dict[str, tuple[Any, Any]], extend: bool) -> bool:
    """Whether the configs differ in that more steps are asked for;
    a Mistake if they differ otherwise."""
    longer = extend and list(apart) == ["steps"] and apart["steps"][1] > apart["steps"][0]
    if apart and not longer:
        raise Mistake(
            f"{folder} holds a run of another config: {_apart(apart)}. {ANEW.format(folder)}"
        )
    return longer


def fingerprint_of(folder: Path) -> Files | None:
    """What a run folder says of the files that it is trained on; None if it does not."""
    found = _json(folder / "data.json", {})
    files = found.get("files") if isinstance(found, dict) else None
    if (folder / "data.json").exists() and not isinstance(files, dict):
        raise Mistake(
            f"cannot read {folder / 'data.json'}: it holds no fingerprint of files; "
            "remove it to have it made anew"
        )
    return files


def _same_data(folder: Path, now: Files) -> list[str]:
    """A Mistake if the run was trained with other data than these;
    otherwise what a person should know."""
    before = fingerprint_of(folder)
    if before is not None and (told := fingerprint.apart(before, now)):
        raise Mistake(
            f"{folder} was trained on other data: {told}. Give it the old ones back, or begin "
            f"anew from its weights: another folder with --run, and --set init_from={folder}"
        )
    if before is None and now and checkpoints(folder):
        return [
            "this run is older than fingerprints of data: "
            "those of now are noted in data.json and asked for from here on"
        ]
    return []


ANEW = (
    "Choose another folder with --run; --set init_from={} begins there with the weights of this run"
)


def _apart(changed: dict[str, tuple[Any, Any]]) -> str:
    """Where two configs differ, in words."""
    words = []
    for key, (a, b) in changed.items():
        (name, _, one), (other, _, two) = (str(value).partition("@") for value in (a, b))
        code = {"room": "model", "data.name": "data set"}.get(key)
        if code and one and two and name == other:
            words.append(
                f"the source of the {code} {name} has changed since ({one[:8]} there, "
                f"{two[:8]} now)"
            )
        else:
            words.append(f"{'model' if key == 'room' else key} is {a} there, {b} asked")
    return "; ".join(words)


def ours(folder: Path) -> None:
    """A Mistake if the folder is there and holds something else than a run."""
    with reached(folder):
        others = [] if (folder / "config.json").exists() else _others(folder)
    if others:
        raise Mistake(
            f"{folder} holds {others[0]} and no run (no config.json); "
            "choose another folder with --run"
        )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make and hold the folder, so that two processes never train in it at once; a Mistake if it is
    for something else."""
    ours(folder)
    with alone(folder, "training in"):
        yield


@contextlib.contextmanager
def alone(folder: Path, doing: str) -> Iterator[None]:
    """Make the folder and hold its file `lock` until the end;
    a Mistake if another process holds it, `doing` the same there."""
    with reached(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w", encoding="utf-8")
    with file:
        if not locks.hold(file):
            raise Mistake(f"another process is {doing} {folder}")
        yield


@contextlib.contextmanager
def reached(folder: Path) -> Iterator[None]:
    """Turn a folder that cannot be made, read or written into one line."""
    try:
        yield
    except OSError as error:
        raise Mistake(f"cannot write into {folder}: {error.strerror}") from None


def _others(folder: Path) -> list[str]:
    """What is in a folder, if it is there, and not from a start that was killed early."""
    found = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    return [name for name in found if name not in BEGUN and not name.endswith(".partial")] or [
        path.name for path in checkpoints(folder)
    ]


def config_of(folder: Path) -> dict[str, Any]:
    """The resolved config of a run folder."""
    return read(run_file(folder))


def starts(folder: Path) -> list[dict[str, Any]]:
    """What machine.json records of each start of the run."""
    found = _json(folder / "machine.json", [])
    if not isinstance(found, list) or not all(isinstance(start, dict) for start in found):
        raise Mistake(f"cannot read {folder / 'machine.json'}: it holds no list of starts")
    return found


def like_of(folder: Path, rows: int) -> Batch:
    """A batch of zeros shaped as the run's data,
    so that a model can be rebuilt without its data."""
    shapes = _json(folder / "shapes.json")
    try:
        return {
            name: torch.zeros(rows, *shape, dtype=getattr(torch, kind))
            for name, (shape, kind) in shapes.items()
        }
    except (AttributeError, TypeError, ValueError, RuntimeError):
        raise Mistake(
            f"cannot read {folder / 'shapes.json'}: "
            "it does not hold the shape and type of each tensor"
        ) from None


def differences(
    old: dict[str, Any], new: dict[str, Any], prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> (old value, new value) wherever two configs differ."""
    out: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys([*old, *new]):
        a, b = old.get(key, "absent"), new.get(key, "absent")
        if isinstance(a, dict) and isinstance(b, dict):
            out |= differences(a, b, f"{prefix}{key}.")
        elif a != b:
            out[prefix + key] = (a, b)
    return out


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a .jsonl file; a last line cut short by a kill is left out."""
    rows = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def rewind(path: Path, keep: Callable[[int], bool]) -> dict[str, Any]:
    """Drop the rows of steps that are not to keep and return the last that stays ({} if none)."""
    rows = [row for row in read_rows(path) if keep(row["step"])]
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    return rows[-1] if rows else {}


def append_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Add rows to a .jsonl file, on a new line even where a kill cut the last one short;
    where a disk is full, none of them."""
    with full_disk(path.parent), path.open("a+b", buffering=0) as file:
        file.seek(max(0, (size := file.tell()) - 1))
        start = "" if file.read(1) in (b"", b"\n") else "\n"
        left = (start + "".join(json.dumps(row) + "\n" for row in rows)).encode()
        try:
            while left:
                left = left[file.write(left) :]
        except OSError:
            file.truncate(size)
            raise


def add_results(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Add rows to a folder's metrics.jsonl; make the folder if need be."""
    with reached(folder):
        folder.mkdir(parents=True, exist_ok=True)
        append_rows(folder / "metrics.jsonl", rows)
        measured(folder, rows)


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Turn a failed write into one line that says what survives."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause: BaseException | None = error
        while not isinstance(cause, OSError):
            if cause is None:
                raise
            cause = cause.__context__  # torch.save makes a RuntimeError of it
        survives = f"; {last_good(folder)}" if (folder / "checkpoints").exists() else ""
        raise Mistake(f"cannot write into {folder} ({cause.strerror}){survives}") from None


def _json(path: Path, default: Any = None) -> Any:
    if default is not None and not path.exists():
        return default
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Mistake(f"cannot read {path}: {error}") from None
