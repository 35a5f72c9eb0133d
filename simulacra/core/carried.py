"""Run folders that are carried between machines: what has changed in one, and putting it where it
belongs, so that the copy can go on at every moment just as the original would.

A copy goes on from its newest checkpoint, and a log is rewound to it. So a log may be ahead of the
checkpoints, never behind: here they are listed first and read last, and put down last. It imports
neither torch nor Ray.
"""

from pathlib import Path
from typing import NamedTuple

from simulacra.core.files import write_bytes

Stamp = tuple[int, int]  # of a file: size, and time of its last change in nanoseconds
OURS = "lock"  # held by whoever writes there, and of no use elsewhere
LAST = "done"
TRIES = 5


class Bundle(NamedTuple):
    """Files of a folder, by their names in it."""

    files: dict[str, bytes]  # that have changed since the last time
    checkpoints: list[str]  # all that there are, oldest first


def changed(folder: Path, seen: dict[str, Stamp]) -> Bundle | None:
    """What is new in a folder since `seen`, which is brought up to date; None if nothing is, or if
    the folder does not stand still for long enough."""
    for _ in range(TRIES):
        before = _marks(folder)
        now, files = dict(seen), dict[str, bytes]()
        for path in _files(folder):
            name = path.relative_to(folder).as_posix()
            try:
                mark = _stamp(path)
                if seen.get(name) != mark:
                    files[name], now[name] = path.read_bytes(), mark
            except FileNotFoundError:  # removed just now: a later look tells
                break
        else:
            if before == _marks(folder):
                gone = seen.keys() - {
                    path.relative_to(folder).as_posix() for path in _files(folder)
                }
                for name in gone:
                    del now[name]
                seen.clear()
                seen.update(now)
                return (
                    Bundle(files, [name for name in before if name.endswith(".pt")])
                    if files or gone
                    else None
                )
    return None


def put(bundle: Bundle, folder: Path) -> None:
    """Bring a copy up to date. It can go on from there after a kill at any moment."""
    place = folder / "checkpoints"
    place.mkdir(parents=True, exist_ok=True)
    newest = max(bundle.checkpoints, default="")
    there = {path.relative_to(folder).as_posix() for path in place.glob("*.pt")}
    for name in there - set(bundle.checkpoints):
        if name > newest:  # a run that went back dropped it
            (folder / name).unlink(missing_ok=True)
    for name in sorted(bundle.files, key=_rank):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, bundle.files[name])
    if newest and (folder / newest).exists():  # an older one goes only for it
        for name in there - set(bundle.checkpoints):
            (folder / name).unlink(missing_ok=True)


def _rank(name: str) -> tuple[int, str]:
    """Checkpoints after all that they need, and `done` after them."""
    return (name == LAST) + (name == LAST or name.startswith("checkpoints/")), name


def _files(folder: Path) -> list[Path]:
    """What belongs to the run; checkpoints first, so that logs are read after them."""
    found = [path for path in folder.rglob("*") if path.is_file() and _carries(path)]
    return sorted(found, key=lambda path: (path.parent.name != "checkpoints", str(path)))


def _carries(path: Path) -> bool:
    return path.name != OURS and not path.name.endswith(".partial")


def _marks(folder: Path) -> dict[str, Stamp]:
    """The checkpoints, and how often the run went back: what has to fit together."""
    found = sorted((folder / "checkpoints").glob("*.pt"))
    marks = {}
    for path in [*found, folder / "rollbacks.jsonl"]:
        try:
            marks[path.relative_to(folder).as_posix()] = _stamp(path)
        except FileNotFoundError:
            continue
    return marks


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
