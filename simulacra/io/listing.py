"""A folder's picture files: which there are, and something done to each of them."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from PIL import Image, UnidentifiedImageError
from rich.console import Console
from rich.progress import track

from simulacra.core.errors import Mistake
from simulacra.io.pictures import suffixes

CHUNK = 32  # files a thread works through before it reports
KINDS = 30  # of other files, or links, that a message names
HEIF = ".heic", ".heif", ".hif"
MANY = 1000  # files from which on a progress bar is worth its flicker

T = TypeVar("T")


class Fault(NamedTuple):
    """Why a picture cannot be used."""

    reason: str


@dataclass
class Ignored:
    """What a folder holds beside its pictures."""

    kinds: Counter[str] = field(default_factory=Counter)  # files by the ending of their names
    hidden: int = 0  # files whose names begin with a point
    # linked folders that lead to what is listed already, or to a folder above
    links: list[str] = field(default_factory=list)

    def named(self) -> str:
        """The kinds of files, each with its count; "" if there are none."""
        found = ", ".join(f"{count} {end}" for end, count in self.kinds.most_common(KINDS))
        return found + (
            f" and {len(self.kinds) - KINDS} more kinds" if len(self.kinds) > KINDS else ""
        )

    def lacking(self) -> str:
        """Of the files that a package would read, which one; "" if there are none."""
        found = sorted({end for end in self.kinds if end in HEIF})
        read = "are read where the package pillow-heif is installed"
        return f"; {' and '.join(found)} {read}" if found else ""

    def __str__(self) -> str:
        text = (
            f"{self.kinds.total()} other files ignored{f' ({self.named()})' if self.kinds else ''}"
        )
        text += self.lacking()
        if self.hidden:
            text += f"; {self.hidden} hidden"
        if self.links:
            text += (
                f"; linked folders that lead back are not followed: {', '.join(self.links[:KINDS])}"
            )
        return text


def below(
    top: Path, start: Path, seen: set[tuple[int, int]]
) -> Iterator[tuple[Path, list[str], list[Path]]]:
    """Each folder from `start` down that was not seen before: itself, its files and the folders
    that it links to. Hidden folders are left out."""

    def stop(error: OSError) -> None:
        raise Mistake(f"cannot read the folder {error.filename}: {error.strerror}")

    for place, inner, names in os.walk(start, onerror=stop):
        here, told = Path(place), Path(place).stat()
        if (told.st_dev, told.st_ino) in seen:
            inner.clear()
            continue
        seen.add((told.st_dev, told.st_ino))
        shown = [name for name in inner if not name.startswith(".")]
        links = [here / name for name in shown if (here / name).is_symlink()]
        inner[:] = [name for name in shown if here / name not in links]
        yield here.relative_to(top), names, links


def listing(folder: Path) -> tuple[list[str], Ignored]:
    """The names of all pictures, relative to the folder and sorted, and what else there is. Links
    to folders are followed, but not to what is listed already, nor up."""
    known, pictures, ignored = suffixes(), list[str](), Ignored()
    seen: set[tuple[int, int]] = set()
    pending = [folder]
    while pending:
        start = pending.pop(0)
        target = start.resolve()
        told = target.stat()
        if start != folder and (
            (told.st_dev, told.st_ino) in seen or target in folder.resolve().parents
        ):
            ignored.links.append(start.relative_to(folder).as_posix())
            continue
        for place, names, links in below(folder, start, seen):
            pending.extend(sorted(links))
            for name in names:
                end = Path(name).suffix.lower()
                if name.startswith("."):
                    ignored.hidden += 1
                elif end in known:
                    pictures.append((place / name).as_posix())
                else:
                    ignored.kinds[end[:20] or "without an ending"] += 1
    if not pictures:
        raise Mistake(
            f"{folder} holds no pictures; it holds {ignored.named() or 'nothing'}; "
            f"allowed: .png, .jpg and the like{ignored.lacking()}"
        )
    return sorted(pictures), ignored


def fault(error: Exception) -> Fault:
    """The error in a few words."""
    if isinstance(error, UnidentifiedImageError):
        return Fault("not a picture, or damaged at its beginning")
    return Fault(
        (error.strerror if isinstance(error, OSError) else None)
        or str(error)
        or type(error).__name__
    )


def accepted(path: Path, result: T | Fault, skip: bool) -> T | Fault:
    """The result, unless it is a fault that may not be skipped."""
    if isinstance(result, Fault) and not skip:
        raise Mistake(
            f"picture {path}: {result.reason}; "
            "repair or remove it, or set data.skip_broken=true to leave out what cannot be used"
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
    # leave out pictures for which work fails; otherwise the first of them ends everything
    skip: bool,
) -> tuple[dict[str, T], dict[str, str]]:
    """What `work` returns for each name, done on a few threads,
    and the reasons for those where it fails."""

    def attempt(i: int) -> T | Fault:
        try:
            return work(i, folder / names[i])
        except Exception as error:  # what decoders raise on damaged files is beyond listing
            return fault(error)

    chunks = [range(start, min(start + CHUNK, len(names))) for start in range(0, len(names), CHUNK)]
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
    try:
        told = pool.map(lambda chunk: [(names[i], attempt(i)) for i in chunk], chunks)
        flat = [
            (name, accepted(folder / name, result, skip))
            for part in watched(told, len(chunks))
            for name, result in part
        ]
    finally:
        pool.shutdown(cancel_futures=True)
    good = {name: result for name, result in flat if not isinstance(result, Fault)}
    return good, {name: result.reason for name, result in flat if isinstance(result, Fault)}


def usable(folder: Path, names: Sequence[str], work: Callable[[int, Path], T]) -> dict[str, T]:
    """What `work` returns for the number and path of each picture;
    a Mistake that names one where it fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        good, broken = each(folder, names, work, skip=True)
    if broken:
        name, reason = next(iter(broken.items()))
        more = f" ({len(broken)} pictures cannot be used)" if len(broken) > 1 else ""
        raise Mistake(f"picture {folder / name}: {reason}; repair it or remove it{more}")
    return good
