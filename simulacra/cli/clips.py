"""Verbs of clips: decompose, edit, deliver."""

import json
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from simulacra.cli.strip import ruler, strip
from simulacra.cli.words import Json, Results, app, escape, out, report
from simulacra.core.errors import Mistake
from simulacra.core.signals import saying

PANEL = "Clips"
MOST = 12  # warnings that are printed


class Features(StrEnum):
    """Eyes of the nets that find masks."""

    imagenet = "imagenet"  # a frozen network trained on ImageNet
    none = "none"  # nothing but the clip


Given = Annotated[
    list[str],
    typer.Option(
        metavar="[FRAME=]MASK",
        help="A picture of the object in a frame, the first is 0, on black or transparency. "
        "Give several for corrections.",
    ),
]
Longest = Annotated[
    int, typer.Option(help="Reduce the longer side to this many pixels; 0 keeps the clip's size.")
]
Rate = Annotated[
    float | None, typer.Option(help="Frames per second of the results; otherwise the clip's.")
]
Merge = Annotated[bool, typer.Option("--merge", help="Take all objects of an indexed mask as one.")]
Fast = Annotated[bool, typer.Option("--fast", help="Find masks in less time, less well.")]
Eyes = Annotated[Features, typer.Option(help="What the nets that find masks see with.")]
Anew = Annotated[bool, typer.Option("--anew", help="Layers of other masks of this clip give way.")]


@app.command(rich_help_panel=PANEL)
def decompose(
    path: Annotated[
        Path, typer.Argument(metavar="CLIP", help="A film, an animation or a folder of frames.")
    ],
    mask: Given,
    target: Results,
    longest: Longest = 1920,
    frames: Annotated[int, typer.Option(help="Only the first frames; 0 takes all.")] = 0,
    fps: Rate = None,
    merge: Merge = False,
    fast: Fast = False,
    features: Eyes = Features.imagenet,
    anew: Anew = False,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Take a clip apart by masks: objects, mattes, background. A stopped run goes on; the same with
    one more mask corrects."""
    from simulacra.core.progress import Stages
    from simulacra.io.given_masks import frames_of
    from simulacra.tasks.decompose import decompose as verb

    masks = frames_of(mask)
    with (
        saying(lambda: f"what is finished stays in {target}; the same command goes on"),
        Stages(out.console, quiet=as_json) as stages,
    ):
        options = {
            "longest": longest,
            "frames": frames,
            "fps": fps,
            "merge": merge,
            "fast": fast,
            "features": features.value,
            "anew": anew,
            "seed": seed,
            "notify": stages.update,
        }
        said = (lambda _: None) if as_json else (lambda line: report([], [line]))
        found, done = verb(path, masks, target, **options, said=said)  # type: ignore[arg-type]
    if as_json:
        print(json.dumps(found | {"notes": done}))
        return
    shown = {
        "--longest": (longest, 1920),
        "--frames": (frames, 0),
        "--fps": (fps, None),
        "--seed": (seed, 0),
        "--features": (features.value, "imagenet"),
    }
    more = [str(word) for name, (v, usual) in shown.items() if v != usual for word in (name, v)]
    more += [flag for flag, on in (("--merge", merge), ("--fast", fast)) if on]
    _say(found, [path, target], masks, more)


def _say(
    found: dict[str, Any], places: list[Path], masks: dict[int, Path], more: list[str]
) -> None:
    """What a person reads when layers are there; `more` are the words of the command."""
    report(places[1:], [])
    for line in [*_masks_in_words(found), *_in_words(found)]:
        out.print(escape(line), soft_wrap=True)
    if found.get("advised") is not None:
        out.print(escape(_advice(found["advised"], places, masks, more)), soft_wrap=True)


def _masks_in_words(found: dict[str, Any]) -> list[str]:
    """What quality.json says of the masks, for a person; nothing if it is of an earlier version."""
    if "confidence" not in found:
        return []
    console, gone, T = out.console, found["without_object"], found["frames"]
    many = len(found["objects"]) > 1
    what = "no object" if many else "nothing of the object"
    lines = [
        f"the {'masks have' if many else 'mask has'} a confidence of {found['confidence_mean']:.2f}"
        " on average (the overlap J that is expected, 1 is best); "
        + (
            f"{len(gone)} of {T} frames {'shows' if len(gone) == 1 else 'show'} {what}"
            if gone
            else "no frame is without object"
        )
    ]
    names = [f"object {one['name']} " if many else "" for one in found["objects"]]
    width = max(20, console.width) - max(map(len, names))
    for name, one in zip(names, found["objects"], strict=True):
        told = strip(one["confidence"], one["without_object"], width, console.encoding)
        lines.append(f"{name:>{max(map(len, names))}}{told}")
    lines.append(" " * max(map(len, names)) + ruler(T, width))
    if many:
        order = sorted(found["objects"], key=lambda one: one["depth"])
        lines.append(f"nearest first: objects {', '.join(str(one['name']) for one in order)}")
    more = len(found["warnings"]) - MOST
    rest = [f"{more} more warnings are in quality.json"] if more > 0 else []
    return lines + [f"look at {one['text']}" for one in found["warnings"][:MOST]] + rest


def _advice(frame: int, places: list[Path], masks: dict[int, Path], more: list[str]) -> str:
    """Which mask would help most, and the command that takes it."""
    clip, target = places
    given = [f"--mask {shlex.quote(f'{t}={path}')}" for t, path in masks.items()]
    command = " ".join(
        ["simulacra decompose", shlex.quote(str(clip)), *given, f"--mask {frame}=MASK", *more]
    )
    return (
        f"a mask of frame {frame} would help most ({target / 'composite' / f'{frame:05d}.png'} "
        f"shows it): {command} -o {shlex.quote(str(target))}"
    )


def _in_words(found: dict[str, Any]) -> list[str]:
    """What quality.json says of the layers, for a person."""
    seen = found["background_seen_elsewhere"]
    behind = (
        "the object hides no background"
        if seen is None
        else f"{seen:.0%} of the background behind it is seen in other frames, the rest is painted"
    )
    return [
        f"{found['frames']:,} frames of {found['width']}x{found['height']}, "
        f"{found['fps']:g} a second",
        f"the object covers {found['object_share_first']:.1%} of the first frame and "
        f"{found['object_share_last']:.1%} of the last",
        behind,
        f"{found['matte_soft_share']:.1%} of the matte is soft, neither object nor background",
        f"put together again the layers match the clip to {found['composite_psnr_mean']:.1f} dB, "
        f"{found['composite_psnr_least']:.1f} dB in the worst frame (PSNR, which says nothing of "
        "the masks)",
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
    objects: Annotated[
        list[int] | None,
        typer.Option("--object", help="Of several, the one to remove or move; may be repeated."),
    ] = None,
) -> None:
    """Put the layers of a clip together in another way."""
    from simulacra.tasks.edit import edit as verb

    paths, done = verb(
        layers,
        target,
        remove=remove,
        background=background,
        move=_two(move) if move else None,
        objects=tuple(objects or ()),
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
    """Write layers for editors: PNG, OpenEXR, films, a timeline."""
    from simulacra.core.progress import Stages
    from simulacra.tasks.deliver import deliver as verb

    wanted = [word.strip() for words in formats or () for word in words.split(",") if word.strip()]
    if formats and not wanted:
        raise Mistake("--as names no format; allowed: png16, exr, prores, vp9, otio")
    with Stages(out.console) as stages:
        paths, done = verb(layers, wanted, target, notify=stages.update)
    report(paths, done)
