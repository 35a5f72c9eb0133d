"""Studio: a page on which one person paints an object into a clip, has it followed, corrects what
is wrong, and takes the layers away. The server is that of `io/local_server`, the work is done by a
process of its own (`_studio_work`), and all that was painted is on the disk at once
(`_studio_folder`).
"""

import contextlib
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from simulacra.core.errors import Mistake, shown
from simulacra.io.clip_and_mask import read_clip
from simulacra.io.local_server import LocalServer
from simulacra.studies._studio_folder import LAYERS, MASKS, Folder
from simulacra.studies._studio_labels import COLOURS, OBJECTS, from_runs, to_runs

PORT = 8643
PAGES = Path(__file__).parent / "pages"
CHILD = sys.executable, "-m", "simulacra.studies._studio_work"
PARTS = "matte", "foreground", "background", "composite", "effects"  # folders of layers to look at
OF_OBJECTS = [
    f"objects/{k}/{part}" for k in range(1, OBJECTS + 1) for part in ("matte", "foreground")
]
EVERY = 1.0  # seconds between writings of what was found
LABELS = re.compile(r"(state|mask|found)/(\d{1,9})\.json")
PICTURE = re.compile(r"((?:objects/[1-8]/)?[a-z]+)/(\d{1,9})\.png")
LOG = "work.log"


class Studio:
    """A clip, what is painted and found of it, and the process at work. `give` and `take` are what
    a LocalServer needs; `end` stops the process."""

    def __init__(
        self,
        path: Path,
        place: Path,
        *,
        longest: int = 432,
        frames: int = 0,
        fast: bool = False,
        child: Sequence[str] = CHILD,
    ):
        """Read the clip, its longer side reduced to at most `longest` pixels, and claim the folder
        `place`. `child` is the command that does the work, as `_studio_work` says. A Mistake if
        either cannot be."""
        clip = read_clip(path, longest, frames)
        self.frames = clip.frames[:].permute(0, 2, 3, 1).contiguous().numpy()  # (T, H, W, 3)
        self.T, self.H, self.W, _ = self.frames.shape
        self.folder = Folder(place, path.name, self.frames)
        self.notes = [*clip.notes, *self.folder.notes]
        self.about = {
            "name": path.name,
            "frames": self.T,
            "height": self.H,
            "width": self.W,
            "fps": clip.fps or 24.0,
            "colours": COLOURS,
        }
        self.order = {
            "clip": str(path),
            "out": str(place / LAYERS),
            "longest": longest,
            "frames": frames,
            "fast": fast,
        }
        self.child = child
        self.process: subprocess.Popen[str] | None = None
        self.lock = threading.RLock()
        self.version = 1
        self.seen = dict.fromkeys([*self.folder.masks, *self.folder.sure], 1)  # frames' versions
        self.sure = dict(self.folder.sure)  # of the objects of each frame
        self.old = set[int]()  # frames whose masks are of an earlier run than the one at work
        self.fresh: dict[int, np.ndarray] = {}  # found, not yet on the disk
        self.kept = 0.0  # when they were last written
        self.run: dict[str, Any] = {"stage": "", "share": 0.0, "error": "", "told": []}
        self.made = 1  # the layers' version
        self.exported = ""

    # what the page asks for

    def give(self, name: str) -> bytes | Path | None:
        """The page, a script, a frame, labels, a layer, or the state if it is another one than that
        of a version."""
        if name in PAGE:
            return PAGE[name].read_bytes()
        if name == "clip.json":
            return json.dumps(self.about | {"notes": self.notes}).encode()
        if asked := PICTURE.fullmatch(name):
            return self._picture(asked[1], int(asked[2]))
        if not (asked := LABELS.fullmatch(name)):
            return None
        if asked[1] == "state":
            unchanged = int(asked[2]) == self.version
            return b"{}" if unchanged else json.dumps(self.state()).encode()
        return self._labels(asked[1], int(asked[2]))

    def _picture(self, part: str, t: int) -> bytes | Path | None:
        if t >= self.T or part not in ("frame", *PARTS, *OF_OBJECTS):
            return None
        if part == "frame":
            buffer = BytesIO()  # quickly: it goes no further than to this machine's browser
            Image.fromarray(self.frames[t]).save(buffer, "PNG", compress_level=1)
            return buffer.getvalue()
        path = self.folder.place / LAYERS / part / f"{t:05d}.png"
        return path if path.is_file() and not path.is_symlink() else None

    def _labels(self, kind: str, t: int) -> bytes | None:
        with self.lock:
            if kind == "mask":
                labels = self.folder.masks.get(t)
            elif t in self.fresh:
                labels = self.fresh[t]
            else:
                labels = None
                with contextlib.suppress(Mistake):  # what somebody damaged meanwhile
                    labels = self.folder.found(t) if t in self.sure else None
        return None if labels is None else json.dumps(to_runs(labels)).encode()

    def state(self) -> dict[str, Any]:
        """All that the page shows besides pictures."""
        with self.lock:
            given, last, facts = self.folder.given(), self.folder.last(), self.folder.facts()
            current = bool(facts) and last == given and not self.process
            there = [
                one for one in (*PARTS, *OF_OBJECTS) if (self.folder.place / LAYERS / one).is_dir()
            ]
            return {
                "version": self.version,
                "masks": {t: self.seen[t] for t in self.folder.masks},
                "found": {
                    t: {"version": self.seen[t], "sure": values, "old": t in self.old}
                    for t, values in self.sure.items()
                },
                "objects": max((int(one.max()) for one in self.folder.masks.values()), default=0),
                "running": self.process is not None,
                **self.run,
                "layers": {"version": self.made, "parts": there if facts else []},
                "current": current,
                "advised": self._advised(facts if current else {}),
                "without": facts.get("without_object", []) if current else [],
                "warnings": facts.get("warnings", []) if current else [],
                "exported": self.exported,
            }

    def _advised(self, facts: dict[str, Any]) -> int | None:
        """The frame whose mask would help most: as the layers say, or that with the least sure."""
        if "advised" in facts:
            return facts["advised"] if isinstance(facts["advised"], int) else None
        left = {t: min(one) for t, one in self.sure.items() if t not in self.folder.masks and one}
        worst = min(left, key=lambda t: (left[t], t), default=None)
        return None if worst is None or left[worst] >= 1 else worst

    # what the page sends

    def take(self, name: str, content: bytes) -> bytes | None:
        """Do what the page sends, and answer with the state or, to a box, with labels."""
        acts: dict[str, Callable[[dict[str, Any]], Any]] = {
            "mask": self._paint,
            "remove": self._remove,
            "propose": self._propose,
            "start": lambda told: self.start(),
            "stop": lambda told: self.stop(),
            "export": lambda told: self.export(),
        }
        if name not in acts:
            return None
        try:
            told = json.loads(content or b"{}")
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise Mistake("what was sent is no JSON object")
        try:
            with self.lock if name != "propose" else contextlib.nullcontext():
                found = acts[name](told)
                return json.dumps(self.state() if found is None else found).encode()
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise Mistake(f"{where}{error.strerror or error}") from None

    def _frame(self, told: dict[str, Any]) -> int:
        t = told.get("frame")
        if type(t) is not int or not 0 <= t < self.T:
            raise Mistake(f"frame {shown(t)}; the clip has 0 to {self.T - 1}")
        return t

    def _object(self, told: dict[str, Any]) -> int:
        k = told.get("object")
        if type(k) is not int or not 1 <= k <= OBJECTS:
            raise Mistake(f"object {shown(k)}; allowed: 1 to {OBJECTS}")
        return k

    def _paint(self, told: dict[str, Any]) -> None:
        t, runs = self._frame(told), told.get("runs")
        self.folder.save(t, None if runs is None else from_runs(runs, self.H, self.W))
        self._changed(t)

    def _remove(self, told: dict[str, Any]) -> None:
        """Take an object out of all masks, painted and found; those after it move up."""
        k = self._object(told)
        if self.process:
            raise Mistake("it runs; stop it before an object is removed")

        def without(labels: np.ndarray) -> np.ndarray:
            return np.where(labels == k, 0, labels - (labels > k)).astype(np.uint8)

        for t, labels in [*self.folder.masks.items()]:
            rest = without(labels)
            self.folder.save(t, None if labels.any() and not rest.any() else rest)
        found = {t: without(self.folder.found(t)) for t, one in self.sure.items() if one}
        self.sure = {t: [min(one)] for t, one in self.sure.items() if one}
        self.folder.keep(found, self.sure)
        for t in self.seen:
            self._changed(t)

    def _propose(self, told: dict[str, Any]) -> list[int]:
        from simulacra.video.propose import propose

        t, box = self._frame(told), told.get("box")
        if not isinstance(box, list) or len(box) != 4 or any(type(one) is not int for one in box):
            raise Mistake("a box is four whole numbers: left, top, right, bottom")
        left, top, right, bottom = box
        return to_runs(propose(self.frames[t], (left, top, right, bottom)).astype(np.uint8))

    def export(self) -> None:
        """Copy layers and masks into a new folder. A Mistake if there are no layers."""
        if not self.folder.facts():
            raise Mistake("there are no layers yet; start, and wait until they are made")
        if self.process:
            raise Mistake("the layers are being made; wait for them, or stop")
        self.exported = str(self.folder.export((LAYERS, MASKS)))
        self._changed()

    # the work

    def start(self) -> None:
        """Have the masks followed and layers made. A Mistake if no mask shows an object."""
        if self.process:
            raise Mistake("it runs already")
        used = sorted({int(one) for mask in self.folder.masks.values() for one in np.unique(mask)})
        names = [one for one in used if one]
        if not names:
            raise Mistake("nothing is painted yet; paint the object in one frame")
        masks = {t: str(self.folder.mask(t)) for t in self.folder.masks}
        order = self.order | {"masks": masks, "names": names}
        given = self.folder.given()
        with (self.folder.place / LOG).open("wb") as log:
            self.process = subprocess.Popen(
                self.child,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # so that Ctrl-C reaches the studio alone
                encoding="utf-8",
            )
        self.old = set(self.sure)
        self.run = {"stage": "starting", "share": 0.0, "error": "", "told": []}
        self._changed()
        threading.Thread(target=self._hear, args=(self.process, order, given), daemon=True).start()

    def stop(self) -> None:
        """End the work; what is finished of it stays, and a new start goes on from there."""
        process, self.process = self.process, None
        if process:
            process.kill()
            process.wait()
            self._write()
            self.run["stage"] = "stopped"
            self._changed()

    def _hear(
        self, process: "subprocess.Popen[str]", order: dict[str, Any], given: dict[str, str]
    ) -> None:
        """Give the order, and hear of the work until it ends."""
        assert process.stdin and process.stdout
        said, why = False, ""
        try:
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                with self.lock:
                    if process is not self.process:
                        return
                    event = json.loads(line)
                    said = said or "done" in event or "error" in event
                    self._event(event, given)
        except Mistake as mistake:  # what was found cannot be written
            why = str(mistake)
        except (OSError, ValueError, KeyError) as error:
            why = f"the work cannot be heard ({shown(str(error), quoted=False)})"
        finally:
            if why:
                process.kill()
            with contextlib.suppress(OSError):  # of an order that nobody read
                process.stdin.close()
            code = process.wait()
            with self.lock:
                if process is self.process:
                    self.process = None
                    try:
                        self._write()
                    except (Mistake, OSError) as error:
                        why = why or str(error)
                    if why or not said:
                        self.run["error"] = why or self._last_words(code)
                    self._changed()

    def _event(self, event: dict[str, Any], given: dict[str, str]) -> None:
        if "frame" in event:
            t = int(event["frame"])
            self.fresh[t] = from_runs(event["runs"], self.H, self.W)
            self.sure[t] = [float(one) for one in event["sure"]]
            self.old.discard(t)
            self._changed(t)
        elif "stage" in event:
            self.run["stage"], self.run["share"] = str(event["stage"]), float(event["share"])
        elif "note" in event:
            self.run["told"] = [*self.run["told"], str(event["note"])]
        elif "error" in event:
            self.run["error"] = str(event["error"])
        elif "done" in event:
            self.folder.ended(given)
            self.made += 1
            self.run["stage"], self.run["share"] = "done", 1.0
        if time.monotonic() - self.kept > EVERY:
            self._write()
        self._changed()

    def _last_words(self, code: int) -> str:
        lines = (self.folder.place / LOG).read_text("utf-8", "replace").strip().splitlines()
        why = f": {shown(lines[-1], quoted=False)}" if lines else ""
        return f"the work ended early, with status {code}{why}"

    def _write(self) -> None:
        """Have what was found on the disk."""
        if self.fresh:
            self.folder.keep(self.fresh, self.sure)
            self.fresh = {}
        self.kept = time.monotonic()

    def _changed(self, t: int | None = None) -> None:
        self.version += 1
        if t is not None:
            self.seen[t] = self.version

    def end(self) -> None:
        """End the work, if there is any."""
        with self.lock:
            self.stop()


def _page() -> dict[str, Path]:
    """The files of the page, by their names."""
    own = {path.name: path for path in (PAGES / "studio").iterdir() if path.is_file()}
    return own | {"notebook.css": PAGES / "notebook.css"}


PAGE = _page()


def studio(
    path: Path,
    place: Path,
    port: int = PORT,
    *,
    longest: int = 432,
    frames: int = 0,
    fast: bool = False,
    child: Sequence[str] = CHILD,
) -> tuple[LocalServer, Studio]:
    """A server of the page for a clip, whose `run` answers, and the studio behind it, to be ended
    with `end`. A Mistake if the clip cannot be read, the folder `place` not be worked in, or the
    port is taken."""
    made = Studio(path, place, longest=longest, frames=frames, fast=fast, child=child)
    return LocalServer(made.give, port, take=made.take), made
