"""A box with two ways out, in network namespaces of its own: an Ethernet that can be cut, and a modem.

::

    near: the bridge, its broker, other programs        lan: a router, the cloud, a name server
          eth0 192.168.77.2 ──────────────────────────── lan0 192.168.77.1
          ppp0 10.176.5.6   ──────────────────────────── far0      mobile: the same cloud and name server
          (while the modem is dialled)

The modem is the simulated one. What follows its CONNECT is a stand-in for pppd, which lays a cable where PPP
would be, since the kernel here may have none. The bridge sees it as /usr/sbin/pppd, in a mount namespace.
"""

import contextlib
import json
import shlex
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.doubles.name_server import NameServer
from tests.doubles.namespace import Namespace, namespaces
from tests.harness.bridge import BridgeProcess
from tests.harness.client import Client
from tests.harness.modem import SimModem
from tests.harness.mosquitto import Mosquitto
from tests.harness.process import Keeper, eventually
from tests.sim.command import cloud_process

CLOUD, DNS, OURS = "198.51.100.7", "198.51.100.53", "10.176.5.6"
PORT, OTHERS = 9999, 5000
"""Ports of the cloud, and of what other programs talk to."""

_PPPD = """\
#!/usr/bin/python3
import os, signal, subprocess, sys

def ip(words, check=True):
    subprocess.run(["ip", *words.split()], check=check, stderr=None if check else subprocess.DEVNULL)

def end(*_):
    print("Terminating on signal 15", flush=True)
    ip("link del ppp0", check=False)
    os._exit(5)

signal.signal(signal.SIGTERM, end)
port = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
command = sys.argv[sys.argv.index("connect") + 1]
if subprocess.run(command, shell=True, stdin=port, stdout=port).returncode:
    print("Connect script failed", flush=True)
    sys.exit(8)
ip("link del ppp0", check=False)
ip("link add ppp0 type veth peer name far0 netns {far}")
ip("address add {ours}/32 dev ppp0")
ip("link set ppp0 up")
far = "ip link set far0 up && ip route replace {ours} dev far0"
subprocess.run(["nsenter", "-t", "{far}", "-n", "sh", "-c", far], check=True)
for line in ("Using interface ppp0", "local  IP address {ours}", "remote IP address 10.64.64.64",
             "primary   DNS address {dns}"):
    print(line, flush=True)
while True:
    signal.pause()
"""

_ENTER = """\
set -e
mount --bind {folder}/pppd /usr/sbin/pppd
mount --bind {folder}/resolv.conf /etc/resolv.conf
mount -t sysfs sysfs /sys
mkdir -p {folder}/dev
mount -t tmpfs tmpfs {folder}/dev
mkdir {folder}/dev/pts {folder}/dev/shm
cp -a /dev/null /dev/zero /dev/random /dev/urandom /dev/tty {folder}/dev/
ln -s pts/ptmx {folder}/dev/ptmx
touch {folder}/dev/ppp
mount --rbind /dev/pts {folder}/dev/pts
mount --move {folder}/dev /dev 2>/dev/null || mount --rbind {folder}/dev /dev
exec "$@"
"""


class TwoWays:
    """The box and what is around it; each part lives in the namespace it belongs to."""

    def __init__(
        self, keeper: Keeper, folder: Path, near: Namespace, lan: Namespace, mobile: Namespace
    ) -> None:
        self._keeper = keeper
        self.near, self.lan, self.mobile = near, lan, mobile
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self.logs = (folder / "lan.log", folder / "mobile.log")
        self._lay()
        self.names = {where: where.do(self._serve_names) for where in (lan, mobile)}
        self.others = {where: where.do(self._listen) for where in (lan, mobile)}
        for where, log in zip((lan, mobile), self.logs, strict=True):
            where.do(partial(self._start_cloud, log))
        self.modem = SimModem(keeper, folder / "modem")
        self.modem.start("--registration", "0.1", "--sim-delay", "0.1", "--pppd", "sleep 600")
        self.broker = Mosquitto(keeper, folder / "broker", lines=("max_queued_messages 0",))
        near.do(self.broker.start)
        self.client: Client = near.do(self._connect)
        self.bridge = BridgeProcess(keeper, folder / "bridge", self.broker, PORT)
        self.bridge.wrap = ["unshare", "-m", "sh", "-c", self._enter(), "sh"]
        self._talking = threading.Event()

    def _lay(self) -> None:
        for where in (self.lan, self.mobile):
            for each in (CLOUD, DNS):
                where.ip(f"address add {each}/32 dev lo")
        there = self.lan.do(threading.get_native_id)
        self.near.ip(f"link add eth0 type veth peer name lan0 netns {there}")
        self.lan.ip("address add 192.168.77.1/24 dev lan0")
        self.lan.ip("link set lan0 up")
        self.near.ip("address add 192.168.77.2/24 dev eth0")
        self.filter_sources("1", "all", "default")
        self.connect()

    def _enter(self) -> str:
        far = self.mobile.do(threading.get_native_id)
        pppd = self._folder / "pppd"
        pppd.write_text(_PPPD.format(far=far, ours=OURS, dns=DNS))
        pppd.chmod(0o755)
        (self._folder / "resolv.conf").write_text(f"nameserver {DNS}\noptions timeout:1 attempts:1\n")
        return _ENTER.format(folder=shlex.quote(str(self._folder)))

    def _serve_names(self) -> NameServer:
        return NameServer(DNS, {b"cloud.example": CLOUD})

    def _listen(self) -> socket.socket:
        found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        found.bind((CLOUD, OTHERS))
        found.setblocking(False)
        self._keeper.finally_(found.close)
        return found

    def _start_cloud(self, log: Path) -> None:
        options = ("--host", CLOUD, "--port", str(PORT), "--quiet")
        self._stack.enter_context(cloud_process(log, *options))

    def _connect(self) -> Client:
        client = Client(self.broker.port, "hologram/#").connect()
        self._keeper.finally_(client.close)
        return client

    def start(self, *, timeout: float = 1, **network: Any) -> None:
        """Start the bridge; ``timeout`` is `cloud.timeout` in seconds."""
        devices = [str(self.modem.at), str(self.modem.dial)]
        self.bridge.configure(
            cloud={"host": "cloud.example", "timeout": timeout},
            network={"interface": "cellular-nova-u201", "device": devices, **network},
            log={"level": "debug"},
        )
        self.near.do(partial(self.bridge.start, timeout=50), seconds=240)

    def restart(self) -> None:
        """Start the bridge again, as systemd does."""
        self.near.do(partial(self.bridge.start, timeout=50), seconds=240)

    def filter_sources(self, rp_filter: str, *interfaces: str) -> None:
        """Set ``rp_filter`` of the box, whose effect is the larger of an interface's and that of all."""
        for each in interfaces:
            path = Path("/proc/sys/net/ipv4/conf", each, "rp_filter")
            self.near.do(partial(path.write_text, rp_filter))

    def rules(self) -> str:
        """Return the box's routing rules."""
        ip = partial(subprocess.run, ["ip", "rule"], capture_output=True, text=True, check=True)
        return str(self.near.do(ip).stdout)

    def close(self) -> None:
        """End what is not the keeper's."""
        self._talking.set()
        self._stack.close()
        for where, names in self.names.items():
            where.do(names.close)

    # -- the Ethernet ------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Plug the cable in."""
        self.near.ip("link set eth0 up")
        self.near.ip("route replace default via 192.168.77.1 dev eth0")

    def cut(self) -> None:
        """Pull the cable out: its routes go."""
        self.near.ip("link set eth0 down")

    def blackhole(self) -> None:
        """Have packets vanish behind the router, without an error."""
        for each in (CLOUD, DNS):
            self.lan.ip(f"address del {each}/32 dev lo")

    def clear(self) -> None:
        """Let packets through again."""
        for each in (CLOUD, DNS):
            self.lan.ip(f"address add {each}/32 dev lo")

    def swallow(self) -> None:
        """Let connections through and lose what is larger, without an error: a black hole by MTU.

        What comes in is compared with the MTU, of which the other end does not learn.
        """
        self.lan.ip("route replace 192.168.77.0/24 dev lan0 src 192.168.77.1 advmss 1460")
        self.lan.ip("link set lan0 mtu 150")

    def pass_all(self) -> None:
        """Let large packets through again."""
        self.lan.ip("link set lan0 mtu 1500")

    def lose_names(self) -> None:
        """Take the name server of the Ethernet away."""
        self.lan.do(self.names[self.lan].close)

    def find_names(self) -> None:
        """Bring it back."""
        self.names[self.lan] = self.lan.do(self._serve_names)

    # -- what happens ------------------------------------------------------------------------------------

    def talk(self) -> None:
        """Have another program send datagrams to the Internet until the end."""

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                while not self._talking.wait(0.05):
                    with contextlib.suppress(OSError):
                        sock.sendto(b"x", (CLOUD, OTHERS))

        self.near.do(threading.Thread(target=send, daemon=True).start)

    def heard(self, where: Namespace) -> int:
        """Return how many of these datagrams came to one side."""
        number = 0
        with contextlib.suppress(BlockingIOError):
            while self.others[where].recv(10):
                number += 1
        return number

    def arrived(self) -> tuple[list[str], list[str]]:
        """Return the payloads that each cloud accepted, that behind the Ethernet first."""
        lan, mobile = (_accepted(log) for log in self.logs)
        return lan, mobile

    def paths(self) -> list[str]:
        """Return the ways that messages changed to."""
        return [each["path"] for each in self.client.events("network.failover")]

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 30) -> None:
        """Wait until ``condition`` holds."""
        eventually(condition, seconds, what=what)


def _accepted(log: Path) -> list[str]:
    if not log.exists():
        return []
    lines = [json.loads(each) for each in log.read_text().splitlines(keepends=True) if each.endswith("\n")]
    return [str(each["data"]) for each in lines if each["accepted"]]


@contextlib.contextmanager
def two_ways(keeper: Keeper, folder: Path) -> Iterator[TwoWays]:
    """Make the box; what is in its namespaces ends with the block."""
    with namespaces(True, True, True) as (near, lan, mobile):
        made = TwoWays(keeper, folder, near, lan, mobile)
        try:
            yield made
        finally:
            keeper.close()
            made.close()
