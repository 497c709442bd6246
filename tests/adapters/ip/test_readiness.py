"""Which sockets are ready: real ones, in a real loop."""

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest

from bridge.adapters.ip.readiness import Readiness


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def pair() -> Iterator[Callable[[], tuple[socket.socket, socket.socket]]]:
    made: list[socket.socket] = []

    def make() -> tuple[socket.socket, socket.socket]:
        ours, theirs = socket.socketpair()
        made.extend((ours, theirs))
        return ours, theirs

    yield make
    for each in made:
        each.close()


Pair = Callable[[], tuple[socket.socket, socket.socket]]


def turn(loop: asyncio.AbstractEventLoop) -> None:
    """Let the loop look at its descriptors, and call back."""
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))


def test_what_is_watched_is_told(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    """Each kind only while it is asked for, and again as long as it lasts."""
    told: list[str] = []
    readiness = Readiness(loop)
    (ours, theirs), fd = (made := pair()), made[0].fileno()
    readiness.watch(fd, readable=lambda: told.append("read"), writable=None)
    turn(loop)
    assert told == []
    theirs.send(b"x")
    turn(loop)
    assert set(told) == {"read"}
    readiness.watch(fd, readable=None, writable=lambda: told.append("write"))
    told.clear()
    turn(loop)
    assert set(told) == {"write"}
    readiness.forget(fd)
    readiness.forget(fd)
    told.clear()
    turn(loop)
    assert told == []
    assert ours.recv(1) == b"x"
    ours.close()


def test_a_closed_socket_that_a_child_still_holds_is_told_to_nobody(
    loop: asyncio.AbstractEventLoop, pair: Pair
) -> None:
    """As while the bridge starts a program; its number may be another's by then."""
    told: list[str] = []
    readiness = Readiness(loop)
    ours, theirs = pair()
    held, number = ours.dup(), ours.fileno()
    readiness.watch(number, readable=lambda: told.append("old"), writable=None)
    readiness.forget(number)
    ours.close()
    theirs.send(b"x")
    turn(loop)
    new, peer = pair()
    assert new.fileno() == number
    readiness.watch(number, readable=lambda: told.append("new"), writable=None)
    peer.send(b"x")
    turn(loop)
    assert set(told) == {"new"}
    held.close()


def test_the_end_of_the_peer_is_told(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    """To who waits for bytes, and to who waits for room."""
    told: list[str] = []
    readiness = Readiness(loop)
    for name, kind in (("a", "readable"), ("b", "writable")):
        ours, theirs = pair()
        theirs.close()
        call: dict[str, Callable[[], None] | None] = {"readable": None, "writable": None}
        readiness.watch(ours.fileno(), **call | {kind: lambda name=name: told.append(name)})
    turn(loop)
    assert set(told) == {"a", "b"}


def test_a_socket_that_took_the_place_of_another_is_not_told_its_news(
    loop: asyncio.AbstractEventLoop, pair: Pair
) -> None:
    """Two are ready at once; the first to be told closes the other, whose number a new one gets."""
    told: list[str] = []
    readiness = Readiness(loop)
    pairs = [pair(), pair()]

    def replace(other: socket.socket) -> None:
        if told:
            return
        told.append("old")
        number = other.fileno()
        readiness.forget(number)
        other.close()
        new, _ = pair()
        assert new.fileno() == number
        readiness.watch(number, readable=lambda: told.append("new"), writable=None)

    for (ours, theirs), (other, _) in (pairs, pairs[::-1]):
        readiness.watch(ours.fileno(), readable=lambda other=other: replace(other), writable=None)  # type: ignore[misc]
        theirs.send(b"x")
    turn(loop)
    assert told == ["old"]
