"""Show a data set: what it holds and what is done to it."""

import json
from pathlib import Path

import msgspec
import torch

from simulacra.core import config, data_sets, external, installed
from simulacra.core.errors import Mistake, meant, shown
from simulacra.io import paint as easel

COUNT = 64  # pictures on the sheet, or 16 of as many series
ROWS, COLUMNS = 6, 8  # of a sheet of clips: a clip a row, frames spread over time


def show(
    name: str, root: Path | None, changes: list[str], sheet: Path | None
) -> tuple[dict[str, str], Path | None]:
    """Facts about the data of a data set's or config's name, or of a data set from outside
    (path/file.py, package.module), its options by `data.KEY` as `--set` takes them, and a painted
    sheet if one is asked for."""
    options = _options(name, changes)
    source = data_sets.load(options, root)
    chosen = msgspec.to_builtins(options)
    facts = {"data set": str(chosen.pop("name"))}
    facts |= {f"data.{key}": json.dumps(value) for key, value in chosen.items()}
    facts |= source.describe()
    if sheet is None:
        return facts, None
    if sheet.suffix != ".png":
        raise Mistake(f"a sheet is a .png, found '{sheet}'")
    clips = source.extractor == "clips"  # of which a sheet shows fewer
    examples = source.take("train", min(ROWS if clips else COUNT, source.size("train")))
    if "series" in examples:
        return facts, easel.save_plots(examples["series"], sheet)
    if "video" in examples:
        video = examples["video"][:ROWS]
        some = torch.linspace(0, video.shape[1] - 1, min(COLUMNS, video.shape[1])).round().long()
        return facts, easel.save_sheet(video[:, some].flatten(0, 1), sheet, len(some))
    if "next" in examples:
        return facts, easel.save_sheet(
            torch.stack([examples["image"], examples["next"]], 1).flatten(0, 1), sheet, 2 * COLUMNS
        )
    return facts, easel.save_sheet(examples["image"], sheet)


def _options(name: str, changes: list[str]) -> object:
    given = name
    if _is_outside(name):
        name = external.admit("data", name, [Path()])
    elif name not in data_sets.names() and not installed.offer("data", name):
        if name not in config.configs() and not Path(name).exists():
            near = meant(name, [*data_sets.names(), *config.configs()])
            raise Mistake(
                f"unknown data set or config '{name}'{near}; data sets: "
                f"{', '.join(data_sets.names())}"
            )
        return config.resolve(name, None, changes).data
    raw: dict[str, object] = {"data": {"name": name}}
    for change in changes:
        config.change(raw, change)
    if other := next((key for key in raw if key != "data"), None):
        there = [f"data.{key}" for key in data_sets.module(name).Options.__struct_fields__]
        raise Mistake(
            f"--set {shown(other, quoted=False)}: of a data set's name only data.KEY can be set"
            f"{meant(other, there)}; there is: {', '.join(there) or 'none'}"
        )
    return config.check_data(raw["data"], given)


def _is_outside(name: str) -> bool:
    """Whether it is the file or the module of a data set, and no config and no run folder."""
    if Path(name).suffix in (".toml", ".json") or Path(name).is_dir():
        return False
    return external.is_outside(name) and (name.endswith(".py") or "/" not in name)
