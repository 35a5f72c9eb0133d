"""Clips are read as they say: orientation, pace, shape of pixels;
what is left out, assumed or converted is said."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from simulacra.core import data_sets
from simulacra.core.config import check_data
from simulacra.core.errors import Mistake
from simulacra.data import video
from simulacra.io import clip_and_mask, paint
from simulacra.io.clip import animation, sequence, stills
from simulacra.io.clip_and_mask import Clip, paced, read_clip
from simulacra.io.film import film
from simulacra.io.paths import typed

H, W = 48, 64
STRAIGHT = 1, 0, 0, 1


def quarters() -> np.ndarray:
    """A picture (H, W, 3) whose quarters are white and red, green and black."""
    image = np.zeros((H, W, 3), np.uint8)
    image[: H // 2, : W // 2], image[: H // 2, W // 2 :, 0], image[H // 2 :, : W // 2, 1] = (
        255,
        255,
        255,
    )
    return image


def seen(frame: torch.Tensor) -> str:
    """The colours of the four quarters of a frame (3, H, W) uint8, by their letters."""
    h, w = frame.shape[1:]
    letters = {(1, 1, 1): "w", (1, 0, 0): "r", (0, 1, 0): "g", (0, 0, 0): "k"}
    places = [(y, x) for y in (h // 4, 3 * h // 4) for x in (w // 4, 3 * w // 4)]
    return "".join(letters[tuple(int(value > 128) for value in frame[:, y, x])] for y, x in places)


def filmed(
    path: Path,
    times: list[int] | None = None,  # of the frames, ms; otherwise 12 a second
    ratio: Fraction | None = None,
    kind: tuple[str, str] = ("libx264", "yuv420p"),
    sound: bool = False,
    size: tuple[int, int] = (H, W),
    tags: dict[str, int] | None = None,
    **how: str,
) -> Path:
    """A film of quarters, 6 frames."""
    picture = np.asarray(Image.fromarray(quarters()).resize(size[::-1], Image.Resampling.NEAREST))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(kind[0], rate=12, options=how)
        stream.height, stream.width, stream.pix_fmt = *size, kind[1]
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        if ratio:
            stream.codec_context.sample_aspect_ratio = ratio
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        voice = container.add_stream("aac", rate=8000) if sound else None
        for i in range(len(times or range(6))):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=kind[1])
            if times:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            for name, value in (tags or {}).items():
                setattr(frame, name, value)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if voice is not None:
            wave = av.AudioFrame.from_ndarray(
                np.zeros((1, 8000), np.float32), format="fltp", layout="mono"
            )
            wave.rate, wave.pts = 8000, 0
            container.mux([*voice.encode(wave), *voice.encode()])
    return path


def turned(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """The film with another matrix in its track's header: (x, y) goes to (a x + c y, b x + d y)."""
    content = path.read_bytes()
    straight, other = (
        b"".join(
            round(65536 * one).to_bytes(4, "big", signed=True)
            for one in (a, b, 0, c, d, 0, 0, 0, 16384)
        )
        for a, b, c, d in (STRAIGHT, (a, b, c, d))
    )
    place = content.index(b"tkhd")
    assert content.count(straight, place) == 1
    path.write_bytes(content[:place] + content[place:].replace(straight, other))
    return path


# as the matrix moves the quarters, by hand: a picture's rows are "wr" and "gk"
WAYS = {
    (1, 0, 0, 1): "wrgk",
    (-1, 0, 0, 1): "rwkg",  # x changes its sign: left and right change places
    (1, 0, 0, -1): "gkwr",
    (-1, 0, 0, -1): "kgrw",
    (0, 1, -1, 0): "gwkr",  # (x, y) goes to (-y, x): clockwise
    (0, -1, 1, 0): "rkwg",
    (0, 1, 1, 0): "wgrk",  # x and y change places
    (0, -1, -1, 0): "krgw",
}


@pytest.mark.parametrize("matrix", WAYS)
def test_a_film_is_turned_and_mirrored_as_it_says(
    tmp_path: Path, matrix: tuple[int, int, int, int]
) -> None:
    clip = read_clip(turned(filmed(tmp_path / "film.mp4"), *matrix))
    assert seen(clip.frames[0]) == seen(clip.frames[5]) == WAYS[matrix]
    assert clip.frames.shape == ((6, 3, H, W) if matrix[0] else (6, 3, W, H)), "rows and columns"
    assert len(clip.notes) == (matrix != STRAIGHT) and all(
        "as it says" in note for note in clip.notes
    )


def test_a_slanted_film_is_turned_to_the_nearest(tmp_path: Path) -> None:
    clip = read_clip(turned(filmed(tmp_path / "film.mp4"), -0.9, 0.1, -0.1, -0.9))
    assert seen(clip.frames[0]) == "kgrw" and "nearest" in clip.notes[0]


def test_pixels_become_square(tmp_path: Path) -> None:
    wide = read_clip(filmed(tmp_path / "wide.mp4", ratio=Fraction(3, 2)))
    assert (
        wide.frames.shape == (6, 3, H, 96)
        and seen(wide.frames[0]) == "wrgk"
        and wide.stored == (W, H)
    )
    assert f"not square ({W}x{H}); resampled to 96x{H}" in wide.notes[0]
    high = read_clip(turned(filmed(tmp_path / "high.mp4", ratio=Fraction(1, 2)), 0, 1, -1, 0))
    assert (
        high.frames.shape == (6, 3, W, 96)
        and seen(high.frames[0]) == "gwkr"
        and high.stored == (H, W)
    )
    strange = read_clip(filmed(tmp_path / "strange.mp4", ratio=Fraction(20, 1)))
    assert strange.frames.shape == (6, 3, H, W) and "not believed" in strange.notes[0]


def test_the_pace_of_a_film(tmp_path: Path) -> None:
    even = film(filmed(tmp_path / "even.mkv"))
    assert even.fps == pytest.approx(12, abs=0.01) and not even.notes, (
        "12 a second, in whole milliseconds"
    )
    uneven = film(filmed(tmp_path / "uneven.mp4", [0, 100, 400, 450]))
    assert "unequally long" in uneven.notes[0] and 5 < uneven.fps < 9
    defaulted = film(filmed(tmp_path / "defaulted.mkv", [0, 100, 400, 450]))
    assert pytest.approx(defaulted.fps, rel=0.01) == 1000 * 3 / 450, (
        "by its times, not by what it says besides"
    )


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"sound": True}, "its sound is left out"),
        ({"x264-params": "tff=1:interlaced=1"}, "interlaced"),
        ({"kind": ("libx264", "yuv420p10le")}, "its 10 bits a channel become 8"),
        ({"tags": {"color_trc": 16}}, "HDR (PQ)"),
        ({"tags": {"color_trc": 18}}, "HDR (HLG)"),
        ({"tags": {"color_primaries": 9}}, "wide-gamut colours (BT.2020)"),
        ({"tags": {"colorspace": 1, "color_range": 2}}, "full range"),
        ({"size": (720, 1280)}, "BT.601 is assumed"),
    ],
)
def test_what_is_dropped_or_converted_is_said(
    tmp_path: Path, how: dict[str, object], says: str
) -> None:
    assert not film(filmed(tmp_path / "plain.mp4")).notes
    notes = film(filmed(tmp_path / "film.mp4", **how)).notes  # type: ignore[arg-type]
    assert len(notes) == 1 and says in notes[0], notes


def test_transparent_films_are_laid_on_white(tmp_path: Path) -> None:
    path = tmp_path / "film.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("qtrle", rate=12)
        stream.height, stream.width, stream.pix_fmt = H, W, "argb"
        pixels = np.dstack([quarters(), np.full((H, W), 255, np.uint8)])
        pixels[H // 2 :, :, 3] = 0
        frame = av.VideoFrame.from_ndarray(pixels, format="rgba").reformat(format="argb")
        container.mux([*stream.encode(frame), *stream.encode()])
    clip = read_clip(path)
    assert seen(clip.frames[0]) == "wrww" and clip.notes == [
        f"{path}: transparency is laid on white"
    ]


def sounding(path: Path, cover: bool = False) -> Path:
    """A film without any film in it."""
    with av.open(str(path), "w") as container:
        voice = container.add_stream("aac", rate=8000)
        picture = None
        if cover:
            picture = container.add_stream("mjpeg", rate=1)
            picture.height, picture.width, picture.pix_fmt = H, W, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
        wave = av.AudioFrame.from_ndarray(
            np.zeros((1, 8000), np.float32), format="fltp", layout="mono"
        )
        wave.rate, wave.pts = 8000, 0
        container.mux([*voice.encode(wave), *voice.encode()])
        if picture is not None:
            frame = av.VideoFrame.from_ndarray(quarters(), format="rgb24").reformat(
                format="yuvj420p"
            )
            container.mux([*picture.encode(frame), *picture.encode()])
    return path


def test_sound_has_no_pictures(tmp_path: Path, simulacra) -> None:  # type: ignore[no-untyped-def]
    """In every verb that takes a clip."""
    Image.new("L", (W, H), 255).save(tmp_path / "mask.png")
    Image.fromarray(quarters()).save(tmp_path / "0.png")
    for path in sounding(tmp_path / "sound.mp4"), sounding(tmp_path / "cover.mp4", cover=True):
        for words in (
            ("decompose", path, "--mask", tmp_path / "mask.png", "-o", tmp_path / "out"),
            ("data", "show", "video", "--set", f"data.path={path}"),
            (
                "train",
                "visual_dynamics_video",
                "--run",
                tmp_path / "run",
                "--set",
                f"data.path={path}",
            ),
        ):
            assert f"{path} has no pictures, only sound or text" in " ".join(
                simulacra(*words).refusal().split()
            )
    assert not (tmp_path / "out").exists()


def animated(path: Path, durations: list[int] | int, **how: object) -> Path:
    frames = [Image.new("RGB", (W, H), (40 * i, 0, 60)) for i in range(4)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, **how)
    return path


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "avif"])
def test_the_pace_of_an_animation(tmp_path: Path, kind: str) -> None:
    for ms in 100, 40:
        clip = read_clip(animated(tmp_path / f"even.{kind}", ms))
        assert clip.fps == pytest.approx(1000 / ms) and not clip.notes and len(clip.frames) == 4
    clip = read_clip(animated(tmp_path / f"uneven.{kind}", [100, 200, 300, 400]))
    assert clip.fps == pytest.approx(4), "four frames in a second"
    assert (
        "unequally long, 100 to 400 ms; 4 per second on average; their times are kept"
        in clip.notes[0]
    )


def test_an_animation_that_does_not_say_its_pace(tmp_path: Path) -> None:
    frames = [Image.new("L", (W, H), 40 * i) for i in range(3)]
    frames[0].save(tmp_path / "still.gif", save_all=True, append_images=frames[1:])
    assert animation(tmp_path / "still.gif").fps == 0
    assert paced(0) == (
        24,
        ["it does not say how many frames it has per second; 24 are assumed (--fps)"],
    )
    assert (
        paced(29.97) == (29.97, [])
        and "says 90000 frames per second; 24 are assumed" in paced(90000.0)[1][0]
    )


def test_a_picture_for_programs_without_animation_is_no_frame(tmp_path: Path) -> None:
    clip = read_clip(animated(tmp_path / "default.png", [100, 100, 100], default_image=True))
    assert (
        len(clip.frames) == 3
        and clip.frames[0][0, 0, 0] == 40
        and clip.fps == 10
        and "left out" in clip.notes[0]
    )


def test_animations_are_turned_as_exif_says(tmp_path: Path) -> None:
    tag = Image.Exif()
    tag[0x0112] = 6
    frames = [Image.fromarray(quarters() // (i + 1)) for i in range(2)]
    frames[0].save(
        tmp_path / "turned.webp",
        save_all=True,
        append_images=frames[1:],
        exif=tag,
        lossless=True,
        duration=100,
    )
    assert seen(read_clip(tmp_path / "turned.webp").frames[0]) == "gwkr"


# Folders


def folder(place: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (W, H), (20 * i, 0, 60)).save(place / name)
    return place


def test_what_is_no_frame_is_left_out(tmp_path: Path) -> None:
    home = folder(
        tmp_path, "000.png", "001.png", "002.png", "mask.png", "mask2.png", "masks/000.png"
    )
    (home / "Thumbs.db").write_bytes(b"x")
    (home / "notes.txt").write_text("x")
    clip = stills(home, 8)
    assert [name for name, _ in clip.frames] == [
        "000.png",
        "001.png",
        "002.png",
    ] and clip.length == 3
    told = "; ".join(clip.notes)
    for part in (
        "called masks: mask.png, mask2.png",
        "no pictures: notes.txt, Thumbs.db",
        "1 pictures in masks",
    ):
        assert part in told, told
    assert list(video.files(video.Options(), home)) == ["000.png", "001.png", "002.png"], (
        "what a run's data are"
    )


def test_a_mask_among_frames_is_no_frame(tmp_path: Path) -> None:
    home = folder(tmp_path, "a.png", "b.png", "c.png", "mask.png", "object.png")
    assert [name for name, _ in stills(home, 8).frames] == ["a.png", "b.png", "c.png", "object.png"]
    clip = stills(home, 8, [home / "object.png"])
    assert [name for name, _ in clip.frames] == ["a.png", "b.png", "c.png"]
    assert clip.notes == (
        "left out, since it is a mask: object.png",
        "left out, since they are called masks: mask.png",
    )
    named = folder(tmp_path / "named", "mask_0.png", "mask_1.png", "masked.png")
    assert stills(named, 8).length == 2, "frames may be called masks, if all are"


def test_the_same_numbers_twice(tmp_path: Path) -> None:
    names = ["0.jpg", "0.png", "1.jpg", "1.png"]
    with pytest.raises(
        Mistake,
        match=r"two sequences of 2 pictures, 0\.jpg to 1\.jpg and 0\.png to 1\.png; allowed",
    ):
        sequence(tmp_path, names)
    assert sequence(tmp_path, [*names, "2.jpg"]) == (
        ["0.jpg", "1.jpg", "2.jpg"],
        ["0.png", "1.png"],
    )
    assert sequence(tmp_path, ["0.jpg", "1.png", "2.jpg"])[1] == [], (
        "endings may differ where numbers do not repeat"
    )
    for names in (
        ["a.png", "b.png", "c1.png"],
        ["jan1.png", "feb2.png", "mar3.png"],
        ["a.png"],
        ["9.png", "10.png"],
    ):
        assert sequence(tmp_path, names) == (names, []), "not numbered as one"


def test_numbers_that_are_lacking_are_said(tmp_path: Path) -> None:
    assert not stills(folder(tmp_path / "even", "f0.png", "f5.png", "f10.png"), 8).notes
    notes = stills(folder(tmp_path / "odd", "f0.png", "f1.png", "f2.png", "f9.png"), 8).notes
    assert len(notes) == 1 and "f9.png follows f2.png" in notes[0]


def test_deep_frames_are_not_dark(tmp_path: Path) -> None:
    """12 bits in files of 16; the same white in all, turned as EXIF says."""
    tag = Image.Exif()
    tag[0x0112] = 6
    for i, most in enumerate((4000, 2000)):
        values = np.zeros((H, W), np.uint16)
        values[: H // 2] = most
        Image.fromarray(values).save(tmp_path / f"{i}.png", exif=tag)
    clip = read_clip(tmp_path)
    assert clip.frames.shape == (2, 3, W, H) and clip.frames[:][:, 0, 8, H - 2].tolist() == [
        249,
        125,
    ]
    assert "2 frames have more than 8 bits a channel; 0 to 4095 (12 bits)" in clip.notes[0]


# Where data are


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("video", "clip.gif"),
        ("folder", "clip"),
        ("pairs", "pairs"),
        ("layered", "clip"),
        ("series", "s.npy"),
        ("davis", "d"),
    ],
)
def test_a_path_that_is_typed_is_that_of_the_working_directory(
    kind: str,
    name: str,
    tmp_path: Path,
    simulacra,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    animated(tmp_path / "clip.gif", 100)
    folder(tmp_path / "clip", "0.png", "1.png", "2.png")
    folder(tmp_path / "pairs", "a_im1.png", "a_im2.png", "b_im1.png", "b_im2.png")
    np.save(tmp_path / "s.npy", np.random.default_rng(0).normal(size=(5, 8, 1)))
    for part in "JPEGImages", "Annotations":
        for i in range(5):
            folder(tmp_path / "d" / part / "x" / "one", f"{i}.png")
    Image.fromarray((np.arange(H * W).reshape(H, W) % 64 < 20).astype(np.uint8)).save(
        tmp_path / "d/Annotations/x/one/0.png"
    )
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIMULACRA_DATA", raising=False)
    own = ["--set", "data.height=48", "--set", "data.width=64"] if kind == "layered" else []
    for root in [], ["--data", tmp_path / "empty"]:
        said = " ".join(
            simulacra("data", "show", kind, *root, *own, "--set", f"data.path={name}").out.split()
        )
        assert f'data.path = "{tmp_path / name}"' in said
    monkeypatch.chdir(tmp_path / "empty")
    said = simulacra(
        "data", "show", kind, "--data", tmp_path, *own, "--set", f"data.path={name}"
    ).out
    assert f'data.path = "{name}"' in said
    assert kind in data_sets.names() and check_data({"name": kind}, "here")


def test_the_data_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, root = tmp_path / "here", tmp_path / "root"
    for place in here, root:
        (place / "clip").mkdir(parents=True)
    monkeypatch.chdir(here)
    changes, notes = typed(["data.path=clip", "steps=3"], root)
    assert (
        changes == ["data.path=clip", "steps=3"]
        and f"{root / 'clip'} is read, in the data folder, and not" in notes[0]
    )
    assert typed(["data.path=clip"], here) == (["data.path=clip"], [])
    assert typed(["data.path=clip"], None) == ([f'data.path="{here / "clip"}"'], [])
    for kept in (
        "data.path=gone",
        f"data.path={here}",
        "data.path=3",
        "data.path=",
        "data.name=clip",
    ):
        assert typed([kept], None) == ([kept], [])


def test_a_run_of_a_typed_path_is_found_again(
    tmp_path: Path, simulacra, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    frames = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    paint.save_mp4(frames, tmp_path / "film.mp4", 8)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIMULACRA_DATA", raising=False)
    own = [
        "--set",
        "data.path=film.mp4",
        "--set",
        "steps=2",
        "--set",
        "batch=2",
        "--no-tensorboard",
    ]
    done = simulacra(
        "train", "visual_dynamics_video", "--preset", "tiny", "--run", tmp_path / "run", *own
    )
    assert done.code == 0, done
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    again = simulacra("train", tmp_path / "run")
    assert again.code == 0 and "nothing was left to do" in " ".join(again.out.split()), again


def test_pictures_of_a_photo_with_a_second_picture(tmp_path: Path) -> None:
    """Telephones store a map of brightness behind the photo, in one file."""
    buffer = io.BytesIO()
    Image.fromarray(quarters()).save(
        buffer, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))], quality=95
    )
    (tmp_path / "photo.jpg").write_bytes(buffer.getvalue())
    clip: Clip = read_clip(tmp_path / "photo.jpg")
    assert len(clip.frames) == 1 and "holds 2 pictures, of which the first is read" in clip.notes[0]


def test_memory_is_asked_about_for_the_size_that_frames_will_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(3):
        Image.new("RGB", (96, 48), (i, 0, 0)).save(tmp_path / f"{i}.png")
    asked: list[tuple[int, int, Path]] = []
    monkeypatch.setattr(clip_and_mask, "frames_that_fit", lambda *size: asked.append(size) or 2)
    with pytest.raises(
        Mistake,
        match="more than 2 frames of 64x32, which is what fits on the disk of",
    ):
        read_clip(tmp_path, longest=64, place=tmp_path)
    assert asked == [(64, 32, tmp_path)]


def test_much_disk_is_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(2):
        Image.new("RGB", (40, 25), (i, 0, 0)).save(tmp_path / f"{i}.png")
    assert not [one for one in read_clip(tmp_path).notes if "GB" in one]
    monkeypatch.setattr(clip_and_mask, "DISK", 1_000_000)
    assert "needs up to 2.0 GB on the disk of" in " ".join(read_clip(tmp_path).notes)


def test_frames_that_fit_are_those_of_the_disk_if_memory_suffices_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, each, disk = clip_and_mask.BASE, clip_and_mask.NEED, clip_and_mask.DISK
    usage = type("Usage", (), {"free": 1000 * disk * 50})
    monkeypatch.setattr(clip_and_mask.shutil, "disk_usage", lambda place: usage)
    for free in None, base + 50 * each:
        monkeypatch.setattr(clip_and_mask.memory, "free", lambda free=free: free)
        assert clip_and_mask.frames_that_fit(10, 5, tmp_path) == 900
    with pytest.raises(Mistake, match=r"frames of 10x6 need 0\.7 GB of memory, 0\.7 are available"):
        clip_and_mask.frames_that_fit(10, 6, tmp_path)
    usage.free = 1000
    with pytest.raises(Mistake, match=r"a frame of 10x5 needs 0 MB on the disk of .*, 0 are free"):
        clip_and_mask.frames_that_fit(10, 5, tmp_path)
