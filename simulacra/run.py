"""A run folder: open, save, resume, log. The only writer of run folders.

config.json            resolved, every default spelled out
machine.json           a record for each start: versions, processor, threads, commit
shapes.json            shape and type of the training batch, so that the model can be rebuilt without the data
log.jsonl              step, images seen, scalars: a function of the config alone, so broken and unbroken runs agree
clock.jsonl            step and seconds, one line beside each line of the log
checkpoints/           <step>.pt, loadable under weights_only=True, written to a temporary file and renamed
pictures/<step>/       painted from fixed held-out inputs and fixed noise
rollbacks.jsonl        a line each time training went back to an older checkpoint (only if asked for)
metrics.jsonl          a line a measured value, with its provenance
done                   written last
"""

import contextlib
import fcntl
import json
import os
import pickle
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, TextIO

import torch

from simulacra.contract import Batch, Model
from simulacra.errors import Mistake
from simulacra.seeds import fold

FORMAT = 1


class Run:
    """An open run folder. `writer` is False in all processes but the first of a distributed run."""

    def __init__(self, folder: Path, config: dict[str, Any], *, writer: bool = True, tensorboard: bool = False):
        self.folder, self.config, self.writer = folder, config, writer
        self.seed: int = config["seed"]
        self.events = _events(folder) if tensorboard and writer else None
        self._log: TextIO | None = None
        self._clock: TextIO | None = None
        self._start = time.monotonic()
        self._attempt: int | None = None

    def seed_of(self, k: int) -> int:
        """The seed of step k; after a rollback the same steps get other noise, or they would collapse again."""
        attempt = len(read_rows(self.folder / "rollbacks.jsonl")) if self._attempt is None else self._attempt
        self._attempt = attempt
        return fold(self.seed, "step", k, "attempt", attempt) if attempt else fold(self.seed, "step", k)

    def roll_back(self, k: int, to: int, why: str) -> None:
        """Drop the checkpoints after step `to` and note it, so that the clock goes on from there with other noise."""
        if not self.writer:
            return
        for path in checkpoints(self.folder):
            if int(path.stem) > to:
                path.unlink()
        append_rows(self.folder / "rollbacks.jsonl", [{"at": k, "to": to, "why": why}])
        self._attempt = None

    def resume(self, model: Model) -> int:
        """Load the newest checkpoint into the model, rewind the log to it, and say at which step it stands."""
        files = checkpoints(self.folder)
        k = load(files[-1], model) if files else 0
        if self.writer:
            rewind(self.folder / "log.jsonl", k)
            seconds = rewind(self.folder / "clock.jsonl", k).get("seconds", 0.0)
            self._start = time.monotonic() - seconds
            self._log = (self.folder / "log.jsonl").open("a")
            self._clock = (self.folder / "clock.jsonl").open("a")
        return k

    def log(self, k: int, scalars: dict[str, float]) -> None:
        """Append a row to the log and its time to the clock."""
        if not self.writer:
            return
        assert self._log and self._clock, "resume first"
        seconds = round(time.monotonic() - self._start, 3)
        with full_disk(self.folder):
            for file, row in (self._clock, {"seconds": seconds}), (self._log, scalars):
                file.write(json.dumps({"step": k, "images": k * self.config["batch"], **row}) + "\n")
                file.flush()
        if self.events:
            for name, value in scalars.items():
                self.events.add_scalar(name, value, k)

    def save(self, k: int, model: Model) -> Path:
        """Write the checkpoint of step k, then remove the oldest beyond the config's `keep`."""
        path = self.folder / "checkpoints" / f"{k:08d}.pt"
        if not self.writer:
            return path
        with full_disk(self.folder):
            if self._log:
                os.fsync(self._log.fileno())
            write(path, lambda file: torch.save({"format": FORMAT, "step": k, "parts": states(model)}, file))
        keep = self.config["keep"]
        for old in checkpoints(self.folder)[:-keep] if keep else []:
            old.unlink()
        return path

    def finish(self, k: int, model: Model) -> None:
        """Mark the run as done, with a digest of its final weights."""
        if self.writer:
            record = {"steps": k, "weights": digest(states(model))}
            write_text(self.folder / "done", json.dumps(record) + "\n")

    def close(self) -> None:
        """Close the log, the clock and the event file."""
        for file in (self._log, self._clock, self.events):
            if file:
                file.close()


def begin(folder: Path, config: dict[str, Any], machine: dict[str, Any], like: Batch, *, extend: bool = False) -> None:
    """Make the folder, or check that it holds a run of this very config, and record this start."""
    found = config_of(folder) if (folder / "config.json").exists() else None
    if found is None:
        _make(folder)
    elif changed := differences(found, config):
        if not (extend and list(changed) == ["steps"] and config["steps"] > found["steps"]):
            lines = "; ".join(f"{key} is {a} there, {b} asked" for key, (a, b) in changed.items())
            raise Mistake(f"{folder} holds a run of another config: {lines}. Choose another folder with --run.")
        (folder / "done").unlink(missing_ok=True)
    with full_disk(folder):
        write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
        write_text(folder / "machine.json", json.dumps([*starts(folder), machine], indent=2) + "\n")
        shapes = {name: [list(t.shape[1:]), str(t.dtype).removeprefix("torch.")] for name, t in like.items()}
        write_text(folder / "shapes.json", json.dumps(shapes) + "\n")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(path.name != "lock" for path in folder.iterdir()):
            raise Mistake(f"{folder} holds other things and no run (no config.json); choose another folder with --run")
        (folder / "checkpoints").mkdir()
    except OSError as error:
        raise Mistake(f"cannot make a run in {folder}: {error.strerror}") from None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, so that two processes never train in it at once."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    except OSError as error:
        raise Mistake(f"cannot write into {folder}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Mistake(f"another process is training in {folder}") from None
        yield


def config_of(folder: Path) -> dict[str, Any]:
    """The resolved config of a run folder."""
    if not folder.is_dir():
        raise Mistake(f"no run folder {folder}")
    if not (folder / "config.json").exists():
        raise Mistake(f"{folder} is no run folder: it has no config.json")
    return _json(folder / "config.json")


def starts(folder: Path) -> list[dict[str, Any]]:
    """What machine.json records of each start of the run."""
    return _json(folder / "machine.json", [])


def like_of(folder: Path, rows: int) -> Batch:
    """A batch of zeros shaped as the run's data, so that a model can be rebuilt without its data."""
    shapes = _json(folder / "shapes.json")
    return {name: torch.zeros(rows, *shape, dtype=getattr(torch, kind)) for name, (shape, kind) in shapes.items()}


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted key -> (old value, new value) wherever two configs differ."""
    out: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys([*old, *new]):
        a, b = old.get(key, "absent"), new.get(key, "absent")
        if isinstance(a, dict) and isinstance(b, dict):
            out |= differences(a, b, f"{prefix}{key}.")
        elif a != b:
            out[prefix + key] = (a, b)
    return out


def checkpoints(folder: Path) -> list[Path]:
    """The run's checkpoints, oldest first."""
    return sorted((folder / "checkpoints").glob("[0-9]*.pt"))


def last_good(folder: Path) -> str:
    """Which checkpoint survives, in words."""
    files = checkpoints(folder)
    return f"the last good checkpoint is {files[-1]}" if files else "no checkpoint was written yet"


def states(model: Model) -> dict[str, Any]:
    """The state of every part: any attribute with a state_dict."""
    return {name: part.state_dict() for name, part in vars(model).items() if hasattr(part, "state_dict")}


def load(path: Path, model: Model) -> int:
    """Put a checkpoint's parts into the model and return its step. Never executes code from the file."""
    advice = f"remove it to go on from an older checkpoint; {path.parent} holds {len(checkpoints(path.parent.parent))}"
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0][:100] if str(error).strip() else type(error).__name__
        raise Mistake(f"damaged checkpoint {path} ({reason}): {advice}") from None
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise Mistake(f"{path} is no checkpoint of this program (format {FORMAT})")
    parts = {name: part for name, part in vars(model).items() if hasattr(part, "state_dict")}
    if set(parts) != set(saved["parts"]):
        raise Mistake(f"{path} holds the parts {sorted(saved['parts'])}, this room needs {sorted(parts)}")
    for name, part in parts.items():
        try:
            part.load_state_dict(saved["parts"][name])
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise Mistake(f"{path} does not fit this room's '{name}': {reason}") from None
    return saved["step"]


def digest(state: Any) -> str:
    """A hash of nested state: equal for equal bits."""
    h = blake2b(digest_size=16)

    def visit(value: Any) -> None:
        if isinstance(value, dict):
            for key in sorted(value, key=str):
                h.update(str(key).encode())
                visit(value[key])
        elif isinstance(value, (list, tuple)):
            for item in value:
                visit(item)
        elif isinstance(value, torch.Tensor):
            h.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        else:
            h.update(repr(value).encode())

    visit(state)
    return h.hexdigest()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a .jsonl file; a last line cut short by a kill is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def rewind(path: Path, k: int) -> dict[str, Any]:
    """Drop the rows after step k and return the last that stays ({} if none)."""
    rows = [row for row in read_rows(path) if row["step"] <= k]
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    return rows[-1] if rows else {}


def append_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Add rows to a .jsonl file."""
    with full_disk(path.parent), path.open("a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))


def write(path: Path, fill: Any) -> None:
    """Write a file whole or not at all: temporary name, flush to disk, rename, flush the folder."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write(path, lambda file: file.write(text.encode()))


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Turn a failed write into one line that says what survives."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
        if isinstance(error, RuntimeError) and "write" not in str(error):
            raise
        reason = error.strerror if isinstance(error, OSError) else "no space left?"
        raise Mistake(f"cannot write into {folder} ({reason}); {last_good(folder)}") from None


def _json(path: Path, default: Any = None) -> Any:
    if default is not None and not path.exists():
        return default
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Mistake(f"cannot read {path}: {error}") from None


def _events(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "events"))
