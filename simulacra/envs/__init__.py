"""Simulated worlds: CarRacing, a folder, and games, a file each (game.py, games)."""

from pathlib import Path

from simulacra.core import source

RACING = "racing"  # CarRacing, the game of recordings that name none

# by name: what it is
WORLDS = {RACING: "CarRacing of gymnasium: a car on a random track"} | {
    path.stem: source.sentence(path)
    for path in sorted((Path(__file__).parent / "games").glob("[!_]*.py"))
}
