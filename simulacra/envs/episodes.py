"""Recorded episodes on disk: a file each, which is there whole or not at all.

store.json                     what the episodes are made from: Spec, and `id`, a digest of it, the
                               identity of the store
episodes/<number>.safetensors  frames, actions, rewards, ends, truths, and `sums`, a checksum of
                               each row of each of them; `facts`, with `identity`, a digest of facts
                               and sums, in its header
lock                           held by the process that adds episodes

The headers are the index. Frame t is what the driver saw when it chose action t, reward t and end t
are what came of it; what is seen after the end is not kept. Only the frames that are asked for are
read, so that memory does not grow with the store, and what is read is verified. Episodes that are
older than checksums have the identity that follows from their contents.
"""

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from safetensors.numpy import save

from simulacra.core import files
from simulacra.core.errors import Mistake
from simulacra.core.run import alone, differences, reached
from simulacra.envs import checksums
from simulacra.envs.carracing.view import of_frames
from simulacra.envs.view import UNSET, UnsetType, View

FORMAT = 1
KINDS = {"frames": "U8", "actions": "F32", "rewards": "F32", "ends": "BOOL", "truths": "F32"}
BYTES = {"U8": np.uint8, "F32": np.float32, "BOOL": np.bool_, "U32": np.uint32}
SUMS = "sums"  # (T, 5) uint32: checksums of the rows of KINDS, in that order
TABLES = 512  # of checksums, 20 kB each, that are kept in memory
AGAIN = "remove it and collect it again"
HEADER = 2**20  # bytes that a header stays under
NUMBERS = 3, 6  # of an action and of what is true, in CarRacing


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all episodes of a store follow from, together with their numbers."""

    seed: int  # of tracks, policies and their noise
    simulator: str  # envpool or gymnasium
    size: int  # pixels, height and width of a frame
    hud: bool  # whether frames show score and speed
    steps: int  # most frames of an episode
    lead: int  # most steps that are driven before recording begins
    mixture: dict[str, float]  # share of each policy
    agent: str = ""  # hash of the run that drives as policies "learnt" and "agent"
    versions: dict[str, str]  # of the simulators
    format: int = FORMAT
    # what frames show and what can be done; UNSET: CarRacing, whose view follows from the rest
    view: View | UnsetType = UNSET

    @property
    def numbers(self) -> tuple[int, int]:
        """Of an action, and of what is true at a step."""
        if self.view is UNSET or self.view.actions is UNSET:
            return NUMBERS
        return self.view.actions.size, 0

    @property
    def shown(self) -> View:
        """What its frames show."""
        return of_frames(self.size, self.hud) if self.view is UNSET else self.view


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known of one episode."""

    number: int  # in the store
    track: int  # its seed
    simulator: str  # envpool or gymnasium
    policy: str  # who drives
    hud: bool  # whether frames show score and speed
    start: int  # steps driven before frame 0; the camera comes down until step 50
    terminated: bool  # whether the game ended it; otherwise the recording does
    lap_finished: bool  # whether it ended with all tiles visited
    fault: str | UnsetType = UNSET  # what the game said that broke in it; UNSET: it did not


class Episode(NamedTuple):
    """One recorded drive of T steps."""

    frames: np.ndarray  # (T, 3, size, size) uint8
    # (T, A) float32: in CarRacing steer, gas, brake; choices are 1 where chosen, else 0
    actions: np.ndarray
    rewards: np.ndarray  # (T,) float32; that of step 0 pays for the two tiles at the start too
    ends: np.ndarray  # (T,) bool, true at most at T - 1: the game ended there
    # (T, 6) float32: lateral, heading, curvature, speed, tile, share; see carracing/game.py: Truth;
    # (T, 0) in other games
    truths: np.ndarray
    facts: Facts


class Entry(NamedTuple):
    """Where an episode lies."""

    path: Path
    length: int  # T
    places: dict[str, tuple[int, tuple[int, ...]]]  # first byte in the file and shape of each array
    facts: Facts
    identity: str  # as the header has it; empty: older than checksums


def shapes(
    length: int, size: int, numbers: tuple[int, int] = NUMBERS
) -> dict[str, tuple[int, ...]]:
    """The shapes of an episode's arrays; `numbers` of an action and of what is true."""
    per_step = {
        "frames": (3, size, size),
        "actions": numbers[:1],
        "rewards": (),
        "ends": (),
        "truths": numbers[1:],
    }
    return {name: (length, *shape) for name, shape in per_step.items()}


def entry(path: Path, size: int, numbers: tuple[int, int] = NUMBERS) -> Entry:
    """Where the episode's arrays lie, from its header;
    a Mistake if the file is no whole recording of frames of this size."""
    try:
        with path.open("rb") as file:
            n = int.from_bytes(file.read(8), "little")
            raw = json.loads(file.read(n)) if n < HEADER else {}
        told = json.loads(raw.pop("__metadata__")["facts"])
        identity = str(told.pop("identity", ""))
        facts = msgspec.convert(told, Facts)
        found = {name: (about["dtype"], tuple(about["shape"])) for name, about in raw.items()}
        length = found["frames"][1][0]
        end = max(about["data_offsets"][1] for about in raw.values())
        places = {
            name: (8 + n + about["data_offsets"][0], tuple(about["shape"]))
            for name, about in raw.items()
        }
        there = path.stat().st_size
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        msgspec.MsgspecError,
    ):
        raise Mistake(
            f"{path} is no recorded episode, or damaged at its beginning; {AGAIN}"
        ) from None
    wanted = {name: (KINDS[name], shape) for name, shape in shapes(length, size, numbers).items()}
    if identity:
        wanted[SUMS] = ("U32", (length, len(KINDS)))
    if found != wanted or length < 1:
        wrong = next(
            (name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)),
            "frames",
        )
        raise Mistake(
            f"{path}: {wrong} is {found.get(wrong, 'not there')}; "
            f"allowed: {wanted.get(wrong, 'nothing of this name')}"
        )
    if not tight(raw):
        raise Mistake(f"{path}: its arrays do not lie side by side, so it is damaged; {AGAIN}")
    if there != 8 + n + end:
        raise Mistake(
            f"{path} has {there:,} bytes; needed: {8 + n + end:,}. Remove it and collect it again"
        )
    return Entry(path, length, places, facts, identity)


def tight(raw: dict[str, Any]) -> bool:
    """Whether the arrays of a safetensors header lie one after the other,
    each as long as its shape says."""
    reached = 0
    for about in sorted(raw.values(), key=lambda about: about["data_offsets"][0]):
        start, end = about["data_offsets"]
        size = math.prod(about["shape"]) * np.dtype(BYTES[about["dtype"]]).itemsize
        if start != reached or end - start != size:
            return False
        reached = end
    return True


class Store:
    """The episodes that are there, by number."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.spec = folder, spec_of(folder)
        files = {number_of(path): path for path in (folder / "episodes").glob("*.safetensors")}
        size, numbers = self.spec.size, self.spec.numbers
        self.entries = [entry(files[number], size, numbers) for number in sorted(files)]
        if not self.entries:
            raise Mistake(f"{folder} holds no episodes yet; simulacra collect makes them")
        for number, one in zip(sorted(files), self.entries, strict=True):
            if one.facts.number != number:
                raise Mistake(
                    f"{one.path} holds episode {one.facts.number}; "
                    f"allowed: its own number, {number}"
                )
            for name in "simulator", "hud":
                if (found := getattr(one.facts, name)) != (wanted := getattr(self.spec, name)):
                    raise Mistake(f"{one.path} has {name} = {found}, its store {wanted}; {AGAIN}")
        self.id, written = identity(self.spec), id_of(folder)
        if written not in ("", self.id):
            raise Mistake(
                f"{folder / 'store.json'} is not what was written: its id is {written}, "
                f"that of its contents {self.id}"
            )
        self._sums: dict[int, np.ndarray] = {}  # of the episodes that were read last

    @property
    def view(self) -> View:
        """What its frames show."""
        return self.spec.shown

    def identity(self, i: int) -> str:
        """That of the i-th episode; of one that is older than checksums all contents are read."""
        one = self.entries[i]
        if one.identity:
            self._verified(i)
            return one.identity
        return identified(one.facts, checksums.table(self.read(i, name) for name in KINDS))

    def _verified(self, i: int) -> np.ndarray:
        """The checksums of the i-th episode, a column an array;
        a Mistake if they or its facts are not what was written."""
        if i not in self._sums:
            one = self.entries[i]
            sums = self._rows(i, SUMS, 0, one.length)
            if identified(one.facts, sums) != one.identity:
                raise Mistake(
                    f"{one.path} is damaged: its facts or checksums are not those "
                    f"that were written; {AGAIN}"
                )
            if len(self._sums) == TABLES:
                self._sums.pop(next(iter(self._sums)))
            self._sums[i] = sums
        return self._sums[i]

    def _rows(self, i: int, name: str, start: int, count: int) -> np.ndarray:
        """Rows of one array of the i-th episode, as they are on disk."""
        path, _, places, *_ = self.entries[i]
        first, shape = places[name]
        kind = np.dtype(BYTES[{**KINDS, SUMS: "U32"}[name]])
        width = int(np.prod(shape[1:], dtype=int))
        found = np.fromfile(path, kind, count * width, offset=first + start * width * kind.itemsize)
        if len(found) != count * width:
            raise Mistake(f"{path} became shorter while it was read; {AGAIN}")
        return found.reshape(count, *shape[1:])

    def _check(self, i: int, name: str, start: int, rows: np.ndarray) -> None:
        """A Mistake if rows of an array are not those that were recorded;
        episodes older than checksums have none."""
        if not self.entries[i].identity:
            return
        wrong = (
            checksums.of_rows(rows)
            != self._verified(i)[start : start + len(rows), list(KINDS).index(name)]
        )
        if wrong.any():
            step = start + int(wrong.argmax())
            raise Mistake(
                f"{self.entries[i].path} is damaged: "
                f"{name} of step {step} are not what was recorded; {AGAIN}"
            )

    def __len__(self) -> int:
        return len(self.entries)

    def read(self, i: int, name: str, start: int = 0, count: int | None = None) -> np.ndarray:
        """Rows of one array of the i-th episode, copied from disk and verified."""
        path, length, *_ = self.entries[i]
        rows = length - start if count is None else count
        if start < 0 or rows < 0 or start + rows > length:
            raise Mistake(f"rows {start} to {start + rows} of {path}; allowed: 0 to {length}")
        found = self._rows(i, name, start, rows)
        self._check(i, name, start, found)
        return found

    def episode(self, i: int) -> Episode:
        """The i-th episode, verified, its frames mapped from disk."""
        path, _, places, facts, _ = self.entries[i]
        first, shape = places["frames"]
        frames = np.memmap(path, np.uint8, "r", first, shape)
        self._check(i, "frames", 0, frames)
        actions, rewards, ends, truths = (self.read(i, name) for name in Episode._fields[1:-1])
        return Episode(frames, actions, rewards, ends, truths, facts)

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(i) for i in range(len(self)))


def number_of(path: Path) -> int:
    """The number that a file's name is."""
    if not path.stem.isdecimal():
        raise Mistake(
            f"{path} is no recorded episode; allowed names: 00000000.safetensors and so on"
        )
    return int(path.stem)


def place(folder: Path, number: int) -> Path:
    """Where an episode is or will be."""
    return folder / "episodes" / f"{number:08d}.safetensors"


def write(folder: Path, episode: Episode) -> Path:
    """The path of the episode, once it is there whole;
    a Mistake if an array has another shape or kind than it should."""
    arrays = {name: getattr(episode, name) for name in KINDS}
    size, path = episode.frames.shape[-1], place(folder, episode.facts.number)
    numbers = episode.actions.shape[-1], episode.truths.shape[-1]
    if numbers[1]:  # of CarRacing
        numbers = NUMBERS
    for name, shape in shapes(len(episode.frames), size, numbers).items():
        kind = np.dtype(BYTES[KINDS[name]])
        if arrays[name].shape != shape or arrays[name].dtype != kind or not len(episode.frames):
            found = f"{arrays[name].dtype} {arrays[name].shape}"
            raise Mistake(
                f"episode {episode.facts.number}: {name} is {found}; "
                f"allowed: {kind} {shape}, one step or more"
            )
    if episode.ends[:-1].any():
        raise Mistake(
            f"episode {episode.facts.number} goes on after "
            f"its end at step {int(episode.ends.argmax())}"
        )
    sums = checksums.table(arrays.values())
    told = json.dumps(
        msgspec.to_builtins(episode.facts) | {"identity": identified(episode.facts, sums)}
    )
    kept = {name: np.ascontiguousarray(array) for name, array in arrays.items()} | {SUMS: sums}
    # one key, since the library puts several in any order
    return _written(path, save(kept, {"facts": told}))


def _written(path: Path, data: bytes) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, lambda file: file.write(data))
    except OSError as error:
        raise Mistake(f"cannot write {path}: {error.strerror or error}") from None
    return path


def identified(facts: Facts, sums: np.ndarray) -> str:
    """The identity of an episode with these facts and checksums."""
    return checksums.identity(msgspec.json.encode(facts), np.ascontiguousarray(sums).tobytes())


def identity(spec: Spec) -> str:
    """The identity of a store: a digest of all that its episodes follow from,
    but for what has its default."""
    usual = {field.name: field.default for field in msgspec.structs.fields(spec)}
    # 1 and 1.0 are alike
    told: dict[str, Any] = msgspec.to_builtins(
        msgspec.json.decode(msgspec.json.encode(spec), type=Spec)
    )
    return checksums.identity(
        json.dumps(
            {key: told[key] for key in sorted(told) if told[key] != usual[key]}, sort_keys=True
        ).encode()
    )


def spec_of(folder: Path) -> Spec:
    """What the episodes of this store follow from."""
    path = folder / "store.json"
    if not path.is_file():
        raise Mistake(
            f"{folder} is no store of episodes: it has no store.json; simulacra collect makes one"
        )
    raw = _told(path)
    try:
        spec = msgspec.convert({key: value for key, value in raw.items() if key != "id"}, Spec)
    except msgspec.MsgspecError as error:
        raise Mistake(f"cannot read {path}: {error}") from None
    if spec.format != FORMAT:
        raise Mistake(f"{path} has format {spec.format}; allowed: {FORMAT}")
    return spec


def id_of(folder: Path) -> str:
    """The identity that a store was given; empty if it is older than that."""
    return str(_told(folder / "store.json").get("id", ""))


def _told(path: Path) -> dict[str, Any]:
    try:
        raw = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Mistake(f"cannot read {path}: {error}") from None
    return raw


@contextlib.contextmanager
def filling(folder: Path, spec: Spec) -> Iterator[None]:
    """Make the store, or check that it holds episodes of this very spec, and hold it alone."""
    if folder.exists() and not folder.is_dir():
        raise Mistake(f"{folder} is a file; episodes go into a folder")
    if folder.exists() and not (folder / "store.json").exists() and (others := unlike(folder)):
        raise Mistake(f"{folder} holds {others[0]} and no store of episodes; choose another folder")
    with alone(folder, "collecting into"):
        with reached(folder):
            (folder / "episodes").mkdir(exist_ok=True)
        asked: dict[str, Any] = msgspec.to_builtins(spec)
        if (folder / "store.json").exists():
            if changed := differences(msgspec.to_builtins(spec_of(folder)), asked):
                told = "; ".join(
                    f"{key} is {there} there, {now} asked" for key, (there, now) in changed.items()
                )
                raise Mistake(f"{folder} holds other episodes: {told}. Choose another folder")
        else:
            _written(
                folder / "store.json",
                (json.dumps(asked | {"id": identity(spec)}, indent=1) + "\n").encode(),
            )
        for part in (folder / "episodes").glob(".*.part*"):  # of a process that was killed
            part.unlink()
        yield


def unlike(folder: Path) -> list[str]:
    """What is in a folder that no start of a store leaves there."""
    names = (path.name for path in folder.iterdir())
    return sorted(
        name
        for name in names
        if name not in ("lock", "episodes") and not name.startswith(".store.json.")
    )
