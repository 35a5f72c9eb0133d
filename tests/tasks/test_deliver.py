"""Layers as editors and compositors take them, read back by other programs' libraries."""

import shutil
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import opentimelineio as otio
import pytest
import torch
from PIL import Image
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.io import origin, paint
from simulacra.io.origin import Origin, Times
from simulacra.tasks import _layer_folder
from simulacra.tasks import decompose as verb
from simulacra.tasks.deliver import deliver
from simulacra.tasks.edit import edit
from tests.video.test_depth import crossing

T, H, W = 8, 56, 88
LUMA = np.array([0.299, 0.587, 0.114])


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layers of one square over a ground, of its true masks."""
    folder = tmp_path_factory.mktemp("layers")
    frames, masks, _ = crossing(0)
    paint.save_pngs(frames, folder / "frames")
    true = masks[:, :1]
    Image.fromarray((true[0, 0].numpy() * 255).astype(np.uint8)).save(folder / "mask.png")

    def sought(*words: object) -> dict[str, Tensor]:
        return {"soft": true.float(), "confidence": torch.ones(T, 1)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verb, "segmented", sought)
        verb.decompose(folder / "frames", folder / "mask.png", folder / "layers")
    return folder / "layers"


@pytest.fixture(scope="module")
def delivered(layers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All formats of them."""
    out = tmp_path_factory.mktemp("out") / "delivered"
    deliver(layers, [], out)
    return out


def composite(layers: Path, t: int) -> np.ndarray:
    """Ours, in [0, 1]."""
    return np.asarray(Image.open(layers / "composite" / f"{t:05d}.png"), np.float64) / 255


def sixteen(path: Path) -> np.ndarray:
    """A 16-bit PNG in [0, 1], RGB or RGBA."""
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert values.dtype == np.uint16
    return values[..., [2, 1, 0, 3][: values.shape[2]]] / 65535


def psnr(one: np.ndarray, two: np.ndarray) -> float:
    """In dB, of values in [0, 1]."""
    return float(-10 * np.log10(np.square(one - two).mean() + 1e-12))


def test_sixteen_bits_make_the_composite(layers: Path, delivered: Path) -> None:
    for t in range(T):
        front = sixteen(delivered / "png16" / "foreground" / f"{t:05d}.png")
        back = sixteen(delivered / "png16" / "background" / f"{t:05d}.png")
        a = front[..., 3:]
        made = a * front[..., :3] + (1 - a) * back
        assert np.abs(made - composite(layers, t)).max() <= 1 / 1023


def test_layers_of_an_exr_make_the_composite(layers: Path, delivered: Path) -> None:
    for t in (0, T - 1):
        with OpenEXR.File(str(delivered / "exr" / f"{t:05d}.exr")) as file:
            channels = {name: np.float64(one.pixels) for name, one in file.channels().items()}
        assert set(channels) >= {"RGB", "foreground", "background"}
        front = channels["foreground"]
        made = front[..., :3] + (1 - front[..., 3:]) * channels["background"]
        assert np.abs(made - composite(layers, t)).max() <= 1 / 1023
        assert np.abs(channels["RGB"] - composite(layers, t)).max() <= 1 / 1023


@pytest.mark.parametrize(
    ("name", "codec", "least"), [("mov", "prores", 45.0), ("webm", "libvpx-vp9", 30.0)]
)  # in brightness: the colours of these squares change from pixel to pixel, films halve their size
def test_films_keep_colours_and_opacity(
    layers: Path, delivered: Path, name: str, codec: str, least: float
) -> None:
    with av.open(str(delivered / f"foreground.{name}")) as film:
        packets = [packet for packet in film.demux(video=0) if packet.size]
        decoder = av.CodecContext.create(codec, "r")
        decoder.extradata = film.streams.video[0].codec_context.extradata
        frames = [frame for packet in packets for frame in decoder.decode(packet)]
        frames += decoder.decode(None)
    assert len(frames) == T
    for t, frame in enumerate(frames):
        read = frame.to_ndarray(format="rgba64le") / 65535
        wanted = np.asarray(Image.open(layers / "foreground" / f"{t:05d}.png"), np.float64) / 255
        seen = wanted[..., 3] > 0
        assert read.shape == (H, W, 4)
        assert psnr(read[..., 3], wanted[..., 3]) >= least
        assert psnr(read[seen][:, :3] @ LUMA, wanted[seen][:, :3] @ LUMA) >= least


def test_a_timeline_is_read_and_its_media_are_found_after_a_move(
    delivered: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(delivered, moved)
    timeline = otio.adapters.read_from_file(str(moved / "timeline.otio"))
    names = [track.name for track in timeline.tracks]
    assert names == ["background", "foreground"]
    for track in timeline.tracks:
        (clip,) = track
        assert clip.source_range.duration.value == T
        for media in clip.media_references().values():
            if isinstance(media, otio.schema.ExternalReference):
                places = [media.target_url]
            else:
                places = [media.target_url_for_image_number(t) for t in range(T)]
            for place in places:
                assert not place.startswith("/") and (moved / place).is_file(), place


def shown_at(film: Path) -> list[float]:
    """When each frame of a film is shown, seconds."""
    with av.open(str(film)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


def test_films_show_frames_as_long_as_the_clip_did(layers: Path, tmp_path: Path) -> None:
    """Those of decompose, and those of edit."""
    shutil.copytree(layers, tmp_path / "layers")
    starts = 0, 100, 300, 400, 450, 700, 800, 900, 1000
    kept = Origin(8.0, Times(starts, Fraction(1, 1000)))
    origin.keep(tmp_path / "layers", kept, T, 8.0)
    frames, _, _ = crossing(0)
    _layer_folder.films(tmp_path / "layers", frames, 8.0, (1,))
    edit(tmp_path / "layers", tmp_path / "edited", remove=True)
    wanted = pytest.approx([start / 1000 for start in starts[:-1]], abs=1e-3)
    assert shown_at(tmp_path / "layers" / "overlay.mp4") == wanted
    assert shown_at(tmp_path / "layers" / "background.mp4") == wanted
    assert shown_at(tmp_path / "edited" / "edited.mp4") == wanted


def test_once_more_is_the_same(layers: Path, delivered: Path) -> None:
    before = (delivered / "delivered.json").read_text()
    paths, _ = deliver(layers, ["png16"], delivered)
    assert paths == [delivered / "png16"]
    assert (delivered / "delivered.json").read_text() == before
    assert not list(delivered.glob(".*"))


def test_mistakes_are_told_before_anything_is_written(
    layers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(Mistake, match=r"format .tiff."):
        deliver(layers, ["tiff"], out)
    with pytest.raises(Mistake, match="none"):
        deliver(tmp_path / "none", ["png16"], out)
    (tmp_path / "file").write_text("")
    with pytest.raises(Mistake, match="is a file"):
        deliver(layers, ["png16"], tmp_path / "file")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    with pytest.raises(Mistake, match="has 0 MB left"):
        deliver(layers, ["png16"], out)
    assert not out.exists()


def test_unfinished_layers_are_none(layers: Path, tmp_path: Path) -> None:
    shutil.copytree(layers, tmp_path / "layers")
    (tmp_path / "layers" / "quality.json").unlink()
    with pytest.raises(Mistake, match="holds no layers"):
        deliver(tmp_path / "layers", ["png16"], tmp_path / "out")


def test_somebody_elses_files_stay(layers: Path, tmp_path: Path) -> None:
    (tmp_path / "png16").mkdir()
    (tmp_path / "png16" / "mine.txt").write_text("mine")
    with pytest.raises(Mistake, match="was not delivered"):
        deliver(layers, ["png16"], tmp_path)
    assert (tmp_path / "png16" / "mine.txt").read_text() == "mine"


def test_by_the_command_line(layers: Path, tmp_path: Path, simulacra) -> None:
    said = simulacra("deliver", layers, "--as", "png16,vp9", "-o", tmp_path / "out")
    said.success()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "png16",
        "foreground.webm",
        "background.webm",
        "delivered.json",
    }
