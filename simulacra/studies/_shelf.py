"""A folder that is shown in the notebook and may hold anything: what is read of it is checked, no
link is followed out of it, and what is odd about it is noted and ends nothing."""

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from simulacra.core.errors import Mistake
from simulacra.core.tables import called

# what is shown, and how it begins
KINDS = {".png": (0, b"\x89PNG\r\n\x1a\n"), ".gif": (0, b"GIF8"), ".mp4": (4, b"ftyp")}
# of the disk that the notebook goes to
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
LARGEST = 2**29  # bytes of a log
LONGEST = 2**22  # bytes of any other text
OUT = "is a link that leads out of the folder, which is not followed"
SHORT = 200  # characters of a reason

T = TypeVar("T")
# what becomes of a picture: told its name among the pages, and the file that it is, or its content
Keep = Callable[[str, Path | bytes], None]


class Odd(NamedTuple):
    """What could not be read, and why."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


def reason(error: Exception) -> str:
    """The error in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RecursionError):
        return "nested too deeply"
    text = " ".join(str(error).split())[:SHORT] or type(error).__name__
    return text if isinstance(error, Mistake | ValueError) else f"{type(error).__name__}: {text}"


class Shelf:
    """A folder that is shown. `keep` is the folder of the notebook that is being made, into which
    pictures are copied, or what else is done with them. What is odd is noted in `odd`."""

    def __init__(self, folder: Path, keep: Path | Keep):
        self.folder, self.odd = folder, list[Odd]()
        self.keep: Keep = copying(keep) if isinstance(keep, Path) else keep
        self.real = folder.resolve()
        readable = re.sub(r"[^A-Za-z0-9]+", "-", str(folder)).strip("-")[-60:]
        # another one for every folder
        self.slug = f"{readable}-{blake2b(os.fsencode(folder), digest_size=3).hexdigest()}"

    @staticmethod
    @contextlib.contextmanager
    def telling(odd: list[Odd], what: str) -> Iterator[None]:
        """Whatever is wrong with what is read is noted and ends nothing;
        a full disk, which is ours, still does."""
        try:
            yield
        except Exception as error:  # what may be in a folder is beyond listing
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            odd.append(Odd(what, reason(error)))

    def attempt(self, what: str, read: Callable[[], T]) -> T | None:
        """What `read` returns; None if it fails, which is noted."""
        with Shelf.telling(self.odd, what):
            return read()
        return None

    def there(self, name: str) -> bool:
        """Whether the folder has something of this name, be it a link to nothing."""
        return os.path.lexists(self.folder / name)

    def file(self, name: str, most: int = LONGEST) -> Path:
        """The path of a file that is read; a Mistake if it is none,
        leads out of the folder by a link, or is too large."""
        path = self.folder / name
        if not self.there(name):
            raise Mistake("is not there")
        target = path.resolve()
        if self.real not in target.parents:
            raise Mistake(OUT)
        if not target.is_file():
            raise Mistake("is a folder; it must be a file" if target.is_dir() else "is no file")
        if target.stat().st_size > most:
            raise Mistake(f"has {target.stat().st_size:,} bytes; allowed: {most:,}")
        return path

    def inner(self, name: str) -> list[Path]:
        """What is in a folder inside; a Mistake if it leads out by a link."""
        path = self.folder / name
        if self.real not in path.resolve().parents:
            raise Mistake(OUT)
        return list(path.iterdir())

    def parsed(self, name: str) -> Any:
        """What a .json file holds."""
        return json.loads(self.file(name).read_text("utf-8"))

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a .jsonl file that are some, [] if there is no file;
        others are noted, except a last one cut short."""
        if not self.there(name):
            return []
        lines = self.file(name, LARGEST).read_bytes().splitlines()
        found = [row for row in (_row(line) for line in lines) if row is not None]
        if strange := len(lines) - len(found) - (bool(lines) and _row(lines[-1]) is None):
            self.odd.append(Odd(name, f"{strange} of {len(lines)} lines are no rows, and left out"))
        return found

    def text(self, name: str) -> str:
        """What a person wrote, "" if nothing."""
        return (
            self.file(name).read_text("utf-8", errors="replace").strip() if self.there(name) else ""
        )

    def copied(self, path: Path, under: str = "") -> str:
        """Where a page finds a file, which is kept for it."""
        name = f"files/{'-'.join(filter(None, (self.slug, under, path.name)))}"
        self.keep(name, self.file(path.relative_to(self.folder).as_posix(), LARGEST))
        return name

    def made(self, name: str, content: bytes) -> str:
        """Where a page finds a file of this content, which is kept for it."""
        name = f"files/{self.slug}-{name}"
        self.keep(name, content)
        return name

    def picture(self, path: Path, caption: str, under: str) -> dict[str, str]:
        """What a page says of a picture, which is kept for it."""
        begins, word = KINDS[path.suffix]
        with self.file(path.relative_to(self.folder).as_posix(), LARGEST).open("rb") as file:
            if not file.read(16)[begins:].startswith(word):
                raise Mistake(f"is no {path.suffix[1:].upper()}, and left out")
        drawn = "plot" if self.plots else ""
        name = f"files/{'-'.join(filter(None, (self.slug, under, path.name)))}"
        self.keep(name, path)
        return {"path": name, "caption": caption, "link": "", "kind": drawn}

    @cached_property
    def plots(self) -> bool:
        """Whether its pictures are plots of series, dark lines on white."""
        try:
            return "series" in self.parsed("shapes.json")
        except Exception:  # then nothing is known of its pictures
            return False

    def copies(self, wanted: Iterable[tuple[Path, str, str]]) -> list[dict[str, str]]:
        """Pictures that are kept, each with its caption and what distinguishes its name;
        what is none is noted."""
        found = []
        for path, caption, under in wanted:
            with Shelf.telling(self.odd, path.relative_to(self.folder).as_posix()):
                found.append(self.picture(path, caption, under))
        return found


def copying(folder: Path) -> Keep:
    """Puts what is kept into a folder."""

    def keep(name: str, source: Path | bytes) -> None:
        if isinstance(source, Path):
            shutil.copyfile(source, folder / name)
        else:
            (folder / name).write_bytes(source)

    return keep


def _row(line: bytes) -> dict[str, Any] | None:
    """The object on a line, None if there is none. NaN, which JSON has not, is read as well."""
    try:
        found = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


def checked(found: Any, needed: Mapping[str, type], what: str) -> dict[str, Any]:
    """The table of keys, if it has all that is needed, of the right types."""
    if not isinstance(found, dict):
        raise Mistake(f"{what}: it holds no table of keys")
    lacking = [key for key in needed if key not in found]
    if lacking:
        raise Mistake(f"{what}: it has no {', '.join(map(called, lacking))}")
    wrong = [
        key
        for key, kind in needed.items()
        if not isinstance(found[key], kind) or isinstance(found[key], bool)
    ]
    if wrong:
        raise Mistake(f"{what}: {wrong[0]} is {str(found[wrong[0]])[:50]!r}")
    return found


def named(read: Callable[[str], T], name: str) -> T:
    """What is read; a failure names the file."""
    try:
        return read(name)
    except Exception as error:  # what may be in a file is beyond listing
        raise Mistake(f"cannot read {name}: {reason(error)}") from None


def whole(value: Any) -> bool:
    """Whether a value is a count that can be written out."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18
