"""The simulated modem as users start it: a process with its ports behind links."""

import json
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.harness.process import Keeper, Process, eventually

PROGRAM = [sys.executable, "-m", "bridge", "simulate", "modem"]


class SimModem(Process):
    """A simulated modem of ``profile`` in ``folder``; down until `start`.

    ``at`` and ``dial`` are the links of its ports: the same with ``ports=1``. `tell` gives it orders while it
    runs, `events` is what it wrote to its log.
    """

    def __init__(self, keeper: Keeper, folder: Path, profile: str = "nova-u201", *, ports: int = 2) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(f"modem {profile}", folder / "modem.out")
        self.profile = profile
        self.links = [folder / f"tty{number}" for number in range(ports)]
        self.at = self.links[0]
        self.dial = self.links[min(1, ports - 1)]
        self.event_log = folder / "modem.jsonl"
        # A Unix socket's path holds 107 bytes, a test's folder may be longer.
        self._short = Path(tempfile.mkdtemp(prefix="modem-"))
        self.control = self._short / "control"
        keeper.finally_(self._clean)
        keeper.keep(self)

    def start(self, *options: str, wait: bool = True) -> None:
        """Start it with the options of ``simulate modem``; with ``wait`` until its ports are there."""
        links = [word for link in self.links for word in ("--link", str(link))]
        fixed = ["--profile", self.profile, "--control", str(self.control), "--log", str(self.event_log)]
        self.launch([*PROGRAM, *fixed, *links, *options])
        if wait:
            eventually(self._ready, 20, what="the simulated modem is ready")

    def _ready(self) -> bool:
        assert self.running, f"the modem ended: {self.said(since_start=True)}"
        return "simulated modem " in self.said(since_start=True)

    def tell(self, do: str, **keys: Any) -> dict[str, Any]:
        """Give it an order and return the answer; one that it refuses fails the test.

        ``from_`` stands for the key ``from``.
        """
        order = {"do": do, **{key.rstrip("_"): value for key, value in keys.items()}}
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.control))
            connection.sendall(json.dumps(order).encode() + b"\n")
            answer: dict[str, Any] = json.loads(connection.makefile("rb").readline())
        assert answer.pop("ok"), f"the modem refused {order}: {answer['error']}"
        return answer

    def state(self) -> dict[str, Any]:
        """Return all that it tells of itself."""
        return self.tell("state")

    def wait_registered(self, timeout: float = 10.0) -> None:
        """Wait until it is in a network."""
        eventually(lambda: self.state()["registration"] in (1, 5), timeout, what="the modem registers")

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the events of its log, or those of one kind: ``sms``, ``call``, ``fault``, ``restart``."""
        if not self.event_log.exists():
            return []
        text = self.event_log.read_text()
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [line for line in lines if kind in (None, line["kind"])]

    @property
    def sms(self) -> list[dict[str, Any]]:
        """Every short message it sent over the air, in order."""
        return self.events("sms")

    @property
    def device(self) -> str:
        """The device behind the AT port's link now."""
        return str(self.at.readlink())

    def _clean(self) -> None:
        shutil.rmtree(self._short, ignore_errors=True)
