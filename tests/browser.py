"""A real browser for pages that rtx writes: headless Chromium, driven through its DevTools protocol, without a network.

with open_page(path) as page:        # skips the test where there is no Chromium
    page.problems                    # what its console, its network log and its exceptions said
    page.evaluate("document.title")  # any JavaScript expression; a promise is waited for
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MOST_BYTES = 20_000_000
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9",  # no name resolves, nothing is reached
    "--remote-debugging-port=0", "--remote-debugging-address=127.0.0.1",
)  # fmt: skip
_PLAYED = """
(async () => {
  const films = [...document.querySelectorAll('video')];
  const one = film => new Promise((done, fail) => {
    film.addEventListener('error', () => fail(new Error('a video does not play: ' + film.error.message)));
    film.addEventListener('timeupdate', () => { if (film.currentTime > 0.2) done(film.currentTime); });
    film.scrollIntoView(); film.play().catch(fail);
  });
  const times = [];
  for (const film of films) { times.push(await one(film)); film.pause(); }
  return times;
})()
"""


class Page:
    """One tab. Raises AssertionError for an expression that throws."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._number = socket, 0
        self.problems: list[str] = []
        self._loaded = False

    def open(self, url: str) -> None:
        """Returns when everything in it has been loaded."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self._call("Page.navigate", url=url)
        while not self._loaded:
            self._receive()

    def evaluate(self, expression: str) -> Any:
        result = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, json.dumps(result["exceptionDetails"])[:2000]
        return result["result"].get("value")

    def play_videos(self) -> list[float]:
        """The time that each came to, one after the other; 0.2 s at least, or it raises."""
        return self.evaluate(_PLAYED)

    def _call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]

    def _receive(self) -> Any:
        message = json.loads(self._socket.recv(timeout=120))
        kind, about = message.get("method", ""), message.get("params", {})
        if kind == "Page.loadEventFired":
            self._loaded = True
        elif kind == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(about)[:2000])
        elif kind == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.problems.append(json.dumps(about["args"])[:500])
        elif kind == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.problems.append(about["entry"]["text"])
        elif kind == "Network.requestWillBeSent" and not re.match("file:|data:", about["request"]["url"]):
            self.problems.append(f"asked for {about['request']['url']}")
        return message


@contextlib.contextmanager
def open_page(path: Path) -> Iterator[Page]:
    """The file in a browser of its own, from file://. Skips where no Chromium is installed."""
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the PATH, nor named by $CHROMIUM")
    with tempfile.TemporaryDirectory(prefix="rtx-browser-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"], stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip
        try:
            assert process.stderr is not None
            said = ""
            for line in process.stderr:  # ends with the process, if it cannot start
                said += line
                if found := re.search(r"ws://([\d.]+:\d+)/", line):
                    break
            else:
                pytest.fail(f"{program} did not start: {said[-2000:]}")
            with connect(_tab(found[1]), max_size=None, proxy=None) as socket:
                page = Page(socket)
                page.open(path.resolve().as_uri())
                yield page
        finally:
            process.kill()
            process.communicate()


def _tab(address: str) -> str:
    """The websocket of the one tab there is."""
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address}/json/list") as answer:
        return next(one["webSocketDebuggerUrl"] for one in json.load(answer) if one["type"] == "page")


def check_page(path: Path) -> list[float]:
    """It is small enough, nothing complains and nothing is fetched. The time in seconds to which each of its videos played."""
    assert path.stat().st_size < MOST_BYTES
    with open_page(path) as page:
        assert page.evaluate("document.body.innerText.length") > 100
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), (
            "it scrolls sideways"
        )
        assert page.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)"), "a picture is broken"
        if not page.evaluate("document.createElement('video').canPlayType('video/mp4; codecs=\"avc1.42E01E\"')"):
            assert page.problems == []
            pytest.skip("this Chromium was built without H.264: its videos were not played")
        times = page.play_videos()
        assert page.problems == []
        return times
