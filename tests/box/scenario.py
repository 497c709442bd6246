"""The appliance as it stands in the field: the package on one machine, the modem and its network on another.

::

    box                                                          far
    mosquitto, hologram-bridge, hologram-ppp ─ ttyUSB0 ═ wire ═ the simulated modem ─ pppd ─ simulated cloud
    sensors ─ virtio port ─> the host knows what was acknowledged when the power goes

So the cloud, and what it has counted, outlives what happens to the box.
"""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from bridge.batch import decode
from tests.box import recipe
from tests.box.line import Lines
from tests.box.machine import PYTHON, Machine
from tests.box.ppp import BRIDGE, CONTROL, DNS, FAR_IP, LOG, OUR_IP
from tests.harness.process import ROOT, eventually

CONFIG = "/etc/hologram-bridge/bridge.hjson"
STORE = "/var/lib/hologram-bridge/outbox.db"
PARALLEL = 4
"""Exchanges with the cloud at a time. Of twice as many messages a power cut may leave the fate open."""

BATCHED = "lane/2"
"""The topics whose messages go in batches."""

UP = 150.0
"""Seconds within which a call comes up after whatever happened: emulated, and not alone on its processors."""

SENSORS = """\
[Unit]
Description=Sensors
After=mosquitto.service
[Service]
ExecStart={python} /opt/sensors.py /dev/virtio-ports/told {pause}
Restart=on-failure
RestartSec=1
[Install]
WantedBy=multi-user.target
"""

LOOK = """\
[Unit]
Description=Reads the outbox through before the bridge does
Before=hologram-bridge.service
[Service]
Type=oneshot
ExecStart=/usr/bin/python3 /opt/look.py
[Install]
WantedBy=multi-user.target
"""

LOOK_CODE = f"""\
import pathlib, shutil, sqlite3
shutil.copytree(pathlib.PurePath("{STORE}").parent, "/run/look")
check = sqlite3.connect("/run/look/{Path(STORE).name}").execute("PRAGMA integrity_check").fetchall()
pathlib.Path("/run/looking").write_text(str(check))
pathlib.Path("/run/looking").rename("/run/looked")
"""


def build_package(folder: Path) -> Path:
    """Build the Debian package of this tree in ``folder``, and return it."""
    done = subprocess.run(
        ["sh", str(ROOT / "config/debian/build"), "amd64"],
        env={
            **os.environ,
            "OUT": str(folder),
            "PIP": f"{sys.executable} -m pip",
            "PYTHON_VERSION": recipe.PYTHON,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.deb"))


_KIND = re.compile(r"[0-9a-f]{4}-[0-9]+")
"""The sensors' texts."""


class Far:
    """The other side: a modem to plug in, the network that it calls, and the cloud."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._read_to = 0
        self._accepted: list[str] = []
        self._batches: set[str | None] = set()
        machine.boot()
        machine.install()
        machine.must("modprobe ppp_async")
        # There whether or not somebody calls, as the modem's own sockets want to reach it too.
        machine.must(f"ip addr add {FAR_IP}/32 dev lo")
        self.start_cloud()
        self.start_modem()

    def start_cloud(self) -> None:
        """Have the cloud answer; fine when it does."""
        if self.machine.run("systemctl is-active cloud").code:
            self.machine.spawn("cloud", f"{BRIDGE} simulate cloud --host 0.0.0.0 --log {LOG} --quiet")

    def stop_cloud(self) -> None:
        """Have it refuse every connection."""
        self.machine.must("systemctl stop cloud")

    def start_modem(self) -> None:
        """Switch the modem on, anew if it is: what hung on its power has lost it."""
        self.machine.run("systemctl stop wire modem; pkill -KILL -F /run/ppp-far.pid")
        pppd = (
            f"/usr/sbin/pppd notty nodetach noauth local nodefaultroute noipv6 ms-dns {DNS}"
            f" ifname far0 linkname far {FAR_IP}:{OUR_IP}"
        )
        self.machine.spawn(
            "modem",
            f"{BRIDGE} simulate modem --profile nova-u201 --link /run/modem --control {CONTROL}"
            f" --registration 0.5 --sim-delay 0.2 --quiet --pppd {shlex.quote(pppd)}",
        )
        self.machine.wait_for("test -e /run/modem", 60)
        ends = "OPEN:/dev/virtio-ports/modem OPEN:/run/modem,raw,echo=0"
        self.machine.spawn("wire", f"/bin/sh -c 'while :; do socat {ends}; sleep 0.2; done'")

    def hang_up(self) -> None:
        """The network ends the call: the emulated adapter does not pass on that DTR dropped."""
        self.machine.run("pkill -KILL -F /run/ppp-far.pid")

    @property
    def line(self) -> Path:
        """What the modem's USB plug is wired to."""
        return self.machine.port("modem")

    def accepted(self) -> list[str]:
        """Return the texts that the cloud has accepted, in order, those that came twice twice."""
        new = self.machine.run(f"tail -c +{self._read_to + 1} {LOG} | head -c 4000000").out.encode()
        whole = new[: new.rfind(b"\n") + 1]
        self._read_to += len(whole)
        records = [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
        for each in records:
            if each["accepted"]:
                self._accepted += self._texts(each["topics"], each["data"] or "")
        return self._accepted

    def _texts(self, topics: list[str], data: str) -> list[str]:
        """Return the texts of a request; those of a batch that came before are left out, as receivers do."""
        if topics != ["batch"]:
            return [data]
        batch = decode(data)
        if batch.id in self._batches:
            return []
        self._batches.add(batch.id)
        return [each.payload.decode() for each in batch.readings]


class Told:
    """What the sensors told the host, over all boots: acknowledged for certain, whatever came after."""

    def __init__(self, path: Path) -> None:
        self.broker: set[str] = set()
        """What mosquitto has acknowledged."""
        self.bridge: Counter[str] = Counter()
        """What the bridge has on its disk, and how often it stored it."""
        self._lines = Lines(path, self._note)

    def _note(self, line: str) -> None:
        what, _, text = line.partition(" ")
        if what == "p":
            self.broker.add(text)
        elif what == "q":
            self.bridge[text] += 1

    def close(self) -> None:
        """Stop reading."""
        self._lines.close()


class Figures(NamedTuple):
    """What became of the messages."""

    acknowledged: int
    """On the bridge's disk, for certain."""
    delivered: int
    """Of those, what the cloud has."""
    duplicated: int
    """Further arrivals of messages that have an id, so deliveries that a cut left open."""
    stored_twice: int
    """Further arrivals of messages without one: those deliveries, and what mosquitto handed over again."""
    lost: int
    """Acknowledged, and not in the cloud."""
    broker_only: int
    """Acknowledged by mosquitto, without word from the bridge."""
    broker_lost: int
    """Of those, what the cloud has not."""

    def __str__(self) -> str:
        return ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in self._asdict().items())


def figures(told: Told, arrived: Iterable[str], before: AbstractSet[str] = frozenset()) -> Figures:
    """Compare what was acknowledged with what has arrived, except for the messages from ``before``."""
    count = Counter(text for text in arrived if text not in before)
    sure = told.bridge.keys() - before
    broker = told.broker - told.bridge.keys() - before
    again = {text: number - 1 for text, number in count.items() if number > 1 and _KIND.fullmatch(text)}
    with_id = sum(extra for text, extra in again.items() if _has_id(text))
    return Figures(
        acknowledged=len(sure),
        delivered=len(sure & count.keys()),
        duplicated=with_id,
        stored_twice=sum(again.values()) - with_id,
        lost=len(sure - count.keys()),
        broker_only=len(broker),
        broker_lost=len(broker - count.keys()),
    )


def _has_id(text: str) -> bool:
    return int(text.rpartition("-")[2]) % 2 == 0


class Appliance:
    """The box, installed from the package, and whom it talks to."""

    def __init__(self, machine: Machine, far: Far, package: Path, *, pause: float = 0.2) -> None:
        self.machine = machine
        self.far = far
        self.told = Told(machine.port("told"))
        self._before: set[str] = set()
        self.boot()
        self._install(package, pause)

    def _install(self, package: Path, pause: float) -> None:
        machine = self.machine
        machine.put("/root/hologram-bridge.deb", package)
        print(machine.must("dpkg -i /root/hologram-bridge.deb", 300))
        machine.must(
            "cp /usr/share/hologram-bridge/mosquitto/hologram-bridge.conf /etc/mosquitto/conf.d/"
            " && systemctl enable --now mosquitto",
            120,
        )
        settings = {
            "credentials": {"devicekey": "abcd1234"},
            # Patience: an emulated far side that is busy answers late, and a late answer is a duplicate.
            "cloud": {"host": FAR_IP, "parallel": PARALLEL, "timeout": 20},
            "network": {"interface": "cellular-nova-u201", "device": self.device},
            "log": {"level": "info"},
            "mqtt": {"events": ["*"]},  # the sensors hear what is queued
            "routes": [{"match": BATCHED, "batch": {"every": "2s"}}],
        }
        machine.put("/root/bridge.hjson", json.dumps(settings))
        machine.must(f"install -m 640 -g hologram /root/bridge.hjson {CONFIG}")
        machine.put("/opt/sensors.py", Path(__file__).with_name("sensors.py"))
        unit = SENSORS.format(python=PYTHON, pause=pause)
        machine.put("/etc/systemd/system/sensors.service", unit)
        machine.put("/opt/look.py", LOOK_CODE)
        machine.put("/etc/systemd/system/look.service", LOOK)
        machine.must("systemctl daemon-reload && systemctl enable look", 60)
        machine.must("systemctl enable --now hologram-bridge && sync", 120)

    @property
    def device(self) -> str:
        """The modem's stable name."""
        return self.machine.by_id("modem")

    def boot(self, *, settled: bool = True) -> float:
        """Switch it on, and the modem in its port; returns the seconds until it answers or is ``settled``."""
        with ThreadPoolExecutor(1) as pool:
            modem = pool.submit(self.far.start_modem)
            seconds = self.machine.boot(settled=settled, plugged={"modem": self.far.line})
            modem.result()
        return seconds

    def cut(self) -> None:
        """Cut the power of the box and its modem."""
        self.machine.kill()

    def plug(self) -> None:
        """Plug the modem in, which starts it."""
        self.far.start_modem()
        self.machine.plug("modem", self.far.line)

    def status(self) -> dict[str, Any]:
        """Return the retained network status; nothing while there is none to be had."""
        ran = self.machine.run("mosquitto_sub -t hologram/network/status -C 1 -W 20", 40)
        with contextlib.suppress(json.JSONDecodeError):
            found: dict[str, Any] = json.loads(ran.out)
            return found
        return {}

    def connected(self, timeout: float = UP) -> None:
        """Wait until the network is up."""
        try:
            eventually(lambda: self.status().get("state") == "connected", timeout, what="the network is up")
        except AssertionError as error:
            error.add_note(self.said())
            raise

    def arrived(self, text: str, timeout: float = UP) -> None:
        """Wait until the cloud has ``text``."""
        try:
            eventually(lambda: text in self.far.accepted(), timeout, what=f"{text} in the cloud")
        except AssertionError as error:
            error.add_note(self.said())
            raise

    def publish(self, topic: str, text: str, *options: str) -> None:
        """Publish a message at QoS 1."""
        words = ["mosquitto_pub", "-V", "5", "-q", "1", "-t", topic, "-m", text, *options]
        self.machine.must(shlex.join(words))

    def load(self) -> None:
        """Have the sensors publish until `settle`, whose figures begin here; wait for the first messages."""
        self._before = self.told.broker | self.told.bridge.keys()
        before = len(self.told.bridge)
        self.machine.must("systemctl start sensors")
        eventually(lambda: len(self.told.bridge) > before + 5, UP, what="acknowledged messages")

    def settle(self, timeout: float = 4 * UP) -> Figures:
        """Silence the sensors, wait until all that was acknowledged has arrived; returns the figures."""
        self.machine.must("systemctl stop sensors", 120)
        try:
            eventually(
                lambda: set(self.told.bridge) <= set(self.far.accepted()),
                timeout,
                what="the outbox in the cloud",
            )
            self.emptied(timeout)
        except AssertionError as error:
            error.add_note(f"{self.figures()}\n{self.missing()}\n{self.said()}")
            raise
        print(self.figures())
        return self.figures()

    def missing(self) -> str:
        """Return what has not arrived, and what the outbox holds."""
        texts = sorted(set(self.told.bridge) - set(self.far.accepted()))
        held = self.machine.run("hologram-bridge queue list; hologram-bridge queue stats", 120).out
        return f"not in the cloud: {texts[:20]}\n{held}"

    def figures(self) -> Figures:
        """Return what has become so far of what was published since `load`."""
        return figures(self.told, self.far.accepted(), self._before)

    def queued(self) -> int:
        """Return how many messages the outbox holds."""
        ran = self.machine.run("hologram-bridge queue stats --json", 60)
        with contextlib.suppress(json.JSONDecodeError, KeyError):
            return int(json.loads(ran.out)["queue"]["messages"])
        return -1

    def emptied(self, timeout: float = UP) -> None:
        """Wait until the outbox is empty."""
        eventually(lambda: self.queued() == 0, timeout, what="an empty outbox")

    def whole(self) -> None:
        """Fail where the outbox was damaged when this boot began, or was found to be so by the bridge."""
        looked = self.machine.wait_for("cat /run/looked", UP)
        assert looked == "[('ok',)]", f"the outbox: {looked}\n{self.said()}"
        files = self.machine.must(f"ls -l {Path(STORE).parent}")
        assert "damaged" not in files, f"{files}\n{self.said()}"

    def said(self) -> str:
        """Return what the bridge and its link said."""
        return "\n".join(
            f"-- {unit}\n{self.machine.journal(unit, 60)}"
            for unit in ("hologram-bridge", "hologram-ppp", "mosquitto", "sensors")
        )
