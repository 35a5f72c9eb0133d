"""A folder of results that is made again in place. What is replaced or removed there is only what
was written there before, and only while it still is what was written; whatever else is in the
folder, or beside it, belongs to somebody else and stays."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path, PurePosixPath

from simulacra.core import files
from simulacra.core.errors import Mistake

LARGEST = 2**26  # bytes of a mark


def digest(path: Path) -> str:
    """What the content of a file hashes to."""
    with path.open("rb") as file:
        found = blake2b(digest_size=16)
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()


def tree(folder: Path) -> dict[str, str]:
    """The digest of every file in a folder of ours, by its name relative to it."""
    return {
        path.relative_to(folder).as_posix(): digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class OwnFolder:
    """The folder `out`, whose mark is the file `mark`:
    who made it, and a digest of each file that was written."""

    def __init__(self, out: Path, mark: str, maker: str):
        self.out, self.mark, self.maker = out, mark, maker
        kind = maker.rpartition(" ")[2]
        if out.exists() and not out.is_dir():
            raise Mistake(f"{out} is there and is no {kind}; choose another folder with -o")
        before = self._written() if out.is_dir() and any(out.iterdir()) else {}
        if before is None:
            raise Mistake(
                f"{out} is there and is no {kind} whose {mark} tells which files are its own; "
                "choose another folder with -o"
            )
        self.before = before  # the digests that each file may have, by its name

    def _written(self) -> dict[str, list[str]] | None:
        """Which files the mark says were written, None if it is none of ours.
        Names that lead out of it are not."""
        path = self.out / self.mark
        try:
            if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST:
                return None
            told = json.loads(path.read_text("utf-8"))
            if told["made by"] != self.maker:
                return None
            return {
                name: list(map(str, value))
                for name, value in told["files"].items()
                if self._inside(name)
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def _inside(self, name: str) -> bool:
        """Whether a name stays in the folder, links included."""
        pure = PurePosixPath(name)
        if pure.is_absolute() or not pure.parts or ".." in pure.parts:
            return False
        return not any(
            (self.out / place).is_symlink()
            for place in [pure, *pure.parents]
            if place != PurePosixPath(".")
        )

    def _ours(self, name: str) -> bool:
        """Whether the file of this name is there and is what was written."""
        path = self.out / name
        try:
            return name in self.before and path.is_file() and digest(path) in self.before[name]
        except OSError:
            return False

    @contextlib.contextmanager
    def making(self) -> Iterator[Path]:
        """A new empty folder beside, under a name that is nobody else's. What is in it at the end
        takes its place in `out`; after an error nothing of it is left, and `out` is as it was."""
        fresh = Path(tempfile.mkdtemp(".partial", f".{self.out.name[:200]}.", self.out.parent))
        try:
            yield fresh
            self._install(fresh)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _install(self, fresh: Path) -> None:
        """Move the new files to their places and remove those of before
        that are not made any more."""
        new = tree(fresh)
        taken = [
            name
            for name in new
            if not self._inside(name) or (self._there(name) and not self._ours(name))
        ]
        if taken:
            raise Mistake(
                f"{self.out / taken[0]} is not as it was written here, or was not; "
                "move it away, or choose another folder"
            )
        stale = [name for name in self.before if name not in new and self._ours(name)]
        for name in new:
            (self.out / name).parent.mkdir(parents=True, exist_ok=True)
        now = {name: [value] for name, value in new.items()}
        union = {
            name: [*self.before.get(name, []), *now.get(name, [])]
            for name in {**self.before, **now}
        }
        self._note(union)  # before anything is moved: after a kill, both old and new are known
        for name in new:
            (fresh / name).replace(self.out / name)
        for name in stale:
            (self.out / name).unlink(missing_ok=True)
        if union != now:
            self._note(now)

    def _there(self, name: str) -> bool:
        path = self.out / name
        return path.exists() or path.is_symlink()

    def _note(self, written: dict[str, list[str]]) -> None:
        text = json.dumps({"made by": self.maker, "files": written}, indent=0) + "\n"
        files.write_text(self.out / self.mark, text)
