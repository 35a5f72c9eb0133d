"""The verb play: a run as one page."""

from pathlib import Path
from typing import Annotated

import typer

from simulacra.cli.words import RunFolder, Step, Trust, app, out, report

PANEL = "Pictures"


@app.command(rich_help_panel=PANEL)
def play(
    run: RunFolder,
    target: Annotated[Path, typer.Option("-o", help="The page, NAME.html.")],
    eye: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="A world's eye, where its config names none."),
    ] = None,
    controls: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON that says which keys drive a world."),
    ] = None,
    most: Annotated[int, typer.Option(help="Largest page, in bytes.")] = 5_000_000,
    step: Step = None,
    trust: Trust = False,
) -> None:
    """Make a page to play with, of a run. It opens from disk: drive a dream (worlds), draw a
    picture and see its futures (visual_dynamics), walk through z (generators)."""
    from simulacra.core.errors import Mistake
    from simulacra.core.load import reopen
    from simulacra.studies.play import play as verb

    try:
        told = None if controls is None else controls.expanduser().read_text("utf-8")
    except UnicodeDecodeError:
        raise Mistake(f"{controls} holds no text; allowed: JSON") from None
    made = verb(reopen(run, None, step=step), target, eye=eye, controls=told, most=most)
    report([made.path], made.notes)
    out.print(f"{made.size:,} bytes; open it in a browser", soft_wrap=True)
