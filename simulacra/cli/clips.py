"""Verbs of clips: decompose, edit, deliver."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from simulacra.cli.words import Json, Results, app, out, report
from simulacra.core.errors import Mistake
from simulacra.core.signals import saying

PANEL = "Clips"


@app.command(rich_help_panel=PANEL)
def decompose(
    path: Annotated[
        Path, typer.Argument(metavar="CLIP", help="A film, an animation or a folder of frames.")
    ],
    mask: Annotated[
        Path,
        typer.Option(help="A picture of the object in the first frame, on black or transparency."),
    ],
    target: Results,
    longest: Annotated[
        int,
        typer.Option(help="Reduce the longer side to this many pixels; 0 keeps the clip's size."),
    ] = 432,
    frames: Annotated[int, typer.Option(help="Only the first frames; 0 takes all.")] = 0,
    fps: Annotated[
        float | None, typer.Option(help="Frames per second of the results; otherwise the clip's.")
    ] = None,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Take a clip apart from one mask: object, matte, background. A stopped run goes on."""
    from simulacra.core.progress import Stages
    from simulacra.tasks.decompose import decompose as verb

    with (
        saying(lambda: f"what is finished stays in {target}; the same command goes on"),
        Stages(out.console, quiet=as_json) as stages,
    ):
        options = {
            "longest": longest,
            "frames": frames,
            "fps": fps,
            "seed": seed,
            "notify": stages.update,
        }
        said = (lambda _: None) if as_json else (lambda line: report([], [line]))
        found, done = verb(path, mask, target, **options, said=said)  # type: ignore[arg-type]
    if as_json:
        print(json.dumps(found | {"notes": done}))
        return
    report([target], [])
    for line in _in_words(found):
        out.print(line, soft_wrap=True)


def _in_words(found: dict[str, Any]) -> list[str]:
    """What quality.json says of layers, for a person."""
    frames, gone = found["frames"], found["frames_without_object"]
    lost = f"; {gone} frames show nothing of it" if gone else ""
    seen = found["background_seen_elsewhere"]
    behind = (
        "the object hides no background"
        if seen is None
        else f"{seen:.0%} of the background behind it is seen in other frames, the rest is painted"
    )
    return [
        f"{frames:,} frames of {found['width']}x{found['height']}, {found['fps']:g} a second",
        f"put together again they match the clip to {found['composite_psnr_mean']:.1f} dB, "
        f"{found['composite_psnr_least']:.1f} dB in the worst frame (PSNR, more is better)",
        f"the object covers {found['object_share_first']:.1%} of the first frame and "
        f"{found['object_share_last']:.1%} of the last{lost}",
        behind,
        f"{found['matte_soft_share']:.1%} of the matte is soft, neither object nor background",
    ]


@app.command(rich_help_panel=PANEL)
def edit(
    layers: Annotated[Path, typer.Argument(metavar="LAYERS", help="A folder that decompose made.")],
    target: Results,
    remove: Annotated[bool, typer.Option("--remove", help="Leave the object out.")] = False,
    background: Annotated[
        Path | None, typer.Option(help="A picture or clip to put behind the object.")
    ] = None,
    move: Annotated[
        str | None,
        typer.Option(metavar="DX,DY", help="Move the object so many pixels right and down."),
    ] = None,
) -> None:
    """Put the layers of a clip together in another way."""
    from simulacra.tasks.edit import edit as verb

    paths, done = verb(
        layers, target, remove=remove, background=background, move=_two(move) if move else None
    )
    report(paths[-2:], done)


def _two(text: str) -> tuple[float, float]:
    try:
        dx, dy = (float(part) for part in text.split(","))
    except ValueError:
        raise Mistake(
            f"move = {text}; allowed: two numbers of pixels, right and down, such as 40,-10"
        ) from None
    return dx, dy


@app.command(rich_help_panel=PANEL)
def deliver(
    layers: Annotated[Path, typer.Argument(metavar="LAYERS", help="A folder that decompose made.")],
    target: Results,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            metavar="FORMATS",
            help="Of png16, exr, prores, vp9, otio, with commas between; otherwise all.",
        ),
    ] = None,
) -> None:
    """Write layers for editors and compositors: 16-bit PNG, OpenEXR, ProRes, VP9, a timeline."""
    from simulacra.core.progress import Stages
    from simulacra.tasks.deliver import deliver as verb

    wanted = [word.strip() for words in formats or () for word in words.split(",") if word.strip()]
    if formats and not wanted:
        raise Mistake("--as names no format; allowed: png16, exr, prores, vp9, otio")
    with Stages(out.console) as stages:
        paths, done = verb(layers, wanted, target, notify=stages.update)
    report(paths, done)
