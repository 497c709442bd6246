"""Headless Chromium, driven by the DevTools protocol over two pipes: no driver and no further package.

With ``--remote-debugging-pipe`` Chromium reads commands from file descriptor 3 and writes answers to 4, each
a JSON object that ends with a NUL byte [Chrome DevTools Protocol; content/browser/devtools].
"""

import base64
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.harness import Keeper, eventually

_ANSWER_WAIT = 30.0  # seconds

_LAUNCH = """
import fcntl, os, sys
given = [fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3]]
for place, each in zip((3, 4), given):
    os.dup2(each, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Puts the pipes where Chromium looks for them, and becomes it."""

_MIDDLE = """(async () => {
    const element = document.querySelector(%s);
    if (!element) return null;
    element.scrollIntoView({block: 'center', behavior: 'instant'});
    const place = () => element.getBoundingClientRect();
    const before = place();
    await new Promise(done => setTimeout(done, 120));
    const after = place();
    const x = after.x + after.width / 2, y = after.y + after.height / 2;
    const still = before.x === after.x && before.y === after.y && element.isConnected;
    return still && element.contains(document.elementFromPoint(x, y)) ? [x, y] : null;
})()"""
"""The middle of an element that has not moved for a moment and that nothing covers, else null."""


class Browser:
    """One Chromium with one page."""

    def __init__(self, keeper: Keeper, folder: Path, *, width: int = 1400, height: int = 1300) -> None:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        assert program, "chromium is not installed; run: sh .ci/node-packages"
        folder.mkdir(parents=True, exist_ok=True)
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        options = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-default-apps", "--disable-extensions", "--hide-scrollbars", "--mute-audio",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width},{height}", "about:blank",
        ]  # fmt: skip
        with (folder / "chromium.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _LAUNCH, str(to_read), str(to_write), program, *options],
                pass_fds=(to_read, to_write),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.close(to_read)
        os.close(to_write)
        keeper.finally_(self.close)
        self._answers: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._number = 0
        self.console: list[str] = []
        """Errors that the page told of, exceptions included."""
        self.asked: list[str] = []
        """Addresses that the page asked for."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._session = self._attach(width, height)

    def _attach(self, width: int, height: int) -> str:
        target = self._call("Target.createTarget", {"url": "about:blank"}, session=None)["targetId"]
        attached = self._call("Target.attachToTarget", {"targetId": target, "flatten": True}, session=None)
        self._session = session = str(attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self.resize(width, height)
        return session

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page, in CSS pixels."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        self._reader.join(5)

    # -- the page ----------------------------------------------------------------------------------------

    def open(self, address: str) -> None:
        """Load a page."""
        self._call("Page.navigate", {"url": address})

    def run(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page; what it throws fails the test."""
        answer = self._call(
            "Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True}
        )
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait(self, expression: str, timeout: float = 30.0, *, what: str = "") -> Any:
        """Wait until the expression is true in the page; return its value."""
        return eventually(lambda: self.run(expression), timeout, what=what or expression)

    def text(self, selector: str) -> str:
        """Return what a person reads in the first element that matches, empty if there is none."""
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def click(self, selector: str) -> None:
        """Press the middle of the first element that matches, with the mouse, once it stands still there."""
        at = self.wait(_MIDDLE % json.dumps(selector), what=f"{selector} can be pressed")
        for kind in ("mousePressed", "mouseReleased"):
            self._call(
                "Input.dispatchMouseEvent",
                {"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1},
            )

    def write(self, selector: str, text: str) -> None:
        """Click into a field and type."""
        self.click(selector)
        self.wait(f"document.activeElement === document.querySelector({json.dumps(selector)})")
        self._call("Input.insertText", {"text": text})
        self.wait(f"document.querySelector({json.dumps(selector)}).value === {json.dumps(text)}")

    def shoot(self, file: Path) -> None:
        """Write what the page looks like into a PNG file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", {"format": "png"})["data"]))

    # -- the pipes ---------------------------------------------------------------------------------------

    def _call(
        self, method: str, params: dict[str, Any] | None = None, session: str | None = ""
    ) -> dict[str, Any]:
        self._number += 1
        number = self._number
        answer = self._answers[number] = queue.SimpleQueue()
        command: dict[str, Any] = {"id": number, "method": method, "params": params or {}}
        if session is not None:
            command["sessionId"] = self._session
        os.write(self._to, json.dumps(command).encode() + b"\0")
        try:
            given = answer.get(timeout=_ANSWER_WAIT)
        except queue.Empty:
            raise AssertionError(f"Chromium does not answer {method}") from None
        finally:
            del self._answers[number]
        assert "error" not in given, f"{method}: {given['error']}"
        result: dict[str, Any] = given["result"]
        return result

    def _read(self) -> None:
        """Exits when Chromium closes its end."""
        buffer = b""
        with os.fdopen(self._from, "rb", buffering=0) as pipe:
            while piece := pipe.read(65536):
                *whole, buffer = (buffer + piece).split(b"\0")
                for each in whole:
                    self._take(json.loads(each))

    def _take(self, message: dict[str, Any]) -> None:
        if waiting := self._answers.get(message.get("id", 0)):
            waiting.put(message)
            return
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.console.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.console.append(" ".join(str(each.get("value", each)) for each in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.console.append(params["entry"]["text"] + " " + params["entry"].get("url", ""))
        elif method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
