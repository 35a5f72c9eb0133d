"""The one reader of masks: what of a picture is the object, whatever its mode and format,
and what makes one doubt it."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from simulacra.core.errors import Mistake
from simulacra.io.clip_and_mask import read_mask
from simulacra.io.mask import BRIGHT, HALF, INDEX, TRANSPARENCY, objects, read, read_file

H, W = 56, 88
OBJECT = np.zeros((H, W), bool)  # an ellipse, off the middle
OBJECT[
    (
        (np.mgrid[:H, :W] - np.array([22, 50])[:, None, None]) ** 2
        / np.array([13, 20])[:, None, None] ** 2
    ).sum(0)
    < 1
] = True


def grey(value: int = 255, ground: int = 0) -> Image.Image:
    return Image.fromarray(np.where(OBJECT, value, ground).astype(np.uint8))


def flat(value: int) -> Image.Image:
    return Image.new("L", (W, H), value)


def stored(image: Image.Image, kind: str, **how: object) -> Image.Image:
    """The picture as a file of this format gives it back."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return Image.open(buffer)


def palette(indices: np.ndarray, colours: list[int], **how: object) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8)).copy()
    image.putpalette(colours)
    return stored(image, "PNG", **how)


def agreement(mask: np.ndarray) -> float:
    return float((mask & OBJECT).sum() / (mask | OBJECT).sum())


EXACT = {
    "white on black": grey(),
    "dark grey on black": grey(40),
    "1 of 255": grey(1),
    "bits": Image.fromarray(OBJECT),
    "16 bits": Image.fromarray(OBJECT.astype(np.uint16) * 65535),
    "1 of 65535": Image.fromarray(OBJECT.astype(np.uint16)),
    "32 bits": Image.fromarray(OBJECT.astype(np.int32) * 1000),
    "floats": Image.fromarray(OBJECT.astype(np.float32)),
    "not quite black": grey(235, 16),
    "black on transparency": Image.merge("RGBA", (flat(0), flat(0), flat(0), grey())),
    "a thin red on transparency": Image.merge("RGBA", (flat(255), flat(0), flat(0), grey(80))),
    "LA, black": Image.merge("LA", (flat(0), grey())),
    "LA, opaque": Image.merge("LA", (grey(), flat(255))),
    "RGBA, all of it transparent": Image.merge("RGBA", (grey(), grey(), grey(), flat(0))),
    "green": Image.merge("RGB", (flat(0), grey(3), flat(0))),
    "CMYK": grey().convert("RGB").convert("CMYK"),
    "palette": palette(OBJECT, [0, 0, 0, 128, 0, 0]),
    "palette, white first": palette(~OBJECT, [255, 255, 255, 0, 0, 0]),
    "palette, index 0 transparent": palette(OBJECT, [0, 0, 0, 0, 0, 0], transparency=0),
    "palette, index 1 transparent": palette(~OBJECT, [0, 0, 0, 255, 255, 255], transparency=1),
    "palette, alpha of each": palette(
        ~OBJECT, [9, 9, 9, 255, 255, 255], transparency=bytes([255, 0])
    ),
    "a transparent colour": stored(grey().convert("RGB"), "PNG", transparency=(0, 0, 0)),
    "GIF": stored(grey(), "GIF"),
    "WebP, lossless": stored(grey().convert("RGB"), "WEBP", lossless=True),
    "JPEG 95": stored(grey(), "JPEG", quality=95),
    "JPEG 75, red": stored(Image.merge("RGB", (grey(), flat(0), flat(0))), "JPEG", quality=75),
    "JPEG 95, saved again as PNG": stored(stored(grey(), "JPEG", quality=95), "PNG"),
    "JPEG 98, saved again as PNG": stored(stored(grey(), "JPEG", quality=98), "PNG"),
    "JPEG 50": stored(grey(), "JPEG", quality=50),
    "JPEG, CMYK": stored(grey().convert("RGB").convert("CMYK"), "JPEG", quality=95),
}


@pytest.mark.parametrize("kind", EXACT)
def test_every_kind_of_mask_shows_the_same_object(kind: str) -> None:
    reading = read(EXACT[kind])
    assert np.array_equal(reading.mask, OBJECT), (agreement(reading.mask), reading.rule)
    assert not reading.notes and reading.mask.dtype == bool


def test_which_rule_decided() -> None:
    rules = {
        "black on transparency": TRANSPARENCY,
        "palette": INDEX,
        "1 of 255": BRIGHT,
        "JPEG 95": HALF,
    }
    assert {kind: read(EXACT[kind]).rule for kind in rules} == rules


@pytest.mark.parametrize("steps", [1, 64])
def test_edges_count_from_half(steps: int) -> None:
    """A mask of four times the size, averaged, has grey edges;
    the area is that of the whole, within a tenth of the outline."""
    large = np.kron(OBJECT, np.ones((16, 16))).astype(np.float32)
    y, x = np.mgrid[: 16 * H, : 16 * W]
    large = (((y / 16 - 22.3) / 13) ** 2 + ((x / 16 - 50.7) / 20) ** 2 < 1).astype(np.float32)
    soft = large.reshape(H, 16, W, 16).mean((1, 3)) * 255
    image = Image.fromarray((np.round(soft / steps) * steps).clip(0, 255).astype(np.uint8))
    true = large.sum() / 256
    assert abs(objects(image).sum() - true) < 0.015 * true, (objects(image).sum(), true)
    alpha = Image.merge("RGBA", (flat(0), flat(0), flat(0), image))
    assert np.array_equal(objects(alpha), objects(image)), "opacity as brightness"


def test_a_blurred_mask_is_cut_at_half() -> None:
    reading = read(grey().filter(ImageFilter.GaussianBlur(3)))
    assert reading.rule == HALF and agreement(reading.mask) > 0.95 and not reading.notes


def test_labels_of_any_grey_are_objects() -> None:
    """Also a darker one beside a brighter one, a thin one, and twenty of them."""
    image = np.zeros((H, W), np.uint8)
    image[10:30, 10:40], image[30:50, 20:60], image[5, 50:80] = 38, 75, 113
    assert np.array_equal(objects(Image.fromarray(image)), image > 0)
    for i in range(20):
        image[4 + 12 * (i // 5) : 14 + 12 * (i // 5), 4 + 16 * (i % 5) : 18 + 16 * (i % 5)] = (
            10 + 12 * i
        )
    assert np.array_equal(objects(Image.fromarray(image)), image > 0)


def test_files_are_turned_as_exif_says_and_the_first_of_several_is_read(tmp_path: Path) -> None:
    tag = Image.Exif()
    tag[0x0112] = 6  # to be turned clockwise
    grey().transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=tag)
    assert np.array_equal(read_file(tmp_path / "turned.png").mask, OBJECT)
    grey().save(tmp_path / "three.gif", save_all=True, append_images=[flat(200), flat(0)])
    reading = read_file(tmp_path / "three.gif")
    assert np.array_equal(reading.mask, OBJECT) and reading.notes == [
        "it holds 3 pictures, of which the first is read"
    ]


def photograph(seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (7, 11, 3), np.uint8)
    return Image.fromarray(coarse).resize((W, H), Image.Resampling.BICUBIC)


def test_what_makes_one_doubt() -> None:
    for image in (
        photograph(),
        photograph().convert("L"),
        stored(photograph(), "JPEG"),
        stored(photograph(), "GIF"),
    ):
        assert any("photograph" in note for note in read(image).notes), image.mode
    notes = read(grey(0, 255)).notes
    assert (
        len(notes) == 1
        and "most of its border; if the object is what was left out, invert it" in notes[0]
    )
    large = np.zeros((H, W), bool)
    large[3:-3, 3:-3] = True
    assert read(Image.fromarray(large)).notes == [f"it covers {large.mean():.1%} of the frame"]
    two = np.zeros((H, W), np.uint8)
    two[5:30, 5:30], two[30:50, 40:70] = 255, 100
    assert "evenly dark" in " ".join(read(stored(Image.fromarray(two), "JPEG", quality=90)).notes)
    assert "its brightest value is" in " ".join(read(stored(grey(9), "JPEG", quality=90)).notes)


def test_values_that_no_mask_has(tmp_path: Path) -> None:
    Image.fromarray(np.full((H, W), np.nan, np.float32)).save(tmp_path / "nan.tif")
    with pytest.raises(Mistake, match="no finite numbers"):
        read_file(tmp_path / "nan.tif")
    Image.fromarray(np.full((H, W), -3, np.int32)).save(tmp_path / "below.tif")
    with pytest.raises(Mistake, match="values from -3; allowed: 0 and more"):
        read_file(tmp_path / "below.tif")


def test_other_sizes(tmp_path: Path) -> None:
    grey().resize((2 * W, 2 * H), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    shown = read_mask(tmp_path / "large.png", H, W)
    assert (
        np.array_equal(shown.labels.numpy(), OBJECT)
        and "resized" in shown.notes[-1]
        and "ratio" not in shown.notes[-1]
    )
    assert "covers" in shown.notes[0] and shown.notes[0].startswith(BRIGHT)
    for size, says in (
        ((W, W), "another ratio of width to height than the clip, and"),
        ((H, W), "turned by 90 degrees"),
    ):
        grey().resize(size).save(tmp_path / "other.png")
        assert says in read_mask(tmp_path / "other.png", H, W).notes[-1]
    grey().resize((W, 2 * H)).save(tmp_path / "stored.png")
    assert "ratio" not in read_mask(tmp_path / "stored.png", H, W, (W // 2, H)).notes[-1], (
        "as the film is stored"
    )
    tiny = np.zeros((4 * H, 4 * W), np.uint8)
    tiny[8, 8] = 255
    Image.fromarray(tiny).save(tmp_path / "tiny.png")
    with pytest.raises(Mistake, match=f"empty at {W}x{H}, the clip's size"):
        read_mask(tmp_path / "tiny.png", H, W)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("label", [1, 200, 65535])
@pytest.mark.parametrize("end", ["png", "tif"])
def test_labels_in_colours_of_16_bits_are_read(tmp_path, channels, label, end):
    """Pillow keeps the upper 8 bits of them, in which 1 and 200 are black."""
    import cv2

    found = np.zeros((*OBJECT.shape, channels), np.uint16)
    if channels == 4:
        found[..., :3] = 65535
    found[..., -1 if channels == 4 else 0][OBJECT > 0] = label
    cv2.imwrite(str(tmp_path / f"mask.{end}"), found)
    reading = read_file(tmp_path / f"mask.{end}")
    assert (reading.mask == (OBJECT > 0)).all()
    assert reading.rule == (TRANSPARENCY if channels == 4 else BRIGHT)
