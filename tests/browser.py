"""A headless Chromium that is spoken to through a pipe: pages as a person's screen would show them.

The protocol is Chromium's own (DevTools): JSON messages, each ended by a zero byte.
"""

import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
SEEN = """JSON.stringify({
    over: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    ground: getComputedStyle(document.body).backgroundColor,
    broken: [...document.images].filter(i => !i.naturalWidth).map(i => i.getAttribute("src")),
    text: document.body.innerText.length})"""


class Browser:
    """Opens pages; `errors` and `asked` collect what pages complained of and what they fetched."""

    def __init__(self, profile: Path):
        there, self._say = os.pipe()
        self._hear, back = os.pipe()
        flags = "--headless --no-sandbox --disable-gpu --remote-debugging-pipe --no-first-run"
        order = f"exec {CHROMIUM} {flags} --user-data-dir={profile} 3<&{there} 4>&{back}"
        self._process = subprocess.Popen(
            ["bash", "-c", order], pass_fds=(there, back), stderr=subprocess.DEVNULL
        )
        os.close(there)
        os.close(back)
        self._rest, self._number, self._session = b"", 0, ""
        self.errors: list[str] = []
        self.asked: list[str] = []
        self._loaded = False
        target = self.order("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.order("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in "Page", "Runtime", "Log", "Network":
            self.order(f"{domain}.enable")

    def order(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What Chromium answers to an order."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._say, json.dumps(message).encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == self._number:
                assert "error" not in said, (method, said["error"])
                return said["result"]

    def open(self, page: Path) -> None:
        """Show a page, and wait until all of it is loaded."""
        self.order("Emulation.setEmulatedMedia", features=[])
        self._loaded = False
        self.order("Page.navigate", url=page.as_uri())
        while not self._loaded:
            self._next()

    def look(self, width: int, scheme: str) -> dict[str, Any]:
        """The page as a screen of this width shows it, "light" or "dark"."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        self.order("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.order("Emulation.setEmulatedMedia", features=[feature])
        return json.loads(self.order("Runtime.evaluate", expression=SEEN)["result"]["value"])

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)
        os.close(self._say)
        os.close(self._hear)

    def _next(self, seconds: float = 300) -> dict[str, Any]:
        """The next message; events are noted."""
        end = time.monotonic() + seconds
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._hear], [], [], max(0, end - time.monotonic()))
            assert ready, f"Chromium said nothing in {seconds} seconds"
            part = os.read(self._hear, 1 << 20)
            assert part, "Chromium has ended"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        said = json.loads(line)
        self._note(said.get("method", ""), said.get("params", {}))
        return said

    def _note(self, event: str, told: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif event == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(told["entry"]["text"])
        elif event == "Runtime.exceptionThrown" or (
            event == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert")
        ):
            self.errors.append(json.dumps(told)[:500])
