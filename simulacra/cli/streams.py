"""Standard output and error that never end a program: a reader who leaves, a full disk and letters
that the terminal does not know cost what was to be said, not what was to be done."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class Stream:
    """A text stream whose first failed write or flush is kept in `lost`;
    nothing more is said after it."""

    def __init__(self, inner: TextIO):
        self.inner = inner
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """As the stream's."""
        self._tried(lambda: self.inner.write(text))
        return len(text)

    def flush(self) -> None:
        """As the stream's."""
        self._tried(self.inner.flush)

    def _tried(self, act: Any) -> None:
        if self.lost:
            return
        try:
            act()
        except OSError as error:
            self.lost = error
            # what is left in its buffer would fail again when Python ends
            with contextlib.suppress(OSError, ValueError):
                quiet = os.open(os.devnull, os.O_WRONLY)
                os.dup2(quiet, self.inner.fileno())
                os.close(quiet)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@contextlib.contextmanager
def patient() -> Iterator[Stream]:
    """Both streams are such while it lasts; yields that of output.
    Unknown letters are written as \\u2713 and the like."""
    old = sys.stdout, sys.stderr
    for name in "stdout", "stderr":
        # closed by whoever began us: 2>&-
        inner: Any = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        if hasattr(inner, "reconfigure"):
            # a file that somebody replaced by a pipe cannot be asked where it stands
            with contextlib.suppress(OSError):
                inner.reconfigure(errors="backslashreplace")
        setattr(sys, name, Stream(inner))
    try:
        yield sys.stdout  # type: ignore[misc]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = old


def missed(out: Stream) -> str:
    """Why a person has not got what was to be said;
    nothing if all was, or if its reader wanted no more of it (`| head`)."""
    out.flush()
    return (
        ""
        if out.lost is None or isinstance(out.lost, BrokenPipeError)
        else out.lost.strerror or str(out.lost)
    )
