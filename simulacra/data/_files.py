"""A folder's picture files: which there are, and something done to each of them."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from PIL import UnidentifiedImageError
from rich.console import Console
from rich.progress import track

from simulacra.data._decode import suffixes
from simulacra.errors import Mistake

CHUNK = 32  # files a thread works through before it reports
MANY = 1000  # files from which on a progress bar is worth its flicker

T = TypeVar("T")


class Fault(NamedTuple):
    """Why a picture cannot be used."""

    reason: str


def files(folder: Path) -> Iterator[str]:
    """The names of all files inside, relative to the folder; hidden ones left out, links to folders not followed."""

    def stop(error: OSError) -> None:
        raise Mistake(f"cannot read the folder {error.filename}: {error.strerror}")

    for place, inner, names in os.walk(folder, onerror=stop):
        inner[:] = [name for name in inner if not name.startswith(".")]
        yield from (Path(place, name).relative_to(folder).as_posix() for name in names if not name.startswith("."))


def listing(folder: Path) -> tuple[list[str], int]:
    """The names of all pictures, sorted, and how many other files there are."""
    known, pictures, others = suffixes(), [], Counter[str]()
    for name in files(folder):
        end = Path(name).suffix.lower()
        if end in known:
            pictures.append(name)
        else:
            others[end or "without an ending"] += 1
    if not pictures:
        found = ", ".join(f"{count} {end}" for end, count in others.most_common(5))
        raise Mistake(f"{folder} holds no pictures; it holds {found or 'nothing'}; allowed: .png, .jpg and the like")
    return sorted(pictures), others.total()


def fault(error: Exception) -> Fault:
    """The error in a few words."""
    if isinstance(error, UnidentifiedImageError):
        return Fault("not a picture, or damaged at its beginning")
    return Fault((error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__)


def accepted(path: Path, result: T | Fault, skip: bool) -> T | Fault:
    """The result, unless it is a fault that may not be skipped."""
    if isinstance(result, Fault) and not skip:
        raise Mistake(
            f"picture {path}: {result.reason}; repair or remove it, or set data.skip_broken=true to leave out what "
            f"cannot be used"
        )
    return result


def watched(chunks: Iterable[T], count: int) -> Iterable[T]:
    """The same, with a progress bar on standard error where there is much to wait for."""
    console = Console(stderr=True)
    quiet = count * CHUNK < MANY or not console.is_terminal
    return track(chunks, "reading pictures", count, console=console, transient=True, disable=quiet)


def each(
    folder: Path,
    names: Sequence[str],
    work: Callable[[int, Path], T],  # number and path of a picture
    skip: bool,  # leave out pictures for which work fails; otherwise the first of them ends everything
) -> tuple[dict[str, T], dict[str, str]]:
    """What `work` returns for each name, done on a few threads, and the reasons for those where it fails."""

    def attempt(i: int) -> T | Fault:
        try:
            return work(i, folder / names[i])
        except Exception as error:  # what decoders raise on damaged files is beyond listing
            return fault(error)

    chunks = [range(start, min(start + CHUNK, len(names))) for start in range(0, len(names), CHUNK)]
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
    try:
        told = pool.map(lambda chunk: [(names[i], attempt(i)) for i in chunk], chunks)
        flat = [(name, accepted(folder / name, result, skip)) for part in watched(told, len(chunks)) for name, result in part]
    finally:
        pool.shutdown(cancel_futures=True)
    good = {name: result for name, result in flat if not isinstance(result, Fault)}
    return good, {name: result.reason for name, result in flat if isinstance(result, Fault)}
