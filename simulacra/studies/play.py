"""Play: a run as one page that opens from disk and asks nothing of any other place.

A world is a dream to drive, a model of futures six of them for a picture that one draws, a
generator a walk through z. The page computes the nets itself: what it is told of them comes from
`_play_kinds`, how they are written from `_play_graph`, and the script is pages/play/*.js.
"""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from simulacra.core import contract
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened, able
from simulacra.io.paint import write
from simulacra.studies import _play_kinds
from simulacra.studies._play_graph import Blob

MOST = 5_000_000  # bytes of a page
PAGES = Path(__file__).parent / "pages" / "play"
ENGINE = "simd", "machine", "layers", "luck", "gif", "common"
SCRIPTS = {"world": ("dream", "hands", "world"), "futures": ("futures",), "walk": ("walk",)}
HEADINGS = {"world": "a dream to drive", "futures": "six futures", "walk": "a walk through z"}
LABELS = {
    "world": "What the dream shows now",
    "futures": "A picture to draw on",
    "walk": "The picture of z",
}


class Played(NamedTuple):
    """A page that was written."""

    path: Path
    size: int  # bytes
    notes: list[str]


def play(
    opened: Opened,
    out: Path,
    *,
    eye: Path | None = None,
    controls: str | None = None,
    most: int = MOST,
) -> Played:
    """Write the page of a run to `out`, an .html file. `eye` is the run folder of a world's eye
    where its config names none, `controls` JSON of how a person acts in it (envs/controls.py). A
    Mistake if the run cannot be played, or its page takes more than `most` bytes."""
    if out.suffix != ".html" or out.is_dir():
        raise Mistake(f"a page is a file NAME.html, found {out}")
    text, notes = page(opened, eye, controls)
    data = text.encode()
    if len(data) > most:
        raise Mistake(
            f"the page of {opened.folder} takes {len(data):,} bytes; allowed: {most:,} (--most)"
        )
    return Played(write(out, data), len(data), notes)


def page(opened: Opened, eye: Path | None, controls: str | None) -> tuple[str, list[str]]:
    """The page's text, and what had to be assumed."""
    blob, model = Blob(), opened.model
    if isinstance(model, (contract.Agent, contract.Memory)):
        found = _play_kinds.world(opened, blob, eye, controls)
    elif controls is not None or eye is not None:
        raise Mistake(
            f"--eye and --controls are for worlds; {opened.folder} is a run of model "
            f"{opened.config.model}"
        )
    elif isinstance(model, contract.HasMotions):
        found = _play_kinds.futures(opened, blob)
    elif isinstance(model, (contract.AutoEncoder, contract.HasGenerate)):
        found = _play_kinds.walk(opened, blob)
    else:
        raise Mistake(
            f"{opened.folder} is a run of model {opened.config.model}; allowed: worlds "
            f"({able(contract.Agent)}, {able(contract.Memory)}), futures "
            f"({able(contract.HasMotions)}) and generators ({able(contract.HasGenerate)}, "
            f"{able(contract.AutoEncoder)})"
        )
    told = {**found.page, "name": opened.folder.resolve().name, "model": opened.config.model}
    told["step"] = opened.step
    kind = told["kind"]
    scripts = [(PAGES / f"{name}.js").read_text("utf-8") for name in (*ENGINE, *SCRIPTS[kind])]
    text = _templates().get_template("play.html").render(
        told=told,
        notes=[f"{note[:1].upper()}{note[1:]}." for note in found.notes],
        heading=HEADINGS[kind],
        label=LABELS[kind],
        json=json.dumps(told, separators=(",", ":")).replace("<", "\\u003c"),
        numbers=blob.text(),
        style=(PAGES / "play.css").read_text("utf-8"),
        script='"use strict";\n(() => {\n' + "\n".join(scripts) + "})();\n",
    )  # fmt: skip
    return text, found.notes


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
