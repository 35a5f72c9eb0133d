"""The command line: parses, calls a verb, prints. A user's mistake is one line and exit status 2.

Verbs of training and looking are in `basics`, of codes of pictures in `eyes`, of one picture's futures in `futures`, of clips
in `video`, of simulated worlds in `worlds`, of agents in them in `driving`, of experiments in `sheets`, and the verb measure in
`measuring`.
"""

import sys
from typing import Annotated

import typer
from rich.markup import escape

from simulacra import __version__, memory, outside, subnormal
from simulacra.cli import (
    basics,
    driving,
    eyes,
    futures,
    measuring,
    sheets,
    video,
    worlds,
)  # each names its verbs to the program
from simulacra.cli.words import app, err
from simulacra.errors import Mistake

__all__ = ["app", "basics", "driving", "eyes", "futures", "main", "measuring", "sheets", "video", "worlds"]


def main() -> None:
    """Run the command line; the process ends with 0, 2 for a mistake, 130 after Ctrl-C."""
    memory.keep()
    subnormal.flush()
    outside.forget()
    try:
        code = app(standalone_mode=False)
        if code == 130:  # which is what newer versions of typer make of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code)
    except Mistake as mistake:
        _refuse(str(mistake))
    except (KeyboardInterrupt, typer.Abort):
        err.print("interrupted; a training goes on from its last checkpoint when it is started again", soft_wrap=True)
        sys.exit(130)
    except Exception as error:
        if not hasattr(error, "format_message"):  # that of a wrong command line, whose class moves between versions of typer
            raise
        _refuse(f"{error.format_message()} (see --help)")


def _refuse(why: str) -> None:
    err.print(f"[bold red]error:[/] {escape(' '.join(why.splitlines()))}", soft_wrap=True)
    sys.exit(2)


def _version(asked: bool) -> None:
    if asked:
        print(f"simulacra {__version__}")
        raise typer.Exit


@app.callback()
def _main(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    pass
