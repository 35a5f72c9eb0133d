"""What all parts of the command line share:
the program, where it prints, and the arguments and options of many verbs."""

import os
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulacra.cli.grouped import Grouped

if TYPE_CHECKING:
    from rich.console import Console

COMPLETION = {"--install-completion", "--show-completion"} & {*sys.argv} or [
    x for x in os.environ if x.endswith("_COMPLETE")
]

app = typer.Typer(
    cls=Grouped,
    help="A laboratory for models that imagine: train, sample, paint, measure.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # panels around the help cost half as much time as the rest of it
    add_completion=bool(COMPLETION),  # its options cost every other command as much
    epilog="--install-completion and --show-completion: completion for your shell.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(
    cls=Grouped,
    help="Data sets: what there is, and what training will do with it.",
    no_args_is_help=True,
)
app.add_typer(data_app, name="data")


class Printer:
    """Where lines and tables go. It imports rich for the first of them:
    help and mistakes are said without it, faster."""

    def __init__(self, **options: Any):
        self._options = options

    @cached_property
    def console(self) -> "Console":
        """rich's console, made when it is first asked for."""
        from rich.console import Console

        return Console(highlight=False, **self._options)

    def print(self, what: Any, soft_wrap: bool = False) -> None:
        """Print a line of rich's markup, or a table."""
        self.console.print(what, soft_wrap=soft_wrap)


def escape(text: str) -> str:
    """The text as markup that prints it as it is."""
    from rich.markup import escape

    return escape(text)


out = Printer(quiet=int(os.environ.get("WORLD_SIZE", "1")) > 1 and os.environ.get("RANK") != "0")
err = Printer(stderr=True)


def a_run(folder: Path | None) -> Path | None:
    """The run folder that an argument names, zoo/NAME one of those that come with Simulacra; a
    Mistake if it is none, before anything is imported that takes seconds."""
    if folder is None:
        return None
    from simulacra.core import zoo

    return zoo.run_of(folder)


def _trusted(context: typer.Context, given: bool) -> bool:
    """Allow it for as long as the command lasts."""
    if given:
        from simulacra.core import external

        context.with_resource(external.trusting())
    return given


RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder, or zoo/NAME.", callback=a_run)
]
DataFolder = Annotated[
    Path | None, typer.Option("--data", help="Data folder; otherwise SIMULACRA_DATA.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")]
Weights = Annotated[str, typer.Option(help="Generator weights: average or raw.")]
Step = Annotated[int | None, typer.Option(help="Checkpoint to use; otherwise the newest.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value, e.g. hyper.margin=20."),
]
Preset = Annotated[
    str | None, typer.Option(help="tiny (seconds), laptop (the default) or paper (for a GPU).")
]
Prior = Annotated[
    str | None,
    typer.Option(help="Whence z: normal, empirical, mixture or learned; otherwise the run's."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Picture = Annotated[Path, typer.Argument(help="A picture of any kind and size.")]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        callback=_trusted,
        help="Run the code that the run folder brings (model.py, data.py).",
    ),
]
Results = Annotated[Path, typer.Option("-o", help="A folder for the results.")]
Scale = Annotated[int, typer.Option(help="Make each pixel of a sheet this many pixels wide.")]


def settled(changes: list[str] | None, root: Path | None) -> list[str]:
    """Changes as they were typed, a relative data.path
    that is in the working directory made absolute."""
    from simulacra.io.paths import typed

    found, notes = typed(changes or [], root)
    report([], notes)
    return found


def report(paths: list[Path], done: list[str]) -> None:
    """Print what was assumed, a yellow note a line, then the paths that were written."""
    for line in done:
        out.print(f"[yellow]note:[/] {escape(line)}", soft_wrap=True)
    for path in paths:
        out.print(escape(str(path)), soft_wrap=True)


def note(sentences: Sequence[str]) -> None:
    """Print what was assumed, converted or left out."""
    for sentence in sentences:
        out.print(f"[yellow]note:[/] {escape(sentence)}", soft_wrap=True)
