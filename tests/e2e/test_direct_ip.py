"""Direct IP: raw bytes to any host and port, as durable as the cloud."""

import base64
import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.harness import BridgeProcess, Client, Keeper, eventually, free_port

Script = Callable[[socket.socket, int], None]
"""What a peer does with a connection after reading its request, given the connection's number from 1."""


def read_end(connection: socket.socket) -> bytes:
    """Read until the sender ends."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


class Peer:
    """A TCP server that does as its script says. ``size`` bytes are a request, None: until its end."""

    def __init__(self, keeper: Keeper, script: Script, size: int | None = None) -> None:
        self.port = free_port()
        self.requests: list[bytes] = []
        self._script = script
        self._size = size
        self._server: socket.socket | None = None
        keeper.finally_(self.stop)

    def start(self) -> "Peer":
        self._server = socket.create_server(("127.0.0.1", self.port), backlog=100)
        threading.Thread(target=self._serve, args=(self._server,), daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            with contextlib.suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
            self._server = None

    def _serve(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(10)
                request = read_end(connection) if self._size is None else self._exactly(connection)
                self.requests.append(request)
                self._script(connection, len(self.requests))

    def _exactly(self, connection: socket.socket) -> bytes:
        request = b""
        while self._size and len(request) < self._size and (part := connection.recv(65536)):
            request += part
        return request


def close(_connection: socket.socket, _number: int) -> None:
    """Take it and close."""


def say(*pieces: bytes) -> Script:
    """Answer in these pieces, then wait for the other side to end."""

    def script(connection: socket.socket, _number: int) -> None:
        for piece in pieces:
            connection.sendall(piece)
            threading.Event().wait(0.05)
        with contextlib.suppress(OSError):
            read_end(connection)

    return script


def reset(connection: socket.socket) -> None:
    """Break the connection off."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def route(bridge: BridgeProcess, port: int, channel: str = "tcp", **options: Any) -> None:
    """Send everything under ``scada/`` to ``port``."""
    bridge.configure(
        routes=[{"match": "scada/#", "channel": channel, "host": "127.0.0.1", "port": port, **options}],
        cloud={"timeout": 1},
    )
    bridge.start()


# -- tcp -------------------------------------------------------------------------------------------------


def test_the_expected_answer_delivers(bridge: BridgeProcess, client: Client, keeper: Keeper) -> None:
    """Raw bytes go out as they are; the answer that holds what is expected comes back in the result."""
    payload = b"\0\xffREAD 5\r\n"
    peer = Peer(keeper, say(b"22.5 C ", b"O", b"K"), len(payload)).start()
    route(bridge, peer.port, expect="OK")
    client.publish("hologram/out/scada/pump", payload)
    [result] = client.wait_for(client.results)
    assert peer.requests == [payload]
    assert (result["state"], result["channel"], result["to"]) == (
        "delivered",
        "tcp",
        f"127.0.0.1:{peer.port}",
    )
    assert (result["answer"], result["code"], result["attempts"]) == ("22.5 C OK", None, 1)
    assert "answer_base64" not in result
    assert result["topics"] == ["scada/pump"]
    assert result["bytes_up"] > len(payload)
    assert result["bytes_down"] > len("22.5 C OK")
    sent = client.wait_for(lambda: client.events("message.sent"))[0]
    assert (sent["channel"], sent["to"]) == ("tcp", f"127.0.0.1:{peer.port}")


def test_a_binary_answer_is_base64(bridge: BridgeProcess, client: Client, keeper: Keeper) -> None:
    """An answer that is not UTF-8 comes back in base64."""
    peer = Peer(keeper, say(b"\xff\0OK"), 1).start()
    route(bridge, peer.port, expect="OK")
    client.publish("hologram/out/scada/pump", b"?")
    [result] = client.wait_for(client.results)
    assert result["state"] == "delivered"
    assert base64.b64decode(result["answer_base64"]) == b"\xff\0OK"
    assert "answer" not in result


@pytest.mark.parametrize("payload", [b"", b"x", os.urandom(1_000_000)], ids=["empty", "small", "1 MB"])
def test_without_an_expected_answer_the_close_delivers(
    bridge: BridgeProcess, client: Client, keeper: Keeper, payload: bytes
) -> None:
    """The peer sees the end of the message and closes: delivered, with whatever it said before."""

    def thank(connection: socket.socket, _number: int) -> None:
        connection.sendall(b"thanks")

    peer = Peer(keeper, thank).start()
    route(bridge, peer.port)
    client.publish("hologram/out/scada/pump", payload)
    [result] = client.wait_for(client.results)
    assert peer.requests == [payload]
    assert (result["state"], result["answer"]) == ("delivered", "thanks")


def test_what_is_not_answered_is_sent_again(bridge: BridgeProcess, client: Client, keeper: Keeper) -> None:
    """A wrong answer and a reset are tried again, the right one ends it: three attempts, one result."""

    def script(connection: socket.socket, number: int) -> None:
        if number == 1:
            connection.sendall(b"BUSY")
        elif number == 2:
            reset(connection)
        else:
            connection.sendall(b"OK")

    peer = Peer(keeper, script, 4).start()
    route(bridge, peer.port, expect="OK")
    client.publish("hologram/out/scada/pump", b"open")
    [result] = client.wait_for(client.results, 20)
    assert peer.requests == [b"open"] * 3
    assert (result["state"], result["attempts"], result["answer"]) == ("delivered", 3, "OK")


def test_attempts_run_out(bridge: BridgeProcess, client: Client, keeper: Keeper) -> None:
    """With max_attempts the message fails in the end, and its result shows what the peer said instead."""

    def refuse(connection: socket.socket, _number: int) -> None:
        connection.sendall(b"NO")

    peer = Peer(keeper, refuse, 4).start()
    route(bridge, peer.port, expect="OK", max_attempts=2)
    client.publish("hologram/out/scada/pump", b"open")
    [result] = client.wait_for(client.results, 20)
    assert (result["state"], result["attempts"], result["answer"]) == ("failed", 2, "NO")
    assert "without the expected answer" in result["description"]
    assert len(peer.requests) == 2
    assert bridge.queue("stats")["queue"]["messages"] == 0


@pytest.mark.parametrize("options", [{"expect": "OK"}, {}], ids=["expect", "close"])
def test_silence_is_no_answer(
    bridge: BridgeProcess, client: Client, keeper: Keeper, options: dict[str, str]
) -> None:
    """A peer that takes it and neither answers nor closes: after cloud.timeout that counts as a failure."""
    released = threading.Event()

    def silent(_connection: socket.socket, _number: int) -> None:
        released.wait(10)

    peer = Peer(keeper, silent, 4).start()
    route(bridge, peer.port, max_attempts=1, **options)
    client.publish("hologram/out/scada/pump", b"open")
    [result] = client.wait_for(client.results)
    released.set()
    assert result["state"] == "failed"
    assert "silence for 1 s" in result["description"]


def test_a_peer_that_comes_back_gets_everything_in_order(
    bridge: BridgeProcess, client: Client, keeper: Keeper
) -> None:
    """While the peer is down messages wait, through a SIGKILL too; then they come in order, per topic."""
    peer = Peer(keeper, close)
    route(bridge, peer.port)
    for number in range(50):
        client.publish(f"hologram/out/scada/{number % 2}", str(number), wait=number == 49)
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 50)
    bridge.kill()
    peer.start()
    bridge.start()
    client.wait_for(lambda: len(client.results()) == 50, 30)
    assert all(result["state"] == "delivered" for result in client.results())
    numbers = [int(request) for request in peer.requests]
    for topic in (0, 1):
        assert [n for n in numbers if n % 2 == topic] == list(range(topic, 50, 2))


def test_order_holds_when_a_message_is_retried(bridge: BridgeProcess, client: Client, keeper: Keeper) -> None:
    """A message that needs a second try is not overtaken by the next one of its topic."""

    def script(connection: socket.socket, number: int) -> None:
        connection.sendall(b"OK" if number % 3 else b"NO")

    peer = Peer(keeper, script, 1).start()
    route(bridge, peer.port, expect="OK")
    for number in range(6):
        client.publish("hologram/out/scada/pump", str(number))
    client.wait_for(lambda: len(client.results()) == 6, 40)
    assert list(dict.fromkeys(peer.requests)) == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert peer.requests == sorted(peer.requests)


def test_a_route_that_is_down_holds_up_nobody_else(
    bridge: BridgeProcess, client: Client, keeper: Keeper
) -> None:
    """With one destination down messages to another one go at once."""
    up = Peer(keeper, close).start()
    bridge.configure(
        routes=[
            {"match": "down/#", "channel": "tcp", "host": "127.0.0.1", "port": free_port()},
            {"match": "up/#", "channel": "tcp", "host": "localhost", "port": up.port},
        ]
    )
    bridge.start()
    for number in range(20):
        client.publish(f"hologram/out/down/{number}", b"x")
        client.publish(f"hologram/out/up/{number}", str(number))
    client.wait_for(lambda: len(client.results()) == 20)
    assert {result["to"] for result in client.results()} == {f"localhost:{up.port}"}
    assert bridge.queue("stats")["queue"]["messages"] == 20


# -- udp -------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver(keeper: Keeper) -> socket.socket:
    """A UDP socket to send to."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(10)
    keeper.finally_(sock.close)
    return sock


def test_udp_sends_one_datagram(bridge: BridgeProcess, client: Client, receiver: socket.socket) -> None:
    """Each message is one datagram as it is, in order; sent is delivered; the cost is 28 bytes and itself."""
    port = receiver.getsockname()[1]
    route(bridge, port, "udp")
    payloads = [b"\0\xff binary", b"", b"x" * 65507]
    for payload in payloads:
        client.publish("hologram/out/scada/meter", payload)
    results = client.wait_for(lambda: found if len(found := client.results()) == 3 else [])
    assert [receiver.recv(70000) for _ in payloads] == payloads
    for result, payload in zip(results, payloads, strict=True):
        assert (result["state"], result["channel"], result["to"]) == ("delivered", "udp", f"127.0.0.1:{port}")
        assert (result["bytes_up"], result["bytes_down"], result["answer"]) == (28 + len(payload), 0, "")


def test_a_datagram_that_cannot_fit_is_rejected(
    bridge: BridgeProcess, client: Client, receiver: socket.socket
) -> None:
    """It can never be sent: rejected with the reason, and the next one goes."""
    route(bridge, receiver.getsockname()[1], "udp")
    client.publish("hologram/out/scada/meter", b"x" * 65508)
    client.publish("hologram/out/scada/meter", b"next")
    rejected, delivered = client.wait_for(lambda: found if len(found := client.results()) == 2 else [])
    assert (rejected["state"], rejected["attempts"]) == ("rejected", 0)
    assert rejected["description"] == (
        "payload: '65508 bytes' is not allowed; a UDP datagram holds at most 65507; use channel tcp"
    )
    assert delivered["state"] == "delivered"
    assert receiver.recv(10) == b"next"


def test_udp_to_a_name_that_does_not_resolve_waits(bridge: BridgeProcess, client: Client) -> None:
    """It stays queued and says why; with max_attempts it fails in the end."""
    bridge.configure(
        routes=[
            {
                "match": "#",
                "channel": "udp",
                "host": "no-such-host.invalid",
                "port": 9,
                "max_attempts": 1,
            }
        ]
    )
    bridge.start()
    client.publish("hologram/out/meter", b"x")
    [result] = client.wait_for(client.results, 20)
    assert result["state"] == "failed"
    assert result["description"].startswith("cannot resolve no-such-host.invalid")
