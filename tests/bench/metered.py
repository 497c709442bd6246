"""A bridge whose only way out is a cable, on which every IP packet is counted."""

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.doubles.namespace import THERE, Namespace, namespaces
from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto

NAME = "cloudsocket.hologram.io"
DEAD = "10.98.0.1"
"""An address behind the cable that swallows what is sent to it."""

LISTEN, DNS = 4010, 53
QUIET = 0.5
"""Seconds without a packet after which an exchange is over."""

_ETH_P_ALL, _IPV4 = 0x0003, 0x0800  # [linux/if_ether.h]
_MTU = 1500


class Packet(NamedTuple):
    """One IPv4 packet of TCP or UDP."""

    length: int
    """Bytes, the IP header included [RFC 791: total length]."""
    ports: tuple[int, int]


class Meter:
    """Every IPv4 packet on the cable, both ways, seen from this namespace."""

    def __init__(self) -> None:
        """Raises PermissionError where packets may not be captured (CAP_NET_RAW)."""
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        self._socket.bind(("cable", _ETH_P_ALL))

    def settled(self, quiet: float = QUIET) -> list[Packet]:
        """Return what came since the last call, once nothing has come for ``quiet`` seconds."""
        found: list[Packet] = []
        self._socket.settimeout(quiet)
        while True:
            try:
                raw, where = self._socket.recvfrom(2 * _MTU)
            except TimeoutError:
                return found
            if where[1] == _IPV4:
                (length,) = struct.unpack_from("!H", raw, 2)
                assert length <= _MTU, "not yet cut into segments"
                found.append(Packet(length, struct.unpack_from("!HH", raw, (raw[0] & 15) * 4)))

    def wait(self) -> None:
        """Wait for a packet; it is still there for `settled`."""
        readable, _, _ = select.select([self._socket], [], [], 30)
        assert readable, "nothing came over the cable"

    def spent(self, port: int | None = None, quiet: float = QUIET) -> int:
        """Return the bytes since the last call, or those of one ``port``, once the cable is quiet."""
        return sum(each.length for each in self.settled(quiet) if port is None or port in each.ports)

    def close(self) -> None:
        """Stop."""
        self._socket.close()


class NameServer:
    """Answers each query with one address, or not at all; lives in the thread's namespace."""

    def __init__(self) -> None:
        self.address: str | None = THERE
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((THERE, DNS))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                query, client = self._socket.recvfrom(512)
                if self.address is not None:
                    # RFC 1035: a response without error, the question again, one A record that points to it.
                    head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0)
                    record = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(self.address)
                    self._socket.sendto(head + query[12:] + record, client)

    def close(self) -> None:
        """Stop."""
        self._socket.close()


class MeteredBox:
    """The bridge and its broker on one side of the cable, cloud and name server on the other.

    TCP timestamps are off, as in an installation. The bridge finds the cloud by its name.
    """

    def __init__(self, keeper: Keeper, folder: Path, near: Namespace, far: Namespace) -> None:
        self.near, self.far = near, far
        near.join(far)
        near.ip(f"route add default via {THERE}")
        for each in (near, far):  # the capture sees packets as they go on the air, not to be cut later
            each.ip("link set cable gso_max_segs 1")
        self.names = far.do(NameServer)
        self.cloud = far.do(lambda: Cloud(keeper, folder / "cloud"))
        self.start_cloud()
        self.broker = near.do(lambda: Mosquitto(keeper, folder / "mosquitto"))
        near.do(self.broker.start)
        self.bridge = near.do(lambda: BridgeProcess(keeper, folder / "bridge", self.broker, self.cloud.port))
        self._configure(folder)
        self.client = near.do(lambda: Client(self.broker.port, "hologram/#").connect())
        self.meter = near.do(Meter)
        for close in (self.meter.close, self.client.close, self.names.close):
            keeper.finally_(close)
        near.do(self.bridge.start)

    def _configure(self, folder: Path) -> None:
        resolv = folder / "resolv.conf"
        resolv.write_text(f"nameserver {THERE}\n")
        mount = f'mount --bind {resolv} /etc/resolv.conf && exec "$@"'
        self.bridge.wrap = ("unshare", "--mount", "sh", "-c", mount, "sh")
        self.bridge.configure(
            cloud={"host": NAME, "timeout": 5},
            inbound={"enabled": True, "host": "0.0.0.0", "port": LISTEN, "allow": [f"{THERE}/32"]},
        )

    def routes(self, *routes: dict[str, object]) -> None:
        """Give the running bridge other routes."""
        self.reload(routes=list(routes))

    def reload(self, **sections: object) -> None:
        """Give the running bridge another configuration."""
        self.bridge.configure(**sections)
        self.near.do(self.bridge.reload)

    def start_cloud(self, *options: str) -> None:
        """Start the simulated cloud, with further options."""
        self.far.do(lambda: self.cloud.start("--host", THERE, *options))

    def send(self, topic: str, payload: bytes | str) -> str:
        """Publish to a topic of the bridge's, at once whatever failed before; return the state it ends in."""
        with self.ended(1):
            self.client.publish(f"hologram/{topic}", payload)
            self.client.publish("hologram/queue/set", "flush")
        return str(self.results()[-1]["state"])

    @contextlib.contextmanager
    def ended(self, number: int) -> Iterator[None]:
        """Wait after the block until ``number`` more messages or texts have their results."""
        before = len(self.results())
        yield
        self.client.wait_for(lambda: len(self.results()) >= before + number, 30, what=f"{number} results")

    def results(self) -> list[dict[str, object]]:
        """Return the results of messages and texts so far."""
        return [each for each in self.client.results() if each["channel"] in ("cloud", "sms")]

    def cost(
        self, topic: str, payload: bytes | str, state: str = "delivered", *, quiet: float = QUIET
    ) -> int:
        """Send one message and return all bytes of it; raises AssertionError if it ends in another state."""
        self.meter.settled()
        ended = self.send(topic, payload)
        assert ended == state, f"{topic} ended as {ended}"
        return self.meter.spent(quiet=quiet)


@contextlib.contextmanager
def metered_box(folder: Path) -> Iterator[MeteredBox]:
    """Run a box until the block ends; needs root."""
    with namespaces(False, False) as (near, far):
        keeper = Keeper()
        try:
            yield MeteredBox(keeper, folder, near, far)
        finally:
            near.do(keeper.close)
