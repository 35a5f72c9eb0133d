"""A page for one person on this machine: a small server that nobody else can ask.

It listens at 127.0.0.1 alone. Every request needs the token of the address that is printed, in the
address or, after the first, in a cookie; and names this machine as its host, so that no page of the
web can ask under a name of its own. What it gives by GET and HEAD are the names that `give` knows,
not paths of the disk. A page that works on something has a `take` too: it hears what is sent by
POST, of at most MOST bytes, from pages of this address alone, as their Origin says. Without `take`,
and for any other verb, that is refused. Pages are told to run no script, and to ask for nothing,
but from here.
"""

import hmac
import os
import re
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from simulacra.core.errors import Mistake

HOST = "127.0.0.1"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".png": "image/png",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")
BLOCK = 2**18  # bytes sent at once
PATIENCE = 30.0  # seconds for a request to arrive
MOST = 2**23  # bytes of what is sent by POST
HEARD_OUT = 2**26  # bytes of a larger one that are still read, so that the answer arrives

# what has a name, as its content or as the file that holds it; None: nothing has
Give = Callable[[str], bytes | Path | None]
# what is sent under a name, and the JSON to answer; None: nothing has the name. A Mistake is told
# to the page as it is
Take = Callable[[str, bytes], bytes | None]


class Part(NamedTuple):
    """Which bytes of how many are sent."""

    start: int
    stop: int  # one past the last
    size: int


@dataclass
class LocalServer:
    """Give what has names to who knows the token. Port 0 is any that is free."""

    give: Give
    port: int = 0
    token: str = ""
    take: Take | None = None  # None: nothing can be sent

    def __post_init__(self) -> None:
        self.token = self.token or secrets.token_urlsafe(24)
        handler = type("Handler", (_Handler,), {"local": self})
        try:
            self._server = _Server((HOST, self.port), handler)
        except OverflowError:
            raise Mistake(f"port = {self.port}; allowed: 0 to 65535, 0 for any free one") from None
        except OSError as error:
            why = error.strerror or str(error)
            raise Mistake(
                f"cannot listen at port {self.port} ({why}); "
                "choose another with --port, 0 for any free one"
            ) from None
        self.port = self._server.server_address[1]

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{HOST}:{self.port}/?token={self.token}"

    def run(self) -> None:
        """Answer until an exception, such as KeyboardInterrupt, ends it."""
        try:
            self._server.serve_forever(poll_interval=0.2)
        finally:
            self._server.server_close()

    def stop(self) -> None:
        """End `run`, from another thread."""
        self._server.shutdown()

    def knows(self, token: str) -> bool:
        """Whether it is the token; the answer takes as long for any."""
        return hmac.compare_digest(token.encode(errors="replace"), self.token.encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that left is nothing to tell."""

    def server_bind(self) -> None:
        """Without asking for this machine's name, which may take seconds."""
        if os.name != "nt":  # where it would let two programs share a port
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = HOST, self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    local: LocalServer
    timeout = PATIENCE
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "simulacra", ""

    def do_GET(self) -> None:
        """Give what is asked for, to who may ask."""
        self._answer()

    def do_HEAD(self) -> None:
        """The same without content."""
        self._answer()

    def do_POST(self) -> None:
        """Take what a page of ours sends, and answer."""
        take = self.local.take
        if take is None:
            self._refuse()
        elif self._may() and (content := self._content()) is not None:
            try:
                found = take(self._name(), content)
            except Mistake as mistake:
                self._say(400, str(mistake))
                return
            if found is None:
                self._say(404, "not here")
            else:
                self._send(found, TYPES[".json"], {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # any other verb
            return self._refuse
        raise AttributeError(name)

    def _refuse(self) -> None:
        if self.local.take is None:
            self._say(405, "only GET", Allow="GET, HEAD")
        else:
            self._say(405, "only GET and POST", Allow="GET, HEAD, POST")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: addresses hold the token."""

    def _token(self) -> str:
        """That of the address."""
        return parse_qs(urlsplit(self.path).query).get("token", [""])[0]

    def _name(self) -> str:
        """What is asked for."""
        path = urlsplit(self.path).path
        return unquote(path, errors="replace").removeprefix("/") or "index.html"

    def _may(self) -> bool:
        """Whether who asks may; otherwise it is answered."""
        local = self.local
        if self.headers.get("Host") not in (f"{HOST}:{local.port}", f"localhost:{local.port}"):
            self._say(421, "another host")
            return False
        if not local.knows(self._token()) and not local.knows(self._cookie()):
            self._say(403, "open the address that `simulacra` printed, with its token")
            return False
        return True

    def _content(self) -> bytes | None:
        """What a page of this address sends; None if it may not, which is answered."""
        size = self.headers.get("Content-Length", "")
        if self.headers.get("Origin") != f"http://{self.headers['Host']}":
            self._say(403, "only pages of this address may send something")
        elif not (size.isascii() and size.isdecimal()) or "Transfer-Encoding" in self.headers:
            self._say(411, "how long it is has to be said")
        elif (length := int(size[:18])) > MOST:
            left = min(length, HEARD_OUT)
            while left and (block := self.rfile.read(min(BLOCK, left))):
                left -= len(block)
            self._say(413, f"{length} bytes; allowed: at most {MOST}")
        elif len(content := self.rfile.read(length)) == length:
            return content
        self.close_connection = True
        return None

    def _answer(self) -> None:
        local, token = self.local, self._token()
        if not self._may():
            return
        name = self._name()
        found = local.give(name)
        if found is None:
            self._say(404, "not here")
            return
        cookie = {}
        if token:
            kept = f"simulacra-{local.port}={local.token}; HttpOnly; SameSite=Strict; Path=/"
            cookie = {"Set-Cookie": kept}
        try:
            self._send(found, TYPES.get(Path(name).suffix, "application/octet-stream"), cookie)
        except FileNotFoundError:
            self._say(404, "not here any more")

    def _cookie(self) -> str:
        try:
            found = SimpleCookie(self.headers.get("Cookie", ""))
        except CookieError:
            return ""
        kept = found.get(f"simulacra-{self.local.port}")
        return kept.value if kept else ""

    def _say(self, status: int, words: str, **more: str) -> None:
        content = f"{words}\n".encode()
        # of a request that is not read to its end nothing may follow
        self.close_connection = True
        self._head(status, "text/plain; charset=utf-8", len(content), more)
        if self.command != "HEAD":
            self.wfile.write(content)

    def _head(self, status: int, kind: str, length: int, more: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, **more}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _send(self, found: bytes | Path, kind: str, more: dict[str, str]) -> None:
        """All of it, or the part that a player of films asks for."""
        if isinstance(found, bytes):
            part = self._part(len(found))
            self._begin(part, kind, more)
            if self.command != "HEAD":
                self.wfile.write(found[part.start : part.stop])
            return
        with found.open("rb") as file:
            part = self._part(found.stat().st_size)
            self._begin(part, kind, more)
            if self.command == "HEAD":
                return
            file.seek(part.start)
            left = part.stop - part.start
            while left and (block := file.read(min(BLOCK, left))):
                self.wfile.write(block)
                left -= len(block)
            # a file that became shorter: what was promised cannot be kept
            self.close_connection = self.close_connection or bool(left)

    def _part(self, size: int) -> Part:
        wish = RANGE.fullmatch(self.headers.get("Range", ""))
        if not wish:
            return Part(0, size, size)
        start, stop = int(wish[1]), min(int(wish[2] or size) + 1, size)
        return Part(start, stop, size) if start < stop else Part(0, size, size)

    def _begin(self, part: Part, kind: str, more: dict[str, str]) -> None:
        whole = part.stop - part.start == part.size
        told = {"Accept-Ranges": "bytes", **more}
        if not whole:
            told["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{part.size}"
        self._head(200 if whole else 206, kind, part.stop - part.start, told)
