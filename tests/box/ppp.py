"""A modem on a USB serial port of the emulated machine, and the network and the cloud behind it.

::

    ttyUSB0 ─ qemu ─ virtio port ─ socat ─ pty of the simulated modem ─ ATD ─ pppd in the namespace "far"
                                                                              └─ simulated cloud, port 9999

So what dials in the machine is the real pppd with the kernel's own USB serial driver, and what answers is
another, whose namespace has nothing but the link.
"""

import json
import shlex
from typing import Any

from tests.box.machine import Machine

FAR_IP = "10.176.0.1"
"""The far end, and the cloud behind it: of the network that tunnels come from, as inbound.allow has it."""

OUR_IP = "10.176.5.6"
DNS = "10.176.0.53"
BRIDGE = "/usr/local/bin/hologram-bridge"
CONTROL = "/run/modem.control"
LOG = "/run/cloud.log"
CONFIG = "/etc/hologram-bridge/bridge.hjson"

FAR_END = (
    f"ip netns exec far /usr/sbin/pppd notty nodetach noauth local nodefaultroute noipv6 ms-dns {DNS} "
    f"ifname far0 linkname far {FAR_IP}:{OUR_IP}"
)

SLOW = 120.0
"""Seconds within which a program starts on an emulated processor that others use too."""


class Rig:
    """All of it in one machine."""

    def __init__(self, machine: Machine, *, profile: str = "nova-u201", log: str = LOG) -> None:
        """``log`` is where the cloud writes a line a request."""
        self.machine = machine
        self._profile = profile
        self._log = log
        machine.install()
        self.set_up()

    def set_up(self) -> None:
        """Make and start all that is gone with the power."""
        machine = self.machine
        shared = "/usr/share/hologram-bridge"
        machine.must(f"mkdir -p {shared} && cp -rT /opt/project/config/ppp {shared}/ppp")
        machine.must("ip netns add far && ip -n far link set lo up")
        machine.must("modprobe -a ppp_async ftdi_sio")
        cloud = f"{BRIDGE} simulate cloud --host 0.0.0.0 --log {self._log} --quiet"
        machine.spawn("cloud", f"ip netns exec far {cloud}")
        self.start_modem()
        self.plug()
        machine.spawn("broker", "mosquitto -p 1883")
        machine.wait_for("mosquitto_pub -q 1 -n -t ready", SLOW)

    def start_modem(self) -> None:
        """Start the simulated modem, anew if it runs, and lay the line to it from the virtio port."""
        self.machine.run("systemctl stop wire modem")
        self.machine.spawn(
            "modem",
            f"{BRIDGE} simulate modem --profile {self._profile} --link /run/modem --control {CONTROL} "
            f"--registration 0.2 --sim-delay 0 --pppd {shlex.quote(FAR_END)}",
        )
        self.machine.wait_for("test -e /run/modem", SLOW)
        self.machine.spawn("wire", "socat OPEN:/dev/virtio-ports/modem OPEN:/run/modem,raw,echo=0")

    def plug(self) -> None:
        """Plug the modem in."""
        self.machine.plug("modem", self.machine.port("modem"))
        self.machine.wait_for(f"test -e {self.device}", SLOW)

    def unplug(self) -> None:
        """Pull the modem out."""
        self.machine.unplug("modem")

    @property
    def device(self) -> str:
        """The port's stable name."""
        return self.machine.by_id("modem")

    def configure(
        self, *, budget: dict[str, Any] | None = None, store: str = "/run/outbox.db", **network: Any
    ) -> None:
        """Write the bridge's configuration; readable by root alone, as the root unit wants it."""
        settings = {
            "credentials": {"devicekey": "abcd1234"},
            "cloud": {"host": FAR_IP},
            "network": {"interface": "cellular-nova-u201", "device": self.device, **network},
            "store": {"path": store},
            "log": {"level": "debug"},
            "budget": budget or {},
        }
        self.machine.put(CONFIG, json.dumps(settings), 0o640)

    def order(self, *words: str) -> str:
        """Give the simulated modem an order."""
        return self.machine.must(f"hologram-bridge simulate tell {CONTROL} {shlex.join(words)}")

    def accepted(self) -> list[dict[str, Any]]:
        """Return what the cloud has got."""
        lines = self.machine.run(f"cat {self._log}").out.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def listen(self, topic: str, *, seconds: int = 60) -> str:
        """Return the next message on ``topic`` (its retained one, if there is one)."""
        return self.machine.must(f"mosquitto_sub -t {shlex.quote(topic)} -C 1 -W {seconds}", seconds + 10)

    def status(self) -> dict[str, Any]:
        """Return what ``hologram/network/status`` says now."""
        found: dict[str, Any] = json.loads(self.listen("hologram/network/status"))
        return found

    def bound(self) -> dict[str, Any]:
        """Return what the running bridge says of the budget's bound of the day."""
        told = json.loads(self.machine.must(f"hologram-bridge queue stats --json -c {CONFIG}", SLOW))
        found: dict[str, Any] = told["budget"]["day"]
        return found

    def carried(self) -> int:
        """Return the bytes that the link's interface has counted since it came up, both ways."""
        return sum(map(int, self.machine.must("cat /sys/class/net/ppp0/statistics/[rt]x_bytes").split()))

    def publish(self, topic: str, payload: str) -> None:
        """Publish a message at QoS 1."""
        self.machine.must(f"mosquitto_pub -q 1 -t {shlex.quote(topic)} -m {shlex.quote(payload)}")

    def way(self, address: str) -> str:
        """Return the interface that packets to ``address`` take."""
        words = self.machine.must(f"ip -4 route get {address}").split()
        return words[words.index("dev") + 1]
