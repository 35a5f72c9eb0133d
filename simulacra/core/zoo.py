"""The zoo: trained runs that come with Simulacra, packed, each called zoo/NAME wherever a run is
asked for. It is read only: what is measured or painted of one goes into the working directory.
Nothing here imports torch."""

from pathlib import Path

from simulacra.core import config
from simulacra.core.errors import Mistake, meant

FOLDER = config.asset("zoo")
WEIGHTS = "weights.safetensors"  # which makes a folder a packed run


def names() -> list[str]:
    """The names of the runs that come with Simulacra, as they are typed: zoo/NAME."""
    found = FOLDER.iterdir() if FOLDER.is_dir() else ()
    return sorted(f"zoo/{place.name}" for place in found if (place / WEIGHTS).exists())


def place_of(name: Path | str) -> Path:
    """The folder of a run: a path, `~` for the home directory, or a name of names() where the
    working directory has no such folder."""
    place = Path(name).expanduser()
    if place.as_posix() in names() and not config.is_file(place / "config.json"):
        return FOLDER / place.name
    return place


def run_of(name: Path | str) -> Path:
    """The same, if there is a run; otherwise a Mistake."""
    place = place_of(name)
    try:
        config.run_file(place)
    except Mistake as mistake:
        raise Mistake(f"{mistake}{meant(str(name), names())}") from None
    return place


def within(folder: Path) -> bool:
    """Whether a folder is a run of the zoo."""
    return FOLDER.is_dir() and FOLDER.resolve() in folder.resolve().parents


def results(folder: Path) -> tuple[Path, list[str]]:
    """Where to write what is measured or painted of a run, and what is said of it: the run's own
    folder, or for one of the zoo, which stays as it came, runs/zoo/NAME in the working
    directory."""
    if not within(folder):
        return folder, []
    place = Path("runs", "zoo", *folder.resolve().relative_to(FOLDER.resolve()).parts)
    return place, [f"{folder} comes with Simulacra and stays as it is: results go into {place}"]
