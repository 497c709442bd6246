"""Datagrams over real sockets."""

import asyncio
import socket

import pytest

from bridge.adapters.ip.resolver import Resolver
from bridge.adapters.ip.udp import UdpTransport
from bridge.core.exchange import Job, Outcome
from bridge.core.messages import Traffic
from tests.harness.needs import IPV6


def send(host: str, port: int, *requests: bytes) -> list[Outcome]:
    """Send each request as a datagram; return how each ended."""

    async def run() -> list[Outcome]:
        loop = asyncio.get_running_loop()
        transport = UdpTransport(loop, Resolver(loop))
        outcomes = []
        for request in requests:
            done: asyncio.Future[Outcome] = loop.create_future()
            transport.start(Job(host, port, request, lambda _: True, 5, 5), done.set_result)
            assert not done.done(), "never before start returns"
            outcomes.append(await asyncio.wait_for(done, 10))
        return outcomes

    return asyncio.run(run())


@pytest.fixture
def peer() -> socket.socket:
    """A UDP socket to send to."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(5)
    return sock


def test_a_request_is_one_datagram(peer: socket.socket) -> None:
    """Each request arrives as it is, an empty one and the largest one too, and costs its headers."""
    requests = (b"\0\xffhello", b"", b"x" * 65507)
    with peer:
        outcomes = send("127.0.0.1", peer.getsockname()[1], *requests)
        assert tuple(peer.recv(70000) for _ in requests) == requests
    assert outcomes == [
        Outcome(True, True, True, b"", False, None, Traffic(28 + len(request), 0)) for request in requests
    ]


def test_a_name_is_resolved(peer: socket.socket) -> None:
    """A host may be a name."""
    with peer:
        [outcome] = send("localhost", peer.getsockname()[1], b"by name")
        assert outcome.written
        assert peer.recv(100) == b"by name"


@IPV6
def test_ipv6_has_longer_headers() -> None:
    """Over IPv6 a datagram costs 48 bytes beyond its payload."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        sock.settimeout(5)
        [outcome] = send("::1", sock.getsockname()[1], b"six")
        assert sock.recv(100) == b"six"
    assert outcome.traffic == Traffic(51, 0)


def test_nobody_there_counts_as_sent() -> None:
    """A datagram to a port that nobody listens on was sent; so is the next one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    assert [outcome.written for outcome in send("127.0.0.1", port, b"1", b"2")] == [True, True]


def test_what_never_fits_says_so(peer: socket.socket) -> None:
    """More than a datagram holds was not written although the peer is there."""
    with peer:
        [outcome] = send("127.0.0.1", peer.getsockname()[1], b"x" * 65508)
    assert (outcome.connected, outcome.written, outcome.complete) == (True, False, False)
    assert outcome.error is not None
    assert outcome.error.startswith("65508 bytes do not fit into a datagram to 127.0.0.1:")


def test_a_name_that_does_not_resolve() -> None:
    """No address: not connected, with the reason."""
    [outcome] = send("no-such-host.invalid", 9, b"x")
    assert not outcome.connected
    assert outcome.error is not None
    assert outcome.error.startswith("cannot resolve no-such-host.invalid")


def test_no_way_there() -> None:
    """A destination that the kernel refuses, such as port 0, is not connected, with the reason."""
    [outcome] = send("127.0.0.1", 0, b"x")
    assert not outcome.connected
    assert outcome.error is not None
    assert outcome.error.startswith("cannot send to 127.0.0.1:0:")
