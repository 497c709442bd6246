"""When an earlier session is drained, and when it is given up."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from bridge.core.delivery import NO_PROPERTIES, Delivery
from bridge.flow.message.earlier import QUIET, TRIES, Drain, End


class Rig:
    """A drain whose session is scripted; messages are acknowledged when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.in_use = True
        self.subscribed = True
        self.taken_over = False
        self.received: list[Delivery] = []
        self.acked: list[int] = []
        self.left: list[Sequence[str]] = []
        self.drain = Drain(lambda delivery, _: self.received.append(delivery), lambda: self.now, self._in_use)
        self.drain.source = self

    def _in_use(self) -> bool:
        return self.in_use

    def ack(self, delivery: Delivery) -> None:
        self.acked.append(delivery.mid)

    def leave(self, filters: Sequence[str]) -> None:
        self.left.append(filters)

    def deliver(self, mid: int) -> None:
        self.drain.mqtt_received(Delivery("hologram/out/a", b"x", 1, False, False, mid, 1, NO_PROPERTIES))

    async def run(self, script: Callable[["Rig"], object]) -> End | None:
        """Run until it ends or ``script``, called again and again, returns something true."""
        task = asyncio.ensure_future(
            self.drain.run(["a/#"], replaced=lambda: self.subscribed, taken_over=lambda: self.taken_over)
        )
        while not task.done() and not script(self):
            await asyncio.sleep(0.03)
        if task.done():
            return task.result()
        task.cancel()
        return None


def test_a_session_that_is_not_there_is_empty() -> None:
    """The broker never had it, or has lost it."""
    rig = Rig()
    rig.drain.mqtt_up(session_present=False)
    assert asyncio.run(rig.run(lambda _: False)) is End.EMPTY
    assert rig.left == []


def test_subscriptions_are_kept_until_the_session_in_use_has_its_own() -> None:
    """Meanwhile messages come by the earlier one, and are taken."""
    rig = Rig()
    rig.subscribed = False
    rig.drain.mqtt_up(session_present=True)
    looks = iter(range(20))

    def script(rig: Rig) -> bool:
        rig.now += QUIET
        return next(looks, None) is None

    assert asyncio.run(rig.run(script)) is None
    assert rig.left == []


def test_it_is_empty_when_all_is_acknowledged_and_nothing_comes() -> None:
    """Quiet alone is not enough: a full disk acknowledges nothing for as long as it lasts."""
    rig = Rig()
    rig.drain.mqtt_up(session_present=True)
    rig.deliver(1)
    looks = []

    def script(rig: Rig) -> bool:
        looks.append(rig.now)
        rig.now += QUIET
        if len(looks) == 10:
            assert rig.left == [["a/#"]]
            rig.drain.ack(rig.received[0])
        return False

    assert asyncio.run(rig.run(script)) is End.EMPTY
    assert len(looks) >= 10
    assert rig.acked == [1]


@pytest.mark.parametrize(
    ("lasted", "in_use", "given_up"), [(1, True, True), (60, True, False), (1, False, False)]
)
def test_an_id_that_cannot_be_held_is_given_up(lasted: float, in_use: bool, given_up: bool) -> None:
    """Not where the broker is away for both, nor for connections that lasted."""
    rig = Rig()
    rig.in_use, rig.subscribed = in_use, False
    tries = iter(range(3 * TRIES))

    def script(rig: Rig) -> bool:
        rig.drain.mqtt_up(session_present=True)
        rig.deliver(1)
        rig.drain.ack(rig.received[-1])
        rig.now += lasted
        rig.drain.mqtt_down("cut")
        return next(tries, None) is None

    assert (asyncio.run(rig.run(script)) is End.REFUSED) is given_up


def test_another_client_gets_its_session_back_at_once() -> None:
    """The broker says that it was taken over: it is somebody's."""
    rig = Rig()
    rig.taken_over = True
    assert asyncio.run(rig.run(lambda _: False)) is End.REFUSED
