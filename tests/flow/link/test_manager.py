"""The network manager over a link that does as it is told."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from bridge.core.link import Code, Fault, Phase
from bridge.core.messages import Now
from bridge.core.modem import Link
from bridge.core.time import Time
from bridge.errors import DeadlinePassed, LinkError, OperationError
from bridge.flow.link.commands import NetworkCommands
from bridge.flow.link.manager import DIAL_TIMEOUT, Network
from bridge.flow.link.pacing import STALE, STEADY
from bridge.flow.link.traffic import IDLE, Traffic
from bridge.flow.link.waiting import Waiters
from bridge.flow.notices import Notices
from tests.doubles.time import MovableTime, SetClock

LINK = Link("ppp0", "10.0.0.2", "10.0.0.1")


class Wire:
    """The far end: a link that comes up, fails, hangs or breaks as a test says; its clock too."""

    kind = "cellular"

    def __init__(self) -> None:
        self.link: Link | None = None
        self.fails: list[str] = []
        """Why the next attempts fail."""
        self.code: Code | None = None
        self.hangs = False
        self.slow = 0.0
        """Seconds that everything takes."""
        self.breaks = 0
        """Links that break at once."""
        self.deaf = False
        """Orders do not end."""
        self.stuck = False
        """Hanging up fails."""
        self.timeouts: list[float] = []
        self.hang_ups = 0
        self.evidence: Fault | None = None
        self.attempts = 0
        self.orders: list[str] = []
        self.failures: list[int] = []
        self.mono = 1000.0
        self.unreached: float | None = None
        self.radio = True

    def clock(self) -> Now:
        return Now(1.7e9 + self.mono, self.mono)

    async def connect(self, timeout: float) -> Link:
        self.attempts += 1
        self.timeouts.append(timeout)
        await asyncio.sleep(self.slow)
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise LinkError(self.fails.pop(0), self.code)
        self.breaks -= 1
        self.link = None if self.breaks >= 0 else LINK
        return LINK

    async def disconnect(self) -> None:
        self.hang_ups += 1
        await asyncio.sleep(self.slow)
        self.link = None
        if self.stuck:
            raise LinkError("systemctl failed")

    async def close(self) -> None:
        self.link = None

    async def order(self, command: str) -> str:
        assert self.link is None, "the link was up while the modem was given an order"
        self.orders.append(command)
        await asyncio.sleep(1e9 if self.deaf else self.slow)
        assert self.link is None, "it was dialled while the modem was given an order"
        self.radio = command != "radio_off"
        return f"{command} done"

    def fault(self) -> Fault | None:
        return self.evidence

    def may_be_better(self, quiet: bool) -> bool:
        return False

    def failed(self, failures: int) -> None:
        self.failures.append(failures)


class _Events(Notices):
    """Keeps the names of events in a list."""

    def __init__(self, events: list[str]) -> None:
        self._events = events

    def event(self, event_type: str, **_: object) -> None:
        self._events.append(event_type)

    def link_up(self) -> None:
        self._events.append("up")


class Rig:
    """A manager that runs."""

    def __init__(self, wire: Wire, autoconnect: bool | str, time: Time | None = None) -> None:
        self.wire = wire
        self.events: list[str] = []
        self.phases: list[str] = []
        self.pending = False
        self.batched = False
        """Whether messages wait for their batch."""
        self.calls = 0
        """How often they were sent."""
        self.sent = 0
        self.in_flight = 0
        self.network = Network(
            wire,
            Traffic(
                pending=lambda: self.pending,
                sent=lambda: self.sent,
                in_flight=lambda: self.in_flight,
                unreached_since=lambda: wire.unreached,
                send_batches=self._send_batches,
            ),
            time or SetClock(wire.clock),
            _Events(self.events),
            autoconnect=autoconnect,
            on_change=lambda: None,
        )
        self.command = NetworkCommands(self.network).carry_out

    def _send_batches(self) -> bool:
        self.calls += 1
        return self.batched

    async def until(self, condition: Callable[[], object]) -> None:
        """Give the manager turns until ``condition`` holds."""
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.001)


def _failed(wire: Wire, times: int) -> bool:
    return wire.failures == list(range(1, times + 1))


def story(
    tell: Callable[[Rig], Awaitable[None]], *, autoconnect: bool | str = True, wire: Wire | None = None
) -> None:
    """Run a manager while ``tell`` tells what happens."""

    @contextlib.asynccontextmanager
    async def running(rig: Rig) -> AsyncIterator[None]:
        task = asyncio.create_task(rig.network.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def run() -> None:
        rig = Rig(wire or Wire(), autoconnect)
        async with running(rig):
            await tell(rig)

    asyncio.run(run())


def test_it_connects_by_itself_and_again_when_the_link_breaks() -> None:
    """A lost link is told with its reason, and dialled again."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.network.up)
        rig.wire.link = None
        rig.network.lost("the far end hung up")
        assert not rig.network.up
        assert rig.network.verdict()[:3] == ("error", Code.CLOUD_ERR_CONNECT, "the far end hung up")
        await rig.until(lambda: rig.network.up)
        assert rig.wire.attempts == 2
        assert rig.events == [
            "network.connected", "cellular.connected", "up",
            "network.disconnected", "cellular.disconnected",
            "network.connected", "cellular.connected", "up",
        ]  # fmt: skip

    story(tell)


def test_failures_are_spaced_further_and_further() -> None:
    """Attempts follow at growing distances, and what has gone away lets one follow at once."""
    wire = Wire()
    wire.fails = ["BUSY"] * 4

    async def tell(rig: Rig) -> None:
        waits = []
        for number in range(1, 4):
            await rig.until(partial(_failed, wire, number))
            assert rig.network.verdict() == ("error", Code.CLOUD_ERR_CONNECT, "BUSY")
            before = wire.mono
            while wire.attempts == number:
                wire.mono += 0.5
                rig.network._wake.set()
                await asyncio.sleep(0.001)
            waits.append(wire.mono - before)
        assert 3 < waits[0] < 6 < waits[1] < 11 < waits[2] < 21
        wire.evidence = Fault(Code.CLOUD_ERR_SIM, "no SIM")
        rig.network.changed_facts()
        await rig.until(lambda: len(wire.failures) == 4)
        wire.evidence = None
        rig.network.changed_facts()
        await rig.until(lambda: rig.network.up)

    story(tell, wire=wire)


def test_disconnect_calls_off_an_attempt() -> None:
    """A wish to be offline does not wait for a modem that dials for minutes."""
    wire = Wire()
    wire.hangs = True

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: wire.attempts == 1)
        connecting = asyncio.create_task(rig.command("connect", 60))
        await asyncio.sleep(0)
        assert await rig.command("disconnect", None) == "disconnected"
        assert rig.network.verdict() == ("disconnected", Code.CLOUD_DISCONNECTED, None)
        with pytest.raises(LinkError, match="disconnect was asked for"):
            await connecting
        wire.hangs = False
        assert "10.0.0.2" in await rig.command("connect", 60)

    story(tell, wire=wire)


@pytest.mark.parametrize("name", ["disconnect", "reconnect"])
@pytest.mark.parametrize("autoconnect", [True, False, "on_demand"])
def test_what_stands_unknown_is_taken_down_too(autoconnect: bool | str, name: str) -> None:
    """An earlier run may have left it, and the status knows of none; an order to the modem leaves it."""
    wire = Wire()
    tries = 1 if autoconnect is True else 0
    wire.fails = ["the modem does not answer"] * 2 * tries

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: _failed(wire, tries))
        await rig.command("reset", None)
        await rig.until(lambda: _failed(wire, 2 * tries))
        assert wire.hang_ups == 0
        wire.link = LINK
        await rig.command(name, None)
        assert wire.hang_ups == 1
        assert rig.network.verdict().state == ("connected" if name == "reconnect" else "disconnected")
        assert (wire.link is not None) is (name == "reconnect")

    story(tell, autoconnect=autoconnect, wire=wire)


def test_a_connect_that_fails_says_why_and_is_tried_on() -> None:
    """The command ends with the first definite answer; the bridge goes on, as nobody is there."""
    wire = Wire()
    wire.fails = ["NO CARRIER"]

    async def tell(rig: Rig) -> None:
        with pytest.raises(LinkError, match="NO CARRIER; it is tried again"):
            await rig.command("connect", 60)
        wire.mono += 6
        rig.network._wake.set()
        await rig.until(lambda: rig.network.up)

    story(tell, wire=wire, autoconnect=False)


def test_pauses_go_by_the_clock_that_decides() -> None:
    """Whoever moves the time needs to wake nobody: the next attempt comes when its pause is over."""

    async def run() -> None:
        time, wire = MovableTime(), Wire()
        wire.fails = ["BUSY"] * 5
        rig = Rig(wire, autoconnect=True, time=time)
        driver = asyncio.create_task(rig.network.run())
        for failures in range(1, 6):
            await rig.until(lambda: time.pending)
            assert _failed(wire, failures)
            assert wire.attempts == failures
            assert time.tick() > 3
        await rig.until(lambda: rig.network.up)
        driver.cancel()

    asyncio.run(run())


def test_without_a_wish_nothing_is_dialled() -> None:
    """With autoconnect off the state is disconnected until somebody asks."""

    async def tell(rig: Rig) -> None:
        await asyncio.sleep(0.05)
        assert rig.wire.attempts == 0
        await rig.command("connect", 60)
        assert rig.network.up

    story(tell, autoconnect=False)


def test_on_demand_dials_for_a_message_and_hangs_up_when_idle() -> None:
    """The link is up while something waits, and for a while after."""

    async def tell(rig: Rig) -> None:
        rig.pending = True
        rig.network.wanted_now()
        await rig.until(lambda: rig.network.up)
        for _ in range(5):
            rig.wire.mono += IDLE
            rig.network._wake.set()
            await asyncio.sleep(0.005)
        assert rig.network.up
        rig.pending = False
        rig.wire.mono += IDLE - 1
        rig.network._wake.set()
        await asyncio.sleep(0.01)
        assert rig.network.up
        rig.wire.mono += 2
        rig.network._wake.set()
        await rig.until(lambda: rig.network.phase is Phase.DISCONNECTED)
        assert rig.wire.link is None

    story(tell, autoconnect="on_demand")


def test_orders_to_the_modem_find_no_link_and_leave_the_wish() -> None:
    """A reset hangs up first, and the link is dialled again after it; without radio nothing is."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.network.up)
        assert await rig.command("reset", None) == "reset done"
        await rig.until(lambda: rig.network.up)
        await rig.command("radio_off", None)
        with pytest.raises(OperationError, match="radio_on first"):
            await rig.command("connect", None)
        attempts = rig.wire.attempts
        await asyncio.sleep(0.02)
        assert rig.wire.attempts == attempts
        await rig.command("radio_on", None)
        await rig.until(lambda: rig.network.up)
        assert rig.wire.orders == ["reset", "radio_off", "radio_on"]

    story(tell)


def test_a_sim_that_is_pulled_takes_the_link_down() -> None:
    """Its trouble is told at once, with its code."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.network.up)
        rig.wire.evidence = Fault(Code.CLOUD_ERR_SIM, "there is no SIM")
        rig.wire.fails = ["there is no SIM"] * 100
        rig.network.changed_facts()
        await rig.until(lambda: rig.network.phase is Phase.DISCONNECTED)
        verdict: Any = rig.network.verdict()
        assert (verdict.state, verdict.code) == ("error", Code.CLOUD_ERR_SIM)

    story(tell)


def test_a_link_over_which_nothing_is_reached_is_made_anew() -> None:
    """After ten minutes, then less and less often; as soon as something is reached the patience is back."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.network.up)
        wire = rig.wire
        wire.unreached = wire.mono
        for attempts, patience in ((1, STALE), (2, 2 * STALE), (3, 4 * STALE)):
            wire.mono += patience - 1
            rig.network._wake.set()
            await asyncio.sleep(0.01)
            assert (rig.network.up, wire.attempts) == (True, attempts)
            wire.mono += 2
            rig.network._wake.set()
            await rig.until(partial(_dialled, wire, attempts + 1))
            await rig.until(lambda: rig.network.up)
        wire.unreached = None
        rig.network._wake.set()
        await asyncio.sleep(0.01)
        wire.unreached = wire.mono
        wire.mono += STALE + 1
        rig.network._wake.set()
        await rig.until(partial(_dialled, wire, 5))

    story(tell)


def _dialled(wire: Wire, times: int) -> bool:
    return wire.attempts == times


def test_a_command_ends_whatever_the_others_do() -> None:
    """Commands in any order and at once: each ends, and the last wish holds."""

    async def tell(rig: Rig) -> None:
        wire, draw = rig.wire, random.Random(7)
        wire.slow = 0.001
        names = ["connect", "disconnect", "reconnect", "reset", "radio_off", "radio_on"]
        for _ in range(40):
            commands = [
                asyncio.create_task(rig.command(draw.choice(names), 30)) for _ in range(draw.randint(1, 5))
            ]
            for _ in range(draw.randint(0, 3)):
                await asyncio.sleep(draw.choice([0, 0.0005, 0.002]))
                wire.fails = draw.choice([[], ["BUSY"]])
                if rig.network.up and draw.random() < 0.5:
                    wire.link = None
                    rig.network.lost("NO CARRIER")
            async with asyncio.timeout(60):
                await asyncio.gather(*commands, return_exceptions=True)
            wire.mono += 1000
        wire.fails = []
        await rig.command("radio_on", 30)
        assert "10.0.0.2" in await rig.command("connect", 30)
        await rig.command("disconnect", 30)
        assert rig.network.verdict().state == "disconnected"
        assert wire.link is None

    story(tell)


@pytest.mark.parametrize("autoconnect", [True, False, "on_demand"])
def test_disconnect_ends_though_connect_comes_with_it(autoconnect: bool | str) -> None:
    """The link was down for a moment: that is what was asked for."""

    async def tell(rig: Rig) -> None:
        await rig.command("connect", 60)
        async with asyncio.timeout(30):
            done = await asyncio.gather(rig.command("disconnect", None), rig.command("connect", None))
        assert done[0] == "disconnected"
        assert rig.network.up

    story(tell, autoconnect=autoconnect)


def test_disconnect_holds_on_demand_too() -> None:
    """What waits brings no link up after it, until connect; then it is on demand again."""

    async def tell(rig: Rig) -> None:
        rig.pending = True
        rig.network.wanted_now()
        await rig.until(lambda: rig.network.up)
        async with asyncio.timeout(30):
            await rig.command("disconnect", None)
        rig.network.wanted_now()
        await asyncio.sleep(0.02)
        assert rig.wire.attempts == 1
        await rig.command("connect", 60)
        rig.pending = False
        rig.wire.mono += IDLE + 1
        rig.network._wake.set()
        await rig.until(lambda: rig.network.phase is Phase.DISCONNECTED)

    story(tell, autoconnect="on_demand")


def test_on_demand_a_connect_while_the_link_is_up_brings_up_no_other() -> None:
    """Idle it is hung up, and stays down until there is something to send."""

    async def tell(rig: Rig) -> None:
        rig.pending = True
        rig.network.wanted_now()
        await rig.until(lambda: rig.network.up)
        rig.pending = False
        assert "10.0.0.2" in await rig.command("connect", None)
        rig.wire.mono += IDLE + 1
        rig.network._wake.set()
        await rig.until(lambda: rig.network.downs == 1)
        turns = rig.network.progress()[0].steps
        rig.network._wake.set()
        await rig.until(lambda: rig.network.progress()[0].steps > turns)
        assert (rig.wire.attempts, rig.network.phase) == (1, Phase.DISCONNECTED)

    story(tell, autoconnect="on_demand")


def test_on_demand_tells_why_it_does_not_connect() -> None:
    """A call that fails is an error there too."""
    wire = Wire()
    wire.fails = ["BUSY"]

    async def tell(rig: Rig) -> None:
        rig.pending = True
        rig.network.wanted_now()
        await rig.until(lambda: wire.failures)
        assert rig.network.verdict() == ("error", Code.CLOUD_ERR_CONNECT, "BUSY")

    story(tell, autoconnect="on_demand", wire=wire)


@pytest.mark.parametrize(("autoconnect", "calls"), [(True, 0), ("on_demand", 1)])
def test_a_link_on_demand_that_came_up_takes_along_what_waits_for_its_batch(
    autoconnect: bool | str, calls: int
) -> None:
    """One that is always up does not: each break would cost an incomplete batch."""

    async def tell(rig: Rig) -> None:
        rig.pending = True
        await rig.until(lambda: rig.network.up)
        assert rig.calls == calls

    story(tell, autoconnect=autoconnect)


def test_on_demand_sends_what_waits_for_its_batch_before_it_hangs_up() -> None:
    """Once, and then it hangs up though more may have come."""

    async def tell(rig: Rig) -> None:
        rig.pending = True
        await rig.until(lambda: rig.network.up)
        rig.pending, rig.batched = False, True
        rig.wire.mono += IDLE + 1
        await rig.until(lambda: rig.calls == 2)
        assert rig.network.up
        rig.wire.mono += IDLE + 1
        await rig.until(lambda: rig.network.phase is Phase.DISCONNECTED)
        assert rig.calls == 2

    story(tell, autoconnect="on_demand")


def test_on_demand_sees_messages_that_come_and_go_between_its_looks() -> None:
    """A message a few seconds after another keeps the link up, however fast it is delivered."""

    async def tell(rig: Rig) -> None:
        rig.pending = True
        rig.network.wanted_now()
        await rig.until(lambda: rig.network.up)
        rig.pending = False
        for _ in range(10):
            rig.sent += 1
            rig.wire.mono += IDLE - 1
            rig.network._wake.set()
            await asyncio.sleep(0.002)
        assert (rig.network.up, rig.wire.attempts) == (True, 1)

    story(tell, autoconnect="on_demand")


def test_orders_at_once_are_carried_out_in_turn() -> None:
    """A modem is told one thing at a time, nothing is dialled meanwhile, and the last word holds."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.network.up)
        rig.wire.slow = 0.005
        await asyncio.gather(
            rig.command("radio_off", None),
            rig.command("reset", None),
            rig.command("radio_off", None),
        )
        assert rig.wire.orders == ["radio_off", "reset", "radio_off"]
        with pytest.raises(OperationError, match="radio_on first"):
            await rig.command("connect", None)
        assert rig.network.verdict().state == "disconnected"
        await rig.command("reset", None)
        await rig.until(lambda: rig.network.up)

    story(tell)


def test_the_driver_rests_while_an_order_is_carried_out() -> None:
    """A reset may take minutes; nobody turns in circles for it."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.network.up)
        rig.wire.slow = 0.1
        before = rig.network.progress()[0].steps
        await rig.command("reset", None)
        assert rig.network.progress()[0].steps - before < 10

    story(tell)


def test_an_order_that_takes_too_long_fails_and_leaves_the_link_wanted() -> None:
    """A modem that does not come back from a reset does not hold the command for ever."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.network.up)
        rig.wire.deaf = True
        with pytest.raises(OperationError, match="took longer than"):
            await rig.command("reset", 0.05)
        await rig.until(lambda: rig.network.up)

    story(tell)


@pytest.mark.parametrize("command", ["radio_off", "reset"])
def test_an_order_waits_for_its_turn_until_its_deadline(command: str) -> None:
    """Then it is not given at all, and the one that is under way goes on."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.network.up)
        rig.wire.deaf = True
        first = asyncio.create_task(rig.command("reset", None))
        await rig.until(lambda: rig.wire.orders)
        with pytest.raises(DeadlinePassed):
            await rig.command(command, None, 0.01)
        assert (rig.wire.orders, first.done(), rig.network.radio) == (["reset"], False, True)
        first.cancel()

    story(tell)


def test_an_order_that_was_begun_in_time_is_not_cut_off() -> None:
    """Its deadline passes while the modem carries it out: nobody would know what it had done."""

    async def tell(rig: Rig) -> None:
        rig.wire.slow = 0.1
        assert await rig.command("radio_off", None, 0.05) == "radio_off done"
        assert not rig.network.radio

    story(tell, autoconnect=False)


@pytest.mark.parametrize("command", ["connect", "reconnect"])
def test_waiting_for_a_link_ends_with_the_deadline(command: str) -> None:
    """The link is wanted all the same, as after a timeout, and comes when it can."""
    wire = Wire()
    wire.hangs = True

    async def tell(rig: Rig) -> None:
        with pytest.raises(DeadlinePassed, match="tried on"):
            await rig.command(command, None, 0.01)
        wire.hangs = False
        rig.network.hang_up()
        await rig.until(lambda: rig.network.up)

    story(tell, autoconnect=False, wire=wire)


def test_a_link_that_breaks_before_it_is_heard_of_is_not_up() -> None:
    """A hang-up in the moment after the call: what it holds is given back, and it is tried again."""
    wire = Wire()
    wire.breaks = 1

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: wire.failures)
        assert rig.network.verdict().state == "error"
        await rig.until(lambda: rig.network.phase is Phase.DISCONNECTED)
        assert wire.hang_ups == 1
        assert not rig.events
        wire.mono += 6
        rig.network._wake.set()
        await rig.until(lambda: rig.network.up)

    story(tell, wire=wire)


def test_a_link_that_breaks_again_and_again_is_spaced() -> None:
    """The first loss is made good at once; one that does not last is no better than a call that fails."""

    async def tell(rig: Rig) -> None:
        wire, waits = rig.wire, []
        for number in range(1, 5):
            await rig.until(lambda: rig.network.up)
            rig.network.lost("the network hung up")
            before = wire.mono
            while wire.attempts == number:
                wire.mono += 0.5
                rig.network._wake.set()
                await asyncio.sleep(0.001)
            waits.append(wire.mono - before)
        assert waits[0] < 3 < waits[1] < 6 < waits[2] < 11 < waits[3]
        await rig.until(lambda: rig.network.up)
        wire.mono += STEADY + 1
        rig.network.lost("the network hung up")
        await rig.until(lambda: rig.network.up)

    story(tell)


def test_who_waits_for_a_network_in_vain_goes_on_waiting() -> None:
    """No pause grows where nothing was dialled: the network may be there any moment."""
    wire = Wire()
    wire.fails = ["the modem found no network"] * 6
    wire.code = Code.CLOUD_ERR_SIGNAL

    async def tell(rig: Rig) -> None:
        for number in range(1, 7):
            await rig.until(partial(_failed, wire, number))
            wire.mono += 5.1
            rig.network._wake.set()
        await rig.until(lambda: rig.network.up)

    story(tell, wire=wire)


def test_a_hang_up_that_fails_stops_nothing() -> None:
    """Whatever hangs up may fail: the bridge goes on."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.network.up)
        rig.wire.stuck = True
        assert await rig.command("disconnect", None) == "disconnected"
        assert "connected" in await rig.command("connect", None)

    story(tell)


def test_a_timeout_is_for_its_own_command() -> None:
    """The next attempt, which nobody waits for, has its whole time."""
    wire = Wire()
    wire.hangs = True

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: wire.attempts == 1)
        with pytest.raises(LinkError, match="not within"):
            await rig.command("connect", 0.01)
        wire.hangs = False
        await rig.command("reconnect", None)
        assert wire.timeouts == [DIAL_TIMEOUT, DIAL_TIMEOUT]

    story(tell, wire=wire)


def test_at_the_end_nothing_is_dialled_any_more() -> None:
    """Neither while an attempt is called off nor after; the status says that the link is down."""
    wire = Wire()
    wire.hangs = True

    async def dialling(rig: Rig) -> None:
        await rig.until(lambda: wire.attempts == 1)
        await rig.network.stop()
        await asyncio.sleep(0.02)
        assert wire.attempts == 1

    async def connected(rig: Rig) -> None:
        await rig.until(lambda: rig.network.up)
        await rig.network.stop()
        assert rig.network.verdict().state == "disconnected"
        await asyncio.sleep(0.02)
        assert rig.wire.attempts == 1
        assert rig.events[-2:] == ["network.disconnected", "cellular.disconnected"]

    async def hanging_up(rig: Rig) -> None:
        await rig.until(lambda: rig.network.up)
        rig.wire.slow = 0.01
        asking = asyncio.create_task(rig.command("reconnect", None))
        await rig.until(lambda: rig.wire.hang_ups)
        await rig.network.stop()
        assert rig.network.verdict().state == "disconnected"
        await asyncio.sleep(0.05)
        assert rig.wire.attempts == 1
        asking.cancel()

    story(dialling, wire=wire)
    story(connected)
    story(hanging_up)


def test_two_hundred_losses_leave_nothing_behind() -> None:
    """No task and no waiter piles up."""

    async def tell(rig: Rig) -> None:
        before = len(asyncio.all_tasks())
        for _ in range(200):
            await rig.until(lambda: rig.network.up)
            rig.wire.mono += 1000
            rig.network.lost("the network hung up")
        assert len(asyncio.all_tasks()) <= before + 1
        assert not rig.network._waiters._changed._waiters

    story(tell)


def test_who_gives_up_waiting_is_forgotten() -> None:
    """Waiters that time out do not pile up until they are notified."""

    async def run() -> None:
        waiters = Waiters()
        assert not await waiters.until(lambda: False, 0.001)
        assert not waiters._changed._waiters

    asyncio.run(run())


def test_what_is_being_sent_may_end_before_the_link_is_hung_up() -> None:
    """A message that is cut off would go out twice; one over a link that broke has nothing to wait for."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.network.up)
        rig.in_flight = 1
        asked = asyncio.create_task(rig.command("disconnect", None))
        await rig.until(lambda: rig.network.phase is Phase.DISCONNECTING)
        await asyncio.sleep(0.02)
        assert rig.wire.link == LINK
        rig.in_flight = 0
        assert await asked == "disconnected"
        await rig.command("connect", None)
        rig.in_flight = 1
        asked = asyncio.create_task(rig.command("disconnect", None))
        await rig.until(lambda: rig.network.phase is Phase.DISCONNECTING)
        rig.wire.link = None
        assert await asked == "disconnected"

    story(tell)


def test_the_last_wish_holds() -> None:
    """A disconnect right after a reconnect is not overruled by it."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.network.up)
        rig.wire.slow = 0.005
        again = asyncio.create_task(rig.command("reconnect", None))
        await asyncio.sleep(0)
        await rig.command("disconnect", None)
        with pytest.raises(LinkError, match="disconnect was asked for"):
            await again
        assert rig.network.verdict().state == "disconnected"

    story(tell)
