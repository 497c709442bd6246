"""Large messages over slow links: acknowledged bytes are life, and what cannot pass burns little."""

import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.harness import BridgeProcess, Client, Keeper, eventually

Take = Callable[[int], bytes]
"""Reads at most so many bytes of a connection."""
Reader = Callable[[Take, "SlowPeer"], None]
"""How a peer reads a connection."""


class SlowPeer:
    """A TCP server with a small window that reads as ``read`` says; it counts what it got."""

    def __init__(self, keeper: Keeper, read: "Reader") -> None:
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._server.bind(("127.0.0.1", 0))
        self._server.listen(16)
        self.port: int = self._server.getsockname()[1]
        self.got: list[int] = []
        self.together = self.most_together = 0
        self._read = read
        self._over = threading.Event()
        keeper.finally_(self.stop)
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self) -> None:
        self._over.set()
        self._server.close()

    def pause(self, seconds: float) -> None:
        self._over.wait(seconds)

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.got.append(0)
            number = len(self.got) - 1
            threading.Thread(target=self._one, args=(connection, number), daemon=True).start()

    def _one(self, connection: socket.socket, number: int) -> None:
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        try:
            with connection:
                connection.settimeout(20)
                self._read(partial(self._take, connection, number), self)
        except OSError:
            pass
        finally:
            self.together -= 1

    def _take(self, connection: socket.socket, number: int, most: int) -> bytes:
        data = connection.recv(most)
        self.got[number] += len(data)
        return data


def at_a_rate(rate: int) -> Reader:
    """Read ``rate`` bytes a second until the end."""

    def read(take: Take, peer: SlowPeer) -> None:
        while data := take(max(1, rate // 10)):
            peer.pause(len(data) / rate)

    return read


@pytest.fixture
def send(bridge: BridgeProcess, client: Client) -> Callable[..., None]:
    """Start the bridge with a route to a peer and publish payloads."""

    def run(peer: SlowPeer, *payloads: bytes, timeout: float = 1, **options: Any) -> None:
        bridge.configure(
            routes=[
                {"match": "scada/#", "channel": "tcp", "host": "127.0.0.1", "port": peer.port, **options}
            ],
            cloud={"timeout": timeout},
        )
        bridge.start()
        for number, payload in enumerate(payloads):
            client.publish(f"hologram/out/scada/{number}", payload)

    return run


def test_what_its_size_needs_is_given(
    bridge: BridgeProcess, client: Client, keeper: Keeper, send: Callable[..., None]
) -> None:
    """600 kB at 60 kB a second take longer than six times the silence, and pass at the first try."""
    peer = SlowPeer(keeper, at_a_rate(60_000))
    payload = bytes(600_000)
    send(peer, payload)
    [result] = client.wait_for(client.results, 60)
    assert (result["state"], result["attempts"]) == ("delivered", 1)
    assert peer.got == [600_000]
    assert result["bytes_up"] < 1.2 * len(payload), "billed once"


def test_of_large_messages_one_at_a_time_goes(
    bridge: BridgeProcess, client: Client, keeper: Keeper, send: Callable[..., None]
) -> None:
    """Side by side they would take the link from each other; a small one goes beside the large."""
    peer = SlowPeer(keeper, at_a_rate(100_000))
    send(peer, *[bytes(300_000)] * 3, b"small")
    results = client.wait_for(lambda: found if len(found := client.results()) == 4 else [], 60)
    assert {result["state"] for result in results} == {"delivered"}
    assert all(result["attempts"] == 1 for result in results)
    assert peer.most_together <= 2, "a large one and the small one"


def test_silence_in_the_middle_ends_it_and_is_told(
    bridge: BridgeProcess, client: Client, keeper: Keeper, send: Callable[..., None]
) -> None:
    """A peer that stops reading is silent, whatever the kernel holds; size and reason can be read."""

    def stops(take: Take, peer: SlowPeer) -> None:
        for _ in range(10):
            take(4096)
        peer.pause(60)

    peer = SlowPeer(keeper, stops)
    send(peer, bytes(300_000), timeout=0.5)

    def last_error() -> dict[str, str] | None:
        found = [health["last_error"] for health in client.json("hologram/bridge/health")]
        return found[-1] if found else None

    error = client.wait_for(last_error, 20)
    assert error is not None
    assert "of 300000 bytes was not delivered" in error["description"], error
    assert "silence for 0.5 s" in error["description"]
    [listed] = bridge.queue("list")["messages"]
    assert "silence for 0.5 s" in listed["error"]


def test_what_never_passes_does_not_burn_data(
    bridge: BridgeProcess, client: Client, keeper: Keeper, send: Callable[..., None]
) -> None:
    """A peer that reads all of 2 MB and never answers gets it once; the next try waits for over an hour."""

    def swallows(take: Take, peer: SlowPeer) -> None:
        while take(65536):
            pass
        peer.pause(60)

    peer = SlowPeer(keeper, swallows)
    send(peer, bytes(2_000_000), timeout=0.5, expect="OK")
    [listed] = eventually(
        lambda: [each for each in bridge.queue("list")["messages"] if each["retry_in"]],
        30,
        what="it is put off",
    )
    assert listed["retry_in"] > 3000
    assert peer.got == [2_000_000]
