"""Evolve: the tiles are those of the painted sheets, bit for bit,
and each stands under its own step."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from simulacra.core.errors import Mistake
from simulacra.io import paint
from simulacra.tasks import evolve

SHAPES = [(1, 6, 4), (3, 5, 7), (2, 4, 4), (1, 4, 60), (3, 28, 28)]


def samples(step: int, *shape: int) -> torch.Tensor:
    """A step's pictures, whose values are bytes exactly."""
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(step)) / 127.5 - 1


def made(
    folder: Path, steps: list[int], count: int = 64, shape: tuple[int, ...] = (1, 28, 28)
) -> Path:
    """A run folder of which all is left that evolve needs."""
    for step in steps:
        paint.pictures(
            {"samples": samples(step, count, *shape)}, folder / "pictures" / f"{step:08d}"
        )
    (folder / "config.json").write_text("{}")
    (folder / "shapes.json").write_text(
        json.dumps({"image": [shape, "float32"], "label": [[], "int64"]})
    )
    return folder


def tiles(step: int, count: int, shape: tuple[int, ...], scale: int) -> np.ndarray:
    """A step's pictures as bytes (N, H, W, C), enlarged."""
    found = paint.to_bytes(paint.visible(samples(step, count, *shape)))
    return np.kron(found, np.ones((1, scale, scale, 1), np.uint8))


def written(path: Path) -> np.ndarray:
    """A picture's bytes, (H, W, C)."""
    found = np.asarray(Image.open(path))
    return found.reshape(*found.shape[:2], -1)


def film(path: Path) -> list[np.ndarray]:
    """The frames (H, W, 3) of a GIF or an MP4."""
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


@pytest.fixture
def folder(tmp_path):
    """Twenty painted steps of grey digits."""
    (tmp_path / "run").mkdir()
    return made(tmp_path / "run", list(range(100, 2001, 100)))


# What is shown


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("count", [1, 5, 64])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_strip_shows_each_noise_at_each_step(tmp_path, shape, count, scale):
    steps = [9, 100, 2000]
    assert (
        evolve.evolve(made(tmp_path, steps, count, shape), tmp_path / "a.png", rows=4, scale=scale)
        == steps
    )
    board = written(tmp_path / "a.png")
    rows, (_, height, width, channels) = min(4, count), tiles(9, count, shape, scale).shape
    top, pitch = board.shape[0] - rows * (height + 2) - 2, (board.shape[1] - 2) // 3
    assert board.shape[2] == channels and pitch >= width + 2 and top >= 12
    assert (board[:top] < 255).any() and (board[top : top + 2] == paint.GAP).all()
    for column, step in enumerate(steps):
        left = 2 + column * pitch + (pitch - 2 - width) // 2
        for row in range(rows):
            y = top + 2 + row * (height + 2)
            there = board[y : y + height, left : left + width]
            assert (there == tiles(step, count, shape, scale)[row]).all(), (step, row)


def test_a_strip_chooses_evenly_with_both_ends(folder, tmp_path):
    def chosen(columns: int) -> list[int]:
        return evolve.evolve(folder, tmp_path / "a.png", columns=columns)

    assert chosen(1) == [2000] and chosen(2) == [100, 2000]
    assert chosen(20) == chosen(99) == list(range(100, 2001, 100))
    for columns in range(3, 20):
        steps = chosen(columns)
        assert len(steps) == columns and steps[0] == 100 and steps[-1] == 2000
        assert max(np.diff(steps)) - min(np.diff(steps)) <= 100
    assert len(evolve.evolve(folder, tmp_path / "a.png")) == 12


def test_steps_stand_in_the_order_of_their_numbers(tmp_path):
    folder = made(tmp_path, [5, 7])
    (folder / "pictures" / "00000005").rename(folder / "pictures" / "123456789")
    (folder / "pictures" / "notes").mkdir()
    (folder / "pictures" / "notes" / "samples.png").write_bytes(b"")
    assert evolve.evolve(folder, tmp_path / "a.gif") == [7, 123456789]


@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 4, 4), (1, 16, 40)])
def test_a_grey_gif_shows_the_sheets_exactly(tmp_path, shape):
    steps = [9, 100, 2000]
    assert (
        evolve.evolve(made(tmp_path, steps, 47, shape), tmp_path / "a.gif", fps=10, scale=2)
        == steps
    )
    found = film(tmp_path / "a.gif")
    assert len(found) == 3
    height, width = shape[1], shape[2] * (1 if shape[0] == 1 else shape[0])
    for frame, step in zip(found, steps, strict=True):
        sheet = paint.sheet(
            samples(step, 47, *shape), paint.near_square(47, height, width), scale=2
        )
        assert (frame[: sheet.height, : sheet.width] == np.asarray(sheet.convert("RGB"))).all()
        assert frame.shape[0] >= sheet.height + 16 and (frame[sheet.height :] < 100).any(), (
            "its step is beneath"
        )
    assert not (found[0][sheet.height :] == found[1][sheet.height :]).all()


def test_a_colour_gif_is_close(tmp_path):
    made(tmp_path, [1, 2], 4, (3, 5, 7))
    for step in 1, 2:
        slope = torch.linspace(-1, 1, 35).reshape(1, 1, 5, 7).expand(4, 3, 5, 7) * (step - 1.5)
        paint.save_sheet(slope, tmp_path / "pictures" / f"{step:08d}" / "samples.png")
    evolve.evolve(tmp_path, tmp_path / "a.gif", scale=1)
    found = film(tmp_path / "a.gif")
    assert len(found) == 2
    for frame, step in zip(found, [1, 2], strict=True):
        sheet = written(tmp_path / "pictures" / f"{step:08d}" / "samples.png")
        assert np.abs(frame[: sheet.shape[0], : sheet.shape[1]].astype(int) - sheet).max() <= 16


def test_the_last_frame_stays(folder, tmp_path):
    evolve.evolve(folder, tmp_path / "a.gif", fps=5)
    with Image.open(tmp_path / "a.gif") as image:
        durations = [image.info["duration"] for t in range(image.n_frames) if not image.seek(t)]
    assert durations == [200] * 19 + [2000]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 5, 7)])
def test_an_mp4_shows_the_sheets(tmp_path, shape):
    assert evolve.evolve(
        made(tmp_path, [9, 100, 2000], 64, shape), tmp_path / "a.mp4", fps=4, scale=4
    ) == [9, 100, 2000]
    with av.open(str(tmp_path / "a.mp4")) as video:
        assert video.streams.video[0].average_rate == 4
    found = film(tmp_path / "a.mp4")
    assert len(found) == 2 + 8, "the last stays for two seconds"
    for frame, step in zip(found, [9, 100, 2000], strict=False):
        sheet = np.asarray(paint.sheet(samples(step, 64, *shape), scale=4).convert("RGB"))
        assert np.abs(frame[: sheet.shape[0], : sheet.shape[1]].astype(int) - sheet).mean() < (
            8 if shape[0] == 1 else 40
        )


@pytest.mark.parametrize("suffix", evolve.SUFFIXES)
def test_one_step_is_enough(tmp_path, suffix):
    assert evolve.evolve(made(tmp_path, [7]), tmp_path / f"a{suffix}") == [7]
    assert (tmp_path / f"a{suffix}").stat().st_size > 0


@pytest.mark.parametrize("suffix", evolve.SUFFIXES)
def test_twice_the_same_bytes(folder, tmp_path, suffix):
    for name in "a", "b":
        evolve.evolve(folder, tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_places_without_a_picture_are_left_out(tmp_path):
    """Of a sheet of 47 in 7 columns two places are empty;
    a picture as grey as the gaps at one step only is none of them."""
    grey = samples(5, 47, 1, 28, 28)
    grey[46] = paint.GAP / 127.5 - 1
    made(tmp_path, [6, 7], 47)
    paint.save_sheet(grey, tmp_path / "pictures" / "00000005" / "samples.png")
    sheets = list(evolve.painted(tmp_path).values())
    assert evolve.filled(np.stack(evolve.opened(sheets, 28, 28, 1))).shape[:2] == (3, 47)
    assert evolve.filled(np.stack(evolve.opened(sheets[:1], 28, 28, 1))).shape[:2] == (1, 46)


# The command


def test_every_model_evolves(trained, simulacra, tmp_path, monkeypatch):
    """From a run that has neither checkpoints nor data."""
    monkeypatch.delenv("SIMULACRA_DATA", raising=False)
    for suffix in evolve.SUFFIXES:
        path = tmp_path / "new folder" / f"evolution [1]{suffix}"
        said = simulacra(
            "evolve", trained, "-o", path, "--rows", 3, "--columns", 5, "--fps", 8, "--scale", 1
        ).success()
        assert said == f"2 steps, 10 to 20, in {path}\n" and path.exists()


def test_pruned_checkpoints_are_not_missed(own, simulacra, tmp_path):
    for path in (own / "checkpoints").iterdir():
        path.unlink()
    assert "2 steps, 10 to 20, in" in simulacra("evolve", own, "-o", tmp_path / "a.png").success()
    (own / "pictures" / "00000020" / "samples.png").unlink()
    assert (
        simulacra("evolve", own, "-o", tmp_path / "a.png").success()
        == f"step 10 in {tmp_path / 'a.png'}\n"
    )


# Mistakes


@pytest.mark.parametrize(
    ("target", "options", "says"),
    [
        ("a.avi", {}, "cannot write an evolution as '.avi'; give a .gif, a .mp4 or a .png"),
        ("folder", {}, "cannot write an evolution as ''"),
        ("a.png", {"rows": 0}, "an evolution's rows is 0; allowed: 1 and more"),
        ("a.png", {"columns": -1}, "an evolution's columns is -1; allowed: 1 and more"),
        ("a.gif", {"fps": 0}, "an evolution's fps is 0; allowed: 1 to 50"),
        ("a.mp4", {"fps": 51}, "an evolution's fps is 51; allowed: 1 to 50"),
        ("a.gif", {"scale": 0}, "an evolution's scale is 0; allowed: 1 to 16"),
        ("a.gif", {"scale": 17}, "an evolution's scale is 17; allowed: 1 to 16"),
        ("config.json/a.png", {}, "cannot write .*config.json/a.png"),
        ("pictures/00000005/samples.png/a.gif", {}, "cannot write .*a.gif"),
    ],
)
def test_mistakes(tmp_path, target, options, says):
    folder = made(tmp_path, [5])
    before = sorted(folder.rglob("*"))
    with pytest.raises(Mistake, match=says):
        evolve.evolve(folder, folder / target, **options)
    assert sorted(folder.rglob("*")) == before


def broken(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def another_shape(path: Path) -> None:
    paint.save_sheet(samples(0, 64, 1, 27, 28), path)


def more_pictures(path: Path) -> None:
    paint.save_sheet(samples(0, 99, 1, 28, 28), path)


def in_colour(path: Path) -> None:
    Image.open(path).convert("RGB").save(path)


def scribbled(path: Path) -> None:
    image = Image.open(path)
    image.putpixel((0, 0), 5)
    image.save(path)


def tiny(path: Path) -> None:
    Image.new("L", (1, 1)).save(path)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (broken, "cannot read {}"),
        (lambda path: path.write_bytes(path.read_bytes()[:400]), "cannot read {}"),
        (lambda path: path.write_bytes(b""), "cannot read {}"),
        (lambda path: Image.new("L", (242, 242)).save(path, "GIF"), "cannot read {}"),
        (another_shape, r"{} is no sheet of this run's pictures (1 x 28 x 28)"),
        (in_colour, "{} is no sheet of this run's pictures"),
        (scribbled, "{} is no sheet of this run's pictures"),
        (tiny, "{} is no sheet of this run's pictures"),
        (more_pictures, "{} holds another number of pictures than"),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_spoiled_sheets_are_named(tmp_path, simulacra, spoil, says, suffix):
    folder = made(tmp_path, [5, 6, 7])
    sheet = folder / "pictures" / "00000006" / "samples.png"
    spoil(sheet)
    assert (
        says.format(sheet) in simulacra("evolve", folder, "-o", tmp_path / f"a{suffix}").refusal()
    )
    assert not (tmp_path / f"a{suffix}").exists()


def test_folders_without_pictures(tmp_path, simulacra):
    words = "evolve", tmp_path / "run", "-o", tmp_path / "a.png"
    assert f"no run folder {tmp_path / 'run'}" in simulacra(*words).refusal()
    (tmp_path / "run").mkdir()
    assert "is no run folder: it has no config.json" in simulacra(*words).refusal()
    made(tmp_path / "run", [])
    assert "run has no pictures yet; train or paint it first" in simulacra(*words).refusal()
    paint.pictures(
        {"samples": samples(5, 3, 4, 1, 28, 28)}, tmp_path / "run" / "pictures" / "00000005"
    )
    assert "the samples of this model are not still pictures" in simulacra(*words).refusal()


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ("[]", "it does not hold the shape and type of each tensor"),
        ('{"video": [[9, 28, 28], "float32"]}', "holds no shape (C, H, W) of an image"),
        ('{"image": [[9, 1, 28, 28], "float32"]}', "holds no shape (C, H, W) of an image"),
        ('{"image": [[1, 0, 28], "float32"]}', "holds no shape (C, H, W) of an image"),
    ],
)
def test_spoiled_shapes(tmp_path, simulacra, shapes, says):
    made(tmp_path, [5])
    (tmp_path / "shapes.json").write_text(shapes)
    assert says in simulacra("evolve", tmp_path, "-o", tmp_path / "a.gif").refusal()
