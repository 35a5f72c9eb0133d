"""Layered OpenEXR, a file a frame: the composite as the picture itself, and each layer by its name.

Values stay encoded as the layers are (sRGB, or as the clip's tags say), and are not made linear:
the layers were taken apart in that encoding, and only there does "over" make the frame again.
Colours are multiplied by opacity, as the format has it. All are half floats: three of them make a
composite to within 1/1365.
"""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from simulacra.core.errors import Mistake
from simulacra.io.origin import UNSAID, Colours

# x and y of red, green, blue and white, by code point of the primaries
PRIMARIES = {
    1: (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, 0.3127, 0.3290),
    6: (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, 0.3127, 0.3290),
    9: (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.3290),
    11: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.314, 0.351),
    12: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.3290),
}
TRANSFERS = {
    1: "BT.709",
    6: "BT.709",
    8: "linear",
    13: "sRGB",
    14: "BT.709",
    15: "BT.709",
    16: "PQ",
    18: "HLG",
}
SRGB = 13


def attributes(colours: Colours | None, rate: Fraction) -> dict[str, Any]:
    """What a file says of its values: in words, as chromaticities, and by the name that colour
    management knows, if it has one."""
    primaries, transfer = (colours.primaries, colours.transfer) if colours else (1, SRGB)
    encoding = TRANSFERS.get(transfer, "sRGB" if transfer == UNSAID else f"H.273 code {transfer}")
    found: dict[str, Any] = {
        "framesPerSecond": rate,
        "simulacraEncoding": encoding,
        "comments": f"Values are {encoding}-encoded, not linear; colours are multiplied by opacity."
        " To get the composite, read the values raw, put the layers over each other, then make the"
        " result linear.",
    }
    if primaries == UNSAID:
        primaries = 1
    if primaries in PRIMARIES:
        found["chromaticities"] = PRIMARIES[primaries]
    if encoding == "sRGB" and primaries == 1:
        found["colorInteropID"] = "srgb_rec709_scene"
    return found


def save(
    path: Path,
    picture: np.ndarray,  # (H, W, 3)
    layers: Mapping[str, np.ndarray],  # (H, W, 3), or (H, W, 4) multiplied by opacity
    said: Mapping[str, Any],  # its attributes
) -> Path:
    """The path of a frame with layers, all of them floats. A Mistake if it cannot be written; what
    was written of it is then still there."""
    import OpenEXR

    channels = {
        name: np.ascontiguousarray(values, np.float16)
        for name, values in {"RGB": picture, **layers}.items()
    }
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **said}
    try:
        with OpenEXR.File(header, channels) as file:
            file.write(str(path))
    except RuntimeError as error:
        why = str(error).replace(str(path), "").strip(' ".')
        raise Mistake(f"cannot write {path}: {why}") from None
    return path
