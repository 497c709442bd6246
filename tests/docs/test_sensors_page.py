"""The page on passwords for sensors: its commands, in their order, and a real Mosquitto that obeys."""

import json
import os
import shlex
import signal
import stat
import subprocess
from pathlib import Path

import hjson

from tests.docs.pages import page
from tests.harness import BridgeProcess, Cloud, Keeper, Mosquitto, free_port
from tests.harness.mosquitto import program
from tests.harness.process import ROOT

PAGE = page("sensors")
WORD = "its password"


class Guarded(Mosquitto):
    """A broker that reads what the page leaves in ``conf.d``; ``own`` is the bridge's port."""

    def __init__(self, keeper: Keeper, folder: Path) -> None:
        super().__init__(keeper, folder, users={"operator": WORD})
        self.own, self.local = free_port(), free_port()

    def reload(self) -> None:
        """Read passwords and rights again, as `systemctl reload` has it do."""
        os.kill(self.pid, signal.SIGHUP)

    def _config(self) -> str:
        user = "user root\n" if os.geteuid() == 0 else ""
        return (
            f"{user}persistence true\npersistence_location {self.folder}/\nlog_dest stderr\n"
            f"include_dir {self.folder}/conf.d\n"
        )


class Reader:
    """A reader of the page, whose ``/etc/mosquitto`` is the broker's folder."""

    def __init__(self, broker: Guarded) -> None:
        self.broker = broker
        self.folder = broker.folder
        (self.folder / "conf.d").mkdir(parents=True)
        self.own = self.folder / "bridge's"
        self.own.mkdir()
        for name, script in {
            "sudo": 'exec "$@"',
            "chown": "exit 0",
            "systemctl": "exit 0",
            "mosquitto_passwd": (
                f'[ "$1" != -c ] || shift; touch "$1"; exec {program("mosquitto_passwd")} -b "$@" "{WORD}"'
            ),
        }.items():
            self._program(name, script)

    def _program(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def here(self, text: str) -> str:
        """Return a text of the page with this reader's paths, addresses and ports."""
        for theirs, ours in {
            "/usr/share/hologram-bridge": str(ROOT / "config"),
            "/etc/mosquitto": str(self.folder),
            "-o root -g hologram ": "",
            "/etc/hologram-bridge/": f"{shlex.quote(str(self.own))}/",
            "192.168.1.10": "127.0.0.1",
            "-h box.lan": "-h 127.0.0.1",
            "1884": str(self.broker.own),
            "listener 1883": f"listener {self.broker.port}",
            "listener 8883": f"listener {self.broker.local} 127.0.0.1",
            "8883": str(self.broker.local),
        }.items():
            text = text.replace(theirs, ours)
        return text

    def run(self, line: str) -> str:
        """Run a line of the page; return what it says."""
        done = subprocess.run(
            ["/bin/bash", "-c", self.here(line)],
            cwd=self.folder,
            env={**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    def follow(self, title: str) -> None:
        """Run the lines below a heading, but those about the bridge, which are tested elsewhere."""
        for block in PAGE.blocks:
            if (block.language, block.where) == ("sh", title):
                for line in block.lines:
                    if not line.startswith("sudo hologram-bridge"):
                        self.run(line)


def test_a_sensor_sends_from_the_local_network(keeper: Keeper, tmp_path: Path, cloud: Cloud) -> None:
    """From the first password to the sensor's result, by the lines of the page; its SMS is refused."""
    cloud.start()
    broker = Guarded(keeper, tmp_path / "mosquitto")
    reader = Reader(broker)
    shipped = ROOT / "config/mosquitto/hologram-bridge.conf"
    reader.follow("1. Names and passwords")
    reader.follow("2. Two certificates")
    in_place = broker.folder / "conf.d" / shipped.name
    in_place.write_text(shipped.read_text())
    (lan,) = PAGE.texts("conf", "3. Put it in force")
    (broker.folder / "conf.d/hologram-lan.conf").write_text(reader.here(lan))
    reader.follow("3. Put it in force")
    in_place.write_text(reader.here(in_place.read_text()))
    broker.start()
    reader.follow("5. One more sensor")
    broker.reload()

    (piece,) = PAGE.texts("hjson", "3. Put it in force")
    bridge = BridgeProcess(keeper, tmp_path / "bridge", broker, cloud.port)
    mqtt = hjson.loads(piece)["mqtt"]
    files = {
        name: path.replace("/etc/hologram-bridge", str(reader.own)) for name, path in mqtt["tls"].items()
    }
    bridge.configure(mqtt={"port": broker.own, "tls": files})
    bridge.start()

    lines = [
        line
        for block in PAGE.blocks
        if (block.language, block.where) == ("sh", "4. A complete sensor")
        for line in block.lines
    ]
    asked, told = lines
    result = json.loads(reader.run(asked))
    (sample,) = (json.loads(text) for text in PAGE.texts("json", "4. A complete sensor"))
    assert list(result) == list(sample)
    assert (result["state"], result["topics"]) == ("delivered", sample["topics"])
    reader.run(told)
    reader.run(told.replace("-u sensor", "-u attic"))
    refused = told.replace("hologram/out/sensors/kitchen", "hologram/sms/15551234567").replace(
        " -q 1", " -V 5 -q 1"
    )
    done = subprocess.run(
        ["/bin/bash", "-c", reader.here(refused)],
        cwd=reader.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "not authorized" in (done.stdout + done.stderr).lower()
