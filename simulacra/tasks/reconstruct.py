"""Reconstruct: what a person's pictures become when they are only the few numbers
that a run keeps of them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simulacra.core import answers
from simulacra.core.contract import AutoEncoder
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened, able
from simulacra.io import paint as easel
from simulacra.io.listing import HEIF, listing
from simulacra.metrics.futures.motion import ssim
from simulacra.nn import maths
from simulacra.tasks._picture import brightest, no_file, picture, within

CHUNK = 64  # pictures coded at once
PAIRS = 4  # pictures in a row of the sheet, each with its reconstruction


def coder(opened: Opened) -> AutoEncoder:
    """The run's model, if it turns pictures into codes and back; otherwise a Mistake that says
    which models do."""
    if isinstance(opened.model, AutoEncoder):
        return opened.model
    raise Mistake(
        f"{opened.folder} is a run of model {opened.config.model}, which does not turn a picture "
        "into a code and back; models "
        f"that do: {able(AutoEncoder)}"
    )


def found(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """The files meant: those named, and every picture in the folders named, and a note on each
    folder that holds pictures which are left out; a Mistake if there are none."""
    files, notes = list[Path](), list[str]()
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        names, ignored = listing(path)
        files += [path / name for name in names]
        notes += (
            [f"{path}: {ignored}"]
            if ignored.links or any(kind in HEIF for kind in ignored.kinds)
            else []
        )
    if not files:
        raise Mistake("no picture to reconstruct; allowed: pictures, or folders of them")
    return list(dict.fromkeys(files)), notes


def pictures(files: Sequence[Path], opened: Opened) -> tuple[Tensor, list[str]]:
    """The files' pictures (n, C, H, W) in [-1, 1] as the run's pictures are,
    and a note where something was done to one."""
    white = brightest(files, opened)
    read = {file: picture(file, opened, white) for file in files}
    return torch.cat([x for x, _ in read.values()]), [
        f"{file}: {done}" for file, (_, done) in read.items() if done
    ]


def rebuilt(model: AutoEncoder, x: Tensor) -> Tensor:
    """What the mean codes of pictures x (n, C, H, W) are decoded to, in [-1, 1]."""
    codes = (answers.encoded(model, part)[0] for part in x.split(CHUNK))
    return torch.cat([answers.decoded(model, mean) for mean in codes]).clamp(-1, 1)


def reconstruct(
    opened: Opened, paths: Iterable[Path], out: Path, *, scale: int = 1
) -> tuple[list[Path], list[dict[str, Any]], list[str]]:
    """Files in the folder `out`: each reconstruction as 00000.png, 00001.png, ..., and originals
    beside reconstructions as reconstructed.png. Also a row a picture, with its "psnr" in dB and its
    "ssim" (None where sides are below 11 pixels), and what was done to the pictures. A Mistake
    names what is no picture, or a model that cannot."""
    within(scale=(scale, 16))
    model = coder(opened)
    files, left_out = found(paths)
    x, done = pictures(files, opened)
    no_file(out)
    y = rebuilt(model, x)
    made = easel.save_pngs(y, out)
    both = torch.stack([x, y], 1).flatten(0, 1)
    sheet = easel.save_sheet(both, out / "reconstructed.png", 2 * min(len(x), PAIRS), scale=scale)
    dB = maths.psnr(y, x).tolist()
    alike: list[float | None] = (
        [None] * len(x) if min(x.shape[2:]) < 11 else list(ssim(y.cpu(), x.cpu()).tolist())
    )
    named = zip(files, made, dB, alike, strict=True)
    rows = [
        {"picture": str(file), "file": str(path), "psnr": p, "ssim": s}
        for file, path, p, s in named
    ]
    return [*made, sheet], rows, [*left_out, *done]
