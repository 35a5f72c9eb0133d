"""Verbs that begin something of one's own: new model, new game."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from simulacra.cli.grouped import Grouped
from simulacra.cli.words import app, escape, out

new_app = typer.Typer(
    cls=Grouped, help="Begin something of your own: a model, or a game.", no_args_is_help=True
)
app.add_typer(new_app, name="new")


@new_app.command("model")
def new_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits and _.")],
    folder: Annotated[Path, typer.Option("-o", help="Where to write it.")] = Path(),
) -> None:
    """Write NAME.py, a small model that works, NAME.toml, its config, and test_NAME.py; then change
    them."""
    from simulacra.tasks.new import new

    for path in new(name, folder):
        out.print(f"wrote {escape(str(path))}", soft_wrap=True)
    enter = [] if folder == Path() else [f"cd {shlex.quote(str(folder))}"]
    out.print("what comes next:")
    for line in [*enter, *following(name)]:
        out.print(f"  {escape(line)}", soft_wrap=True)


@new_app.command("game")
def new_game(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits and _.")],
    folder: Annotated[Path, typer.Option("-o", help="Where to write it.")] = Path(),
) -> None:
    """Write NAME.py, a small game that works, in which an agent can be trained; then change it."""
    from simulacra.tasks.new import GAME, new

    (path,) = new(name, folder, GAME)
    out.print(f"wrote {escape(str(path))}", soft_wrap=True)
    out.print("what comes next:")
    enter = [] if folder == Path() else [f"cd {shlex.quote(str(folder))}"]
    for line in [*enter, f"simulacra world --game {name}.py -o runs/{name} --preset tiny"]:
        out.print(f"  {escape(line)}", soft_wrap=True)


def following(name: str) -> list[str]:
    """The commands that come next, in the folder of the files."""
    return [
        f"simulacra train {name}.toml --preset tiny",
        f"simulacra sample runs/{name} -n 8 -o samples --trust",
        f"simulacra reconstruct runs/{name} samples -o rebuilt --trust",
        f"simulacra measure runs/{name} --samples 200 --repeats 2 --trust",
        f"pytest test_{name}.py",
    ]
