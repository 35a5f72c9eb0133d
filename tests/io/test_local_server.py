"""The server of pages for one person: who may ask, for what, and what pages may do."""

import contextlib
import os
import signal
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from asking import ask, cookie, post

from simulacra.core.errors import Mistake
from simulacra.io.local_server import LocalServer
from simulacra.studies import serve
from simulacra.studies.serve import Served

FILM = bytes(range(200)) * 40


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One that has two names, and runs."""
    film = tmp_path_factory.mktemp("served") / "film.mp4"
    film.write_bytes(FILM)
    content = {"index.html": b"<p>hello", "files/film.mp4": film}
    made = LocalServer(content.get)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    yield made
    made.stop()
    thread.join(30)


def test_the_token_opens_and_a_cookie_goes_on(server):
    answer, content = ask(server, server.address.partition(str(server.port))[2])
    assert answer.status == 200 and content == b"<p>hello"
    kept = answer.getheader("Set-Cookie")
    assert "HttpOnly" in kept and "SameSite=Strict" in kept
    assert ask(server, "/index.html", Cookie=cookie(server))[0].status == 200
    for name in "default-src 'none'", "script-src 'self'", "frame-ancestors 'none'":
        assert name in answer.getheader("Content-Security-Policy")
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Referrer-Policy") == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=x", "/index.html", "/files/film.mp4"])
def test_without_the_token_nothing_is_given(server, path):
    answer, content = ask(server, path, Cookie=f"simulacra-{server.port}=x; other=1")
    assert answer.status == 403 and b"hello" not in content
    assert answer.getheader("Set-Cookie") is None


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1.evil:80"])
def test_a_page_of_the_web_cannot_ask_under_its_own_name(server, host):
    answer, content = ask(server, f"/?token={server.token}", host=host)
    assert answer.status == 421 and b"hello" not in content


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/files/../index.html",
        "/files",
        "/%00",
        "/%ff",
        "/files/film.mp4/",
    ],
)
def test_only_names_that_were_given_are_there(server, path):
    answer, content = ask(server, path, Cookie=cookie(server))
    assert answer.status == 404 and content == b"not here\n"


@pytest.mark.parametrize("verb", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "X"])
def test_nothing_can_be_changed(server, verb):
    answer, _ = ask(server, "/index.html", verb, body="x=1", Cookie=cookie(server))
    assert answer.status == 405 and answer.getheader("Allow") == "GET, HEAD"


@pytest.fixture(scope="module")
def taker():
    """One that takes what is sent, and gives it back in capitals."""

    def take(name, content):
        if name == "bad":
            raise Mistake("size = 3; allowed: 4")
        return content.upper() if name == "say" else None

    made = LocalServer({"index.html": b"<p>hello"}.get, take=take)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    yield made
    made.stop()
    thread.join(30)


def test_what_own_pages_send_is_taken(taker):
    answer, content = post(taker)
    assert (answer.status, content) == (200, b"HI")
    assert answer.getheader("Content-Type") == "application/json"
    answer, content = post(taker, "/bad")
    assert (answer.status, content) == (400, b"size = 3; allowed: 4\n")
    assert post(taker, "/other")[0].status == 404
    assert ask(taker, "/say", Cookie=cookie(taker))[0].status == 404, "it is not given by GET"
    answer, _ = ask(taker, "/say", "PUT", Cookie=cookie(taker))
    assert answer.status == 405 and answer.getheader("Allow") == "GET, HEAD, POST"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Cookie": None}, 403),
        ({"Cookie": "simulacra-1=x"}, 403),
        ({"Origin": None}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"host": "evil.example", "Origin": "http://evil.example"}, 421),
        ({"Content-Length": "x"}, 411),
        ({"Content-Length": "-2"}, 411),
        ({"Transfer-Encoding": "chunked"}, 411),
        ({"body": bytes(2**23 + 1)}, 413),
        ({"Content-Length": "9" * 30, "body": bytes(2**26)}, 413),
    ],
)
def test_what_others_send_is_refused(taker, headers, status):
    answer, content = post(taker, **headers)
    assert answer.status == status and b"HI" not in content


@pytest.mark.parametrize(
    ("wish", "part"),
    [
        ("bytes=0-99", FILM[:100]),
        ("bytes=7990-", FILM[7990:]),
        ("bytes=100-1000000", FILM[100:]),
        ("bytes=9000-", FILM),
        ("bytes=-5", FILM),
        ("bytes=5-1", FILM),
        ("words", FILM),
    ],
)
def test_players_of_films_get_the_part_that_they_ask_for(server, wish, part):
    answer, content = ask(server, "/files/film.mp4", Cookie=cookie(server), Range=wish)
    assert content == part and answer.status == (200 if part == FILM else 206)
    assert answer.getheader("Content-Type") == "video/mp4"
    head, nothing = ask(server, "/files/film.mp4", "HEAD", Cookie=cookie(server))
    assert head.getheader("Content-Length") == str(len(FILM)) and nothing == b""


def test_it_is_heard_on_this_machine_alone(server):
    assert server._server.server_address[0] == "127.0.0.1"
    with socket.socket() as other, pytest.raises(OSError):
        other.connect(("127.0.0.2", server.port))


def test_a_port_that_is_taken_is_a_line(server):
    with pytest.raises(Mistake, match=f"cannot listen at port {server.port} .*--port"):
        LocalServer({}.get, server.port)


def test_what_became_a_link_is_given_no_more(tmp_path):
    """A picture of a run that somebody replaces after it was read."""
    served = Served([tmp_path])
    picture, secret = tmp_path / "a.png", tmp_path / "secret"
    picture.write_bytes(b"picture")
    secret.write_bytes(b"secret")
    served._keep("files/a.png", picture)
    assert isinstance(served.give("files/a.png"), Path)
    picture.unlink()
    picture.symlink_to(secret)
    assert served.give("files/a.png") is None and served.give("files/b.png") is None


def test_a_look_that_fails_is_said_and_tried_again(tmp_path, monkeypatch):
    """A folder may be gone for a moment; the next look finds it."""
    served, looks = Served([tmp_path]), []

    def look():
        looks.append(served.content["changes.json"])
        if len(looks) == 1:
            raise OSError(5, "Input/output error")
        raise SystemExit

    monkeypatch.setattr(served, "look", look)
    monkeypatch.setattr(serve.time, "sleep", lambda seconds: None)
    with pytest.raises(SystemExit):
        served.keep_looking()
    assert b"why" not in looks[0] and b"Input/output error" in looks[1]


def test_serve_from_the_command_line_ends_with_ctrl_c(launch, tmp_path):
    """It says where; a folder without runs is shown as such; Ctrl-C is 130."""
    child, line, last = launch("serve", tmp_path, "--port", 0), b"", time.monotonic() + 60
    while b"\n" not in line and time.monotonic() < last:
        with contextlib.suppress(BlockingIOError):
            line += os.read(child.ends[0], 1000)
        time.sleep(0.02)
    port, token = line.decode().partition("\n")[0].rpartition(":")[2].split("/?token=")
    at = SimpleNamespace(port=int(port))
    answer, content = ask(at, f"/?token={token.strip()}")
    assert answer.status == 200 and b"Runs: 0" in content
    child.signal(signal.SIGINT)
    said = child.wait()
    assert said.code == 130 and "Traceback" not in said.err and not list(tmp_path.glob("*.html"))
