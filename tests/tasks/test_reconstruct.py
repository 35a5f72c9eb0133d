"""Reconstruct and interpolate: what they write and tell, for pictures of any kind,
and what they refuse."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import Tiny, needed, of_config

from simulacra.core import config
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened, reopen
from simulacra.metrics.futures.motion import ssim
from simulacra.models.vae.nets import Coder
from simulacra.nn import maths
from simulacra.tasks.interpolate import interpolate
from simulacra.tasks.reconstruct import coder, reconstruct

ABLE = "vae", "vaegan"


@pytest.fixture(scope="session", params=ABLE)
def opened(request, tmp_path_factory) -> Opened:
    """A run of either model on digits, 28x28 grey."""
    return reopen(trained(f"{request.param}_mnist", tmp_path_factory.mktemp(request.param)), None)


@pytest.fixture(scope="session")
def colour(tmp_path_factory) -> Opened:
    """A run on colour pictures of 16x16."""
    folder = tmp_path_factory.mktemp("colour")
    for number in range(24):
        noise(folder / f"{number}.png", (16, 16), "RGB", number)
    tiny = Tiny("vae_faces", (f"data.path={folder}",))
    tiny.train(folder / "runs" / "run", "steps=2", "save_every=2", "log_every=1", "batch=8")
    return reopen(folder / "runs" / "run", None)


def trained(name: str, folder: Path) -> Path:
    needed(of_config(name), name).train(folder / "run", "steps=3", "save_every=3", "log_every=1")
    return folder / "run"


def noise(path: Path, size: tuple[int, int], mode: str, seed: int = 0) -> Path:
    dice = np.random.default_rng(seed)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(dice.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(
        mode
    ).save(path)
    return path


def read(path: Path) -> torch.Tensor:
    """A PNG as pictures (1, C, H, W) in [-1, 1]."""
    pixels = np.asarray(Image.open(path))
    return (
        torch.from_numpy(np.atleast_3d(pixels).transpose(2, 0, 1).astype(np.float32))[None] / 127.5
        - 1
    )


# Reconstruct


def test_what_reconstruct_writes_and_tells(opened, tmp_path) -> None:
    files = [noise(tmp_path / f"{i}.png", (28, 28), "L", i) for i in range(5)]
    made, rows, notes = reconstruct(opened, files, tmp_path / "out")
    assert [path.name for path in made] == [
        *(f"0000{i}.png" for i in range(5)),
        "reconstructed.png",
    ] and not notes
    assert [row["picture"] for row in rows] == [str(file) for file in files]
    x = torch.cat([read(file) for file in files])
    y = opened.model.decode(opened.model.encode(x)[0])  # type: ignore[attr-defined]
    assert torch.cat([read(path) for path in made[:5]]).sub(y).abs().max() < 1 / 127
    assert [row["psnr"] for row in rows] == pytest.approx(maths.psnr(y, x).tolist(), rel=1e-4)
    assert [row["ssim"] for row in rows] == pytest.approx(ssim(y, x).tolist(), abs=1e-4)
    sheet = Image.open(made[-1])
    assert sheet.size == (8 * 30 + 2, 2 * 30 + 2)
    tiles = np.asarray(sheet)[2:30, 2:].reshape(28, -1)
    assert (tiles[:, :28] == np.asarray(Image.open(files[0]))).all()
    assert (tiles[:, 30:58] == np.asarray(Image.open(made[0]))).all(), "each beside its own"


def test_a_folder_and_pictures_of_any_kind(colour, tmp_path) -> None:
    (tmp_path / "in").mkdir()
    noise(tmp_path / "in" / "b.png", (16, 16), "RGB")
    noise(tmp_path / "in" / "a.jpg", (90, 40), "L")
    noise(tmp_path / "in" / "c.gif", (20, 33), "P")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    single = noise(tmp_path / "d.webp", (17, 16), "RGBA")
    _, rows, notes = reconstruct(colour, [tmp_path / "in", single], tmp_path / "out")
    assert [Path(row["picture"]).name for row in rows] == ["a.jpg", "b.png", "c.gif", "d.webp"]
    assert (
        len(notes) == 3 and "a.jpg: centre crop of 90x40, resized to 16x16, made colour" in notes[0]
    )
    assert all(row["ssim"] is not None and np.isfinite(row["psnr"]) for row in rows)
    assert Image.open(tmp_path / "out" / "00000.png").mode == "RGB"


def test_pictures_of_12_bits_are_of_one_range(opened, tmp_path) -> None:
    """What is white follows from the brightest of the pictures, whatever else is among them,
    and is said."""
    (tmp_path / "in").mkdir()
    for name, value in ("a", 4000), ("b", 1000):
        Image.fromarray(np.full((28, 28), value, np.uint16)).save(tmp_path / "in" / f"{name}.png")
    (tmp_path / "in" / "c.heic").write_text("")
    made, _, notes = reconstruct(opened, [tmp_path / "in"], tmp_path / "out")
    sheet = np.asarray(Image.open(made[-1]))
    assert sheet[15, 15] == 249 and sheet[15, 75] == 62
    assert ".heic are read where" in notes[0] and all(
        "0 to 4095 became 0 to 255" in note for note in notes[1:]
    )


def test_one_picture_twice_is_one(colour, tmp_path) -> None:
    file = noise(tmp_path / "x.png", (16, 16), "RGB")
    _, rows, _ = reconstruct(colour, [file, file], tmp_path / "out", scale=3)
    assert len(rows) == 1 and Image.open(tmp_path / "out" / "reconstructed.png").size == (
        2 * 50 + 2,
        50 + 2,
    )


def test_a_good_coder_scores_high(colour, tmp_path, monkeypatch) -> None:
    """Scores are of the picture itself: one that comes back unharmed has 100 dB
    and similarity 1."""
    file = noise(tmp_path / "x.png", (16, 16), "RGB")
    monkeypatch.setattr(colour.model, "encode", lambda x: (x.flatten(1), x.flatten(1)))
    monkeypatch.setattr(colour.model, "decode", lambda z: z.view(-1, 3, 16, 16))
    _, rows, _ = reconstruct(colour, [file], tmp_path / "out")
    assert rows[0]["psnr"] == 100 and rows[0]["ssim"] == pytest.approx(1)
    assert (
        np.asarray(Image.open(tmp_path / "out" / "00000.png")) == np.asarray(Image.open(file))
    ).all()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gone.png"], "no picture "),
        (["broken.png"], "cannot read "),
        (["empty"], "holds no pictures; it holds nothing; allowed: .png, .jpg and the like"),
        ([], "no picture to reconstruct; allowed: pictures, or folders of them"),
        (["icon.png"], "is too small"),
    ],
)
def test_what_reconstruct_refuses(words, says, colour, tmp_path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture at all")
    (tmp_path / "empty").mkdir()
    noise(tmp_path / "icon.png", (3, 3), "RGB")
    with pytest.raises(Mistake) as error:
        reconstruct(colour, [tmp_path / word for word in words], tmp_path / "out")
    assert says in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_where_results_cannot_go(colour, tmp_path) -> None:
    file = noise(tmp_path / "x.png", (16, 16), "RGB")
    with pytest.raises(Mistake, match="is a file; results go into a folder"):
        reconstruct(colour, [file], file)
    with pytest.raises(Mistake, match="scale = 0; allowed: 1 to 16"):
        reconstruct(colour, [file], tmp_path / "out", scale=0)
    assert not (tmp_path / "out").exists()


# Interpolate


def test_a_strip(colour, tmp_path) -> None:
    """The first picture, the way from its code to the other's, the other picture."""
    one, two = (noise(tmp_path / f"{i}.png", (16, 16), "RGB", i) for i in range(2))
    path, notes = interpolate(colour, one, two, tmp_path / "strip.png", steps=5, scale=1)
    assert path == tmp_path / "strip.png" and not notes
    board = np.asarray(Image.open(path))
    assert board.shape == (16 + 4, 7 * 18 + 2, 3)
    tiles = [board[2:18, 2 + 18 * i : 18 + 18 * i].astype(int) for i in range(7)]
    assert (tiles[0] == np.asarray(Image.open(one))).all() and (
        tiles[6] == np.asarray(Image.open(two))
    ).all()
    for tile, file in (tiles[1], one), (tiles[5], two):
        y = colour.model.decode(colour.model.encode(read(file))[0])[0]  # type: ignore[attr-defined]
        assert abs(tile - ((y + 1) * 127.5).permute(1, 2, 0).numpy()).max() < 1
    assert abs(tiles[1] - tiles[2]).max() > 0 or abs(tiles[2] - tiles[5]).max() > 0


@pytest.mark.parametrize(("kind", "size"), [("spherical", 2**0.5 / 2), ("linear", 0.5)])
def test_which_way(kind, size, colour, tmp_path, monkeypatch) -> None:
    """Between two codes of length 1 at a right angle: half-way is on the circle, or on the line."""
    one, two = (noise(tmp_path / f"{i}.png", (16, 16), "RGB", i) for i in range(2))
    seen = []
    monkeypatch.setattr(colour.model, "encode", lambda x: (torch.eye(8)[: len(x)],) * 2)
    monkeypatch.setattr(
        colour.model, "decode", lambda z: seen.append(z) or torch.zeros(len(z), 3, 16, 16)
    )
    interpolate(colour, one, two, tmp_path / "x.png", steps=3, kind=kind)
    assert seen[0][1, :2].tolist() == pytest.approx([size, size])


def test_a_film_goes_there_and_back(opened, tmp_path) -> None:
    one, two = (noise(tmp_path / f"{i}.png", (40, 28), "RGB", i) for i in range(2))
    path, notes = interpolate(opened, one, two, tmp_path / "film.gif", steps=4, scale=2)
    with Image.open(path) as film:
        assert film.size == (2 * 28 + 4, 2 * 28 + 4) and film.n_frames <= 6
    assert path.suffix == ".gif" and len(notes) == 2 and "made grey" in notes[0]


def test_from_a_picture_to_itself(colour, tmp_path) -> None:
    one = noise(tmp_path / "x.png", (16, 16), "RGB")
    interpolate(colour, one, one, tmp_path / "strip.png", steps=2, scale=1)
    board = np.asarray(Image.open(tmp_path / "strip.png"))
    assert (board[2:18, 20:36] == board[2:18, 38:54]).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steps": 1}, "steps = 1; allowed: 2 to 1000, both ends included"),
        ({"steps": 1001}, "steps = 1001; allowed: 1 to 1000"),
        ({"scale": 17}, "scale = 17; allowed: 1 to 16"),
        ({"kind": "crooked"}, "unknown path 'crooked'; there is: spherical, linear"),
    ],
)
def test_what_interpolate_refuses(change, says, colour, tmp_path) -> None:
    one = noise(tmp_path / "x.png", (16, 16), "RGB")
    with pytest.raises(Mistake) as error:
        interpolate(colour, one, one, tmp_path / "out.png", **change)
    assert says in str(error.value) and not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("name", ["out", "out.mp4", "out.jpg"])
def test_files_that_interpolate_does_not_write(name, colour, tmp_path) -> None:
    one = noise(tmp_path / "x.png", (16, 16), "RGB")
    with pytest.raises(
        Mistake,
        match=f"cannot write an interpolation as '{name}'; give the name of a .png or a .gif",
    ):
        interpolate(colour, one, one, tmp_path / name)
    with pytest.raises(Mistake, match="no picture "):
        interpolate(colour, one, tmp_path / "gone.png", tmp_path / "out.png")


# Models that cannot


def test_models_without_codes_are_told_which_models_have_them(tmp_path) -> None:
    tiny = needed(of_config("gan_digits"), "gan_digits")
    tiny.train(tmp_path / "run", "steps=1", "save_every=1", "log_every=1")
    other, file = reopen(tmp_path / "run", None), noise(tmp_path / "x.png", (28, 28), "L")
    for attempt in (
        lambda: reconstruct(other, [file], tmp_path / "out"),
        lambda: interpolate(other, file, file, tmp_path / "out.png"),
    ):
        with pytest.raises(Mistake) as error:
            attempt()
        assert "is a run of model gan, which does not turn a picture into a code and back" in str(
            error.value
        )
        assert all(f" {model_name}" in str(error.value) for model_name in ABLE)
    assert not list(tmp_path.glob("out*"))


def test_any_model_with_the_two_methods_will_do(colour) -> None:
    """Asked by what it can, not by its name."""
    assert coder(colour) is colour.model and isinstance(colour.model.net, Coder)  # type: ignore[attr-defined]
    assert set(ABLE) <= set(config.models())


def test_of_many_pictures_the_rest_are_counted(colour, simulacra, tmp_path) -> None:
    for number in range(12):
        noise(tmp_path / "in" / f"{number}.png", (16, 16), "RGB", number)
    said = simulacra("reconstruct", colour.folder, tmp_path / "in", "-o", tmp_path / "out")
    lines = [line for line in said.success().splitlines() if " dB" in line]
    assert len(lines) == 11 and lines[-1].startswith("and 2 more (--json has all); ")
    assert lines[-1].endswith(" dB on average of 12")
