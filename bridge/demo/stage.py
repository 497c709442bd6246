"""The stage: the child processes, and the loop that feeds the view.

One thread owns everything; what the bridge publishes comes through the view's own subscriber.
"""

import json
import os
import secrets
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bridge.adapters.mqtt.broker import Broker
from bridge.adapters.system.clock_facts import read_facts
from bridge.core.known_time import knows_time
from bridge.demo import tries
from bridge.demo.board import DemoBoard
from bridge.demo.children import Child, find_mosquitto, free_port, wait_for_port, wait_until
from bridge.demo.script import BATCH_EVERY, METERS, CloudDown, CloudUp, Publish, Step, story
from bridge.errors import OperationError
from bridge.watch.stop import Stop
from bridge.watch.subscriber import Subscriber, client_id, filters
from bridge.watch.values import Line

PREFIX = "hologram"
DEVICEKEY = "demo1234"
MODEM = "nova-u201"
COMMANDS = ("status", "reconnect", "pause", "resume", "log", "get", "set", "unset", "confirm")
"""Commands from afar that the bridge takes."""

CLOUD_DELAY = 0.3
"""Seconds until each answer of the simulated cloud, as over LTE."""

_TURN = 0.05
"""Seconds that one turn of the loop waits for an event."""

_START_WAIT = 30.0
"""Seconds for the bridge to come online; a small Raspberry Pi is slow."""


class View(Protocol):
    """A view of the board."""

    def show(self, lines: list[Line], now: float) -> None:
        """Take events; called many times a second. ``now`` is Unix seconds."""

    def __enter__(self) -> Self:
        """Prepare the terminal."""

    def __exit__(self, *error: object) -> None:
        """Restore the terminal."""


class Stage:
    """The child processes in the order of their start."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        mosquitto = find_mosquitto(environment)
        self.broker_port, self.cloud_port = free_port(), free_port()
        self.cloud_log = folder / "cloud.jsonl"
        python = [sys.executable, "-m", "bridge"]
        clean = _environment(environment)
        self.broker = Child(
            "the broker (mosquitto)",
            [mosquitto, "-c", str(_broker_file(folder, self.broker_port))],
            folder / "mosquitto.log",
        )
        self.cloud = Child(
            "the simulated cloud",
            [*python, "simulate", "cloud", "--quiet", "--devicekey", DEVICEKEY,
             "--port", str(self.cloud_port), "--delay", str(CLOUD_DELAY), "--log", str(self.cloud_log)],
            folder / "cloud.log",
            clean,
        )  # fmt: skip
        self.ports = [folder / "modem-at", folder / "modem-dial"]
        self.inbound_port = free_port()
        # The name is short because the path of a Unix socket is limited to 107 bytes.
        self.modem_control = folder / "tell"
        self.modem = Child(
            "the simulated modem",
            [*python, "simulate", "modem", "--quiet", "--profile", MODEM, "--registration", "0.5",
             "--control", str(self.modem_control), "--inbound-port", str(self.inbound_port),
             *(word for port in self.ports for word in ("--link", str(port)))],
            folder / "modem.log",
            clean,
        )  # fmt: skip
        key = _key_file(folder)
        self.desk = _desk_file(folder, [*python, "remote", "send"], self.inbound_port, key)
        self.configuration = _bridge_file(folder, self.broker_port, self.cloud_port, self.ports, key)
        self.bridge = Child(
            "the bridge", [*python, "run", "-c", str(self.configuration)], folder / "bridge.log", clean
        )
        self.children = [self.broker, self.cloud, self.modem, self.bridge]

    def start(self) -> None:
        """Start all processes; raises `OperationError` if one does not become ready."""
        self.broker.start()
        wait_for_port(self.broker, self.broker_port)
        for child in (self.cloud, self.modem):
            child.start()
        # Wait for the modem, so that the traffic does not begin with the search for it.
        wait_until(self.modem, lambda: all(port.exists() for port in self.ports), "has no ports")
        self.bridge.start()
        # Wait for the cloud: under load the bridge may start faster, and its first message would fail.
        wait_for_port(self.cloud, self.cloud_port)

    def check(self) -> None:
        """Raise `OperationError` if a process has ended by itself."""
        for child in self.children:
            child.check()

    def stop(self) -> None:
        """End all processes, the last one first."""
        for child in reversed(self.children):
            child.stop()


@contextmanager
def stage(environment: Mapping[str, str]) -> Iterator[Stage]:
    """Yield a stage whose files and processes are gone when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="demo-"))
    try:
        built = Stage(folder, environment)
        try:
            built.start()
            yield built
        finally:
            built.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Performance:
    """Plays the script on a stage and feeds the board and the view."""

    def __init__(self, on: Stage, board: DemoBoard, view: View, stop: Stop) -> None:
        self._stage = on
        self._board = board
        board.knows_time = knows_time(time.time(), read_facts())
        self._view = view
        self._stop = stop
        broker = Broker("127.0.0.1", on.broker_port, client_id())
        self._source = Subscriber(broker, filters(PREFIX, commands=True))
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="hologram-demo", protocol=paho.MQTTv5
        )
        self._script = story()
        self._next = next(self._script)
        self._opened = time.monotonic()
        self._started: float | None = None
        self._log_read = 0

    def run(self, seconds: float | None) -> None:
        """Play until stopped, or for ``seconds`` of traffic; raises `OperationError` if a child ends."""
        self._connect()
        try:
            with self._source:
                while not self._stop.wanted and not self._over(seconds):
                    lines = [*self._play(), *self._source.take(self._board, _TURN), *self._arrivals()]
                    self._view.show(lines, time.time())
                    self._stage.check()
        finally:
            self._client.disconnect()
            self._client.loop_stop()

    def _over(self, seconds: float | None) -> bool:
        if seconds is None or self._started is None:
            return False
        return time.monotonic() - self._started >= seconds

    def _connect(self) -> None:
        try:
            self._client.connect("127.0.0.1", self._stage.broker_port)
        except OSError as error:
            self._stage.check()
            raise OperationError(
                f"cannot reach the broker that was started: {error.strerror or error}"
            ) from None
        self._client.loop_start()

    # -- one turn ----------------------------------------------------------------------------------------

    def _play(self) -> list[Line]:
        """Carry out the due steps; the traffic starts once the bridge is online."""
        now = time.monotonic()
        if self._started is None:
            if not self._board.online:
                self._overdue(now)
                return []
            self._started = now
        lines = []
        while self._started + self._next.at <= now:
            lines += self._do(self._next.step)
            self._next = next(self._script)
        return lines

    def _overdue(self, now: float) -> None:
        if now - self._opened > _START_WAIT:
            raise OperationError(f"the bridge is not online after {_START_WAIT:.0f} s")

    def _do(self, step: Step) -> list[Line]:
        now = time.time()
        if isinstance(step, Publish):
            self._client.publish(f"{PREFIX}/{step.topic}", step.payload, qos=1)
            return [Line(now, "demo", step.note)] if step.note else []
        if isinstance(step, CloudDown):
            self._stage.cloud.stop()
            self._board.cloud_back_at = now + step.seconds
            text = (
                f"the simulated cloud is down for {step.seconds:.0f} s: messages wait on disk, none is lost"
            )
            return [Line(now, "demo", text)]
        assert isinstance(step, CloudUp)
        self._stage.cloud.start()
        self._board.cloud_back_at = None
        text = "the simulated cloud is back; the bridge notices at its next probe and sends what waits"
        return [Line(now, "demo", text)]

    def _arrivals(self) -> list[Line]:
        """Take the new lines of the simulated cloud's log, whole ones only."""
        path = self._stage.cloud_log
        if not path.exists() or path.stat().st_size == self._log_read:
            return []
        with path.open("rb") as log:
            log.seek(self._log_read)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._log_read += len(whole)
        return [line for each in whole.decode().splitlines() for line in self._board.arrival(each)]


def play(view_of: Any, board: DemoBoard, stop: Stop, seconds: float | None) -> None:
    """Build the stage and play on it; ``view_of`` creates its view."""
    with stage(os.environ) as built, view_of(built) as view:
        Performance(built, board, view, stop).run(seconds)


def try_lines(on: Stage) -> list[tries.Try]:
    """Return the lines to try."""
    return tries.lines(tries.options(on.broker_port), on.inbound_port, on.configuration, on.desk, PREFIX)


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return ``given`` without the variables that would override the bridge's file."""
    meant_for_others = (
        "RUNTIME_DIRECTORY",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "JOURNAL_STREAM",
    )
    return {
        name: value
        for name, value in given.items()
        if not name.upper().startswith("HOLOGRAM_BRIDGE") and name not in meant_for_others
    }


def _broker_file(folder: Path, port: int) -> Path:
    """Write the broker's configuration: loopback only, no persistence, a long queue for a viewer's floods."""
    path = folder / "mosquitto.conf"
    path.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 100000\n"
    )
    return path


def _key_file(folder: Path) -> Path:
    """Write the key of this box for commands from afar."""
    path = folder / "key"
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(20))
    return path


def _desk_file(folder: Path, send: list[str], port: int, key: Path) -> Path:
    """Write a script that sends a command from afar: the whole line is too long for the screen."""
    path = folder / "desk"
    words = [*send, "--host", "127.0.0.1", "--port", str(port), "--key-file", str(key)]
    path.write_text(f'{shlex.join(words)} "$@"\n')
    return path


def _bridge_file(folder: Path, broker_port: int, cloud_port: int, modem: list[Path], key: Path) -> Path:
    """Write the bridge's configuration; JSON is HJSON too."""
    path = folder / "bridge.hjson"
    settings = {
        "credentials": {"devicekey": DEVICEKEY},
        "cloud": {"host": "127.0.0.1", "port": cloud_port},
        "mqtt": {
            "host": "127.0.0.1",
            "port": broker_port,
            "client_id": "hologram-bridge-demo",
            "events": ["*"],
            "prefix": PREFIX,
        },
        "network": {
            "interface": f"cellular-{MODEM}",
            "device": [str(port) for port in modem],
            "poll": 5,
        },
        "routes": [{"match": f"{METERS}#", "batch": {"every": BATCH_EVERY}}],
        "inbound": {"host": "127.0.0.1", "port": 4010, "protocols": ["tcp"]},
        "remote": {"key": key.read_text(), "allow": COMMANDS},
        "store": {"path": str(folder / "outbox.db")},
        "control": {"path": str(folder / "ctl")},
        "home_assistant": {"enabled": False},
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(settings, indent=2))
    return path
