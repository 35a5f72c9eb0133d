"""Paint: what is written is what was there, whole or not at all, and twice the same."""

import io
import os
import tempfile
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from simulacra.core.errors import Mistake
from simulacra.io import paint


def noise(*shape: int) -> torch.Tensor:
    """Pictures in [-1, 1] whose values are bytes exactly."""
    values = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0))
    return values / 127.5 - 1


def clip() -> torch.Tensor:
    """Nine frames (T, 3, 33, 45) of a square that moves over a slope."""
    frames = torch.linspace(-0.8, 0.8, 45).expand(9, 3, 33, 45).clone()
    for t in range(9):
        frames[t, 0, 5:15, 3 * t : 3 * t + 10] = 1
    return frames


def written(path: Path) -> np.ndarray:
    """A picture's pixels."""
    return np.asarray(Image.open(path))


def rows(n: int, *names: str) -> list[dict[str, float]]:
    """A log of n rows."""
    return [
        {
            "step": k,
            "images": 64 * k,
            **{name: float(np.sin(k + i)) for i, name in enumerate(names)},
        }
        for k in range(n)
    ]


def left(folder: Path) -> list[str]:
    """The names of everything in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_all_bytes_come_back():
    values = torch.arange(256).reshape(1, 1, 16, 16)
    assert (paint.to_bytes(values / 127.5 - 1).ravel() == np.arange(256)).all()


def test_bytes_are_clipped_and_rounded():
    found = paint.to_bytes(
        torch.tensor([-9.0, -1.0, 0.5 / 127.5 - 1 + 1e-4, 0.4 / 127.5 - 1, 1.0, 9.0]).reshape(
            1, 6, 1, 1
        )
    )
    assert found.dtype == np.uint8 and found.ravel().tolist() == [0, 0, 1, 0, 255, 255]


def test_nan_is_not_painted():
    with pytest.raises(Mistake, match="cannot paint 1 values that are not finite"):
        paint.to_bytes(torch.tensor([0.0, float("nan")]).reshape(1, 1, 1, 2))


def test_gradients_half_precision_and_strides_are_no_obstacle():
    images = noise(2, 3, 4, 5)
    same = images.clone().requires_grad_().to(memory_format=torch.channels_last)
    assert (paint.to_bytes(images) == paint.to_bytes(same)).all()
    assert paint.to_bytes(images.bfloat16()).shape == (2, 4, 5, 3)


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 30),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    columns=st.none() | st.integers(1, 40),
    pad=st.integers(0, 3),
    scale=st.integers(1, 3),
)
def test_every_tile_is_where_it_belongs(n, channels, height, width, columns, pad, scale):
    images = noise(n, channels, height, width)
    found = np.asarray(paint.sheet(images, columns, pad, scale))
    found = found.reshape(*found.shape[:2], channels)
    across = columns or paint.near_square(n, height, width)
    high, wide = height * scale + pad, width * scale + pad
    assert found.shape[:2] == (-(-n // across) * high + pad, across * wide + pad)
    covered = np.zeros(found.shape[:2], bool)
    for i, tile in enumerate(paint.to_bytes(images)):
        top, start = i // across * high + pad, i % across * wide + pad
        place = np.s_[top : top + height * scale, start : start + width * scale]
        assert (found[place][::scale, ::scale] == tile).all()
        covered[place] = True
    assert (found[~covered] == paint.GAP).all()


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 99), st.integers(1, 99))
def test_no_row_of_a_sheet_is_empty_and_no_column_either(n, height, width):
    columns = paint.near_square(n, height, width)
    assert 1 <= columns <= n


def test_square_numbers_make_squares():
    assert paint.sheet(noise(49, 1, 5, 5), pad=0).size == (35, 35)
    assert paint.sheet(noise(4, 1, 5, 20), pad=0).size == (20, 20)


def test_other_channels_lie_side_by_side():
    images = noise(2, 4, 6, 5)
    found = np.asarray(paint.sheet(images, columns=1, pad=0))
    assert found.shape == (12, 20)
    assert (found[6:, 5:10] == paint.to_bytes(images)[1, :, :, 1]).all()


@pytest.mark.parametrize("shape", [(3, 8, 8), (0, 1, 8, 8), (2, 0, 8, 8), (1, 2, 3, 4, 5)])
def test_what_is_no_picture(shape):
    with pytest.raises(Mistake, match=r"cannot paint pictures of shape .*allowed: \(N, C, H, W\)"):
        paint.sheet(torch.zeros(shape))


@pytest.mark.parametrize(("name", "least"), [("columns", 1), ("pad", 0), ("scale", 1)])
def test_sheet_refuses(name, least):
    with pytest.raises(Mistake, match=f"sheet's {name} is {least - 1}; allowed: {least} and more"):
        paint.sheet(noise(1, 1, 2, 2), **{name: least - 1})


def test_pngs(tmp_path):
    images = noise(3, 3, 4, 5)
    paths = paint.save_pngs(images, tmp_path / "new" / "folder")
    assert (
        [path.name for path in paths]
        == ["00000.png", "00001.png", "00002.png"]
        == left(tmp_path / "new" / "folder")
    )
    assert all(
        (written(path) == one).all()
        for path, one in zip(paths, paint.to_bytes(images), strict=True)
    )


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_npz(tmp_path, channels):
    images = noise(3, channels, 4, 5)
    with np.load(paint.save_npz(images, tmp_path / "images.npz"), allow_pickle=False) as found:
        assert found.files == ["images"] and found["images"].dtype == np.uint8
        assert (found["images"] == paint.to_bytes(images)).all()


def test_gif_of_grey_is_exact(tmp_path):
    frames = noise(5, 1, 7, 9)
    with Image.open(paint.save_gif(frames, tmp_path / "a.gif", fps=10)) as found:
        assert found.n_frames == 5 and found.info["duration"] == 100 and found.info["loop"] == 0
        for t, frame in enumerate(paint.to_bytes(frames)):
            found.seek(t)
            assert (np.asarray(found.convert("L")) == frame[:, :, 0]).all()


def test_gif_of_colour_is_close(tmp_path):
    frames = clip()
    with Image.open(paint.save_gif(frames, tmp_path / "a.gif", fps=50)) as found:
        found.seek(4)
        difference = np.asarray(found.convert("RGB")).astype(int) - paint.to_bytes(frames)[4]
    assert np.abs(difference).max() <= 8 and found.info["duration"] == 20


@pytest.mark.parametrize(("height", "width", "channels"), [(33, 45, 3), (8, 9, 1), (32, 32, 3)])
def test_mp4(tmp_path, height, width, channels):
    frames = clip()[:, :channels, :height, :width]
    with av.open(str(paint.save_mp4(frames, tmp_path / "a.mp4", fps=29.97))) as video:
        assert float(video.streams.video[0].average_rate) == pytest.approx(29.97, abs=0.01)
        found = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
    assert found.shape == (9, height + height % 2, width + width % 2, 3)
    assert np.abs(found[:, :height, :width].astype(int) - paint.to_bytes(frames)).mean() < 8


@pytest.mark.parametrize("fps", [0, -1, 51])
def test_gif_speed(tmp_path, fps):
    with pytest.raises(
        Mistake, match=f"GIF of {fps} frames per second; allowed: above 0, up to 50"
    ):
        paint.save_gif(clip(), tmp_path / "a.gif", fps)
    assert left(tmp_path) == []


def test_mp4_is_the_same_from_call_to_call():
    """Of a width at which the encoder's macroblock tree gave three files
    and more in thirty calls."""
    dice = np.random.default_rng(0)
    frames = dice.integers(0, 255, (5, 66, 130, 3)).astype(np.uint8)
    made = set()
    for _ in range(30):
        _between = [
            dice.integers(0, 255, dice.integers(1000, 400000)).astype(np.uint8) for _ in range(20)
        ]  # memory in use moves
        made.add(paint.mp4(iter(frames), 5))
    assert len(made) == 1


def test_mp4_speed(tmp_path):
    with pytest.raises(Mistake, match="MP4 of 0 frames per second"):
        paint.save_mp4(clip(), tmp_path / "a.mp4", 0)


def test_pictures(tmp_path):
    named = {
        "samples": noise(4, 1, 6, 6),
        "clips": noise(2, 3, 1, 6, 6),
        "codes": torch.zeros(4, 2),
    }
    paths = paint.pictures(named, tmp_path / "000100")
    assert (
        left(tmp_path / "000100")
        == ["clips.gif", "samples.png"]
        == sorted(path.name for path in paths)
    )
    assert (
        written(tmp_path / "000100" / "samples.png") == np.asarray(paint.sheet(named["samples"]))
    ).all()
    with Image.open(tmp_path / "000100" / "clips.gif") as film:
        film.seek(2)
        assert (
            np.asarray(film.convert("L")) == np.asarray(paint.sheet(named["clips"][:, 2]))
        ).all()


def test_curves(tmp_path):
    path = paint.curves(rows(300, *(f"loss/{i}" for i in range(20))), tmp_path / "curves.png")
    assert written(path).shape[0] > 500
    small = paint.curves([{"step": 0, "loss": 1.0}], tmp_path / "one.png")
    assert written(small).shape[0] < 400


def test_series_takes_numbers_only():
    log = [
        {"step": 0, "images": 0, "a": 1.0, "b": float("nan")},
        {"step": 5, "images": 9, "seconds": 3, "a": 2, "c": "x"},
    ]
    assert paint.series(log) == {"a": ([0, 5], [1.0, 2])}


def test_smooth_keeps_a_constant_and_averages_the_middle():
    assert paint.smooth([3.0] * 9, 5) == pytest.approx(np.full(9, 3.0))
    assert paint.smooth([0, 0, 3, 0, 0], 3) == pytest.approx([0, 1, 1, 1, 0])


@pytest.mark.parametrize("log", [[], [{"step": 0, "images": 64}]])
def test_curves_of_nothing(tmp_path, log):
    with pytest.raises(Mistake, match=f"no scalars to draw in {len(log)} rows"):
        paint.curves(log, tmp_path / "curves.png")


WRITERS = {
    "sheet.png": lambda path: paint.save_sheet(noise(5, 3, 8, 8), path),
    "images.npz": lambda path: paint.save_npz(noise(5, 3, 8, 8), path),
    "film.gif": lambda path: paint.save_gif(clip(), path, 8),
    "film.mp4": lambda path: paint.save_mp4(clip(), path, 8),
    "curves.png": lambda path: paint.curves(rows(5, "loss"), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_input_gives_the_same_bytes(tmp_path, name, monkeypatch):
    first = WRITERS[name](tmp_path / name).read_bytes()
    junk = [np.full(size, 170, np.uint8) for size in range(500, 60000, 500)]
    del junk
    monkeypatch.setattr("time.time", lambda: 1e9)
    assert WRITERS[name](tmp_path / "again" / name).read_bytes() == first
    assert left(tmp_path) == sorted(["again", name])


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_nothing(tmp_path, name, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Mistake, match=f"cannot write .*{name}: No space left on device"):
        WRITERS[name](tmp_path / name)
    assert left(tmp_path) == []


def test_a_failure_keeps_the_former_file(tmp_path, monkeypatch):
    path = paint.save_sheet(noise(1, 1, 2, 2), tmp_path / "a.png")
    before = path.read_bytes()

    def fails(part: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(Mistake, match="Permission denied"):
        paint.save_sheet(noise(9, 1, 2, 2), path)
    assert path.read_bytes() == before and left(tmp_path) == ["a.png"]


def test_pngs_that_end_halfway_leave_nothing(tmp_path, monkeypatch):
    real = tempfile.mkstemp

    def third_fails(suffix: str, prefix: str, folder: Path) -> tuple[int, str]:
        if "00002" in prefix:
            raise OSError(28, "No space left on device")
        return real(suffix, prefix, folder)

    (tmp_path / "00001.png").write_text("there before")
    monkeypatch.setattr(tempfile, "mkstemp", third_fails)
    with pytest.raises(Mistake, match=r"00002\.png: No space left"):
        paint.save_pngs(noise(4, 1, 2, 2), tmp_path)
    assert left(tmp_path) == ["00001.png"]


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written_is_on_the_disk_before_it_is_there(tmp_path, name, monkeypatch):
    """First the content, under another name, then its place, then the folder;
    and nobody else's name is used."""
    done: list[str] = []
    for other in (f".{name}.part", f"{name}.part", f"{name}.partial"):
        (tmp_path / other).write_text("mine")
    sync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        done.append("folder" if os.path.isdir(handle) else "file")  # noqa: PTH112
        sync(handle)

    def replaced(path: Path, target: Path) -> Path:
        done.append(Path(target).name)
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    WRITERS[name](tmp_path / name)
    assert done == ["file", name, "folder"]
    assert (
        all((tmp_path / other).read_text() == "mine" for other in left(tmp_path) if other != name)
        and len(left(tmp_path)) == 4
    )


@pytest.mark.parametrize("sizes", [(7,), (3, 3, 1), (1,) * 7])
def test_what_comes_in_parts_is_written_as_if_it_came_at_once(tmp_path, sizes):
    images, series = noise(7, 3, 5, 4), noise(7, 6, 2)
    assert paint.stream_sheet(images.split(sizes), 7, tmp_path / "a.png") and paint.save_sheet(
        images, tmp_path / "b.png"
    )
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    for what, name in (images, "images"), (series, "series"):
        paint.stream_npz(what.split(sizes), 7, tmp_path / "a.npz")
        with np.load(tmp_path / "a.npz") as found:
            whole = what.numpy() if name == "series" else paint.to_bytes(what)
            assert (
                found.files == [name]
                and found[name].dtype == whole.dtype
                and np.array_equal(found[name], whole)
            )
        buffer = io.BytesIO()
        with (
            zipfile.ZipFile(buffer, "w") as archive,
            archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file,
        ):
            np.lib.format.write_array(file, whole, allow_pickle=False)
        assert (tmp_path / "a.npz").read_bytes() == buffer.getvalue(), (
            "the bytes that numpy writes at once"
        )
    assert (
        len(paint.stream_pngs(images.split(sizes), 7, tmp_path / "one"))
        == len(paint.save_pngs(images, tmp_path / "two"))
        == 7
    )
    assert (
        len(paint.stream_csvs(series.split(sizes), 7, tmp_path / "one"))
        == len(paint.save_csvs(series, tmp_path / "two"))
        == 7
    )
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_sheet_that_no_memory_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(paint, "BOARD", 1000)
    with pytest.raises(
        Mistake, match=r"a sheet of 700 pictures of 4x5 is too large; write an \.npz or a folder"
    ):
        paint.stream_sheet(iter([noise(7, 3, 5, 4)]), 700, tmp_path / "a.png")


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Mistake, match=r"cannot write .*file/a\.png: "):
        paint.save_sheet(noise(1, 1, 2, 2), tmp_path / "file" / "a.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_where_writing_is_forbidden(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(Mistake, match="Permission denied"):
        paint.save_sheet(noise(1, 1, 2, 2), tmp_path / "a.png")


def test_a_shorter_result_is_not_laid_among_a_longer_one(tmp_path):
    paint.save_pngs(noise(12, 1, 8, 8), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(
        Mistake, match=r"holds 2 files of a longer result, as 00010\.png, and 10 are to be written"
    ):
        paint.save_pngs(noise(10, 1, 8, 8), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    paint.save_csvs(torch.zeros(3, 4, 1), tmp_path)  # other files are in nobody's way
    assert len(paint.save_pngs(noise(12, 1, 8, 8), tmp_path)) == 12
