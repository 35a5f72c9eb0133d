"""The one exception that means the person, not the program, has to change something."""

import contextlib
import sys
from collections.abc import Iterator


class Mistake(Exception):
    """A user's mistake: one line naming the thing, the value found and the values allowed. The command line exits 2."""


def choose(kind: str, found: str, allowed: list[str]) -> str:
    """`found`, if it is one of `allowed`; otherwise a Mistake that lists them."""
    if found not in allowed:
        raise Mistake(f"unknown {kind} '{found}'; there is: {', '.join(allowed) or 'none'}")
    return found


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """A script's way to end at a Mistake: one line and exit status 2, without a traceback."""
    try:
        yield
    except Mistake as mistake:
        sys.stderr.write(f"error: {mistake}\n")
        sys.exit(2)
