"""The bridge as users run it: a process with a configuration file."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.harness.client import Client
from tests.harness.mosquitto import Mosquitto
from tests.harness.process import ROOT, Keeper, Process, eventually

PROGRAM = [sys.executable, "-m", "bridge"]


class BridgeProcess(Process):
    """A bridge between ``broker`` and the cloud on ``cloud_port``.

    ``settings`` is the configuration as it will be written at `start`; change it before. What the bridge
    writes to stderr is kept in ``log``.
    """

    def __init__(self, keeper: Keeper, folder: Path, broker: Mosquitto, cloud_port: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__("bridge", folder / "bridge.log")
        self.folder = folder
        self.broker = broker
        self.config = folder / "bridge.hjson"
        self.store = folder / "store" / "outbox.db"
        self.wrap: Sequence[str] = ()
        """A command that runs the bridge, e.g. ``unshare``; it has to become it by exec."""
        self.settings: dict[str, Any] = {
            "credentials": {"devicekey": "abcd1234"},
            "cloud": {"host": "127.0.0.1", "port": cloud_port, "timeout": 2},
            "mqtt": {"host": "127.0.0.1", "port": broker.port, "events": ["*"]},
            "store": {"path": str(self.store)},
            "inbound": {"enabled": False},
            "home_assistant": {"enabled": False},
        }
        keeper.keep(self)

    def configure(self, **sections: Any) -> None:
        """Merge keys into sections of the configuration: ``configure(cloud={"parallel": 1})``."""
        for name, given in sections.items():
            old = self.settings.get(name)
            self.settings[name] = {**old, **given} if isinstance(old, dict) else given

    def write_config(self) -> None:
        """Write the configuration, readable by its owner alone."""
        self.config.touch(mode=0o600)
        self.config.write_text(json.dumps(self.settings, indent=2))

    def start(
        self, *, wait: bool = True, env: Mapping[str, str] | None = None, timeout: float = 15.0
    ) -> None:
        """Start it; with ``wait`` until this run is connected and its retained state says ``online``."""
        self.write_config()
        self.launch([*self.wrap, *PROGRAM, "run", "-c", str(self.config)], env)
        if wait:
            self.wait_online(timeout)

    def wait_online(self, timeout: float = 15.0) -> None:
        """Wait until this run is connected and the broker keeps ``online`` as its state."""
        prefix = self.settings["mqtt"].get("prefix", "hologram")
        # An earlier run that was killed may have left "online" behind; what this run says has not.
        eventually(self._connected, timeout, what="the bridge connects to the broker")
        user = next(iter(self.broker.users.items()), None)
        with Client(self.broker.port, f"{prefix}/bridge/state", user=user) as watcher:
            watcher.wait_for(
                lambda: (last := watcher.last(f"{prefix}/bridge/state")) and last.payload == b"online",
                timeout,
                what="the bridge's state is online",
            )

    def _connected(self) -> bool:
        assert self.running, f"the bridge ended: {self.said(since_start=True)}"
        return "connected to the broker" in self.said(since_start=True)

    def signal_reload(self) -> None:
        """Write the configuration anew and send SIGHUP."""
        self.write_config()
        os.kill(self.pid, signal.SIGHUP)

    def reload(self, timeout: float = 10.0) -> None:
        """Write the configuration anew, send SIGHUP, and wait until it is taken."""
        before = self.said().count("configuration reloaded")
        self.signal_reload()
        eventually(
            lambda: self.said().count("configuration reloaded") > before, timeout, what="the bridge reloads"
        )

    def run(self, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run another command of the program on this bridge's configuration, to its end."""
        self.write_config()
        command = [*PROGRAM, *arguments, "-c", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=timeout, check=False)

    def queue(self, command: str, *options: str) -> Any:
        """Run ``queue COMMAND --json`` and return its answer."""
        done = self.run("queue", command, "--json", *options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
