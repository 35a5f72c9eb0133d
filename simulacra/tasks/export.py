"""Export: a run packed into a small folder that every looking verb opens,
with a card that says where it comes from."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import save

from simulacra.core import config, external, packed, run
from simulacra.core.errors import Mistake
from simulacra.core.files import settle
from simulacra.core.load import Opened, reopen
from simulacra.envs.view import View, written
from simulacra.models.world import seeing
from simulacra.models.world.artefacts import hash_of
from simulacra.tasks import _card

MOST = 6_000_000  # bytes of weights
CARD = "README.md"


def export(
    opened: Opened, out: Path, *, note: str = "", most: int = MOST, examples: int = 0
) -> list[tuple[Path, int]]:
    """Folders written and the bytes of their weights: the run's own and those of the runs that its
    config names. A Mistake, and nothing written, if weights take more than `most` bytes or there is
    something else at `out`. The run's own folder also gets its first `examples` held-out examples,
    if any are asked for."""
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]) and not _ours(out):
        raise Mistake(
            f"{out} holds something else than a packed run; choose another folder with -o"
        )
    runs = {out: opened} | {
        out / name: reopen(Path(place), None) for name, place in packed.named(opened.config).items()
    }
    contents = {place: content(one, most) for place, one in runs.items()}
    begun = save(opened.examples(examples)) if examples else None
    with run.full_disk(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(".partial", f".{out.name[:200]}.", out.parent))
        try:
            for place, one in runs.items():
                _fill(
                    fresh / place.relative_to(out),
                    one,
                    contents[place],
                    card(one, place, place.name, note if one is opened else ""),
                )
            if begun:
                run.write(fresh / packed.EXAMPLES, lambda file: file.write(begun))
            _install(fresh, out)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return [(place, len(data)) for place, data in contents.items()]


def _ours(out: Path) -> bool:
    """Whether a folder is a packed run, and not one in which somebody else keeps weights."""
    try:
        return packed.is_packed(out) and bool(packed.facts(out))
    except Mistake:
        return False


def _fill(place: Path, one: Opened, weights: bytes, card_text: str) -> None:
    """Write what is kept of a run into a new folder."""
    place.mkdir(exist_ok=True)
    run.write_text(place / "config.json", json.dumps(settings(one), indent=2) + "\n")
    run.write(
        place / "shapes.json", lambda file: file.write((one.folder / "shapes.json").read_bytes())
    )
    for name, code in external.sources(config.code_of(one.config)).items():
        run.write_bytes(place / name, code)
    run.write_text(place / CARD, card_text)
    run.write(place / packed.WEIGHTS, lambda file: file.write(weights))


def _install(fresh: Path, out: Path) -> None:
    """Move the files, all of which are on the disk, to where they belong;
    examples of a run packed there before are removed."""
    made = [path.relative_to(fresh) for path in sorted(fresh.rglob("*")) if path.is_file()]
    for name in made:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (fresh / name).replace(out / name)
        settle((out / name).parent)
    if Path(packed.EXAMPLES) not in made:
        (out / packed.EXAMPLES).unlink(missing_ok=True)


def content(opened: Opened, most: int) -> bytes:
    """A weights file's bytes."""
    kept = packed.kept(opened.model)
    if not kept:
        raise Mistake(
            f"nothing of model {opened.config.model} can be packed; "
            "allowed: models that keep averages of their weights"
        )
    facts, seen = {"step": str(opened.step), "hash": hash_of(opened)}, seeing.of_run(opened)
    if seen.view != View() and not seen.notes:
        facts["view"] = written(seen.view)
    data: bytes = save(kept, facts)
    if len(data) > most:
        raise Mistake(
            f"the weights of {opened.folder} take {len(data):,} bytes; allowed: {most:,} (--most)"
        )
    return data


def settings(opened: Opened) -> dict[str, Any]:
    """The config, in which other runs are named by their folders in the packed one,
    and those only begun from not at all."""
    plain = config.plain(opened.config) | {"init_from": ""}
    if "path" in plain["data"]:
        plain["data"]["path"] = _card.nearer(plain["data"]["path"])
    return plain | {"hyper": plain["hyper"] | {name: name for name in packed.named(opened.config)}}


def card(opened: Opened, place: Path, title: str, note: str) -> str:
    """What a person should know before using the weights; what one wrote into the card of an older
    export stays."""
    told = _card.of_run(
        opened.folder, title, note=note, step=opened.step, model=opened.model, pictures=False
    )
    try:
        older = _card.older(place / CARD, title)
    except Mistake:  # as of an export before there were cards
        older = ""
    return _card.markdown(told, place, older)
