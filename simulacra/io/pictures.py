"""One picture file of any kind Pillow reads, as bytes of one size.

The first frame of several, turned as EXIF says, transparency laid on white, 16 bits a channel
brought to 8.
"""

import importlib
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

LEAST = 8  # pixels a side; less is an icon's corner or a tracking pixel
# what Pillow decodes in this process. Not among them: EPS starts Ghostscript, IPTC opens whatever
# it wraps (an EPS, too), BUFR, GRIB, HDF5, MPEG and WMF are only recognised, and need handlers or
# programs of others
FORMATS = [
    *("AVIF", "BLP", "BMP", "CUR", "DCX", "DDS", "DIB", "FITS", "FLI", "FTEX", "GBR", "GIF"),
    *("ICNS", "ICO", "IM", "IMT", "JPEG", "JPEG2000", "MCIDAS", "MPO", "MSP", "PCD", "PCX"),
    *("PIXAR", "PNG", "PPM", "PSD", "QOI", "SGI", "SPIDER", "SUN", "TGA", "TIFF", "WEBP"),
    *("XBM", "XPM", "XVTHUMB"),
]
FOREIGN = {  # how files begin that other programs draw
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"%PDF": "PDF",
    b"\xd7\xcd\xc6\x9a": "a Windows metafile",
    b"\x1c": "an IPTC record",
}
HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
SEQUENCES = "AVIF", "FLI", "GIF", "PNG", "TIFF", "WEBP"  # formats of animations and pages
BITS = 8, 10, 12, 14, 16
FULL = 65535
TURNED = 0x0112  # where EXIF says how the camera was held
WIDTH, HEIGHT = 256, 257  # of a TIFF
LYING = 5, 6, 7, 8  # what it says where width and height change places
OPENING = threading.Lock()  # what is done about warnings is the whole process's


class Header(NamedTuple):
    """What a file says about itself before its pixels are decoded."""

    size: tuple[int, int]  # width, height, upright
    mode: str  # Pillow's name of the pixel format
    peak: int = 0  # what a picture of more than 8 bits a channel reaches; 0 for others
    several: bool = False  # whether it is an animation or has pages, of which the first is taken


@cache
def formats() -> list[str]:
    """Pillow's names of the formats that are read, HEIF among them where pillow-heif is installed.
    No decoder of theirs starts another program."""
    Image.init()
    found = [kind for kind in FORMATS if kind in Image.OPEN]
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return found
    return [*found, "HEIF"] if "HEIF" in Image.OPEN else found


def suffixes() -> set[str]:
    """Every file name ending that stands for a picture, ".png" and so on."""
    known = formats()
    return {end for end, kind in Image.registered_extensions().items() if kind in known}


def foreign(path: Path) -> str:
    """Why a file that begins like this one is not read, "" if nothing is known of it."""
    with path.open("rb") as file:
        start = file.read(12)
    if start[4:8] == b"ftyp" and start[8:12] in HEIC:
        return "HEIC, which is read where the package pillow-heif is installed"
    kind = next((kind for first, kind in FOREIGN.items() if start.startswith(first)), "")
    return f"{kind}, which only other programs draw; save it as PNG" if kind else ""


@contextmanager
def opened(path: Path, only: tuple[str, ...] = ()) -> Iterator[Image.Image]:
    """A picture whose pixels are not decoded yet: the one way in which the laboratory opens picture
    files. Only the formats of `formats()`, or only those asked for, whatever the name says. A
    ValueError, UnidentifiedImageError or OSError if it is none of them, or of more pixels than
    Pillow takes for harmless."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError("no regular file")  # a pipe would be waited for
    # by its name Pillow would map a TIFF into memory, and scramble one that is to be turned
    with path.open("rb") as file:
        yield from _opened(path, file, only)


def _opened(path: Path, file: BinaryIO, only: tuple[str, ...]) -> Iterator[Image.Image]:
    """The picture in an open file."""
    try:
        with OPENING, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file, formats=only or formats())
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from None
    except UnidentifiedImageError:
        if why := foreign(path):
            raise ValueError(why) from None
        raise
    with image:
        most = Image.MAX_IMAGE_PIXELS
        if most and image.width * image.height > most:
            raise ValueError(
                f"{image.width}x{image.height} is too large; "
                f"allowed: at most {most / 1e6:.0f} million pixels"
            )
        yield image


def header(path: Path) -> Header:
    """Size and mode of a picture that is large enough."""
    with opened(path) as image:
        if min(image.size) < LEAST:
            raise ValueError(
                f"{image.width}x{image.height} is too small; "
                f"allowed: sides of at least {LEAST} pixels"
            )
        several = image.format in SEQUENCES and bool(getattr(image, "is_animated", False))
        return Header(
            extent(image),
            image.mode,
            reach(shades(values(path, image))) if is_deep(image) else 0,
            several,
        )


def extent(image: Image.Image) -> tuple[int, int]:
    """Width and height of a picture that is upright. Of a TIFF some versions of Pillow say them as
    it lies and some as it stands; its own tags say how it lies."""
    tags: Any = getattr(image, "tag_v2", None)
    width, height = (tags[WIDTH], tags[HEIGHT]) if tags else image.size
    # Pillow would decode a PNG whole to look for what may come after its pixels
    told = image.format != "PNG" or "exif" in image.info
    lying = told and image.getexif().get(TURNED) in LYING
    return (height, width) if lying else (width, height)


def is_grey(mode: str) -> bool:
    """Whether pixels of this mode can hold no colour."""
    return mode[0] in "1LIF" and mode != "LAB"


def is_deep(image: Image.Image) -> bool:
    """Whether the file keeps more than 8 bits a channel.
    Of colours Pillow reads the upper 8 alone."""
    return image.mode[0] == "I" or any(";16" in str(tile[3]) for tile in getattr(image, "tile", []))


def values(path: Path, image: Image.Image) -> np.ndarray:
    """A deep picture's values as the file holds them:
    (H, W) or (H, W, 3 or 4), whole numbers from 0 to 65535."""
    if image.mode[0] == "I":
        found = np.asarray(image)
        if found.min() < 0 or found.max() > FULL:
            raise ValueError(
                f"grey values from {found.min()} to {found.max()}; allowed: 0 to {FULL}"
            )
        return found
    import cv2  # a tenth of a second that most folders need not pay

    read = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if read is None or read.dtype != np.uint16 or read.shape[:2] != image.size[::-1]:
        raise ValueError("16 bits a channel in a form that is not read; allowed: PNG and TIFF")
    # OpenCV's colours are blue, green, red
    return read if read.ndim == 2 else read[..., [2, 1, 0, 3][: read.shape[2]]]


def shades(found: np.ndarray) -> np.ndarray:
    """A deep picture's values without their opacity, which has a range of its own."""
    return found if found.ndim == 2 else found[..., :3]


def reach(found: np.ndarray) -> int:
    """The greatest of a deep picture's values;
    65535 if all are multiples of 257, as 8 bits spread over 16 are."""
    most = int(found.max())
    return FULL if most and not (found % 257).any() else most


def top(peaks: Iterable[int]) -> int:
    """What value is white in deep pictures that belong together, by their greatest values: cameras
    and scanners keep 8, 10, 12 or 14 bits in files of 16."""
    most = max(peaks, default=0)
    return next((2**bits - 1 for bits in BITS if most < 2**bits), FULL)


def eight_bits(image: Image.Image, white: int = FULL) -> Image.Image:
    """The picture, 16-bit grey brought to 8 bits; `white` is the value that becomes 255."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range; allowed: 8 or 16 bits")
    if image.mode[0] != "I":
        return image
    grey = np.asarray(image)
    if grey.min() < 0 or grey.max() > white:
        raise ValueError(f"grey values from {grey.min()} to {grey.max()}; allowed: 0 to {white}")
    shown = (
        (grey * (255 / white)).round().astype(np.uint8)
        if white < FULL
        else (grey / 257).round().astype(np.uint8)
    )
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        shown[grey == clear] = 255
    return turned_as(image, Image.fromarray(shown))


def turned_as(image: Image.Image, shown: Image.Image) -> Image.Image:
    """Another picture of the same, with what EXIF says of how the camera was held."""
    shown.getexif()[TURNED] = image.getexif().get(TURNED, 1)
    return shown


def eight_bits_of(path: Path, image: Image.Image, white: int) -> Image.Image:
    """The same of any picture, colours included."""
    if image.mode[0] in "IF" or white == FULL or not is_deep(image):
        return eight_bits(image, white)
    found = values(path, image)
    if shades(found).max() > white:
        raise ValueError(f"values up to {shades(found).max()}; allowed: 0 to {white}")
    ranges = np.full(1 if found.ndim == 2 else found.shape[2], float(white))
    # opacity of 16 bits beside colours of fewer
    ranges[3:] = white if found[..., 3:].max(initial=0) <= white else FULL
    return turned_as(image, Image.fromarray((found * (255 / ranges)).round().astype(np.uint8)))


def on_white(image: Image.Image) -> Image.Image:
    """The picture without transparency, white behind it."""
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)


def fitted(image: Image.Image, size: int, fit: str) -> Image.Image:
    """The picture as a square of `size` pixels, antialiased:
    its centre, all of it on white, or stretched."""
    square, smooth = (size, size), Image.Resampling.BICUBIC
    if fit == "crop":
        return ImageOps.fit(image, square, smooth)
    return (
        ImageOps.pad(image, square, smooth, color="white")
        if fit == "pad"
        else image.resize(square, smooth)
    )


def decode(
    path: Path,
    mode: str,
    size: int,
    fit: str,
    white: int = FULL,
    held: BinaryIO | None = None,  # the picture, where `path` only names what it is a part of
) -> np.ndarray:
    """The picture as (C, size, size) uint8, one channel for mode "L", three for "RGB"; `white` is
    the value that becomes 255 in pictures of more than 8 bits a channel."""
    with opened(path) if held is None else contextmanager(_opened)(path, held, ()) as image:
        # a large JPEG is decoded at a fraction of its size, several times faster
        image.draft(None, (2 * size, 2 * size))
        upright = ImageOps.exif_transpose(eight_bits_of(path, image, white))
        pixels = np.asarray(fitted(on_white(upright).convert(mode), size, fit))
    return pixels.reshape(size, size, -1).transpose(2, 0, 1)
