"""Named tensors to files: PNG sheets, GIF, MP4, npz, csv and curves; apart from data/ the only
place that knows bytes.

Every file is written whole or not at all, and the same input gives the same bytes.
"""

import contextlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from io import BytesIO
from itertools import chain, pairwise
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from simulacra.core import files
from simulacra.core.errors import Mistake
from simulacra.io.origin import Times

GAP = 128  # the grey between the tiles of a sheet
CLOCK = {"step", "images", "seconds"}  # what the log counts by, rather than what it measures
LONG = 100  # points from which a curve gets a running mean
BOARD = 2**31  # bytes of a sheet's pixels
PANELS = 16  # curves, or plots of series, on one picture
PLOT = 72, 112, 3  # height, width and channels of the plot of one series
FINE = 4  # how many times larger it is drawn, for smooth lines
COLOURS = (
    "#1f77b4",
    "#ff7f0e",
    "#2ca02c",
    "#d62728",
    "#9467bd",
    "#8c564b",
    "#e377c2",
    "#7f7f7f",
    "#bcbd22",
    "#17becf",
)


def finite(values: Tensor) -> Tensor:
    """The values as float32 on the CPU; a Mistake if one is no number."""
    values = values.detach().float().cpu()
    if not torch.isfinite(values).all():
        raise Mistake(
            f"cannot paint {(~torch.isfinite(values)).sum()} values that are not finite numbers"
        )
    return values


def to_bytes(images: Tensor) -> np.ndarray:
    """Pictures (N, C, H, W) in [-1, 1] as (N, H, W, C) uint8, rounded, clipped at the ends."""
    images = finite(images)
    return (
        ((images + 1) * 127.5)
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        .permute(0, 2, 3, 1)
        .contiguous()
        .numpy()
    )


def visible(images: Tensor) -> Tensor:
    """Pictures (N, C, H, W) as they are for 1 or 3 channels;
    other channels side by side in grey, (N, 1, H, C*W)."""
    if images.ndim != 4 or 0 in images.shape:
        raise Mistake(
            f"cannot paint pictures of shape {tuple(images.shape)}; "
            "allowed: (N, C, H, W), none of them 0"
        )
    return images if images.shape[1] in (1, 3) else images.transpose(1, 2).flatten(2).unsqueeze(1)


def near_square(n: int, height: int, width: int) -> int:
    """How many columns make a sheet of n tiles about as wide as it is high."""
    return min(n, math.ceil(math.sqrt(n * height / width)))


def grid(tiles: np.ndarray, columns: int, pad: int) -> np.ndarray:
    """Tiles (N, H, W, C) in rows, `pad` grey pixels around each,
    (rows*(H+pad)+pad, columns*(W+pad)+pad, C)."""
    n, height, width, channels = tiles.shape
    rows = math.ceil(n / columns)
    board = np.full((rows * columns, height + pad, width + pad, channels), GAP, np.uint8)
    board[:n, pad:, pad:] = tiles
    board = board.reshape(rows, columns, *board.shape[1:]).swapaxes(1, 2)
    board = board.reshape(rows * (height + pad), columns * (width + pad), channels)
    return np.pad(board, ((0, pad), (0, pad), (0, 0)), constant_values=GAP)


def cut(board: np.ndarray, height: int, width: int, pad: int) -> np.ndarray:
    """The places (rows, columns, H, W, C) of a grid, with the grey ones at its end;
    of no grid, whatever is there."""
    rows, columns = (
        max(0, side - pad) // (tile + pad)
        for side, tile in zip(board.shape, (height, width), strict=False)
    )
    inner = board[pad:, pad:][: rows * (height + pad), : columns * (width + pad)]
    tiles = inner.reshape(rows, height + pad, columns, width + pad, board.shape[2]).swapaxes(1, 2)
    return tiles[:, :, :height, :width]


def sheet(images: Tensor, columns: int | None = None, pad: int = 2, scale: int = 1) -> Image.Image:
    """All pictures (N, C, H, W) on one, each pixel `scale` pixels wide;
    columns None makes it nearly square."""
    images = visible(images)
    for name, value, least in (("columns", columns, 1), ("pad", pad, 0), ("scale", scale, 1)):
        if value is not None and value < least:
            raise Mistake(f"a sheet's {name} is {value}; allowed: {least} and more")
    n, _, height, width = images.shape
    tiles = to_bytes(images).repeat(scale, axis=1).repeat(scale, axis=2)
    return picture(grid(tiles, columns or near_square(n, height, width), pad))


def picture(pixels: np.ndarray) -> Image.Image:
    """Bytes (H, W, C) as a grey or colour picture."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def write(path: Path, data: bytes | memoryview) -> Path:
    """The path, once the file is there; if it cannot be, nothing is left of it."""
    return filled(path, lambda file: file.write(data))


def filled(
    path: Path, fill: Callable[[Any], object], how: Callable[..., None] = files.write
) -> Path:
    """The same of a file whose content `fill` writes into the open binary file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        how(path, fill)
    except OSError as error:
        raise Mistake(f"cannot write {path}: {error.strerror or error}") from None
    return path


def write_all(folder: Path, suffix: str, count: int, contents: Iterable[bytes]) -> list[Path]:
    """The paths of `count` numbered files with these contents; if one cannot be written, none is
    left that was not there before. A Mistake if the folder has later numbers, of another and longer
    result, which would look like part of this one."""
    numbers = (
        path.stem for path in folder.glob(f"*{suffix}") if re.fullmatch(r"[0-9]{5,}", path.stem)
    )
    later = sorted(number for number in numbers if int(number) >= count)
    if later:
        raise Mistake(
            f"{folder} holds {len(later)} files of a longer result, as {later[0]}{suffix}, "
            f"and {count} are to be written; remove them or choose another folder"
        )
    paths, new = list[Path](), list[Path]()
    try:
        for number, content in enumerate(contents):
            path = folder / f"{number:05d}{suffix}"
            new += [] if path.exists() else [path]
            paths.append(filled(path, lambda file, data=content: file.write(data), files.put))  # type: ignore[misc]
        files.settle(folder)
    except BaseException:
        for path in new:
            with contextlib.suppress(OSError):  # what could not be made cannot be removed
                path.unlink(missing_ok=True)
        raise
    return paths


def png(image: Image.Image) -> bytes:
    """The picture as a PNG file's content."""
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def save_sheet(
    images: Tensor, path: Path, columns: int | None = None, pad: int = 2, scale: int = 1
) -> Path:
    """The path of a PNG with all pictures (N, C, H, W) on it."""
    return write(path, png(sheet(images, columns, pad, scale)))


def stream_sheet(parts: Iterable[Tensor], count: int, path: Path, pad: int = 2) -> Path:
    """The path of a PNG with `count` pictures that come in parts (n, C, H, W);
    nothing but the sheet is kept meanwhile."""
    board, columns, done = np.empty(0, np.uint8), 1, 0
    for part in parts:
        tiles = to_bytes(visible(part))
        _, height, width, channels = tiles.shape
        if not done:
            columns = near_square(count, height, width)
            shape = (
                math.ceil(count / columns) * (height + pad) + pad,
                columns * (width + pad) + pad,
                channels,
            )
            if math.prod(shape) > BOARD:
                raise Mistake(
                    f"a sheet of {count:,} pictures of {width}x{height} is too large; "
                    "write an .npz or a folder"
                )
            board = np.full(shape, GAP, np.uint8)
        for tile in tiles:
            top, left = done // columns * (height + pad) + pad, done % columns * (width + pad) + pad
            board[top : top + height, left : left + width] = tile
            done += 1
    return write(path, png(picture(board)))


def save_pngs(images: Tensor, folder: Path) -> list[Path]:
    """The paths of one PNG for each picture (N, C, H, W): 00000.png, 00001.png, ..."""
    return stream_pngs([images], len(images), folder)


def stream_pngs(parts: Iterable[Tensor], count: int, folder: Path) -> list[Path]:
    """The same of `count` pictures that come in parts (n, C, H, W)."""
    return write_all(
        folder,
        ".png",
        count,
        (png(picture(one)) for part in parts for one in to_bytes(visible(part))),
    )


def save_npz(samples: Tensor, path: Path) -> Path:
    """The path of an npz, as numpy.load reads it: pictures (N, C, H, W) under "images", (N, H, W,
    C) uint8; series (N, T, C) under "series" as they are, float32."""
    return stream_npz([samples], len(samples), path)


def stream_npz(parts: Iterable[Tensor], count: int, path: Path) -> Path:
    """The same of `count` samples that come in parts,
    each written before the next one is asked for."""

    def fill(out: Any) -> None:
        chunks = (
            ("series", finite(part).numpy()) if part.ndim == 3 else ("images", to_bytes(part))
            for part in parts
        )
        name, first = next(chunks)
        entry = ZipInfo(f"{name}.npy")  # numpy.savez would write the time of day into the file
        with ZipFile(out, "w") as archive, archive.open(entry, "w", force_zip64=True) as file:
            told = np.lib.format.header_data_from_array_1_0(first) | {
                "shape": (count, *first.shape[1:])
            }
            np.lib.format.write_array_header_1_0(file, told)
            for values in chain([first], (values for _, values in chunks)):
                file.write(np.ascontiguousarray(values).data.cast("B"))

    return filled(path, fill)


def plot(values: np.ndarray) -> Image.Image:
    """One series (T, C): time to the right, -1 to 1 upwards, a line a channel."""
    height, width, _ = PLOT
    margin, ground = 3 * FINE, (height * FINE, width * FINE)
    image = Image.new("RGB", ground[::-1], "white")
    pen = ImageDraw.Draw(image)
    across = np.linspace(margin, ground[1] - margin, len(values))
    down = ground[0] / 2 - values.clip(-2, 2) * (ground[0] / 2 - margin)
    pen.line([(0, ground[0] / 2), (ground[1], ground[0] / 2)], "#cccccc", FINE)
    for number, line in enumerate(down.T):
        pen.line(
            list(zip(across.tolist(), line.tolist(), strict=True)),
            COLOURS[number % len(COLOURS)],
            FINE + 2,
            "curve",
        )
    return image.reduce(FINE)


def plots(series: Tensor) -> np.ndarray:
    """The first sixteen of the series (N, T, C) as plots (n, *PLOT) uint8;
    values beyond -1 and 1 leave the plot."""
    if series.ndim != 3 or 0 in series.shape:
        raise Mistake(
            f"cannot plot series of shape {tuple(series.shape)}; allowed: (N, T, C), none of them 0"
        )
    return np.stack([np.asarray(plot(one)) for one in finite(series[:PANELS]).numpy()])


def save_plots(series: Tensor, path: Path, pad: int = 2) -> Path:
    """The path of a PNG with plots of at most sixteen series (N, T, C)."""
    tiles = plots(series)
    return write(path, png(picture(grid(tiles, math.ceil(math.sqrt(len(tiles))), pad))))


def save_csvs(series: Tensor, folder: Path) -> list[Path]:
    """The paths of one .csv for each series (N, T, C), a row a step, a column a channel:
    00000.csv, 00001.csv, ..."""
    return stream_csvs([series], len(series), folder)


def stream_csvs(parts: Iterable[Tensor], count: int, folder: Path) -> list[Path]:
    """The same of `count` series that come in parts (n, T, C)."""

    def text(one: np.ndarray) -> str:
        header = ",".join(f"channel_{number}" for number in range(one.shape[1]))
        return "\n".join([header, *(",".join(map(str, row)) for row in one), ""])

    return write_all(
        folder,
        ".csv",
        count,
        (text(one).encode() for part in parts for one in finite(part).numpy()),
    )


def hundredths(times: Times) -> list[int]:
    """Milliseconds that each frame of a GIF lasts at these times: whole hundredths of a second, two
    and more, without drift."""
    ends = [round(100 * start * times.tick) for start in times.starts]
    return [10 * max(2, end - start) for start, end in pairwise(ends)]


def gif(images: Iterable[Image.Image], fps: float, times: Times | None = None) -> bytes:
    """An endless animation, 256 colours a frame, at a rate or at times;
    a GIF keeps time in hundredths of a second and not under two."""
    if not 0 < fps <= 50:
        raise Mistake(f"a GIF of {fps} frames per second; allowed: above 0, up to 50")
    first, *others = (
        image if image.mode == "L" else image.quantize(dither=Image.Dither.NONE) for image in images
    )
    buffer = BytesIO()
    first.save(
        buffer,
        "GIF",
        save_all=True,
        append_images=others,
        duration=hundredths(times) if times else 10 * round(100 / fps),
        loop=0,
    )
    return buffer.getvalue()


def save_gif(frames: Iterable[Tensor], path: Path, fps: float, times: Times | None = None) -> Path:
    """The path of a GIF that shows the frames, (C, H, W) each, at a rate or at times."""
    return write(path, gif((picture(to_bytes(visible(f[None]))[0]) for f in frames), fps, times))


def even(pixels: np.ndarray) -> np.ndarray:
    """Frames (T, H, W, C) as colour of even height and width,
    the last row or column repeated where it must be."""
    _, height, width, channels = pixels.shape
    wide = np.pad(pixels, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return wide.repeat(3, axis=3) if channels == 1 else wide


# with its macroblock tree some widths give other bytes from call to call
X264 = {"crf": "18", "x264-params": "mbtree=0"}


def mp4(pixels: Iterable[np.ndarray], fps: float, times: Times | None = None) -> bytes:
    """Frames (H, W, 3) uint8, all of one even size, as H.264, which every browser plays, at a rate
    or at times; one thread, so that the bytes depend on nothing else."""
    import av  # a tenth of a second that most runs need not pay

    if not 0 < fps <= 1000:
        raise Mistake(f"an MP4 of {fps} frames per second; allowed: above 0, up to 1000")
    pixels, buffer = iter(pixels), BytesIO()
    first = next(pixels)
    with av.open(buffer, "w", format="mp4") as video:
        stream = video.add_stream(
            "libx264", rate=Fraction(fps).limit_denominator(1001), options=X264
        )
        stream.height, stream.width, stream.pix_fmt = first.shape[0], first.shape[1], "yuv420p"
        stream.codec_context.thread_count = 1
        if times is not None:
            stream.codec_context.time_base = times.tick
        for i, frame in enumerate(chain([first], pixels)):
            # reformatted here, since the encoder's own conversion gives other bytes from call to
            # call
            shown = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
            if times is not None:
                shown.pts, shown.time_base = times.starts[i], times.tick
            video.mux(timed(stream.encode(shown), times))
        video.mux(timed(stream.encode(), times))
    return buffer.getvalue()


def timed(packets: list[Any], times: Times | None) -> list[Any]:
    """Encoded frames that say how long they last, where they have times."""
    for packet in packets if times else ():
        packet.duration = times.lasts(packet.pts)  # type: ignore[union-attr]
    return packets


def save_mp4(frames: Iterable[Tensor], path: Path, fps: float, times: Times | None = None) -> Path:
    """The path of an MP4 that shows the frames, (C, H, W) each, at a rate or at times;
    odd heights and widths grow by one pixel."""
    pixels = (even(to_bytes(visible(one[None])))[0] for one in frames)
    return write(path, mp4(pixels, fps, times))


def save_film(
    clips: Tensor, path: Path, fps: float, columns: int | None = None, scale: int = 1
) -> Path:
    """The path of a GIF or, if it ends so,
    an MP4 in which all clips (N, T, C, H, W) play side by side."""
    boards = (sheet(frames, columns, scale=scale) for frames in clips.unbind(1))
    if path.suffix == ".mp4":
        return write(
            path, mp4((even(np.asarray(board.convert("RGB"))[None])[0] for board in boards), fps)
        )
    return write(path, gif(boards, fps))


def save_table(table: Tensor, path: Path, fps: float = 2, scale: int = 1) -> Path:
    """The path of a sheet with these rows and columns of clips (R, K, T, C, H, W):
    a PNG if T is 1, else a GIF."""
    columns, frames = table.shape[1], table.flatten(0, 1).unbind(1)
    if len(frames) == 1:
        return save_sheet(frames[0], path.with_suffix(".png"), columns, scale=scale)
    return write(
        path.with_suffix(".gif"), gif([sheet(frame, columns, scale=scale) for frame in frames], fps)
    )


def pictures(named: Mapping[str, Tensor], folder: Path, fps: float = 8) -> list[Path]:
    """One sheet for every tensor that can be looked at: NAME.png for pictures (N, C, H, W) and
    series (N, T, C), NAME.gif for (N, T, C, H, W), either for a table (R, K, T, C, H, W); what has
    other axes is numbers, for measure."""
    paths = []
    for name, value in named.items():
        if value.ndim == 3:
            paths.append(save_plots(value, folder / f"{name}.png"))
        elif value.ndim == 4:
            paths.append(save_sheet(value, folder / f"{name}.png"))
        elif value.ndim == 5:
            paths.append(save_film(value, folder / f"{name}.gif", fps))
        elif value.ndim == 6:
            paths.append(save_table(value, folder / name))
    return paths


def series(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    """Steps and values of every scalar in the rows,
    in the order in which the scalars first appear."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        for key, value in row.items():
            if key not in CLOCK and isinstance(value, int | float) and math.isfinite(value):
                steps, values = found.setdefault(key, ([], []))
                steps.append(row["step"])
                values.append(value)
    return found


def smooth(values: Sequence[float], span: int) -> np.ndarray:
    """The mean of each value and up to `span` around it, less at the ends, (len(values),)."""
    window = np.ones(span)
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def panel(axes: Any, title: str, steps: Sequence[float], values: Sequence[float]) -> None:
    """Draw one scalar: long series pale, with their running mean on top; short ones as they are."""
    long = len(values) > LONG
    axes.plot(
        steps,
        values,
        color="tab:blue",
        linewidth=0.8,
        alpha=0.3 if long else 1,
        marker="." * (len(values) == 1),
    )
    if long:
        axes.plot(steps, smooth(values, len(values) // 25 | 1), color="tab:blue", linewidth=1.4)
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def curves(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """The path of a PNG with a small panel over the step
    for each of the first sixteen scalars in the log's rows."""
    from matplotlib.figure import Figure  # half a second that most runs need not pay

    found = series(rows)
    if not found:
        raise Mistake(f"no scalars to draw in {len(rows)} rows of the log")
    shown, hidden = list(found)[:PANELS], list(found)[PANELS:]
    columns = math.ceil(math.sqrt(len(shown)))
    lines = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(3.2 * columns, 2.2 * lines), layout="constrained")
    for number, key in enumerate(shown, start=1):
        panel(figure.add_subplot(lines, columns, number), key, *found[key])
    figure.supxlabel("step" + f"   (not shown: {', '.join(hidden)})" * bool(hidden), fontsize=8)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return write(path, buffer.getvalue())
