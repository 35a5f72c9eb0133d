"""Verbs that say what there is: list, and data list and data show."""

import json
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from simulacra.cli.words import (
    Changes,
    DataFolder,
    Json,
    app,
    data_app,
    escape,
    out,
    settled,
)

WIDEST = 100  # columns of a list


@app.command("list")
def list_(
    configs: Annotated[
        bool, typer.Option("--configs", help="The table of configs, and what experiments ask.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Models, data sets, worlds, the zoo and experiments."""
    if configs:
        _configs(as_json)
        return
    found = _there_is()
    if as_json:
        print(json.dumps(found))
        return
    width = min(WIDEST, shutil.get_terminal_size().columns)
    for line in _said(found, width):
        print(line)


def _there_is() -> dict[str, Any]:
    """By kind: names, with a sentence of each where there is one."""
    from simulacra import envs
    from simulacra.core import config, data_sets, installed, source, zoo
    from simulacra.studies import sheet

    files = config.model_files()
    return {
        "models": {name: source.sentence(files[name]) for name in config.models() if name in files},
        "data": {name: data_sets.headline(name) for name in data_sets.names()},
        "worlds": envs.WORLDS,
        "zoo": zoo.names(),
        "experiments": sheet.headlines(),
        "installed": [str(one) for kind in installed.GROUPS for one in installed.offers(kind)],
    }


def _said(found: dict[str, Any], width: int) -> Iterator[str]:
    """The lines of the list for a person."""
    yield "Models (simulacra train CONFIG, or model = NAME in a config of your own)"
    column = max(map(len, found["models"])) + 2
    for name, sentence in found["models"].items():
        short = textwrap.shorten(sentence, width - column - 2, placeholder=" ...")
        yield f"  {name:{column}}{short}"
    yield "Data sets (simulacra data list: a line about each)"
    yield from _wrapped(found["data"], width)
    if found["installed"]:
        yield "Models and data sets of installed packages"
        yield from _wrapped(found["installed"], width)
    yield "Worlds (simulacra collect, world --game; also IDs of gymnasium)"
    for name, sentence in found["worlds"].items():
        yield f"  {name:{column}}{textwrap.shorten(sentence, width - column - 2)}"
    yield "Zoo (trained runs, wherever a RUN is asked for)"
    yield from _wrapped(found["zoo"] or ["none"], width)
    yield "Experiments (simulacra sweep NAME)"
    yield from _wrapped(found["experiments"], width)
    yield "Configs: simulacra list --configs"


def _wrapped(names: Iterable[str], width: int) -> list[str]:
    return textwrap.wrap(
        ", ".join(names),
        width,
        initial_indent="  ",
        subsequent_indent="  ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def _configs(as_json: bool) -> None:
    from simulacra.core import config
    from simulacra.studies import sheet

    rows = []
    for name in config.configs():
        raw = config.based(config.find(name))
        rows.append(
            {
                "config": name,
                "model": str(raw["room"]),
                "data": str(raw["data"]["name"]),
                "says": config.headline(name),
            }
        )
    if as_json:
        print(json.dumps(rows))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for title in "config", "model", "data", "in one line":
        table.add_column(title, no_wrap=title == "config", overflow="fold")
    for row in rows:
        table.add_row(row["config"], row["model"], row["data"], escape(row["says"]))
    wide = Console(width=max(WIDEST, shutil.get_terminal_size().columns), highlight=False)
    wide.print(table)
    for name, question in sheet.headlines().items():
        out.print(f"[bold]experiment {name}[/]: {escape(question)}", soft_wrap=True)


@data_app.command("list")
def data_list() -> None:
    """The data sets."""
    from simulacra.core import data_sets

    for name in data_sets.names():
        out.print(f"[bold]{name:17}[/] {escape(data_sets.headline(name))}", soft_wrap=True)


@data_app.command("show")
def data_show(
    name: Annotated[str, typer.Argument(help="A data set, or a config.")],
    root: DataFolder = None,
    sheet: Annotated[
        Path | None, typer.Option("-o", help="Also paint a sheet of training examples here (.png).")
    ] = None,
    change: Changes = None,
) -> None:
    """What a data set holds and what is done to it, before any training."""
    from simulacra.core.load import data_root
    from simulacra.tasks.data import show

    place = data_root(root)
    facts, path = show(name, place, settled(change, place), sheet)
    for key, value in facts.items():
        option = key.startswith("data.")  # as --set takes it
        line = escape(f"  {key} = {value}") if option else f"[bold]{key:16}[/] {escape(value)}"
        out.print(line, soft_wrap=True)
    if path:
        out.print(f"[bold]{'sheet':16}[/] {escape(str(path))}", soft_wrap=True)
