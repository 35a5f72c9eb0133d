"""Serve: the notebook's pages while runs train, for one person on this machine. Nothing is copied
or written; only folders that have changed are read again."""

import json
import threading
import time
from pathlib import Path

from simulacra.core.errors import Mistake
from simulacra.io.local_server import LocalServer
from simulacra.studies._book import Book, found_in
from simulacra.studies._notebook_pages import MOMENTS
from simulacra.studies._shelf import reason

PORT = 8642
EVERY = 2.0  # seconds between looks at the folders
SHARE = 5.0  # and at least so many times as long as a look takes


class Served:
    """The pages of what is in some folders, as they are now."""

    def __init__(self, places: list[Path], title: str = "Notebook", moments: int = MOMENTS):
        missing = [str(place) for place in places if not place.is_dir()]
        if missing:
            raise Mistake(f"no folder {missing[0]}")
        self.places = places
        self.content: dict[str, bytes | Path] = {}
        self.book = Book(title, self._keep, moments, live=True)
        self.look()

    def _keep(self, name: str, source: Path | bytes) -> None:
        # where it leads now, so that a link put in its place later is noticed
        self.content[name] = source.resolve() if isinstance(source, Path) else source

    def look(self) -> None:
        """Read again what has changed."""
        self.book.make(found_in(self.places))
        self.content["changes.json"] = json.dumps({"version": self.book.version}).encode()

    def give(self, name: str) -> bytes | Path | None:
        """The page, script or picture of a name."""
        found = self.content.get(name)
        if isinstance(found, Path) and (found.is_symlink() or found.resolve() != found):
            return None
        return found

    def keep_looking(self) -> None:
        """Look again and again; what goes wrong with one look is tried by the next."""
        while True:
            start = time.monotonic()
            try:
                self.look()
            except Exception as error:  # a folder that changes while it is read
                told = {"version": self.book.version, "why": reason(error)}
                self.content["changes.json"] = json.dumps(told).encode()
            time.sleep(max(EVERY, SHARE * (time.monotonic() - start)))


def serve(places: list[Path], port: int = PORT, title: str = "Notebook") -> LocalServer:
    """A server of these folders' notebook, which looks at them from now on; `run` answers.
    A Mistake if a folder is not there or the port is taken."""
    served = Served(places, title)
    server = LocalServer(served.give, port)
    threading.Thread(target=served.keep_looking, daemon=True).start()
    return server
