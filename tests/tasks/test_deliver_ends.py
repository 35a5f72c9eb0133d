"""Delivered layers at their ends: colours at black, times, tags and sound; full disks, Ctrl-C."""

import errno
import json
import shutil
import signal
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import OpenEXR
import opentimelineio as otio
import pytest
from PIL import Image

from simulacra.core.errors import Mistake
from simulacra.io import layer_film, origin, sound
from simulacra.io.origin import Colours, Kept, Origin, Times
from simulacra.tasks import _layer_folder, _stack, deliver

T, H, W = 8, 48, 64
STARTS = (0, 40, 80, 240, 280, 500, 540, 580, 700)  # ms, of frames and of the end
RATE = 48_000
SQUARE = 0.3  # seconds, when the sound begins


def grain(seed: int) -> np.ndarray:
    """A smooth texture (H, W, 3) in [0, 1]."""
    rough = np.random.default_rng(seed).random((H // 8, W // 8, 3)).astype(np.float32)
    return np.asarray(cv2.resize(rough, (W, H), interpolation=cv2.INTER_CUBIC)).clip(0, 1)


def disc(t: int, radius: float = 12) -> np.ndarray:
    """A soft matte (H, W, 1) of a disc that moves."""
    y, x = np.mgrid[:H, :W]
    return ((radius + 2 - np.hypot(x - 20 - 2 * t, y - 24)) / 4).clip(0, 1)[..., None]


def paint(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.rint(values * 255).astype(np.uint8)
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(path)


def written(folder: Path, several: bool = False) -> Path:
    """Layers as decompose writes them, of one object, or of two and what they do to the light."""
    ground, front = grain(1), grain(2)
    front[:, : W // 2] = 0  # colours that have come to their end
    for t in range(T):
        name = f"{t:05d}.png"
        matte = disc(t)
        far, shade = disc(t - 5, 8), 0.4 * disc(t, 16)
        layers = [(front, matte)]
        if several:
            layers += [(grain(3), far), (0 * front, shade)]
        made = ground
        for colours, alpha in reversed(layers):
            made = alpha * colours + (1 - alpha) * made
        paint(folder / "composite" / name, made)
        paint(folder / "background" / name, ground)
        paint(folder / "foreground" / name, np.dstack([front, matte]))
        if several:
            paint(folder / "objects/2/foreground" / name, np.dstack([front, matte]))
            paint(folder / "objects/1/foreground" / name, np.dstack([grain(3), far]))
            paint(folder / "effects" / name, 1 - shade)
    facts = {"of": f"made {several}", "frames": T, "height": H, "width": W, "fps": 12.0}
    objects = [{"name": 1, "depth": 1}, {"name": 2, "depth": 0}] if several else []
    (folder / "quality.json").write_text(json.dumps(facts | {"objects": objects}))
    return folder


def filmed(path: Path, codec: str = "aac") -> Path:
    """A film whose sound is silent until SQUARE."""
    with av.open(str(path), "w") as out:
        video, voice = out.add_stream("libx264", rate=12), out.add_stream(codec, rate=RATE)
        video.height, video.width, video.pix_fmt = H, W, "yuv420p"
        for _ in range(T):
            frame = av.VideoFrame.from_ndarray(np.zeros((H, W, 3), np.uint8), format="rgb24")
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        wave = np.zeros((1, RATE), np.float32)
        start = round(SQUARE * RATE)
        wave[0, start : start + 4800] = 0.9 * np.sin(np.arange(4800) * 0.2)
        part = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        part.rate, part.pts = RATE, 0
        out.mux([*voice.encode(part), *voice.encode(None)])
    return path


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layers of unequally long frames of a PQ film with sound; not to be written into."""
    home = tmp_path_factory.mktemp("deliver")
    times = Times(STARTS, Fraction(1, 1000))
    film = filmed(home / "film.mp4")
    said = Origin(T / 0.7, times, Colours(9, 16, 9, False), film, Fraction(0))
    (told,) = origin.keep(written(home / "layers"), said, T, T / 0.7)
    assert "(aac) is kept as it is" in told
    film.unlink()
    return home / "layers"


@pytest.fixture(scope="module")
def given(layers: Path) -> Path:
    """All that is delivered of them, in a folder that was moved since."""
    out = layers.parent / "out"
    paths, notes = deliver.deliver(layers, [], out)
    assert [path.name for path in paths] == [
        *("png16", "exr", "foreground.mov", "background.mov", "foreground.webm"),
        *("background.webm", "timeline.otio", "sound.wav"),
    ]
    assert any("png16, exr, otio cannot say" in one for one in notes)
    assert any("(aac) is encoded anew for vp9" in one for one in notes) and len(notes) == 2
    return out.rename(layers.parent / "moved")


def read(path: Path) -> np.ndarray:
    """A PNG in [0, 1], (H, W) or (H, W, C), red first."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    scaled = pixels / np.iinfo(pixels.dtype).max
    return scaled if scaled.ndim == 2 else scaled[..., [2, 1, 0, 3][: scaled.shape[2]]]


def decoded(path: Path) -> list[av.VideoFrame]:
    """The frames of a film, with the opacity of WebM, which only its own decoder reads."""
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        if path.suffix != ".webm":
            return list(film.decode(stream))
        decoder = av.CodecContext.create("libvpx-vp9", "r")
        packets = [packet for packet in film.demux(stream) if packet.size]
        return [one for packet in [*packets, None] for one in decoder.decode(packet)]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(max(((a - b) ** 2).mean(), 1e-12)))


# Values


def test_png_makes_the_composite(layers: Path, given: Path) -> None:
    plain = 0.0
    for t in range(T):
        name = f"{t:05d}.png"
        wanted = read(layers / "composite" / name)
        front, ground = (read(given / "png16" / one / name) for one in ("foreground", "background"))
        alpha = front[..., 3:]
        made = alpha * front[..., :3] + (1 - alpha) * ground
        assert np.abs(made - wanted).max() < 1 / 1023
        assert np.array_equal(read(given / "png16" / "matte" / name), alpha[..., 0])
        own, back = (read(layers / one / name) for one in ("foreground", "background"))
        made = own[..., 3:] * own[..., :3] + (1 - own[..., 3:]) * back
        plain = max(plain, float(np.abs(made - wanted).max()))
        moved = max(np.abs(front - own).max(), np.abs(ground - back).max())
        assert moved < 10 / 255, "in pixels that hardly show, farther than rounding"
    assert plain > 2 / 1023, "which the files of 8 bits do not"
    content = (given / "png16/foreground/00000.png").read_bytes()
    assert content[37:41] == b"cICP" and content[41:45] == bytes([9, 16, 0, 1])
    with Image.open(given / "png16/background/00003.png") as image:
        image.load()


def test_exr_makes_the_composite(layers: Path, given: Path) -> None:
    for t in range(T):
        with OpenEXR.File(str(given / "exr" / f"{t:05d}.exr")) as file:
            said = dict(file.header())  # it is emptied when the file is closed
            found = {name: one.pixels.astype(float) for name, one in file.channels().items()}
        assert {name: one.shape[2] for name, one in found.items()} == {
            "RGB": 3,
            "foreground": 4,
            "background": 3,
        }
        wanted = read(layers / "composite" / f"{t:05d}.png")
        front = found["foreground"]
        made = front[..., :3] + (1 - front[..., 3:]) * found["background"]
        assert np.abs(made - wanted).max() < 1 / 1023
        assert np.abs(found["RGB"] - wanted).max() < 1 / 1023
    assert said["simulacraEncoding"] == "PQ" and "colorInteropID" not in said
    assert said["chromaticities"][0] == pytest.approx(0.708)
    assert float(said["framesPerSecond"]) == pytest.approx(T / 0.7, rel=1e-4)


# Times, tags, sound


def heard(path: Path) -> float:
    """When the sound of a file begins, seconds."""
    with av.open(str(path)) as film:
        change = av.AudioResampler("flt", "mono", RATE)
        for frame in film.decode(film.streams.audio[0]):
            (part,) = change.resample(frame)
            loud = np.flatnonzero(np.abs(part.to_ndarray()[0]) > 0.3)
            if len(loud):
                return float(part.time + loud[0] / RATE)
    raise AssertionError("silent")


@pytest.mark.parametrize("name", ["foreground.mov", "background.webm"])
def test_films_keep_times_tags_and_sound(given: Path, name: str) -> None:
    frames = decoded(given / name)
    assert [round(1000 * frame.time) for frame in frames] == list(STARTS[:-1])
    with av.open(str(given / name)) as film:
        assert film.duration / 1e6 == pytest.approx(0.7, abs=0.03), "the last one lasts"
        codec = film.streams.audio[0].codec_context.name
        said = next(film.decode(film.streams.video[0]))
        tags = said.color_primaries, said.color_trc, said.colorspace, said.color_range
        assert tags == (9, 16, 9, 1)
    assert codec == ("aac" if name.endswith(".mov") else "opus")
    assert heard(given / name) == pytest.approx(SQUARE, abs=0.003)


def test_a_wav_begins_with_the_frames(given: Path, tmp_path: Path) -> None:
    assert heard(given / "sound.wav") == pytest.approx(SQUARE, abs=0.002)
    film = filmed(tmp_path / "film.mp4")
    for begins, start in ((Fraction(1, 5), 0.1), (Fraction(-1, 5), 0.5)):
        name, _ = sound.keep(film, begins, 9.0, tmp_path)
        path = sound.save_wave(tmp_path / str(name), tmp_path / "sound.wav")
        assert heard(path) == pytest.approx(start, abs=0.003), "later pictures, earlier sound"


def test_sound_that_quicktime_cannot_hold(tmp_path: Path) -> None:
    """Is copied in Matroska, into WebM as it is, and into QuickTime as plain samples."""
    name, _ = sound.keep(filmed(tmp_path / "film.mkv", "libopus"), Fraction(0), 9.0, tmp_path)
    assert name == "sound.mka" and sound.codec_in(tmp_path / name) == "opus"
    frames = [np.zeros((H, W, 3), np.uint16)] * T
    for kind, codec in ((layer_film.PRORES, "pcm_s24le"), (layer_film.VP9, "opus")):
        path = tmp_path / f"film{kind.suffix}"
        layer_film.save(path, kind, frames, Kept(Fraction(12), sound=tmp_path / name))
        assert sound.codec_in(path) == codec
        assert heard(path) == pytest.approx(SQUARE, abs=0.003)


def test_sound_is_left_out_at_another_rate(tmp_path: Path) -> None:
    said = Origin(12.0, None, None, filmed(tmp_path / "film.mp4"))
    assert "left out" in origin.keep(tmp_path, said, T, 24.0)[0]
    assert origin.read(tmp_path, 1.0) == Kept(Fraction(24))
    origin.keep(tmp_path, said._replace(times=Times(STARTS, Fraction(1, 1000))), 3, 12.0)
    kept = origin.read(tmp_path, 1.0)
    assert kept.times == Times(STARTS[:4], Fraction(1, 1000)) and kept.seconds(3) == 0.24


@pytest.mark.parametrize(
    ("own", "written_as"),
    [
        (None, (1, 1, 1)),  # pictures
        (Colours(), (2, 2, 6)),  # what is not said was read by BT.601
        (Colours(1, 1, 1, True), (1, 1, 1)),
        (Colours(9, 18, 10, False), (9, 18, 9)),
        (Colours(1, 13, 0, True), (1, 13, 1)),  # RGB
    ],
)
def test_tags_of_films(own: Colours | None, written_as: tuple[int, ...], tmp_path: Path) -> None:
    picture = np.rint(grain(4) * 65535).astype(np.uint16)
    path = layer_film.save(
        tmp_path / "film.mov", layer_film.PRORES, [picture], Kept(Fraction(24000, 1001), None, own)
    )
    (frame,) = decoded(path)
    with av.open(str(path)) as film:
        assert film.streams.video[0].average_rate == Fraction(24000, 1001)
    tags = frame.color_primaries, frame.color_trc, frame.colorspace
    assert tags == written_as and frame.color_range == 1
    assert psnr(frame.to_ndarray(format="rgb24") / 255, grain(4)) > 45, "by its own matrix"


# Timelines


def test_a_timeline_finds_its_media_where_it_was_moved(given: Path) -> None:
    timeline = otio.adapters.read_from_file(str(given / "timeline.otio"))
    assert [(one.kind, one.name) for one in timeline.tracks] == [
        ("Video", "background"),
        ("Video", "foreground"),
        ("Audio", "sound"),
    ]
    for track in timeline.tracks:
        (clip,) = track
        assert clip.source_range.duration.to_seconds() == pytest.approx(0.7, abs=1e-3)
        for kind, media in clip.media_references().items():
            last = getattr(media, "target_url", "") or media.target_url_for_image_number(T - 1)
            assert not Path(last).is_absolute() and (given / last).is_file(), (kind, last)
    assert timeline.tracks[1][0].media_reference.target_url == "foreground.mov"


def test_several_objects_and_their_shadow(tmp_path: Path, simulacra) -> None:
    home = written(tmp_path / "layers", several=True)
    simulacra(
        "deliver", home, "--as", "png16,exr,vp9", "--as", "otio", "-o", tmp_path / "o"
    ).success()
    names = ["foreground_2", "foreground_1", "effects"]  # the nearest first
    for t in range(T):
        wanted = read(home / "composite" / f"{t:05d}.png")
        made = read(tmp_path / "o/png16/background" / f"{t:05d}.png")
        with OpenEXR.File(str(tmp_path / "o/exr" / f"{t:05d}.exr")) as file:
            found = {name: one.pixels.astype(float) for name, one in file.channels().items()}
        laid = found["background"]
        for name in reversed(names):
            front = read(tmp_path / "o/png16" / name / f"{t:05d}.png")
            made = front[..., 3:] * front[..., :3] + (1 - front[..., 3:]) * made
            laid = found[name][..., :3] + (1 - found[name][..., 3:]) * laid
        assert max(np.abs(made - wanted).max(), np.abs(laid - wanted).max()) < 1 / 1023
    timeline = otio.adapters.read_from_file(str(tmp_path / "o" / "timeline.otio"))
    assert [track.name for track in timeline.tracks] == ["background", *reversed(names)]
    depths = [track[0].metadata["simulacra"]["depth"] for track in timeline.tracks]
    assert depths == [None, None, 1, 0]


def test_layers_that_somebody_changed_stay_so(tmp_path: Path) -> None:
    home = written(tmp_path / "layers")
    paint(home / "foreground" / "00003.png", np.dstack([grain(5), disc(3)]))
    _, notes = deliver.deliver(home, ["png16"], tmp_path / "out")
    assert "in 1 frames the layers do not make composite/, most in frame 3" in notes[0]
    own, given = (
        read(home / "foreground/00003.png"),
        read(tmp_path / "out/png16/foreground/00003.png"),
    )
    assert np.abs(own - given).max() < 4 / 255


# Folders


def test_a_timeline_alone_brings_its_films(tmp_path: Path, simulacra) -> None:
    home, out = written(tmp_path / "layers"), tmp_path / "out"
    said = simulacra("deliver", home, "--as", "otio", "-o", out).success()
    assert "prores is made, too" in " ".join(said.split()) and (out / "foreground.mov").is_file()
    before = (out / "foreground.mov").read_bytes()
    simulacra("deliver", home, "--as", "otio", "-o", out).success()
    simulacra("deliver", home, "--as", "prores", "-o", out).success()
    assert (out / "foreground.mov").read_bytes() == before, "the same bytes"
    told = json.loads((out / "delivered.json").read_text())
    assert told["formats"] == ["prores", "otio"] and told["encoding"] == "sRGB"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("LAYERS --as exrr -o out", "unknown format 'exrr' (did you mean exr?); there is: png16"),
        ("LAYERS --as , -o out", "--as names no format; allowed: png16"),
        ("gone -o out", "gone holds no layers; `simulacra decompose CLIP"),
        ("begun -o out", "not finished; the same decompose command goes on"),
        ("damaged -o out", "cannot read damaged/quality.json"),
        ("lacking -o out", "lacking/matte is not there" and "background/00007.png is not there"),
        ("odd --as png16 -o out", "foreground/00002.png is 10x10, needed: 64x48"),
        ("broken --as png16 -o out", "cannot read broken/composite/00007.png"),
        ("untimely -o out", "cannot read untimely/times.json (its times do not rise)"),
        ("LAYERS -o text.txt", "text.txt is a file"),
        ("LAYERS -o mine", "png16 is there, but was not delivered; name another folder"),
        ("LAYERS -o others", "what was delivered of other layers; name another folder"),
        ("LAYERS --as png16 -o text.txt/out", "cannot write text.txt/out: Not a directory"),
    ],
)
def test_mistakes(
    words: str,
    says: str,
    layers: Path,
    simulacra,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is one line, and nothing is left."""
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("mine")
    begun = Path("begun") / _layer_folder.OF
    for folder in begun.parent, Path("damaged"), Path("mine/png16"), Path("others"):
        folder.mkdir(parents=True)
    begun.write_text("{}")
    Path("damaged/quality.json").write_text("{")
    Path("others/delivered.json").write_text('{"of": "x", "formats": [], "files": []}')
    for name in {"lacking", "odd", "broken", "untimely"} & {words.split()[0]}:
        shutil.copytree(layers, name)
        Path("lacking/background/00007.png").unlink(missing_ok=True)
        if name == "odd":
            Image.new("RGBA", (10, 10)).save("odd/foreground/00002.png")
        if name == "broken":
            Path("broken/composite/00007.png").write_text("no picture")
        if name == "untimely":
            told = json.loads(Path("untimely/times.json").read_text())
            told["starts"][3] = 0
            Path("untimely/times.json").write_text(json.dumps(told))
    before = {path for path in tmp_path.rglob("*") if path.name != "out"}
    line = simulacra("deliver", *words.replace("LAYERS", str(layers)).split()).refusal()
    assert says in " ".join(line.split())
    assert set(tmp_path.rglob("*")) - {tmp_path / "out"} == before


def test_what_is_not_installed(
    layers: Path, simulacra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "MODULES", {"exr": "no_such_exr", "otio": "no_such_otio"})
    line = simulacra("deliver", layers, "--as", "exr", "-o", tmp_path / "out").refusal()
    assert "exr needs the package no_such_exr; install it: " in line and "[clips]" in line
    wanted, notes = deliver.chosen([])
    assert wanted == ["png16", "prores", "vp9"] and "exr and otio left out" in notes[0]


def test_a_full_disk_is_told_before_anything_is_written(
    layers: Path, simulacra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    line = simulacra("deliver", layers, "-o", tmp_path / "out").refusal()
    assert "take about 1 MB" in line and "has 0 MB left" in line and not (tmp_path / "out").exists()


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def stopped(*_: object, **__: object) -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("kind", ["png16", "exr", "prores", "vp9"])
@pytest.mark.parametrize("fails", [full, stopped])
def test_nothing_half_written_is_left(
    layers: Path,
    simulacra,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    fails: Callable[..., None],
) -> None:
    """The disk fills, or Ctrl-C comes, in the fifth frame."""
    own = _stack.Stack.frame

    def frame(stack: _stack.Stack, number: int) -> _stack.Frame:
        if number == 4:
            fails()
        return own(stack, number)

    monkeypatch.setattr(_stack.Stack, "frame", frame)
    done = simulacra("deliver", layers, "--as", kind, "-o", tmp_path / "out")
    assert done.code == (2 if fails is full else 130)
    assert len(done.err.strip().splitlines()) == 1 and not list((tmp_path / "out").iterdir())
    assert fails is stopped or "No space left on device" in done.err


def test_a_sound_that_is_gone(layers: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(layers, tmp_path / "layers"))
    (home / "sound.mov").unlink()
    with pytest.raises(Mistake, match=r"names sound\.mov, which is not there"):
        deliver.deliver(home, ["png16"], tmp_path / "out")
