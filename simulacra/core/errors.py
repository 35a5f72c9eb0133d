"""The one exception that means the person, not the program, has to change something."""

import contextlib
import sys
from collections.abc import Iterator

LONGEST = 200  # letters of a value that a message shows


class Mistake(Exception):
    """A user's mistake: one line naming the thing, the value found and the values allowed.
    The command line exits 2."""


def shown(value: object, *, quoted: bool = True) -> str:
    """A value as a message shows it: on one line, and shortened if it is long.
    `quoted` is False for words that stay bare."""
    try:
        text = repr(value) if quoted else str(value)
    except (ValueError, RecursionError):  # thousands of digits; tables in tables in tables
        text = f"{type(value).__name__} that is too long to show"
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 20]} ... ({len(text):,} letters)"


def choose(kind: str, found: str, allowed: list[str]) -> str:
    """`found`, if it is one of `allowed`; otherwise a Mistake that lists them."""
    if found not in allowed:
        raise Mistake(
            f"unknown {kind} '{shown(found, quoted=False)}'; "
            f"there is: {', '.join(allowed) or 'none'}"
        )
    return found


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """A script's way to end at a Mistake: one line and exit status 2, without a traceback."""
    try:
        yield
    except Mistake as mistake:
        sys.stderr.write(f"error: {mistake}\n")
        sys.exit(2)
