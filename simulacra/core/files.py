"""Files written whole or not at all, and durably.
The only way in which the laboratory writes a file that it may read again."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

UMASK = os.umask(0)
os.umask(UMASK)


def write(path: Path, fill: Callable[..., object]) -> None:
    """Write a file whole or not at all: what `fill` writes into the open binary file goes to a
    temporary name that is nobody else's, to the disk, and only then to its place. An OSError leaves
    nothing behind; a kill may leave a hidden `.NAME.*.partial`."""
    put(path, fill)
    settle(path.parent)


def put(path: Path, fill: Callable[..., object]) -> None:
    """The same without the last step, `settle(path.parent)`,
    which many files of one folder may share."""
    handle, name = tempfile.mkstemp(".partial", f".{path.name[:200]}.", path.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o666 & ~UMASK)
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        name_it(error, path)
        raise


def name_it(error: BaseException, path: Path) -> None:
    """Have an error of a write, of a full disk, say which file it was."""
    if isinstance(error, OSError) and error.filename is None:
        error.filename = str(path)


def settle(folder: Path) -> None:
    """Have the names of a folder's files on the disk; Windows opens no folders, and writes them
    unasked."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file of these bytes whole or not at all."""
    write(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write(path, lambda file: file.write(text.encode()))
