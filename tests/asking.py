"""Requests to a local server, as a browser or somebody else would send them."""

import http.client


def ask(server, path, verb="GET", host=None, body=None, **headers):
    """The answer to a request, and its content."""
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    told = {"Host": host or f"127.0.0.1:{server.port}", **headers}
    line.request(verb, path, body=body, headers=told)
    answer = line.getresponse()
    content = answer.read()
    line.close()
    return answer, content


def cookie(server):
    """What a browser keeps after the first page."""
    answer, _ = ask(server, f"/?token={server.token}")
    return answer.getheader("Set-Cookie").partition(";")[0]


def post(server, path="/say", body=b"hi", **headers):
    """Send something as a page of the server's own does."""
    own = {"Origin": f"http://127.0.0.1:{server.port}", "Cookie": cookie(server), **headers}
    own = {name: value for name, value in own.items() if value is not None}
    return ask(server, path, "POST", body=body, **own)
