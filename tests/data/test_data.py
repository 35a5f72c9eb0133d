"""Data sets: drawing is pure, splits are fixed, and every bad input is told about by name."""

import contextlib
import gzip
import io
import os
import re
import struct
import subprocess
import sys
import tracemalloc
from hashlib import md5
from pathlib import Path
from types import SimpleNamespace

import cv2
import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from rich.console import Console

from simulacra.core import data_sets
from simulacra.core.errors import Mistake
from simulacra.data import _idx, fashion_mnist, folder, mnist
from simulacra.data._pictures import Pictures, Split
from simulacra.io import download, listing
from simulacra.io import pictures as _decode

REAL = os.environ.get("SIMULACRA_DATA")
FACTS = {  # mean, std, mean-predictor L2 of the training pictures; examples of each class held out
    "mnist": ("-0.7387, 0.6162", "14.39", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
    "fashion_mnist": ("-0.4279, 0.7060", "16.23", [1000] * 10),
}


def numbered(n: int, flip: bool = False) -> Pictures:
    """n training pictures, each of one byte value that is its number, and three others held out."""
    pixels = np.arange(n + 3, dtype=np.uint8).repeat(12).reshape(-1, 1, 3, 4)
    labels = np.arange(n + 3)
    return Pictures(
        Split(pixels, labels, np.arange(n)), Split(pixels, labels, np.arange(n, n + 3)), flip
    )


def refusal(options: object, root: Path | None) -> str:
    """What the Mistake says that these options lead to."""
    with pytest.raises(Mistake) as caught:
        data_sets.load(options, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The directory is the list


def test_names_and_unknown_name():
    assert {"digits", "mnist", "fashion_mnist", "folder"} <= set(data_sets.names())
    assert not any(name.startswith("_") for name in data_sets.names())
    with pytest.raises(
        Mistake,
        match=r"unknown data set 'mnits' \(did you mean mnist\?\); there is: .*digits.*mnist",
    ):
        data_sets.module("mnits")


@pytest.mark.parametrize("name", data_sets.names())
def test_options_are_chosen_by_name_and_refuse_unknown_fields(name):
    options = data_sets.module(name).Options
    assert msgspec.convert({"name": name}, options) == options()
    with pytest.raises(msgspec.ValidationError, match="sise"):
        msgspec.convert({"name": name, "sise": 3}, options)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [("digits", "pad", -1), ("folder", "size", 7), ("folder", "fit", "x")],
)
def test_options_out_of_range(name, field, value):
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({"name": name, field: value}, data_sets.module(name).Options)


# Drawing


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.data(), st.integers(0, 2**62))
def test_an_epoch_holds_every_picture_once(n, more, seed):
    pictures, batch = numbered(n), more.draw(st.integers(1, n))
    epoch, steps = more.draw(st.integers(0, 5)), n // batch
    labels = torch.cat(
        [pictures.draw(epoch * steps + i, batch, seed)["label"] for i in range(steps)]
    ).tolist()
    assert len(set(labels)) == len(labels) == steps * batch
    assert set(labels) <= set(range(n))


@pytest.mark.parametrize("flip", [False, True])
def test_draw_is_a_pure_function(flip):
    pictures = numbered(20, flip)
    asked = [(k, batch, seed) for seed in (0, 1) for batch in (3, 7) for k in (0, 5, 6, 7, 40)]
    there = [pictures.draw(*one) for one in asked]
    torch.manual_seed(5)
    back = [numbered(20, flip).draw(*one) for one in reversed(asked)][::-1]
    for one, two in zip(there, back, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in ("image", "label"))


def test_seeds_and_epochs_differ():
    pictures = numbered(50)
    drawn = {
        tuple(pictures.draw(k, 50, seed)["label"].tolist()) for k in range(3) for seed in range(3)
    }
    assert len(drawn) == 9


def test_bytes_become_floats():
    batch = numbered(253).take("train", 253)
    image = batch["image"][batch["label"].argsort()]
    assert image.dtype == torch.float32 and image.shape == (253, 1, 3, 4) and image.is_contiguous()
    assert torch.allclose(image[:, 0, 0, 0], torch.arange(253) / 127.5 - 1)
    assert batch["label"].dtype == torch.int64


def test_flip_mirrors_about_half_and_nothing_else():
    pixels = np.tile(np.arange(4, dtype=np.uint8), (400, 1, 3, 1))
    split = Split(pixels, None, np.arange(400))
    image = Pictures(split, split, flip=True).draw(0, 400, 0)["image"]
    mirrored = (image[:, 0, 0, 0] > image[:, 0, 0, 3]).sum().item()
    assert 150 < mirrored < 250
    assert torch.equal(image.sort(-1).values, Pictures(split, split).draw(0, 400, 0)["image"])
    assert "label" not in Pictures(split, split).take("train", 1)


@pytest.mark.parametrize("batch", [0, 21])
def test_batch_that_does_not_fit(batch):
    with pytest.raises(Mistake, match=f"batch {batch} .*allowed: 1 to 20"):
        numbered(20).draw(0, batch, 0)


@pytest.mark.parametrize("n", [0, 4])
def test_take_more_than_there_are(n):
    with pytest.raises(Mistake, match=f"{n} pictures of split 'held_out'.*allowed: 1 to 3"):
        numbered(20).take("held_out", n)


def test_unknown_split():
    for ask in (lambda p: p.take("test", 1), lambda p: p.size("test")):
        with pytest.raises(Mistake, match="unknown split 'test'; there is: train, held_out"):
            ask(numbered(5))


def test_take_is_fixed_and_nested():
    one, two = numbered(20).take("train", 20)["label"], numbered(20).take("train", 5)["label"]
    assert torch.equal(one[:5], two) and one.tolist() != sorted(one.tolist())


def test_take_shows_what_it_always_showed():
    """The pictures that measures and sheets of earlier versions were made of."""
    assert numbered(7).take("train", 7)["label"].tolist() == [1, 3, 5, 2, 4, 6, 0]
    assert numbered(7).take("held_out", 3)["label"].tolist() == [8, 9, 7]


def test_moments_against_numpy():
    pixels = np.random.default_rng(0).integers(0, 256, (30, 3, 5, 4), dtype=np.uint8)
    split, x = Split(pixels, None, np.arange(7, 29)), pixels[7:29].reshape(22, -1) / 127.5 - 1
    found = Pictures(split, split).moments
    assert found == pytest.approx(
        (x.mean(), x.std(), np.linalg.norm(x - x.mean(0), axis=1).mean()), abs=1e-5
    )


# Digits


def test_digits_are_stratified_and_disjoint():
    digits = data_sets.load(data_sets.module("digits").Options(), None)
    train, held_out = digits.take("train", 4000), digits.take("held_out", 1000)
    assert train["label"].bincount().tolist() == [400] * 10
    assert held_out["label"].bincount().tolist() == [100] * 10
    rows = {one.numpy().tobytes() for one in torch.cat([train["image"], held_out["image"]])}
    assert len(rows) == 5000
    assert train["image"].min() == -1 and train["image"].max() == 1
    assert digits.describe()["pixel mean, std"] == "-0.7378, 0.6166"
    assert (digits.classes, digits.extractor) == (10, "mnist_cnn")


def test_digits_padded():
    plain, wide = (
        data_sets.load(data_sets.module("digits").Options(pad=pad), None).take("train", 9)["image"]
        for pad in (0, 2)
    )
    assert torch.equal(torch.nn.functional.pad(plain, (2, 2, 2, 2), value=-1.0), wide)


# IDX files


def idx(array: np.ndarray) -> bytes:
    """An IDX file's content."""
    return (
        bytes([0, 0, 8, array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.tobytes()
    )


@pytest.fixture
def small(tmp_path):
    """Four small IDX files in a folder "small", and the source that expects them."""
    draw = np.random.default_rng(0)
    made = {}
    for (images, labels), n in ((_idx.TRAIN, 6), (_idx.HELD_OUT, 4)):
        made[images] = idx(draw.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        made[labels] = idx(draw.integers(0, 10, n, dtype=np.uint8))
    (tmp_path / "small").mkdir()
    for name, content in made.items():
        (tmp_path / "small" / name).write_bytes(content)
    return tmp_path, _idx.Source(
        "small", {name: md5(content).hexdigest() for name, content in made.items()}
    )


def complaint(source: _idx.Source, root: Path | None, url: str = "") -> str:
    """What the Mistake says when these files are read."""
    with pytest.raises(Mistake) as caught:
        _idx.pictures(source, root, url, 0)
    return str(caught.value)


def test_idx_raw_compressed_and_in_the_data_folder_itself(small):
    root, source = small
    raw = _idx.pictures(source, root, "", 2)
    assert raw.size("train") == 6 and raw.take("held_out", 4)["image"].shape == (4, 1, 32, 32)
    for path in (root / "small").iterdir():
        (root / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    (root / "small").rmdir()
    packed = _idx.pictures(source, root, "", 2)
    assert torch.equal(raw.take("train", 6)["image"], packed.take("train", 6)["image"])


def test_idx_missing(small, tmp_path):
    root, source = small
    assert "--data or SIMULACRA_DATA" in complaint(source, None)
    (root / "small" / _idx.TRAIN[0]).unlink()
    text = complaint(source, root)
    assert (
        _idx.TRAIN[0] in text
        and str(root / "small") in text
        and "data.url" in text
        and _idx.TRAIN[1] not in text
    )


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda b: b"\x89PNG" + b[4:],
            "no IDX file of bytes: it begins with 89504e47, expected 00000803",
        ),
        (lambda b: b[:3], "no IDX file of bytes"),
        (lambda b: b[:-10], "holds 4710 bytes; its header tells of 4720"),
        (lambda b: b + b"x", "holds 4721 bytes; its header tells of 4720"),
        (lambda b: b[:-1] + bytes([b[-1] ^ 1]), "other data than the official file: MD5 "),
    ],
)
def test_idx_damaged(small, spoil, says):
    root, source = small
    path = root / "small" / _idx.TRAIN[0]
    path.write_bytes(spoil(path.read_bytes()))
    text = complaint(source, root)
    assert says in text and str(path) in text
    assert "MD5" not in says or source.digests[_idx.TRAIN[0]] in text


def test_idx_compressed_file_cut_short(small):
    root, source = small
    path = root / "small" / _idx.HELD_OUT[0]
    path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes())[:-50])
    path.unlink()
    assert f"cannot read {path}.gz" in complaint(source, root)


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_without_end(small, monkeypatch, packed):
    """A file that unpacks to a thousand times its size, or is as large itself:
    no more is read than the official files hold."""
    root, source = small
    path = root / "small" / _idx.TRAIN[0]
    if packed:
        path.unlink()
        path = path.with_name(f"{path.name}.gz")
        path.write_bytes(gzip.compress(bytes(2**27)))
    else:
        with path.open("r+b") as file:
            file.truncate(2**27)
    tracemalloc.start()
    assert (
        f"{path} holds other data than the official file: more than 67,108,864 bytes"
        in complaint(source, root)
    )
    assert tracemalloc.get_traced_memory()[1] < 2**27 + 2**24
    tracemalloc.stop()
    monkeypatch.setattr(download, "LARGEST", 100)
    mirror = root / "mirror"
    mirror.mkdir()
    for name in source.digests:
        (mirror / f"{name}.gz").write_bytes(np.random.default_rng(0).bytes(1000))
    assert "more than 100 bytes come" in complaint(source, root / "new", mirror.as_uri())
    assert list((root / "new" / "small").iterdir()) == []


def test_idx_download(small, tmp_path):
    root, source = small
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for path in (root / "small").iterdir():
        (mirror / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert _idx.pictures(source, tmp_path / "new", mirror.as_uri() + "/", 0).size("train") == 6
    kept = sorted(path.name for path in (tmp_path / "new" / "small").iterdir())
    assert kept == sorted(f"{name}.gz" for name in source.digests)


def test_idx_download_is_watched_on_standard_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    (tmp_path / "there").write_bytes(b"abc")
    download.fetch((tmp_path / "there").as_uri(), tmp_path / "new" / "here", Path.read_bytes)
    assert (tmp_path / "new" / "here").read_bytes() == b"abc"
    said = capsys.readouterr()
    assert said.out == "" and "here" in said.err


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/mnist", "file:///nowhere", "mnist"])
def test_idx_download_fails(small, tmp_path, url):
    text = complaint(small[1], tmp_path / "new", url)
    assert text.startswith(f"cannot download {url}/train-images-idx3-ubyte.gz")
    assert list((tmp_path / "new" / "small").iterdir()) == []


def test_idx_download_of_something_else_is_not_kept(small, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for name in small[1].digests:
        (mirror / f"{name}.gz").write_bytes(b"<html>not found</html>")
    assert "cannot read" in complaint(small[1], tmp_path / "new", mirror.as_uri())
    assert list((tmp_path / "new" / "small").iterdir()) == []


@pytest.mark.parametrize("module", [mnist, fashion_mnist])
def test_other_digits_than_the_official_ones(small, module):
    root, _ = small
    (root / "small").rename(root / module.SOURCE.name)
    text = refusal(module.Options(), root)
    assert "MD5" in text and module.SOURCE.digests[_idx.TRAIN[0]] in text


@pytest.mark.skipif(REAL is None, reason="SIMULACRA_DATA names no folder with the official files")
@pytest.mark.parametrize("name", FACTS)
def test_official_files(name):
    options = data_sets.module(name).Options()
    found = data_sets.load(options, Path(str(REAL)))
    facts, (moments, distance, counts) = found.describe(), FACTS[name]
    assert (found.size("train"), found.size("held_out"), found.classes) == (60000, 10000, 10)
    assert facts["pixel mean, std"] == moments and facts["mean-predictor L2"].startswith(distance)
    assert found.take("held_out", 10000)["label"].bincount().tolist() == counts


# Folders


def painted(
    path: Path, colour: object, size: tuple[int, int] = (20, 12), mode: str = "RGB", **how: object
) -> Path:
    """The path of a new picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **how)
    return path


def loaded(root: Path, **options: object) -> folder.Folder:
    """The folder's pictures, 8x8 unless told."""
    return folder.Folder(folder.Options(**{"size": 8, **options}), root)


def by_value(pictures: folder.Folder) -> list[tuple[int, ...]]:
    """The bytes of the middle pixel of every picture, sorted."""
    images = [
        pictures.take(split, pictures.size(split))["image"] for split in ("train", "held_out")
    ]
    middle = torch.cat(images)[:, :, 4, 4]
    return sorted(tuple(row) for row in ((middle + 1) * 127.5).round().int().tolist())


def test_folder_of_every_kind(tmp_path):
    painted(tmp_path / "rgb.png", (10, 20, 30))
    painted(tmp_path / "deep" / "er" / "photo.JPG", (90, 90, 90), quality=100)
    painted(tmp_path / "clear.png", (0, 0, 0, 0), mode="RGBA")
    painted(tmp_path / "half.png", (0, 0, 0, 127), mode="RGBA")
    painted(tmp_path / "grey.bmp", 40, mode="L")
    painted(tmp_path / "veil.png", (50, 255), mode="LA")
    painted(tmp_path / "deep16.png", 257 * 60, mode="I;16")
    painted(tmp_path / "bits.png", 1, mode="1")
    painted(tmp_path / "print.tif", (0, 255, 255, 0), mode="CMYK")
    palette = Image.new("RGB", (20, 12), (1, 2, 3)).quantize()
    palette.save(tmp_path / "palette.png")
    frames = [Image.new("RGB", (12, 20), colour) for colour in ("blue", "red")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "README").write_text("what these are")
    (tmp_path / "notes.txt").write_text("more")
    (tmp_path / ".hidden.png").write_text("no picture")
    found = loaded(tmp_path)
    near_grey = [(40,) * 3, (50,) * 3, (60,) * 3, (90,) * 3, (128,) * 3, (255,) * 3, (255,) * 3]
    assert by_value(found) == sorted(
        [(0, 0, 255), (1, 2, 3), (10, 20, 30), (255, 0, 0), *near_grey]
    )
    facts = found.describe()
    assert "11 pictures used, 2 other files ignored" in facts["folder"]
    assert facts["sizes"] == "12x20 to 20x12, 2 different ones" and "RGB 2" in facts["modes"]
    assert "centre crop" in facts["treatment"] and "transparency on white" in facts["treatment"]


def deep(path: Path, pixels: np.ndarray, kind: str = "grey") -> Path:
    """A file of 16 bits a channel that holds these values (H, W),
    as grey or as a colour whose channels differ."""
    path.parent.mkdir(exist_ok=True)
    if kind == "grey":
        Image.fromarray(pixels.astype(np.uint16)).save(path)
    else:
        channels = [pixels, pixels // 2, pixels * 0, pixels * 0 + 65535][
            : {"colour": 3, "veiled": 4}[kind]
        ]
        assert cv2.imwrite(
            str(path), np.stack(channels, 2).astype(np.uint16)[..., [2, 1, 0, 3][: len(channels)]]
        )
    return path


@pytest.mark.parametrize("end", [".png", ".tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_grey_of_every_depth_in_16_bits(tmp_path, bits, end):
    """One range for the whole set: the brightest picture says it, and a dark one stays dark."""
    ramp = np.linspace(0, 2**bits - 1, 64).round().reshape(8, 8)
    deep(tmp_path / f"a{end}", ramp)
    deep(tmp_path / f"b{end}", ramp // 8)
    found = loaded(tmp_path)
    assert (
        found.white == 2**bits - 1
        and f"({bits} bits)" in found.describe()["deep"]
        and f"({bits} bits)" in found.notes[-1]
    )
    shown = {
        round(float(p.max()), 2): p
        for p in (found.take(s, 1)["image"] for s in ("train", "held_out"))
    }
    assert torch.allclose(
        shown[1.0].flatten(), torch.linspace(-1, 1, 64), atol=0.04 if bits == 8 else 0.01
    )
    assert max(shown) == 1 and -0.8 < min(shown) < -0.7


@pytest.mark.parametrize("kind", ["colour", "veiled"])
@pytest.mark.parametrize("end", [".png", ".tif"])
def test_colours_of_12_bits_in_16(tmp_path, end, kind):
    for name in "ab":
        deep(tmp_path / f"{name}{end}", np.full((8, 8), 4000), kind)
    # veiled: opacity, of 65535, says nothing of the colours' range
    found = loaded(tmp_path)
    assert found.white == 4095 and by_value(found) == [(249, 125, 0)] * 2
    assert by_value(loaded(tmp_path, bits=16)) == [(15, 7, 0)] * 2


def test_depth_is_the_persons_to_choose(tmp_path):
    for name, value in ("a", 1000), ("b", 500):
        deep(tmp_path / f"{name}.png", np.full((8, 8), value))
    assert by_value(loaded(tmp_path)) == [(125,), (249,)]
    assert by_value(loaded(tmp_path, bits=12)) == [(31,), (62,)]
    assert by_value(loaded(tmp_path, bits=16)) == [(2,), (4,)]
    assert "a.png: grey values from 1000 to 1000; allowed: 0 to 255" in refusal(
        folder.Options(size=8, bits=8), tmp_path
    )
    painted(tmp_path / "c.png", 40, mode="L")
    assert by_value(loaded(tmp_path)) == [(40,), (125,), (249,)], "8 bits are 8 bits"


def test_8_bits_spread_over_16_are_of_the_full_range(tmp_path):
    for name, value in ("a", 3), ("b", 9):
        deep(tmp_path / f"{name}.png", np.full((8, 8), 257 * value))
    assert by_value(loaded(tmp_path)) == [(3,), (9,)]


def test_grey_that_is_clear_lies_on_white(tmp_path):
    for name in "ab":
        Image.fromarray(np.full((8, 8), 60000, np.uint16)).save(
            tmp_path / f"{name}.png", transparency=60000
        )
    assert by_value(loaded(tmp_path)) == [(255,)] * 2


def test_every_ignored_kind_is_named(tmp_path):
    for name in ("a.png", "b.png"):
        painted(tmp_path / name, 7, mode="L")
    for name in ("c.heic", "d.HEIC", "e.txt", "f", ".g.png", "h.cr2"):
        (tmp_path / name).write_text("")
    found = loaded(tmp_path)
    for text in (found.describe()["folder"], found.notes[0]):
        assert "5 other files ignored (2 .heic, " in text
        assert all(f"1 {kind}" in text for kind in (".txt", "without an ending", "hidden", ".cr2"))
        assert ".heic are read where the package pillow-heif is installed" in text


def test_files_of_several_pictures_are_told(tmp_path):
    frames = [Image.new("RGB", (12, 20), colour) for colour in ("blue", "red")]
    for name in ("a.gif", "b.webp", "c.tif", "d.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "e.png")
    assert (
        "4 files hold several pictures, of which the first is taken" in loaded(tmp_path).notes[-1]
    )


def test_linked_folders_are_followed_and_lead_nowhere_twice(tmp_path):
    """Nothing is found twice, so that no picture is both trained on and held out,
    and no circle is walked."""
    home, away = tmp_path / "home", tmp_path / "away"
    for i, path in enumerate(
        (
            home / "a.png",
            home / "in" / "b.png",
            away / "c.png",
            away / "deep" / "d.png",
            tmp_path / "x.png",
        )
    ):
        painted(path, 10 * i, mode="L")
    links = {
        home / "out": away,
        home / "circle": home,
        home / "again": home / "in",
        home / "up": tmp_path,
        away / "back": home,
    }
    links |= {
        home / "zdeep": away / "deep",
        home / "gone": tmp_path / "gone",
        away / "deep" / "loop": away / "deep" / "loop",
    }
    for link, target in links.items():
        link.symlink_to(target)
    names, ignored = listing.listing(home)
    assert names == ["a.png", "in/b.png", "out/c.png", "out/deep/d.png"]
    assert sorted(ignored.links) == ["again", "circle", "out/back", "up", "zdeep"]
    assert "not followed: again, circle, up, zdeep, out/back" in loaded(home).notes[0]
    assert by_value(loaded(home)) == [(0,), (10,), (20,), (30,)]
    through = tmp_path / "through"
    through.symlink_to(home)
    assert listing.listing(through)[0] == names


@pytest.mark.parametrize(("mode", "white"), [("RGB", (255, 255, 255)), ("L", 255), ("I;16", 65535)])
def test_folder_turns_pictures_as_exif_says(tmp_path, mode, white):
    image = Image.new(mode, (16, 16))
    image.paste(white, (0, 0, 16, 8))  # the upper half; orientation 6 turns it to the right
    tag = Image.Exif()
    tag[0x0112] = 6
    for name in "ab":
        image.save(tmp_path / f"{name}.png", exif=tag)
    turned = loaded(tmp_path).take("train", 1)["image"][0, 0]
    assert turned[:, 5:].min() > 0.9 and turned[:, :3].max() < -0.9


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "I;16"])
def test_tiffs_are_turned_as_they_say(tmp_path, mode, turn):
    """Uncompressed ones too, which Pillow maps into memory in the wrong size
    if it is given their name."""
    ramp = np.add.outer(np.arange(12) * 4, np.arange(20) * 9).astype(np.uint16)
    image = (
        Image.fromarray(ramp)
        if mode == "I;16"
        else Image.fromarray(ramp.astype(np.uint8)).convert(mode)
    )
    tag = Image.Exif()
    tag[0x0112] = turn
    image.save(tmp_path / "a.tif", exif=tag)
    image.save(
        tmp_path / "b.png" if mode in ("L", "RGB", "RGBA") else tmp_path / "b.tif",
        exif=tag,
        **({} if mode in ("L", "RGB", "RGBA") else {"compression": "tiff_deflate"}),
    )
    files = sorted(tmp_path.iterdir())
    one, other = (
        _decode.decode(file, "L", 12, "stretch", 255 if mode == "I;16" else 65535) for file in files
    )
    assert np.array_equal(one, other) and one.std() > 5
    upright = (12, 20) if turn > 4 else (20, 12)
    assert [_decode.header(file).size for file in files] == [upright, upright]


def test_a_pipe_is_no_picture(tmp_path):
    for name in "ab":
        painted(tmp_path / f"{name}.png", 3)
    os.mkfifo(tmp_path / "c.png")
    assert "no regular file" in refusal(folder.Options(size=8), tmp_path)


@pytest.mark.parametrize(("mode", "channels"), [("auto", 1), ("grey", 1), ("colour", 3)])
def test_folder_mode(tmp_path, mode, channels):
    for value in range(3):
        painted(tmp_path / f"{value}.png", value, mode="L")
    assert loaded(tmp_path, mode=mode).take("train", 1)["image"].shape == (1, channels, 8, 8)


def test_folder_auto_is_colour_when_one_picture_is(tmp_path):
    painted(tmp_path / "a.png", 1, mode="L")
    painted(tmp_path / "b.png", (1, 2, 3))
    assert by_value(loaded(tmp_path)) == [(1, 1, 1), (1, 2, 3)]


def test_folder_fit(tmp_path):
    strip = np.zeros((8, 24), np.uint8)  # three squares: black, grey, white
    strip[:, 8:16], strip[:, 16:] = 100, 200
    for name in "ab":
        Image.fromarray(strip).save(tmp_path / f"{name}.png")
    crop, pad, stretch = (
        loaded(tmp_path, fit=fit).take("train", 1)["image"][0, 0]
        for fit in ("crop", "pad", "stretch")
    )
    assert torch.allclose(crop, torch.tensor(100 / 127.5 - 1))
    assert pad[0].min() == 1 and pad[-1].min() == 1 and pad[4, 0] < -0.9
    assert stretch[:, 0].max() < -0.9 and stretch[:, -1].min() > 0.5


def test_folder_keeps_pictures_of_the_right_size_as_they_are(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    for name, pixels in zip("ab", noise, strict=True):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    found = loaded(tmp_path)
    kept = torch.cat([found.take(split, 1)["image"] for split in ("train", "held_out")])
    expected = torch.from_numpy(noise).permute(0, 3, 1, 2) / 127.5 - 1
    assert {one.numpy().tobytes() for one in kept} == {
        one.contiguous().numpy().tobytes() for one in expected
    }


def test_folder_split_does_not_move_when_a_file_is_added(tmp_path):
    names = [f"{i:03d}.png" for i in range(200)]
    before, after = folder.held_out(names, 0.2), folder.held_out([*names, "new.png"], 0.2)
    assert before == after - {"new.png"} and 20 < len(before) < 60
    assert (
        folder.held_out(["a", "b"], 0.001) != set() and len(folder.held_out(["a", "b"], 0.999)) == 1
    )


def test_folder_splits_are_disjoint_and_complete(tmp_path):
    for value in range(30):
        painted(tmp_path / f"{value}.png", value, (8, 8), "L")
    found = loaded(tmp_path, held_out=0.3)
    assert by_value(found) == [(value,) for value in range(30)]
    assert 1 <= found.size("held_out") < 20 and found.size("train") + found.size("held_out") == 30
    assert "30% held out" in found.describe()["split"]


def test_folder_on_disk_equals_folder_in_memory(tmp_path, monkeypatch):
    for value in range(9):
        painted(tmp_path / f"{value}.png", (value, 0, 0))
    here = loaded(tmp_path).draw(0, 4, 0)["image"]
    monkeypatch.setattr(folder, "IN_MEMORY", 100)
    there = loaded(tmp_path)
    assert isinstance(there.pictures.train.pixels, np.memmap) and torch.equal(
        here, there.draw(0, 4, 0)["image"]
    )
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda _: SimpleNamespace(free=99))
    with pytest.raises(Mistake, match=r"do not fit in .*TMPDIR"):
        loaded(tmp_path)


def test_folder_path(tmp_path):
    painted(tmp_path / "in" / "a.png", 1, mode="L")
    painted(tmp_path / "in" / "b.png", 2, mode="L")
    assert by_value(loaded(tmp_path, path="in")) == by_value(loaded(tmp_path)) == [(1,), (2,)]
    assert by_value(folder.Folder(folder.Options(path=str(tmp_path / "in"), size=8), None)) == [
        (1,),
        (2,),
    ]


def test_folder_missing(tmp_path):
    assert "--data or SIMULACRA_DATA" in refusal(folder.Options(), None)
    assert (
        refusal(folder.Options(path="gone"), tmp_path)
        == f"data.path: {tmp_path / 'gone'} is not there"
    )
    (tmp_path / "file").write_text("")
    assert "is a file; it must be a folder" in refusal(folder.Options(path="file"), tmp_path)


def test_folder_without_pictures(tmp_path):
    assert "holds no pictures; it holds nothing" in refusal(folder.Options(), tmp_path)
    for name in ("a.txt", "b.txt", "c.csv", "README"):
        (tmp_path / name).write_text("")
    text = refusal(folder.Options(), tmp_path)
    assert "2 .txt" in text and "1 .csv" in text and "1 without an ending" in text


def test_a_progress_bar_from_a_thousand_pictures_on(monkeypatch):
    shown = []
    console = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(listing, "Console", lambda stderr: console if stderr else None)
    monkeypatch.setattr(
        listing, "track", lambda chunks, *_, disable, **__: shown.append(not disable) or chunks
    )
    for chunks in 1, 31, 32, 100:  # of 32 pictures: 32, 992, 1,024, 3,200
        listing.watched([], chunks)
    assert shown == [False, False, True, True]


def test_folder_with_one_picture(tmp_path):
    painted(tmp_path / "a.png", 1, mode="L")
    assert "holds too few usable pictures: 1; needed: 2 or more" in refusal(
        folder.Options(), tmp_path
    )


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text_in_disguise(path: Path) -> None:
    path.write_text("I am no picture at all, whatever my name says")


def cut_short(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2500])


def one_pixel(path: Path) -> None:
    painted(path, "red", (1, 1))


def bomb(path: Path) -> None:
    Image.new("1", (12000, 12000)).save(path)


def larger(path: Path) -> None:
    Image.new("1", (20000, 20000)).save(path)


def script(path: Path) -> None:
    path.write_bytes(SCRIPT)


def dangling(path: Path) -> None:
    path.symlink_to(path.with_name("gone"))


SCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\nshowpage\n"
BROKEN = [
    (empty, "not a picture"),
    (text_in_disguise, "not a picture"),
    (cut_short, "truncated"),
    (one_pixel, "1x1 is too small; allowed: sides of at least 8 pixels"),
    (bomb, "12000x12000 is too large; allowed: at most 89 million pixels"),
    (larger, "exceeds limit"),
    (script, "PostScript, which only other programs draw; save it as PNG"),
    (dangling, "No such file"),
]


@pytest.mark.parametrize(("spoil", "says"), BROKEN)
def test_folder_with_a_broken_picture(tmp_path, spoil, says):
    for name in ("a.png", "c.png"):
        painted(tmp_path / name, 7, mode="L")
    spoil(tmp_path / "b.png")
    text = refusal(folder.Options(size=8), tmp_path)
    assert str(tmp_path / "b.png") in text and says in text and "data.skip_broken=true" in text
    found = loaded(tmp_path, skip_broken=True)
    assert found.size("train") + found.size("held_out") == 2
    left_out = found.describe()["left out"]
    assert left_out.startswith("1: b.png (") and says in left_out


def wrapped(content: bytes) -> bytes:
    """An IPTC record whose picture is the content."""
    fields = (
        (3, 60, b"\x01\x00"),
        (3, 20, (32).to_bytes(2)),
        (3, 30, (32).to_bytes(2)),
        (3, 120, b"\x05"),
        (8, 10, content),
    )
    return b"".join(
        bytes([0x1C, *kind]) + len(value).to_bytes(2) + value for *kind, value in fields
    )


@pytest.mark.parametrize("name", ["a.png", "a.eps", "a.jpg", "a.tif", "a.iim"])
@pytest.mark.parametrize(
    "content",
    [
        SCRIPT,
        wrapped(SCRIPT),
        b"\xc5\xd0\xd3\xc6" + struct.pack("<2I20x", 32, len(SCRIPT)) + SCRIPT,
    ],
)
def test_no_picture_starts_another_program(tmp_path, monkeypatch, name, content):
    """Ghostscript would leave a trace here, and so would whatever else is started."""
    programs, trace = tmp_path / "programs", tmp_path / "trace"
    programs.mkdir()
    for program in ("gs", "gswin32c", "djpeg", "ppmquant"):
        (programs / program).write_text(f"#!/bin/sh\necho $0 >>{trace}\n")
        (programs / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    started = []
    for call in ("Popen", "check_call", "check_output", "run", "call"):
        monkeypatch.setattr(subprocess, call, lambda *command, **how: started.append(command))
    monkeypatch.setattr(os, "system", started.append)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / name).write_bytes(content)
    painted(pictures / "b.png", 7, mode="L")
    painted(pictures / "c.png", 7, mode="L")
    with pytest.raises((ValueError, OSError)), _decode.opened(pictures / name) as image:
        image.load()
    with contextlib.suppress(Mistake):  # an ending that is nobody's is only ignored
        loaded(pictures)
    assert not started and not trace.exists()


def test_pictures_are_opened_in_one_way():
    """Nobody else lets Pillow try every decoder it knows."""
    home = Path(_decode.__file__).parents[1]
    trying_all = r"\bImage\.open\((?!.*formats=)|\bimage_open\b|from PIL.Image import"
    callers = [path.name for path in home.rglob("*.py") if re.search(trying_all, path.read_text())]
    assert not callers and re.search(trying_all, "Image.open(path)")


def test_every_format_that_is_read_is_there_and_none_of_the_others():
    assert not {"EPS", "IPTC", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"} & set(_decode.formats())
    assert {"PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"} <= set(_decode.formats())
    assert (
        not {".eps", ".ps", ".iim", ".wmf"} & _decode.suffixes()
        and {".png", ".jpeg", ".tif"} <= _decode.suffixes()
    )


def test_heif_is_read_where_its_package_is_installed(tmp_path, monkeypatch):
    """The package registers a decoder; here it is one for PNGs behind a word."""

    def unwrapped(file, name):
        return PngImagePlugin.PngImageFile(io.BytesIO(file.read()[4:]))

    def register() -> None:
        Image.register_open("HEIF", unwrapped, lambda start: start[:4] == b"heic")
        Image.register_extension("HEIF", ".heic")

    for name in ("a", "b"):
        file = painted(tmp_path / f"{name}.png", 7, mode="L").rename(tmp_path / f"{name}.heic")
        file.write_bytes(b"heic" + file.read_bytes())
    before = dict(Image.OPEN), dict(Image.EXTENSION), list(Image.ID)
    monkeypatch.setitem(sys.modules, "pillow_heif", SimpleNamespace(register_heif_opener=register))
    _decode.formats.cache_clear()
    try:
        assert (
            ".heic" in _decode.suffixes()
            and (loaded(tmp_path).take("train", 1)["image"] == 7 / 127.5 - 1).all()
        )
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        _decode.formats.cache_clear()
        assert "HEIF" not in _decode.formats() and ".heic" not in _decode.suffixes()
    finally:
        Image.OPEN, Image.EXTENSION, Image.ID = before
        _decode.formats.cache_clear()


def test_folder_floating_point_pixels_are_refused(tmp_path):
    for name in "ab":
        Image.fromarray(np.ones((9, 9), np.float32)).save(tmp_path / f"{name}.tif")
    assert "floating-point pixels have no fixed range" in refusal(folder.Options(), tmp_path)


def test_folder_with_nothing_but_broken_pictures(tmp_path):
    for name in "abc":
        empty(tmp_path / f"{name}.png")
    text = refusal(folder.Options(skip_broken=True), tmp_path)
    assert (
        "holds too few usable pictures: 0" in text and "left out: 3: a.png (not a picture" in text
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_folder_that_may_not_be_read(tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    assert "cannot read the folder" in refusal(folder.Options(), tmp_path)


@pytest.mark.skipif(REAL is None, reason="SIMULACRA_DATA names no folder with the faces")
def test_faces():
    found = folder.Folder(folder.Options(path="faces"), Path(str(REAL)))
    assert found.size("train") + found.size("held_out") == 874
    assert found.pictures.moments.l2 == pytest.approx(33.17, abs=0.3)


def test_heic_without_its_package_is_called_so(tmp_path):
    """A picture of a telephone is neither damaged nor no picture; the folder says what reads it."""
    file = tmp_path / "a.heic"
    file.write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    says = "HEIC, which is read where the package pillow-heif is"
    with pytest.raises(ValueError, match=says), _decode.opened(file):
        pass
    assert ".heic are read where the package pillow-heif is installed" in refusal(
        folder.Options(), tmp_path
    )
