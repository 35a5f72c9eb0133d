"""The verb studio: a page on which a person works on a clip."""

from pathlib import Path
from typing import Annotated

import typer

from simulacra.cli.clips import PANEL
from simulacra.cli.words import app, escape, out, report
from simulacra.core.signals import saying


@app.command(rich_help_panel=PANEL)
def studio(
    path: Annotated[
        Path, typer.Argument(metavar="CLIP", help="A film, an animation or a folder of frames.")
    ],
    target: Annotated[
        Path | None,
        typer.Option("-o", help="A folder for what is made; otherwise runs/studio/NAME."),
    ] = None,
    longest: Annotated[
        int,
        typer.Option(
            min=0, help="Reduce the longer side to this many pixels; 0 keeps the clip's size."
        ),
    ] = 432,
    frames: Annotated[int, typer.Option(min=0, help="Only the first frames; 0 takes all.")] = 0,
    fast: Annotated[
        bool, typer.Option("--fast", help="Find masks in less time, less well.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of this machine; 0: any that is free.")
    ] = 8643,
) -> None:
    """Paint an object in a browser, follow it, correct, export. Ctrl-C ends it."""
    from simulacra.studies.studio import studio as verb

    place = target or Path("runs", "studio", path.resolve().stem)
    server, made = verb(path, place, port, longest=longest, frames=frames, fast=fast)
    report([], made.notes)
    out.print(f"open {escape(server.address)}", soft_wrap=True)
    out.print(f"Ctrl-C ends it; all is kept in {escape(str(place))}", soft_wrap=True)
    try:
        with saying(lambda: f"all is kept in {place}; the same command goes on"):
            server.run()
    finally:
        made.end()
