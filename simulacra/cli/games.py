"""What the verbs of worlds do for games that are not CarRacing, and what they print."""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from simulacra.cli.words import escape, note, out
from simulacra.core.errors import Mistake, choose

Staged = AbstractContextManager[tuple[Callable[[str, float], None], Callable[[Any, str], Any]]]


def known(game: str | None) -> str | None:
    """A game of one's own, which is known by its name from here on."""
    if game:
        from simulacra.envs.game import find

        find(game)
    return game


Recorded = Annotated[
    str, typer.Argument(metavar="GAME", help="racing, or a game, as of world --game.")
]
Received = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FOLDER",
        help="Recordings of other people: films with tables of actions, or HDF5 as of Minari.",
    ),
]
GameOfRun = Annotated[
    str | None,
    typer.Option(
        "--game",
        metavar="FILE",
        help="A game of your own, whose run this is.",
        callback=known,
    ),
]


def recorded(
    name: str,
    target: Path,
    episodes: int,
    steps: int | None,
    mixture: dict[str, float] | None,
    seed: int,
    agent: Path | None,
    received: Path | None,
    as_json: bool,
) -> tuple[dict[str, object], Sequence[str], bool]:
    """What is in a store of plays of a game, once it is filled, and what was assumed."""
    from simulacra.core.load import reopen
    from simulacra.core.progress import Stages
    from simulacra.envs.game import find
    from simulacra.models.world.agent import agent_of
    from simulacra.tasks.worlds import received as others
    from simulacra.tasks.worlds.record import AGENTS, MIXTURE, record

    game = find(name)
    if bool(received) == bool(episodes):
        raise Mistake("collect of a game needs --episodes N or --from FOLDER, and not both")
    playing = agent_of(reopen(agent, None)) if agent else None
    with Stages(out.console, quiet=as_json) as stages:
        if received:
            if mixture or agent or steps:
                raise Mistake("--from takes recordings as they are; allowed: no player, no steps")
            return others.receive(target, game, received, notify=stages.update), (), as_json
        players = mixture or ({AGENTS[0]: 1.0} if agent else MIXTURE)
        how: dict[str, Any] = {"agent": playing, "notify": stages.update}
        found = record(target, game, episodes, seed, players, steps, **how)
    return found, playing.notes if playing else (), as_json


def told(report: tuple[dict[str, object], Sequence[str], bool]) -> None:
    """Print what is in a store."""
    found, notes, as_json = report
    if as_json:
        print(json.dumps(found))
        return
    note(notes)
    for name, value in found.items():
        told = str(value)
        if isinstance(value, dict):
            told = ", ".join(f"{key} {part}" for key, part in value.items())
        out.print(f"[bold]{name:16}[/] {escape(told)}", soft_wrap=True)


def number(value: float | None) -> str:
    """A number for a person."""
    return "unknown" if value is None else f"{value:,.1f}"


def own_world(
    staged: Staged, target: Path, preset: str, eye: str, seed: int, name: str, change: list[str]
) -> None:
    """All stages of another game, and what it scored."""
    from simulacra.envs.game import find
    from simulacra.tasks.worlds.game_world import GameSite, changes, eyes, game_world

    choose("eye of a game", eye, eyes())
    with staged as (notify, shown):
        site = GameSite(target, find(name), eye, preset, seed, notify, shown, changes(change))
        found = game_world(site)
    ends = f"95 % of the mean {number(found['low'])} to {number(found['high'])}"
    out.print(f"score {number(found['mean'])} over {found['n']} episodes, {ends}", soft_wrap=True)
    for line in of_game(found):
        out.print(escape(line), soft_wrap=True)
    note(found.get("notes", []))
    out.print(f"rows in {escape(found['table'])}", soft_wrap=True)


def of_game(found: dict[str, Any]) -> list[str]:
    """What a score is in a game, and whether it counts as solved."""
    lines = [f"game {found['game']}: {found['score']}"] if "game" in found else []
    if "solved_from" in found:
        judged = {True: "yes", False: "no", None: "not known, of fewer than 100 episodes"}
        rule = f"a mean of {found['solved_from']:,g} over 100 episodes"
        lines.append(f"solved ({rule}): {judged[found['solved']]}")
    return lines
