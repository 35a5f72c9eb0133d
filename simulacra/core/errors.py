"""The one exception that means the person, not the program, has to change something."""

import contextlib
import sys
from collections.abc import Iterable, Iterator

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
        raise Mistake(unknown(f"{kind} '{shown(found, quoted=False)}'", found, allowed))
    return found


def unknown(
    what: str,  # names the word
    found: str,
    allowed: Iterable[str],
    elsewhere: Iterable[str] = (),  # words of other places, one of which may have been meant
) -> str:
    """What is said of a word that is none of those allowed."""
    allowed = list(allowed)
    near = meant(found, [*allowed, *elsewhere])
    return f"unknown {what}{near}; there is: {', '.join(allowed) or 'none'}"


def meant(found: str, allowed: Iterable[str]) -> str:
    """Which of the allowed words a mistyped one is nearest to, as a question in brackets; nothing
    if none is near. Of dotted words the last part is compared."""
    from difflib import get_close_matches

    words: dict[str, str] = {}
    for word in allowed:
        words.setdefault(word.rpartition(".")[2].lower(), word)
    last = found.rpartition(".")[2].lower()[:LONGEST]
    near = [last] if last in words else get_close_matches(last, words, n=2, cutoff=0.7)
    return f" (did you mean {' or '.join(words[word] for word in near)}?)" if near else ""


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """A script's way to end at a Mistake: one line and exit status 2, without a traceback."""
    try:
        yield
    except Mistake as mistake:
        sys.stderr.write(f"error: {mistake}\n")
        sys.exit(2)
