"""A real mosquitto on a free port."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

from tests.harness.process import ROOT, Keeper, Process, eventually, free_port

SHIPPED = ROOT / "config" / "mosquitto" / "hologram-bridge.conf"
"""The mosquitto configuration that users are given."""

_SHIPPED_MEANWHILE = """\
persistence true
autosave_interval 1
autosave_on_changes true
max_queued_messages 0
max_inflight_messages 100
"""

_OWN = ("listener", "port", "persistence_location", "log_dest", "pid_file", "user", "allow_anonymous")
"""Directives that a test sets itself."""


class Mosquitto(Process):
    """A broker; what it keeps is in ``folder``, so it can be killed and started again on the same port.

    Args:
        keeper: ends it with the test.
        folder: an empty folder of its own.
        shipped: with the shipped configuration (saved at every change) rather than Debian's stock one
            (persistence on, saved on exit and every 30 minutes).
        lines: further lines for its configuration.
        users: names and passwords; anybody may connect if there are none.
        include: a configuration file to be read as it is ``before`` or ``after`` the test's own lines, or
            ``alone``, in the place of those that say where to listen and who may connect.

    """

    def __init__(
        self,
        keeper: Keeper,
        folder: Path,
        *,
        shipped: bool = False,
        lines: tuple[str, ...] = (),
        users: dict[str, str] | None = None,
        include: tuple[Path, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__("mosquitto", folder / "mosquitto.log")
        self.folder = folder
        self.port = free_port()
        self.users = users or {}
        self.lines = lines
        self.shipped = shipped
        self.include = include
        keeper.keep(self)

    @property
    def database(self) -> Path:
        """Where it keeps sessions, queues and retained messages; without it they are lost."""
        return self.folder / "mosquitto.db"

    def start(self) -> None:
        """Start it and wait until it listens."""
        config = self.folder / "mosquitto.conf"
        config.write_text(self._included(self._config()))
        # With the port alone it is as with no listener: on loopback [mosquitto(8), -p].
        port = ["-p", str(self.port)] if self.include and self.include[1] == "alone" else []
        self.launch([program("mosquitto"), "-c", str(config), *port])
        eventually(self._listening, 10, what=f"mosquitto listens; it said {self.said()[-400:]}")

    def _listening(self) -> bool:
        assert self.running, f"mosquitto ended: {self.said()}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _included(self, config: str) -> str:
        if self.include is None:
            return config
        file, place = self.include
        if place == "alone":
            config = "".join(
                line + "\n"
                for line in config.splitlines()
                if line.split(" ")[0] not in ("listener", "allow_anonymous")
            )
        folder = self.folder / "conf.d"
        folder.mkdir(exist_ok=True)
        (folder / file.name).write_text(file.read_text())
        line = f"include_dir {folder}\n"
        return line + config if place == "before" else config + line

    def _config(self) -> str:
        settings = "persistence true\n"
        if self.shipped:
            text = SHIPPED.read_text() if SHIPPED.exists() else _SHIPPED_MEANWHILE
            settings = "".join(
                line + "\n" for line in text.splitlines() if line.split(" ")[0].strip() not in _OWN
            )
        if self.users:
            passwords = self.folder / "passwords"
            passwords.write_text("".join(f"{name}:{word}\n" for name, word in self.users.items()))
            passwords.chmod(0o600)
            subprocess.run([program("mosquitto_passwd"), "-U", str(passwords)], check=True)
            settings += f"password_file {passwords}\n"
        # Started by root it would become the user mosquitto, who may not write here.
        user = "user root\n" if os.geteuid() == 0 else ""
        anonymous = "false" if self.users else "true"
        return (
            f"listener {self.port} 127.0.0.1\nallow_anonymous {anonymous}\n{user}"
            f"persistence_location {self.folder}/\nlog_dest stderr\nlog_timestamp true\n{settings}"
            + "".join(line + "\n" for line in self.lines)
        )


def program(name: str) -> str:
    """Debian keeps mosquitto where only root's PATH looks."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    assert found, f"{name} is not installed; make setup installs it"
    return found
