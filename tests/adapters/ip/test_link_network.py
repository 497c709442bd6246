"""Sockets of one link, in network namespaces: a box with an Ethernet and a link, the cloud behind both.

::

    near: eth0 192.168.77.2 ── lan0 router, 198.51.100.7, 198.51.100.53
    near: ppp0 10.176.5.6   ── far0 the same addresses: what answers says by which way it was asked
"""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from bridge.adapters.ip.link_network import LinkNetwork
from bridge.adapters.ip.resolver import Lookup, Resolver
from bridge.adapters.ip.tcp import TcpTransport
from bridge.adapters.ip.udp import UdpTransport
from bridge.adapters.ppp.routes import Routes
from bridge.core.exchange import Outcome
from bridge.core.modem import Link
from tests.doubles.name_server import NameServer
from tests.doubles.namespace import Namespace, namespaces
from tests.doubles.peer import Peer, job, read_request

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root"),
]

CLOUD, DNS, OURS = "198.51.100.7", "198.51.100.53", "10.176.5.6"
LINK = Link("ppp0", OURS, "10.64.64.64", (DNS,))


def _join(near: Namespace, far: Namespace, ours: str, theirs: str, address: str) -> None:
    there = far.do(threading.get_native_id)
    near.ip(f"link add {ours} type veth peer name {theirs} netns {there}")
    near.ip(f"address add {address} dev {ours}")
    for each in (CLOUD, DNS, "192.168.77.1"):
        far.ip(f"address add {each}/32 dev {theirs}")
    # Of IPv6 each interface speaks by itself.
    near.do(lambda: Path(f"/proc/sys/net/ipv6/conf/{ours}/disable_ipv6").write_text("1"))
    far.ip(f"link set {theirs} up")
    near.ip(f"link set {ours} up")
    far.ip(f"route add {address.partition('/')[0]} dev {theirs}")


class Box:
    """The near end, with its link's routes set as the bridge sets them, and what each far end has seen."""

    def __init__(self, near: Namespace, lan: Namespace, mobile: Namespace) -> None:
        self.near, self.lan, self.mobile = near, lan, mobile

    def tell(self, path: str, value: str) -> None:
        self.near.do(lambda: Path("/proc/sys/net/ipv4/conf", path).write_text(value))

    def routes(self) -> None:
        """Set the link's routes, as for ``network.scope: "bridge"``."""
        self.near.do(lambda: asyncio.run(_routed()))

    def sent(self, device: str) -> int:
        """Return how many packets have left by ``device``."""
        text = self.near.do(lambda: Path("/proc/thread-self/net/dev").read_text())
        [line] = [line for line in text.splitlines() if line.strip().startswith(f"{device}:")]
        return int(line.split()[10])


async def _routed() -> None:
    await Routes(asyncio.get_running_loop()).add("bridge", LINK)


@contextlib.contextmanager
def boxes(*, default_route: bool = True) -> Iterator[Box]:
    with namespaces(True, True, True) as (near, lan, mobile):
        _join(near, lan, "eth0", "lan0", "192.168.77.2/24")
        _join(near, mobile, "ppp0", "far0", f"{OURS}/32")
        if default_route:
            near.ip("route add default via 192.168.77.1 dev eth0")
        yield Box(near, lan, mobile)


def exchange(host: str, *, udp: bool = False, link: Link | None = LINK) -> Outcome:
    """Carry one request to ``host`` over the link."""

    async def main() -> Outcome:
        loop = asyncio.get_running_loop()
        resolver = Resolver(loop, LinkNetwork(lambda: link))
        done: asyncio.Future[Outcome] = loop.create_future()
        transport = UdpTransport(loop, resolver) if udp else TcpTransport(loop, resolver)
        transport.start(job(4000, host=host, silence=2), done.set_result)
        return await asyncio.wait_for(done, 30)

    return asyncio.run(main())


def answers(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"[0,0]")


@contextlib.contextmanager
def serving(where: Namespace) -> Iterator[NameServer]:
    """Run the cloud and the name server on a far end."""
    cloud = where.do(lambda: Peer(answers, host=CLOUD, port=4000))
    names = where.do(lambda: NameServer(DNS, {b"cloud.example": CLOUD}))
    try:
        yield names
    finally:
        where.do(names.close)
        where.do(cloud.close)


@pytest.mark.parametrize("rp_filter", ["0", "1", "2"])
@pytest.mark.parametrize("default_route", [True, False])
def test_messages_take_the_link_whatever_the_machines_routes(rp_filter: str, default_route: bool) -> None:
    """By name and by address; nothing of them leaves by the Ethernet, nor anything else by the link."""
    with boxes(default_route=default_route) as box, serving(box.mobile) as names:
        box.tell("all/rp_filter", rp_filter)
        box.tell("ppp0/rp_filter", rp_filter)
        box.routes()
        for host in ("cloud.example", CLOUD):
            outcome = box.near.do(partial(exchange, host))
            assert (outcome.error, outcome.answer) == (None, b"[0,0]")
        assert names.asked == ["cloud.example"]
        assert box.sent("eth0") == 0
        sent = box.sent("ppp0")
        with contextlib.suppress(OSError):  # another program, to the same place
            box.near.do(partial(socket.create_connection, (CLOUD, 4000), 0.2))
        assert box.sent("ppp0") == sent


def test_the_answers_of_bound_sockets_need_the_rule() -> None:
    """What the rule is for: without it they are dropped where a default route leads elsewhere."""
    with boxes() as box, serving(box.mobile):
        box.tell("all/rp_filter", "1")
        outcome = box.near.do(partial(exchange, CLOUD))
        assert not outcome.connected


def test_a_datagram_takes_the_link_too() -> None:
    """It leaves by the link's interface and by no other."""
    with boxes() as box, serving(box.mobile):
        box.routes()
        assert box.near.do(partial(exchange, "cloud.example", udp=True)).complete
        assert box.sent("eth0") == 0


@pytest.mark.parametrize("udp", [False, True])
def test_without_the_link_nothing_takes_another_way(udp: bool) -> None:
    """Neither while there is no link, nor while its interface is not there (any more)."""
    with boxes() as box, serving(box.lan):
        for link in (None, LINK._replace(interface="ppp7"), LINK):
            box.near.ip("link set ppp0 down")
            for host in ("cloud.example", CLOUD):
                outcome = box.near.do(partial(exchange, host, udp=udp, link=link))
                assert outcome.error, (link, host)
                assert not outcome.connected
        assert box.sent("eth0") == 0


def test_a_user_without_rights_may_bind_to_the_link() -> None:
    """The bridge is not root."""

    def without_rights() -> None:
        with LinkNetwork(lambda: LINK).make_socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            os.write(write, sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16))

    def forked() -> bytes:
        if not (pid := os.fork()):
            with contextlib.suppress(BaseException):
                os.setresuid(65534, 65534, 65534)
                without_rights()
            os._exit(0)
        os.waitpid(pid, 0)
        os.close(write)
        return os.read(read, 100)

    read, write = os.pipe()
    with boxes() as box:
        assert box.near.do(forked).rstrip(b"\0") == b"ppp0"
    os.close(read)


Asking = Callable[..., Lookup]


@pytest.fixture
def ask(tmp_path: Path) -> Asking:
    """Looks a name up over the link, with a hosts file of its own."""
    hosts = tmp_path / "hosts"
    hosts.write_text("198.51.100.99 known.example\n")

    def ask(box: Box, host: str, servers: tuple[str, ...] = (DNS,)) -> Lookup:
        network = LinkNetwork(lambda: LINK._replace(dns=servers), hosts=hosts)
        return box.near.do(partial(network.look_up, host, 9))

    return ask


def test_names_are_asked_of_the_links_name_servers(ask: Asking) -> None:
    """Each in turn, the cost is what the packets had; the hosts file costs nothing."""
    with boxes() as box, serving(box.mobile) as names:
        box.routes()
        found = ask(box, "cloud.example")
        assert [each.sockaddr for each in found.addresses] == [(CLOUD, 9)]
        assert found.traffic == names.traffic
        assert [each.sockaddr[0] for each in ask(box, "known.example").addresses] == ["198.51.100.99"]
        missing = ask(box, "no.example")
        assert (missing.addresses, missing.error) == ((), "cannot resolve no.example: the name server says 3")
        assert names.asked == ["cloud.example", "no.example"], "a name that does not exist is asked for once"
        assert "label" in str(ask(box, "a..b").error)
        assert ask(box, "cloud.example", ()).error


def test_the_next_name_server_is_asked(ask: Asking) -> None:
    """One that says nothing costs a query, and time."""
    with boxes() as box, serving(box.mobile) as names:
        box.routes()
        found = ask(box, "cloud.example", ("198.51.100.54", DNS))
        assert [each.sockaddr for each in found.addresses] == [(CLOUD, 9)]
        assert found.traffic.up == 2 * names.traffic.up
