"""A file that one process holds at a time: fcntl on Linux and macOS, msvcrt on Windows. Only Linux
is tested."""

from typing import IO, Any

from simulacra.core.errors import Mistake

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt
except ImportError:
    msvcrt: Any = None  # type: ignore[no-redef]


def hold(file: IO[Any]) -> bool:
    """Hold an open file until it is closed; False if another process holds it. A Mistake where the
    system has no such thing."""
    if fcntl is None and msvcrt is None:
        raise Mistake(
            "this Python has neither fcntl nor msvcrt, one of which keeps two processes from "
            "writing into one folder; allowed: Python for Linux, macOS or Windows"
        )
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    return True
