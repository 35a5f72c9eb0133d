"""The folder of a studio: what a person painted, what was found from it, and of which clip.

studio.json      the clip, so that no other one is painted into
masks/00012.png  what was painted on frame 12, saved at once: indexed, 0 surroundings, 1 to 8
found/00012.png  what was found there by the last run, and found.json how sure it is
layers/          what decompose makes of the masks
exports/1, 2 ... copies of layers and masks
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from simulacra.core import files, locks
from simulacra.core.errors import Mistake
from simulacra.io import paint as easel
from simulacra.io.clip import blaming
from simulacra.io.pictures import opened
from simulacra.studies._studio_labels import COLOURS, OBJECTS

ABOUT, MASKS, FOUND, SURE, LAYERS, EXPORTS, LAST = (
    *("studio.json", "masks", "found", "found.json", "layers", "exports", "last_run.json"),
)


def png(labels: np.ndarray) -> bytes:
    """Labels (H, W) uint8 as an indexed PNG."""
    image = Image.fromarray(labels, "P")
    rgb = [[int(one[i : i + 2], 16) for i in (1, 3, 5)] for one in COLOURS]
    image.putpalette([0, 0, 0, *(value for colour in rgb for value in colour)])
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def read_labels(path: Path, height: int, width: int) -> np.ndarray:
    """The labels (H, W) uint8 of an indexed PNG. A Mistake if it is none of this size."""
    with blaming(path), opened(path) as image:
        mode, found = image.mode, np.asarray(image)
    if mode != "P" or found.shape != (height, width) or found.max() > OBJECTS:
        raise Mistake(
            f"{path} is no mask of this studio; "
            f"allowed: an indexed picture of {width}x{height} with 0 to {OBJECTS}; remove it"
        )
    return found


def numbered(folder: Path, frames: int) -> dict[int, Path]:
    """The PNGs of a folder by their frame. A Mistake if one is of no frame of the clip."""
    found = {}
    for path in sorted(folder.glob("[!.]*.png")):
        if not (path.stem.isascii() and path.stem.isdecimal()) or int(path.stem) >= frames:
            raise Mistake(f"{path} is of no frame; allowed: 00000.png to {frames - 1:05d}.png")
        found[int(path.stem)] = path
    return found


class Folder:
    """What lies in the folder, held by one studio at a time."""

    def __init__(self, place: Path, name: str, frames: np.ndarray):
        """Claim a folder for a clip of frames (T, H, W, 3) uint8. A Mistake if it cannot be
        written, holds the work on another clip or something else, or is in use; or if a mask in it
        cannot be read."""
        self.place = place
        self.T, self.H, self.W, _ = frames.shape
        digest = hashlib.blake2b(np.ascontiguousarray(frames).data, digest_size=8).hexdigest()
        size = {"frames": self.T, "height": self.H, "width": self.W}
        self._claim({"clip": name, **size, "digest": digest})
        self.lock: IO[bytes] = (place / "lock").open("ab")
        if not locks.hold(self.lock):
            raise Mistake(
                f"another studio works in {place}; end it, or name another folder with -o"
            )
        self.notes: list[str] = []
        self.masks = {
            t: read_labels(path, self.H, self.W)
            for t, path in numbered(place / MASKS, self.T).items()
        }
        self.sure = self._found()

    def _claim(self, about: dict[str, Any]) -> None:
        path = self.place / ABOUT
        if self.place.exists() and not self.place.is_dir():
            raise Mistake(f"{self.place} is a file; a studio needs a folder")
        if not path.exists():
            there = [one for one in (MASKS, FOUND, LAYERS, EXPORTS) if (self.place / one).exists()]
            if there:
                raise Mistake(
                    f"{self.place} holds {', '.join(there)}, but no {ABOUT}, so that it is not "
                    "known of which clip; name another folder with -o"
                )
            easel.write(path, (json.dumps(about, indent=1) + "\n").encode())
            return
        try:
            known = json.loads(path.read_text("utf-8"))
            held = {key: known[key] for key in about}
        except (OSError, ValueError, KeyError, TypeError):
            raise Mistake(
                f"cannot read {path}; remove it, or name another folder with -o"
            ) from None
        if held | {"clip": ""} != about | {"clip": ""}:
            differ = [
                f"{key} {held[key]}, now {about[key]}"
                for key in ("clip", "frames", "width", "height")
                if held[key] != about[key]
            ]
            told = f" ({'; '.join(differ)})" if differ else ""
            raise Mistake(
                f"{self.place} holds the work on another clip, or at another size{told}; "
                "name another folder with -o"
            )

    def _found(self) -> dict[int, list[float]]:
        """How sure what was found is, by frame; what is damaged is left out, and said."""
        try:
            said = json.loads((self.place / SURE).read_text("utf-8"))
            sure = {int(t): [float(one) for one in values] for t, values in said.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError):
            self.notes.append(f"cannot read {self.place / SURE}; what was found is found anew")
            return {}
        good = {}
        for t, values in sorted(sure.items()):
            try:
                self.found(t)
                good[t] = values
            except Mistake as mistake:
                self.notes.append(f"{mistake}; it is found anew")
        return good

    def found(self, t: int) -> np.ndarray:
        """The labels (H, W) uint8 that were found in a frame."""
        return read_labels(self.place / FOUND / f"{t:05d}.png", self.H, self.W)

    def mask(self, t: int) -> Path:
        """Where the mask of a frame lies."""
        return self.place / MASKS / f"{t:05d}.png"

    def save(self, t: int, labels: np.ndarray | None) -> None:
        """Have a frame's mask (H, W) uint8 on the disk; None: have none."""
        if labels is None:
            self.mask(t).unlink(missing_ok=True)
            self.masks.pop(t, None)
        else:
            easel.write(self.mask(t), png(labels))
            self.masks[t] = labels

    def keep(self, found: dict[int, np.ndarray], sure: dict[int, list[float]]) -> None:
        """Have on the disk what was found in frames, and how sure all of it is."""
        for t, labels in found.items():
            easel.write(self.place / FOUND / f"{t:05d}.png", png(labels))
        files.write_text(self.place / SURE, json.dumps(sure) + "\n")
        self.sure = dict(sure)

    def given(self) -> dict[str, str]:
        """The masks' digests, by frame."""
        return {
            str(t): hashlib.blake2b(labels.tobytes(), digest_size=8).hexdigest()
            for t, labels in sorted(self.masks.items())
        }

    def ended(self, given: dict[str, str]) -> None:
        """Note from which masks the layers are."""
        files.write_text(self.place / LAST, json.dumps(given) + "\n")

    def last(self) -> dict[str, str] | None:
        """From which masks the layers are; None: there are none."""
        try:
            found = json.loads((self.place / LAST).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def facts(self) -> dict[str, Any]:
        """What quality.json of the layers says; nothing if there are none."""
        try:
            found = json.loads((self.place / LAYERS / "quality.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def export(self, parts: Sequence[str]) -> Path:
        """A new folder with copies of these parts of the folder; all of it is there, or none."""
        home = self.place / EXPORTS
        home.mkdir(parents=True, exist_ok=True)
        taken = [int(one.name) for one in home.iterdir() if one.name.isdecimal()]
        target = home / str(max(taken, default=0) + 1)
        partial = home / f".{target.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            for part in parts:
                shutil.copytree(
                    self.place / part, partial / part, ignore=shutil.ignore_patterns("work", ".*")
                )
            partial.rename(target)
        except (OSError, shutil.Error) as error:
            shutil.rmtree(partial, ignore_errors=True)
            why = getattr(error, "strerror", None) or "not all could be copied"
            raise Mistake(f"cannot write {target}: {why}") from None
        return target
