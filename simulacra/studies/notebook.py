"""Notebook: runs and experiments as pages that open from disk, without a network.

    OUT/index.html         experiments with their verdicts, runs in a table, what could not be read
                           and why
    OUT/pictures.html      the pictures of all runs, under one slider over steps
    OUT/curves.html        the logs of several runs over each other
    OUT/compare.html       two runs: pictures with a wipe, what differs in their configs
    OUT/sheet-*.html       an experiment: claims, table, cells side by side
    OUT/run-*.html         a run: pictures, curves, measurements, where it comes from
    OUT/notebook.js, .css  what makes the pages move, and how they look
    OUT/data/              what the scripts read: all runs, and the log of each
    OUT/files/             copies of the pictures
    OUT/notebook.json      which of the files in OUT are the notebook's own

It reads run folders and what `table` wrote, and computes nothing. What a person has to say stands
in remarks.md of a run or an experiment's folder, is shown as it is, and stays there when the
notebook is made again. One folder that cannot be read keeps no other from being shown. No code of
any model is imported, and no link is followed out of a folder.
"""

from pathlib import Path
from typing import NamedTuple

from simulacra.core import run
from simulacra.core.errors import Mistake
from simulacra.studies._book import Book, found_in
from simulacra.studies._notebook_pages import MOMENTS
from simulacra.studies._own_folder import OwnFolder
from simulacra.studies._shelf import copying

MARK = "notebook.json"  # what tells a notebook from other folders
MAKER = "simulacra notebook"


class Made(NamedTuple):
    """What is in a notebook."""

    runs: int
    experiments: int
    notes: list[str]  # on what could not be shown


def notebook(
    places: list[Path], out: Path, title: str = "Notebook", moments: int = MOMENTS
) -> Made:
    """Runs and experiments in the notebook of these folders, with pictures of so many moments of
    each training at most; a Mistake if there is none, or if OUT is something else."""
    missing = [str(place) for place in places if not place.is_dir()]
    if missing:
        raise Mistake(f"no folder {missing[0]}")
    with run.full_disk(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        own = OwnFolder(out, MARK, MAKER)
        found = found_in(places, out)
        if not found.runs and not found.tables:
            raise Mistake(f"no run folder and no table.json in {', '.join(map(str, places))}")
        with own.making() as fresh:
            for name in "files", "data":
                (fresh / name).mkdir()
            book = Book(title, copying(fresh), moments)
            book.make(found)
            if not book.runs and not book.sheets:
                raise Mistake(f"nothing to show: {book.odd[0]}")
            return Made(len(book.runs), len(book.sheets), list(book.notes()))
