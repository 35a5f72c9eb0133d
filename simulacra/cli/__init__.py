"""The command line: parses, calls a verb, prints. A user's mistake is one line and exit status 2.

One file a group of commands: what there is in `lists`, training and looking in `basics`, the verb
measure in `measuring`, what one begins oneself in `new`, `pictures`, `play`, `clips`, `studio`,
`worlds`, `experiments`.
"""

import os
import re
import sys
from types import FrameType
from typing import Annotated

import typer

from simulacra import __version__

# each names its verbs to the program, and help lists them in this order
from simulacra.cli import lists  # isort: skip
from simulacra.cli import basics  # isort: skip
from simulacra.cli import measuring  # isort: skip
from simulacra.cli import new  # isort: skip
from simulacra.cli import pictures, play, clips, studio, worlds, experiments, streams  # isort: skip
from simulacra.cli.words import app, err, escape
from simulacra.core import signals
from simulacra.core.errors import Mistake, shown

# in what torch says
MEMORY = re.compile(r"allocate memory|[Ss]torage size calculation overflowed|out of memory")

__all__ = [
    "app",
    "basics",
    "clips",
    "experiments",
    "lists",
    "main",
    "measuring",
    "new",
    "pictures",
    "play",
    "streams",
    "studio",
    "worlds",
]


def main() -> None:
    """Run the command line; the process ends with 0, 2 for a mistake, 130 after Ctrl-C, 143 after
    another signal that asks it to end, 1 if what it had to say could not be written."""
    if external := sys.modules.get("simulacra.core.external"):
        external.forget()
    with streams.patient() as said:
        code = _ended()
        if (lost := streams.missed(said)) and not code:
            code = _refuse(f"cannot write to standard output ({lost})", 1)
    sys.exit(code)


def _ended() -> int:
    """The exit status of the verb."""
    heard: list[int] = []
    signals.Interrupted.last = None

    def interrupt(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        raise signals.Interrupted(number)

    try:
        with signals.heard(interrupt, deaf=True):
            code = app(standalone_mode=False)
            if code == 130:  # which is what newer versions of typer make of Ctrl-C
                raise signals.Interrupted.last or signals.Interrupted()
            return int(code or 0)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Mistake as mistake:
        return _refuse(str(mistake))
    except (KeyboardInterrupt, typer.Abort) as stop:
        return _interrupted(stop, heard)
    except Exception as error:
        if heard:  # which libraries that were being imported make another error of
            return _interrupted(error, heard)
        if type(error).__name__ == "NoArgsIsHelpError":  # of newer versions of typer and click
            print(error.format_message())  # type: ignore[attr-defined]
            return 2
        if not (why := _explained(error)):
            raise
        return _refuse(why)


def _interrupted(stop: BaseException, heard: list[int]) -> int:
    err.print(escape("; ".join(["interrupted", *getattr(stop, "__notes__", [])])), soft_wrap=True)
    return signals.status(heard[0]) if heard else getattr(stop, "status", 130)


def _explained(error: Exception) -> str:
    """What to say of an error that is of the command line
    or the machine and not of the program; nothing if it may be."""
    # that of a wrong command line, whose class moves between versions of typer
    if hasattr(error, "format_message"):
        return f"{error.format_message()} (see --help)"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{shown(str(error.filename), quoted=False)}: {error.strerror}"
    # of ~somebody, from pathlib
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return f"a path begins with ~ and a name that nobody has here ({error})"
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and MEMORY.search(str(error))
    ):
        said = shown(str(error), quoted=False)
        return f"not enough memory for what was asked ({said}); ask for less or smaller ones"
    return ""


def _refuse(why: str, code: int = 2) -> int:
    coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    print(
        "\033[1;31merror:\033[0m" if coloured else "error:",
        " ".join(why.splitlines()),
        file=sys.stderr,
    )
    return code


def _version(asked: bool) -> None:
    if asked:
        print(f"simulacra {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    pass
