"""One picture file of any kind Pillow reads, as bytes of one size.

The first frame of several, turned as EXIF says, transparency laid on white, 16-bit grey brought to 8 bits.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

LEAST = 8  # pixels a side; less is an icon's corner or a tracking pixel
KNOWN = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}  # formats Pillow recognises, but needs other programs to decode


class Header(NamedTuple):
    """What a file says about itself before its pixels are decoded."""

    size: tuple[int, int]  # width, height
    mode: str  # Pillow's name of the pixel format


def suffixes() -> set[str]:
    """Every file name ending that stands for a picture, ".png" and so on."""
    Image.init()
    return {end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN and kind not in KNOWN}


def header(path: Path) -> Header:
    """Size and mode of a picture that is large enough."""
    with Image.open(path) as image:
        if min(image.size) < LEAST:
            raise ValueError(f"{image.width}x{image.height} is too small; allowed: sides of at least {LEAST} pixels")
        return Header(image.size, image.mode)


def is_grey(mode: str) -> bool:
    """Whether pixels of this mode can hold no colour."""
    return mode[0] in "1LIF" and mode != "LAB"


def eight_bits(image: Image.Image) -> Image.Image:
    """The picture, 16-bit grey brought to 8 bits."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range; allowed: 8 or 16 bits")
    if image.mode[0] != "I":
        return image
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"grey values from {values.min()} to {values.max()}; allowed: 0 to 65535")
    return Image.fromarray((values / 257).round().astype(np.uint8))


def on_white(image: Image.Image) -> Image.Image:
    """The picture without transparency, white behind it."""
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)


def fitted(image: Image.Image, size: int, fit: str) -> Image.Image:
    """The picture as a square of `size` pixels, antialiased: its centre, all of it on white, or stretched."""
    square, smooth = (size, size), Image.Resampling.BICUBIC
    if fit == "crop":
        return ImageOps.fit(image, square, smooth)
    return ImageOps.pad(image, square, smooth, color="white") if fit == "pad" else image.resize(square, smooth)


def decode(path: Path, mode: str, size: int, fit: str) -> np.ndarray:
    """The picture as (C, size, size) uint8, one channel for mode "L", three for "RGB"."""
    with Image.open(path) as image:
        image.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded at a fraction of its size, several times faster
        upright = ImageOps.exif_transpose(image)
        pixels = np.asarray(fitted(on_white(eight_bits(upright)).convert(mode), size, fit))
    return pixels.reshape(size, size, -1).transpose(2, 0, 1)
