"""The one exception that means the person, not the program, has to change something."""


class Mistake(Exception):
    """A user's mistake: one line naming the thing, the value found and the values allowed. The command line exits 2."""


def choose(kind: str, found: str, allowed: list[str]) -> str:
    """`found`, if it is one of `allowed`; otherwise a Mistake that lists them."""
    if found not in allowed:
        raise Mistake(f"unknown {kind} '{found}'; there is: {', '.join(allowed) or 'none'}")
    return found
