"""What an exchange is said to have cost, beside a capture of what the IP layer carried."""

import os
import socket
import threading
from functools import partial
from ipaddress import ip_network

import pytest

from bridge.adapters.inbound.listener import Limits
from bridge.protocol.cloud import DeviceKey, encode
from tests.adapters.inbound.test_listener import listening
from tests.doubles.capture import capturing
from tests.doubles.namespace import HERE, THERE, namespaces
from tests.doubles.peer import Peer, Script, carry_one, job, peer, read_request

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="a capture needs root"),
]

REQUEST = encode(DeviceKey("abcd1234"), ("sensors/kitchen",), b'{"temperature":21.5,"seq":499}', 0.0)
FORMERLY = 658
"""Bytes that the official SDK takes for the same payload and topic [Hologram users; measured]."""


def answers(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"[0,0]")


def answers_and_stays(connection: socket.socket) -> None:
    answers(connection)
    threading.Event().wait(0.2)


def answers_with_its_close(connection: socket.socket) -> None:
    read_request(connection)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    connection.sendall(b"[0,0]")


def says_nothing(connection: socket.socket) -> None:
    read_request(connection)


def answers_in_pieces(connection: socket.socket) -> None:
    read_request(connection)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in b"[0,0]":
        connection.sendall(bytes([byte]))


def resets(connection: socket.socket) -> None:
    read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def stays_silent(connection: socket.socket) -> None:
    read_request(connection)
    threading.Event().wait(0.5)


@pytest.mark.parametrize(
    "script",
    [
        answers,
        answers_and_stays,
        answers_with_its_close,
        says_nothing,
        answers_in_pieces,
        resets,
        stays_silent,
    ],
    ids=lambda script: script.__name__,
)
def test_the_figure_is_what_was_carried(script: Script) -> None:
    """However the exchange ends, the bytes counted are those that a capture shows, header by header."""
    with peer(script) as server, capturing(server.port) as capture:
        outcome, _ = carry_one(job(server.port, REQUEST))
    assert outcome.written
    assert outcome.traffic == capture.traffic, capture.packets


@pytest.mark.parametrize(
    "script", [answers_with_its_close, answers_and_stays, says_nothing], ids=lambda script: script.__name__
)
def test_segments_without_timestamps_are_counted(script: Script) -> None:
    """With `net.ipv4.tcp_timestamps` at 0 each segment is shorter by 12 bytes, a SYN by 8."""
    with namespaces(False) as (here,):
        here.do(partial(test_the_figure_is_what_was_carried, script))
        here.do(test_a_refused_connection_is_counted)


@pytest.mark.parametrize(("ours", "theirs"), [(True, False), (False, True), (True, True), (False, False)])
def test_a_peer_that_sees_timestamps_otherwise_is_counted(ours: bool, theirs: bool) -> None:
    """Only one side has timestamps: its SYN offers them, and nothing else carries them."""

    def here() -> None:
        with capturing(server.port, "cable") as capture:
            outcome, _ = carry_one(job(server.port, REQUEST, host=THERE))
        assert outcome.written
        assert outcome.traffic == capture.traffic, capture.packets

    with namespaces(ours, theirs) as (near, far):
        near.join(far)
        server = far.do(lambda: Peer(answers_with_its_close, host=THERE))
        try:
            near.do(here)
        finally:
            far.do(server.close)


@pytest.mark.parametrize(("ours", "theirs"), [(True, False), (False, True), (True, True), (False, False)])
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_what_comes_in_is_counted(host: str, ours: bool, theirs: bool) -> None:
    """An inbound message costs what a capture shows, whatever its SYN offers, on either kind of socket."""

    def send(port: int) -> None:
        with socket.create_connection((HERE, port), 10) as connection:
            connection.sendall(b"x" * 100)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(10) == b""

    def here() -> None:
        limits = Limits(allow=(ip_network(f"{THERE}/32"),))
        with listening(limits, host) as running, capturing(running.port, "cable") as capture:
            far.do(partial(send, running.port))
        [message] = running.disk.messages
        up, down = capture.traffic
        assert message.traffic == (down, up), capture.packets

    with namespaces(ours, theirs) as (near, far):
        near.join(far)
        near.do(here)


def test_a_request_of_several_segments_is_counted() -> None:
    """A payload that takes more than one segment is counted header by header as well."""
    with peer(answers) as server, capturing(server.port) as capture:
        outcome, _ = carry_one(job(server.port, b"x" * 100_000 + b"\n\n"))
    assert len([packet for packet in capture.packets if packet.length > 1000]) > 1
    assert outcome.traffic == capture.traffic, capture.packets


def test_a_close_by_both_sides_is_counted() -> None:
    """With `until_close` the ordinary closing handshake is part of the figure."""

    def script(connection: socket.socket) -> None:
        read_request(connection, b"never")
        connection.sendall(b"thanks")

    with peer(script) as server, capturing(server.port) as capture:
        outcome, _ = carry_one(job(server.port, b"raw bytes", complete=lambda _: False, until_close=True))
    assert outcome.closed
    assert outcome.traffic == capture.traffic, capture.packets


def test_an_orderly_close_is_counted() -> None:
    """Our FIN to a peer that has closed, and its acknowledgement, are part of the figure."""

    def script(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)  # the FIN rides with the answer
        assert connection.recv(100) == b"raw bytes"
        connection.sendall(b"thanks")

    with peer(script) as server, capturing(server.port) as capture:
        outcome, _ = carry_one(job(server.port, b"raw bytes", complete=lambda _: False, orderly=True))
    assert (outcome.closed, outcome.whole) == (True, True)
    assert outcome.traffic == capture.traffic, capture.packets


def test_an_orderly_close_to_a_silent_peer_is_counted() -> None:
    """The peer closes once it has seen our end: in one segment with its acknowledgement, or in one more."""
    closed = threading.Event()

    def script(connection: socket.socket) -> None:
        read_request(connection, b"never")
        connection.close()
        closed.set()

    with peer(script) as server, capturing(server.port) as capture:
        outcome, _ = carry_one(job(server.port, b"raw bytes", complete=lambda _: False, orderly=True))
        assert closed.wait(10)
    assert outcome.whole
    assert outcome.traffic.up == capture.traffic.up, capture.packets
    assert capture.traffic.down - outcome.traffic.down in (0, 52), capture.packets


def test_a_refused_connection_is_counted() -> None:
    """The SYN that was refused, and its refusal, are bytes too."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with capturing(port) as capture:
            outcome, _ = carry_one(job(port))
    assert not outcome.connected
    assert outcome.traffic == capture.traffic, capture.packets


def test_a_message_costs_little() -> None:
    """A message with its answer takes at most 72 % of what the official SDK takes for it."""
    with peer(answers_with_its_close) as server, capturing(server.port) as capture:
        carry_one(job(server.port, REQUEST))
    assert sum(capture.traffic) <= 0.72 * FORMERLY, capture.packets
