"""Show how a run's samples evolved: the same noise through training, cut from the sheets painted at
every checkpoint.

Neither a checkpoint nor data are needed: the sheets are lossless and stay when old checkpoints are
removed.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from simulacra.core import run
from simulacra.core.errors import Mistake
from simulacra.io import paint as easel
from simulacra.io import pictures

PAD = 2  # grey pixels around each tile, as in a painted sheet
HOLD = 2  # seconds that the last frame of an animation stays
SUFFIXES = ".gif", ".mp4", ".png"
MOST = {"fps": 50, "scale": 16}  # a GIF keeps no shorter time, and larger pictures fill the memory


def evolve(
    folder: Path, out: Path, *, rows: int = 8, columns: int = 12, fps: int = 4, scale: int = 2
) -> list[int]:
    """Write all samples as an animation (.gif, .mp4), or some of them as a strip (.png) of at most
    `rows` noises and `columns` checkpoints; return the steps that it shows."""
    if out.suffix not in SUFFIXES:
        raise Mistake(
            f"cannot write an evolution as '{out.suffix}'; "
            f"give a {', a '.join(SUFFIXES[:-1])} or a {SUFFIXES[-1]}"
        )
    for name, value in (("rows", rows), ("columns", columns), ("fps", fps), ("scale", scale)):
        if not 1 <= value <= MOST.get(name, value):
            raise Mistake(
                f"an evolution's {name} is {value}; "
                f"allowed: 1 {f'to {MOST[name]}' if name in MOST else 'and more'}"
            )
    run.config_of(folder)
    sheets = painted(folder)
    steps = spread(list(sheets), columns) if out.suffix == ".png" else list(sheets)
    places = np.stack(opened([sheets[step] for step in steps], *tile_of(folder)))
    tiles = filled(places)
    if out.suffix == ".png":
        easel.write(out, easel.png(strip(tiles[:, :rows], steps, scale)))
        return steps
    images = frames(tiles, steps, places.shape[2], scale)
    images += [images[-1]] * (HOLD * fps - 1)
    if out.suffix == ".gif":
        easel.write(out, easel.gif(images, fps))
    else:
        easel.write(out, easel.mp4(easel.even(np.stack([pixels(image) for image in images])), fps))
    return steps


def painted(folder: Path) -> dict[int, Path]:
    """Step -> sheet of samples, for every step that was painted."""
    found = [
        path
        for path in sorted(folder.glob("pictures/*/*.*"))
        if run.step_of(path.parent.name) is not None
    ]
    stills = {int(path.parent.name): path for path in found if path.name == "samples.png"}
    if not found:
        raise Mistake(f"{folder} has no pictures yet; train or paint it first")
    if not stills:
        raise Mistake(
            "the samples of this model are not still pictures: "
            f"{found[-1].parent} has no samples.png"
        )
    return dict(sorted(stills.items()))


def spread(steps: list[int], most: int) -> list[int]:
    """At most this many of the steps, evenly chosen,
    the last and (of two and more) the first among them."""
    return [steps[round(place)] for place in np.linspace(len(steps) - 1, 0, min(most, len(steps)))][
        ::-1
    ]


def tile_of(folder: Path) -> tuple[int, int, int]:
    """Height, width and channels of one picture of the run,
    or of the plot of one series, as a sheet shows it."""
    shapes = run.like_of(folder, 1)
    if "series" in shapes or "mean" in shapes:
        return easel.PLOT
    like = shapes["video"][:, 0] if "video" in shapes else shapes.get("image")
    if like is None or like.ndim != 4 or 0 in like.shape:
        raise Mistake(f"{folder / 'shapes.json'} holds no shape (C, H, W) of an image")
    _, channels, height, width = easel.visible(like).shape
    return height, width, channels


def opened(sheets: list[Path], height: int, width: int, channels: int) -> list[np.ndarray]:
    """The places of each sheet, (rows, columns, H, W, C)."""
    found: list[np.ndarray] = []
    for path in sheets:
        board = read(path)
        places = easel.cut(board, height, width, PAD)
        if (
            places.shape[4] != channels
            or 0 in places.shape
            or not np.array_equal(joined(places), board)
        ):
            raise Mistake(
                f"{path} is no sheet of this run's pictures ({channels} x {height} x {width})"
            )
        if found and places.shape != found[0].shape:
            raise Mistake(f"{path} holds another number of pictures than {sheets[0]}")
        found.append(places)
    return found


def joined(places: np.ndarray) -> np.ndarray:
    """The sheet that was cut into these places."""
    return easel.grid(places.reshape(-1, *places.shape[2:]), places.shape[1], PAD)


def read(path: Path) -> np.ndarray:
    """The bytes of a PNG, (H, W, C)."""
    try:
        with pictures.opened(path, ("PNG",)) as image:
            return pixels(image)
    except Exception as error:  # what decoders raise on damaged files is beyond listing
        raise Mistake(
            f"cannot read {path}: {' '.join(str(error).split())[:100] or type(error).__name__}"
        ) from None


def pixels(image: Image.Image) -> np.ndarray:
    """The picture's bytes, (H, W, C)."""
    found = np.asarray(image)
    return found[:, :, None] if found.ndim == 2 else found


def filled(places: np.ndarray) -> np.ndarray:
    """The tiles (T, N, H, W, C) in T sheets' places (T, rows, columns, H, W, C), without those at
    the end of the last row that are as grey as the gaps at every step."""
    _, rows, columns = places.shape[:3]
    shown = np.flatnonzero((places[:, -1] != easel.GAP).any(axis=(0, 2, 3, 4)))
    count = (rows - 1) * columns + (shown[-1] + 1 if len(shown) else 1)
    return places.reshape(len(places), rows * columns, *places.shape[3:])[:, :count]


def frames(tiles: np.ndarray, steps: list[int], columns: int, scale: int) -> list[Image.Image]:
    """One sheet a step, its step beneath."""
    font = letters(max(16, tiles.shape[3] * scale // 4))
    captions = [f"step {step:,}" for step in steps]
    widest = max(map(font.getlength, captions))
    images = []
    for one, caption in zip(tiles, captions, strict=True):
        sheet = easel.picture(easel.grid(enlarged(one, scale), columns, PAD))
        image = Image.new(
            sheet.mode, (max(sheet.width, int(widest) + 8), sheet.height + line(font)), "white"
        )
        image.paste(sheet)
        ImageDraw.Draw(image).text(
            (4, sheet.height + line(font) // 2), caption, "black", font, "lm"
        )
        images.append(image)
    return images


def strip(tiles: np.ndarray, steps: list[int], scale: int) -> Image.Image:
    """One column a step, its step above; one row a noise.
    Columns are as wide as their steps need."""
    font = letters(max(12, tiles.shape[3] * scale // 5))
    captions = [f"{step:,}" for step in steps]
    tiles = enlarged(tiles.swapaxes(0, 1).reshape(-1, *tiles.shape[2:]), scale)
    room = max(0, int(max(map(font.getlength, captions))) + 8 - tiles.shape[2])
    tiles = np.pad(
        tiles, ((0, 0), (0, 0), (room // 2, room - room // 2), (0, 0)), constant_values=easel.GAP
    )
    sheet = easel.picture(easel.grid(tiles, len(steps), PAD))
    image = Image.new(sheet.mode, (sheet.width, sheet.height + line(font)), "white")
    image.paste(sheet, (0, line(font)))
    for number, caption in enumerate(captions):
        middle = PAD + number * (tiles.shape[2] + PAD) + tiles.shape[2] / 2
        ImageDraw.Draw(image).text((middle, line(font) // 2), caption, "black", font, "mm")
    return image


def enlarged(tiles: np.ndarray, scale: int) -> np.ndarray:
    """Tiles (N, H, W, C) with each pixel `scale` pixels wide."""
    return tiles.repeat(scale, axis=1).repeat(scale, axis=2)


def letters(size: int) -> ImageFont.FreeTypeFont:
    """A font of this size."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "which is what a size asks for"
    return font


def line(font: ImageFont.FreeTypeFont) -> int:
    """The height of a line of text."""
    return int(font.size * 1.6)
