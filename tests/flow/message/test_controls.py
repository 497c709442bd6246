"""Commands about the bridge: each is carried out once, and ends in one result."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bridge.core.delivery import Delivery
from bridge.errors import DeadlinePassed, OperationError
from bridge.flow.message.controls import MAX_IN_FLIGHT, PURGE_BATCH
from tests.doubles.heart import Heart, answered
from tests.flow.conftest import MakeHeart


class Network:
    """What carries out commands about the network: each ends when the test says how."""

    def __init__(self, heart: Heart) -> None:
        self.asked: list[tuple[str, float | None, float | None]] = []
        self.acked: list[list[int]] = []
        """What was acknowledged when each began."""
        self.ends: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._heart = heart
        heart.carry_out = self

    async def __call__(self, command: str, timeout: float | None, lifetime: float | None = None) -> str:
        self.asked.append((command, timeout, lifetime))
        self.acked.append(list(self._heart.control_session.acked))
        return await self.ends


def in_loop(test: Callable[[Heart, Network], Awaitable[None]], heart: Heart) -> None:
    """Run ``test`` where commands about the network can be carried out."""

    async def run() -> None:
        await test(heart, Network(heart))

    asyncio.run(run())


async def settled(heart: Heart) -> None:
    """Let the tasks go on, and what they end be recorded."""
    for _ in range(3):
        await asyncio.sleep(0)
        heart.turn()


def last(heart: Heart) -> dict[str, Any]:
    return heart.ended()[-1]


# -- the queue -------------------------------------------------------------------------------------------


def test_a_pause_lasts_across_a_restart(make_heart: MakeHeart) -> None:
    """Messages are accepted during the pause, and sent after it."""
    heart = make_heart()
    heart.command("queue/set", b"pause")
    assert (last(heart)["channel"], last(heart)["state"]) == ("queue", "done")
    heart = make_heart()
    heart.publish("out/a")
    heart.turn(60.0)
    assert (heart.cloud.jobs, heart.queued()) == ([], ["x"])
    heart.command("queue/set", b"resume")
    assert len(heart.cloud.jobs) == 1


def test_a_flush_while_paused_fails(heart: Heart) -> None:
    """It says what to do first."""
    heart.command("queue/set", b"pause")
    heart.command("queue/set", b"flush")
    assert (last(heart)["state"], "resume" in last(heart)["description"]) == ("failed", True)
    heart.command("queue/set", b"resume")
    heart.command("queue/set", b"flush")
    assert last(heart)["state"] == "done"


def test_a_purge_gives_each_message_its_result(heart: Heart) -> None:
    """Messages in flight end by themselves, and messages that come later stay."""
    heart.publish("out/a", b"flying")
    for number in range(PURGE_BATCH + 5):
        heart.intake.received(heart.session.delivery("out/a", b"%d" % number), heart.session)
    heart.turn()
    heart.command("queue/set", b"purge")
    heart.publish("out/a", b"later")
    assert heart.states() == ["dropped"] * (PURGE_BATCH + 5) + ["done"]
    assert last(heart)["description"] == f"purged {PURGE_BATCH + 5} messages"
    assert heart.queued() == ["flying", "later"]
    heart.cloud.end(answered())
    heart.turn()
    assert last(heart)["state"] == "delivered"


def test_a_purged_idempotent_message_keeps_its_result(heart: Heart) -> None:
    """The producer that sends it again learns that it was purged."""
    heart.controls.pause(True)
    heart.publish("out/a", id="mine", reply="answers")
    heart.command("queue/set", b"purge")
    heart.publish("out/a", id="mine")
    dropped = [each for each in heart.reports() if json.loads(each.payload)["id"] == "mine"]
    assert [each.topic for each in dropped] == ["hologram/result", "answers", "hologram/result"]
    assert heart.queued() == []


# -- acknowledging ---------------------------------------------------------------------------------------


def test_a_command_is_acknowledged_before_it_is_carried_out(heart: Heart) -> None:
    """It may cut the link to the broker, and must not be repeated for that."""

    async def test(heart: Heart, network: Network) -> None:
        heart.command("network/set", b'{"command": "reconnect", "timeout": 60}')
        await settled(heart)
        assert (network.asked, network.acked) == ([("reconnect", 60, None)], [[1]])
        assert heart.ended() == []
        network.ends.set_result("connected")
        await settled(heart)
        assert (last(heart)["channel"], last(heart)["state"]) == ("network", "done")
        assert last(heart)["description"] == "connected"

    in_loop(test, heart)


def test_a_command_that_the_broker_repeats_is_carried_out_once(heart: Heart) -> None:
    """The acknowledgement of the first delivery was lost."""
    delivery = heart.command("queue/set", b"pause")
    heart.controls.pause(False)
    heart.controls.received(delivery._replace(dup=True), heart.control_session)
    heart.turn()
    assert heart.control_session.acked == [delivery.mid, delivery.mid]
    assert (heart.uplink.paused, heart.states()) == (False, ["done"])


def test_an_id_makes_a_command_idempotent(heart: Heart) -> None:
    """A repetition is not carried out; its result is reported again."""
    heart.command("queue/set", b'{"command": "pause", "id": "mine"}')
    heart.controls.pause(False)
    heart.command("queue/set", b'{"command": "pause", "id": "mine"}', reply="answers")
    assert not heart.uplink.paused
    assert [each.topic for each in heart.reports()] == ["hologram/result", "hologram/result", "answers"]
    assert len({each.payload for each in heart.reports()}) == 1


def test_a_crash_ends_what_was_begun_as_failed(make_heart: MakeHeart) -> None:
    """The next run does not begin it again: nobody knows whether it was done."""

    async def test(heart: Heart, _: Network) -> None:
        heart.command("network/set", b'{"command": "reset", "id": "mine"}', reply="answers")
        await settled(heart)

    in_loop(test, make_heart())
    heart = make_heart()
    heart.controls.start()
    heart.turn()
    assert [(each["id"], each["state"]) for each in heart.ended()] == [("mine", "failed")]
    assert [each.topic for each in heart.reports()] == ["hologram/result", "answers"]
    heart = make_heart()
    heart.controls.start()
    heart.turn()
    assert len(heart.ended()) == 1


def test_a_stop_ends_what_is_in_flight_and_takes_nothing_more(heart: Heart) -> None:
    """Later commands stay with the broker, for the next run."""

    async def test(heart: Heart, _: Network) -> None:
        heart.command("network/set", b"connect")
        await settled(heart)
        heart.controls.stop()
        await settled(heart)
        assert heart.states() == ["failed"]
        late = heart.command("network/set", b"connect")
        assert late.mid not in heart.control_session.acked

    in_loop(test, heart)


# -- how they end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "state"), [(OperationError("no carrier"), "failed"), (DeadlinePassed("too late"), "expired")]
)
def test_a_command_that_cannot_be_done_says_why(heart: Heart, error: Exception, state: str) -> None:
    """It fails, or expires if its deadline came first."""

    async def test(heart: Heart, network: Network) -> None:
        heart.command("network/set", b"connect", expires="1m")
        await settled(heart)
        assert network.asked[0][2] == pytest.approx(60.0, abs=1.0)
        network.ends.set_exception(error)
        await settled(heart)
        assert (last(heart)["state"], last(heart)["description"]) == (state, str(error))

    in_loop(test, heart)


def test_without_a_managed_network_its_commands_fail(heart: Heart) -> None:
    """The result names the key that would change that."""

    async def test() -> None:
        heart.command("network/set", b"connect")
        await asyncio.sleep(0)  # its work
        await asyncio.sleep(0)  # its end
        heart.turn()

    asyncio.run(test())
    assert (last(heart)["state"], "network.interface" in last(heart)["description"]) == ("failed", True)


def test_commands_in_flight_are_bounded(heart: Heart) -> None:
    """Each may wait for an hour, and the broker does not limit acknowledged commands."""

    async def test(heart: Heart, network: Network) -> None:
        for _ in range(MAX_IN_FLIGHT + 1):
            heart.command("network/set", b"connect")
        await settled(heart)
        assert len(network.asked) == MAX_IN_FLIGHT
        assert heart.states() == ["failed"]

    in_loop(test, heart)


def test_a_deadline_that_passes_before_the_commit_expires_the_command(heart: Heart) -> None:
    """A command that waited for room on the disk may be out of date."""
    delivery: Delivery = heart.control_session.delivery("queue/set", b"pause", expiry=1)
    heart.controls.received(delivery, heart.control_session)
    heart.time.clock.pass_(2.0)
    heart.turn()
    assert (last(heart)["state"], heart.uplink.paused) == ("expired", False)


@pytest.mark.parametrize("payload", [b"dance", b'{"command": "connect", "speed": 1}', b"{", b""])
def test_an_unreadable_command_is_rejected_once(heart: Heart, payload: bytes) -> None:
    """A repetition of the delivery brings no other result."""
    delivery = heart.command("network/set", payload)
    heart.controls.received(delivery._replace(dup=True), heart.control_session)
    heart.turn()
    assert heart.control_session.acked == [1, 1]
    assert [(each["channel"], each["state"]) for each in heart.ended()] == [("network", "rejected")]
    assert heart.events() == []


def test_a_retained_command_is_skipped(heart: Heart) -> None:
    """A pause of last year must not stop a box that comes back."""
    heart.command("queue/set", b"pause", retain=True)
    assert (heart.control_session.acked, heart.uplink.paused, heart.ended()) == ([1], False, [])
