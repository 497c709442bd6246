"""The cellular link with a keeper whose modem, dialler and sockets do as they are told."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from bridge.core.link import Code
from bridge.core.messages import Now
from bridge.core.modem import Facts, Link, Place, Registration, Sim
from bridge.errors import BridgeError, LinkError, ModemError, ModemGone, ModemSilent, PortHeld
from bridge.flow.link.cellular import FAILURES_TO_SOCKETS, Cellular
from bridge.flow.link.hardware import Hardware
from bridge.flow.link.supervisor import ModemSupervisor
from bridge.flow.notices import SILENT
from tests.doubles.time import SetClock

HOME = Facts(Sim.READY, Registration.HOME)
SEARCHING = Facts(Sim.READY, Registration.SEARCHING)
TWO = Place("cellular-nova-u201", "/dev/at", "/dev/dial")
ONE = Place("cellular-nova-r410", "/dev/at", "/dev/at")
PPP = Link("ppp0", "10.0.0.2", "10.0.0.1")
OWN = Link("at-sockets", "10.0.0.3")
AGAIN = 0.05
"""Seconds until PPP is tried again."""


class Modem:
    """A modem that answers."""

    def __init__(self, rig: "Rig", on_facts: Callable[[Facts], None]) -> None:
        self._rig = rig
        self._on_facts = on_facts
        self.sim_problem: str | None = None
        self.facts = HOME

    async def start(self, path: str, *, radio: bool = True) -> None:
        assert not self._rig.calling, "the port is open while it is dialled"
        await self._rig.starts.wait()
        self.facts = self._rig.facts
        self._rig.open += 1
        if self._rig.left:
            raise ModemGone("another process uses it")

    def close(self) -> None:
        self._rig.open -= 1

    async def poll(self) -> None:
        if self._rig.silent:
            raise ModemSilent("no answer")

    async def probe(self, timeout: float = 3.0) -> bool:
        return not self._rig.silent

    async def radio(self, on: bool) -> None:
        """Nothing happens."""

    async def soft_reset(self) -> None:
        self._rig.resets.append("soft")

    async def reset(self) -> None:
        self._rig.resets.append("reset")

    async def prepare_data(self, apn: str) -> None:
        assert apn == "hologram"
        await self.poll()
        if self._rig.reattaches:
            self.becomes(SEARCHING)
            asyncio.get_running_loop().call_later(0.02, self.becomes, HOME)

    def becomes(self, facts: Facts) -> None:
        self.facts = facts
        self._on_facts(facts)


class Rig:
    """A cellular link and its world; it is the dialler and the sockets as well."""

    def __init__(self, place: Place, *, adopts: bool = True) -> None:
        self.facts = HOME
        self.open = 0
        self.calling = False
        self.left = False
        """A link of an earlier run holds the port."""
        self.cleared = 0
        self.stands = False
        """Clearing fails."""
        self.told: list[str] = []
        self.reattaches = False
        self.resets: list[str] = []
        self.calls = 0
        self.fails = 0
        """Calls that fail."""
        self.held = False
        """Another program has the port that dials."""
        self.hangs = False
        self.why_not: str | None = None
        self.link: Link | None = None
        self.stuck = False
        self.has_sockets = False
        self.sockets: list[str] = []
        self.sockets_fail = False
        self.busy = False
        self.silent = False
        self.starts = asyncio.Event()
        """A modem that is opened answers."""
        self.starts.set()
        self.in_between: Callable[[], None] = lambda: None
        self.modems: list[Modem] = []
        self.supervisor = ModemSupervisor(
            Hardware(
                find=lambda: place,
                missing="no modem",
                make=self._make,
                power=self._no_power,
                can_power=lambda _: False,
            ),
            SetClock(lambda: Now(1.7e9, asyncio.get_running_loop().time())),
            SILENT,
            on_change=lambda: None,
            link_up=lambda: False,
        )
        self.cellular = Cellular(
            self.supervisor,
            self,
            lambda: self if self.has_sockets else None,
            "hologram",
            ppp_again=AGAIN,
            adopts=adopts,
            on_cleared=lambda: self.told.append("cleared"),
        )

    def _make(self, place: Place, on_facts: Callable[[Facts], None], on_lost: Callable[[str], None]) -> Modem:
        self.modems.append(Modem(self, on_facts))
        return self.modems[-1]

    async def _no_power(self, place: Place) -> None:
        raise AssertionError(place)

    def becomes(self, facts: Facts) -> None:
        """Let the modem announce something."""
        self.facts = facts
        self.modems[-1].becomes(facts)

    # the dialler

    async def call(self, place: Place, timeout: float) -> Link:
        assert not (place.single and self.open), "the port is open while it is dialled"
        assert self.supervisor.facts.registration.registered, "it is dialled without a network"
        self.calls += 1
        self.calling = place.single
        try:
            while self.hangs:
                await asyncio.sleep(0.001)
            if self.held:
                raise PortHeld("the port is held by minicom (process 77)")
            if self.calls <= self.fails:
                raise LinkError("NO CARRIER")
        except BaseException:
            self.calling = False
            raise
        self.link = PPP
        return PPP

    async def clear(self) -> None:
        if self.stands:
            raise LinkError("it could not be stopped")
        self.cleared += 1
        self.left = False

    async def disconnect(self) -> None:
        self.calling, self.link = False, None
        if self.stuck:
            raise LinkError("systemctl failed")

    async def close(self) -> None:
        await self.disconnect()

    def unavailable(self) -> str | None:
        return self.why_not

    # the sockets

    async def bring_up(self, apn: str) -> str | None:
        self.sockets.append("up")
        while self.hangs:
            await asyncio.sleep(0.001)
        self.in_between()
        if self.sockets_fail:
            raise ModemError("no PDP context")
        return OWN.local_ip

    async def bring_down(self) -> None:
        self.sockets.append("down")

    async def until(self, condition: Callable[[], object]) -> None:
        """Give all of it turns until ``condition`` holds."""
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.001)

    async def try_to_connect(self, times: int = 1) -> list[str]:
        """Connect as the network manager does; return why it failed each time."""
        why = []
        for number in range(1, times + 1):
            try:
                await self.cellular.connect(5)
            except BridgeError as exc:
                why.append(str(exc))
                self.cellular.failed(number)
        return why


def story(tell: Callable[[Rig], Awaitable[None]], *, place: Place = TWO, adopts: bool = True) -> None:
    """Run a keeper and a link while ``tell`` tells what happens."""

    async def run() -> None:
        rig = Rig(place, adopts=adopts)
        task = asyncio.create_task(rig.supervisor.run())
        try:
            await tell(rig)
            assert not task.done(), task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(run())


def test_a_single_port_is_lent_and_comes_back() -> None:
    """It is closed while it is dialled and while the link stands, and opened after that."""

    async def tell(rig: Rig) -> None:
        assert await rig.cellular.connect(5) == PPP
        assert (rig.cellular.link, rig.open, rig.supervisor.modem) == (PPP, 0, None)
        await rig.cellular.disconnect()
        await rig.until(lambda: rig.open == 1)

    story(tell, place=ONE)


def test_a_modem_that_takes_too_long_to_start_is_a_failure_of_the_attempt() -> None:
    """What is only beginning is no error by itself; an attempt that ends meanwhile has one, with its code."""

    async def tell(rig: Rig) -> None:
        rig.starts.clear()
        with pytest.raises(LinkError, match="looked for") as caught:
            await rig.cellular.connect(0.05)
        assert caught.value.status == Code.CLOUD_ERR_CONNECT
        rig.starts.set()
        assert await rig.cellular.connect(5) == PPP

    story(tell)


def test_a_single_port_that_an_earlier_run_has_left_in_use_is_freed() -> None:
    """Its link is hung up, once, and made anew: while it stands nobody can ask the modem."""

    async def tell(rig: Rig) -> None:
        rig.left = True
        assert await rig.cellular.connect(5) == PPP
        assert rig.cleared == 1
        await rig.cellular.disconnect()
        assert await rig.cellular.connect(5) == PPP
        assert rig.cleared == 1

    story(tell, place=ONE)


def test_a_link_that_may_not_be_taken_over_is_hung_up_before_a_call() -> None:
    """Once; while that fails no call is made, and the modem is not to blame."""

    async def tell(rig: Rig) -> None:
        rig.stands = True
        assert await rig.try_to_connect(6) == ["it could not be stopped"] * 6
        assert (rig.calls, rig.told, rig.resets) == (0, [], [])
        rig.stands = False
        assert await rig.cellular.connect(5) == PPP
        await rig.cellular.disconnect()
        assert await rig.cellular.connect(5) == PPP
        assert (rig.cleared, rig.told) == (1, ["cleared"])

    async def without_ppp(rig: Rig) -> None:
        rig.stands, rig.has_sockets, rig.why_not = True, True, "systemd does not run here"
        assert await rig.cellular.connect(5) == OWN

    story(tell, adopts=False)
    story(without_ppp, adopts=False)


def test_a_single_port_comes_back_however_a_call_ends() -> None:
    """By a failure, by being called off, and where hanging up fails."""

    async def tell(rig: Rig) -> None:
        rig.fails = 1
        assert await rig.try_to_connect() == ["NO CARRIER"]
        await rig.until(lambda: rig.open == 1)
        rig.hangs = True
        attempt = asyncio.create_task(rig.cellular.connect(5))
        await rig.until(lambda: rig.calls == 2)
        attempt.cancel()
        await asyncio.wait({attempt})
        await rig.until(lambda: rig.open == 1)
        rig.hangs = False
        await rig.cellular.connect(5)
        rig.stuck = True
        with pytest.raises(LinkError, match="systemctl"):
            await rig.cellular.disconnect()
        await rig.until(lambda: rig.open == 1)

    story(tell, place=ONE)


def test_a_single_port_is_not_opened_before_the_call_has_ended() -> None:
    """A call that is called off in the moment in which it comes up is hung up first."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        rig.hangs = True
        attempt = asyncio.create_task(rig.cellular.connect(5))
        await rig.until(lambda: rig.calls)
        rig.link, rig.calling = PPP, True
        attempt.cancel()
        await asyncio.wait({attempt})
        rig.calling = True
        await asyncio.sleep(0.02)
        assert rig.open == 0
        await rig.cellular.disconnect()
        await rig.until(lambda: rig.open == 1)

    story(tell, place=ONE)


def test_what_keeps_us_from_calling_is_no_fault_of_the_modems() -> None:
    """A box without pppd does not reset its modem for that."""

    async def tell(rig: Rig) -> None:
        rig.why_not = "pppd is not installed"
        assert await rig.try_to_connect(6) == ["pppd is not installed"] * 6
        await asyncio.sleep(0.1)
        assert rig.resets == []

    story(tell)


def test_calls_that_fail_are_the_modems_trouble_while_somebody_wants_the_link() -> None:
    """The third is; once nobody wants it nothing is recovered for it."""

    async def tell(rig: Rig) -> None:
        rig.fails = 100
        await rig.try_to_connect(2)
        rig.cellular.failed(0)
        await rig.try_to_connect(2)
        await asyncio.sleep(0.1)
        assert rig.resets == []
        await rig.try_to_connect(1)
        await rig.until(lambda: rig.resets == ["soft"])

    story(tell)


def test_a_modems_sockets_stand_in_where_no_ppp_can_be_had() -> None:
    """At once, and they are put away when the link is taken down, and at the end."""

    async def tell(rig: Rig) -> None:
        rig.has_sockets, rig.why_not = True, "this kernel has no PPP"
        assert await rig.cellular.connect(5) == OWN
        assert rig.cellular.over_sockets
        await rig.cellular.disconnect()
        assert (rig.cellular.link, rig.cellular.over_sockets, rig.sockets) == (None, False, ["up", "down"])
        await rig.cellular.connect(5)
        await rig.cellular.close()
        assert rig.sockets == ["up", "down"] * 2

    story(tell)


def test_sockets_and_ppp_are_tried_in_turn_where_calls_fail() -> None:
    """After the second failure; what comes up first is the link."""

    async def tell(rig: Rig) -> None:
        rig.has_sockets, rig.fails, rig.sockets_fail = True, 100, True
        await rig.try_to_connect(FAILURES_TO_SOCKETS + 4)
        assert (rig.calls, rig.sockets.count("up")) == (FAILURES_TO_SOCKETS + 2, 2)
        rig.sockets_fail = False
        assert await rig.cellular.connect(5) == OWN
        await rig.cellular.disconnect()
        rig.fails = 0
        assert await rig.cellular.connect(5) == PPP

    story(tell)


def test_a_port_that_another_program_has_is_no_fault_of_the_modems() -> None:
    """Nothing is recovered for it, and the modem's sockets carry meanwhile, if it has any."""

    async def tell(rig: Rig) -> None:
        rig.held = True
        assert set(await rig.try_to_connect(6)) == {"the port is held by minicom (process 77)"}
        await asyncio.sleep(0.1)
        assert rig.resets == []
        rig.has_sockets = True
        assert await rig.cellular.connect(5) == OWN

    story(tell)


async def _over_sockets(rig: Rig) -> None:
    """Let calls fail until the modem's sockets are the link."""
    rig.has_sockets, rig.fails = True, 100
    await rig.try_to_connect(FAILURES_TO_SOCKETS)
    assert await rig.cellular.connect(5) == OWN


def test_over_sockets_ppp_may_be_tried_again_after_a_while() -> None:
    """In a moment when nothing is under way, in or out; it may come up, and then it may stay."""

    async def tell(rig: Rig) -> None:
        await _over_sockets(rig)
        await rig.until(lambda: rig.cellular.may_be_better(True))
        assert not rig.cellular.may_be_better(False)
        rig.busy = True
        assert not rig.cellular.may_be_better(True)
        rig.fails = 0
        await rig.cellular.disconnect()
        assert await rig.cellular.connect(5) == PPP
        assert not rig.cellular.may_be_better(True)

    story(tell)


def test_sockets_are_the_link_again_where_the_one_more_call_fails() -> None:
    """With the next attempt, without anything done to the modem; the next call is twice as far off."""

    async def tell(rig: Rig) -> None:
        await _over_sockets(rig)
        for number in range(1, 4):
            began = asyncio.get_running_loop().time()
            await rig.until(lambda: rig.cellular.may_be_better(True))
            assert asyncio.get_running_loop().time() - began > 0.9 * AGAIN * 2 ** (number - 1)
            await rig.cellular.disconnect()
            assert await rig.try_to_connect() == ["NO CARRIER"]
            assert await rig.cellular.connect(5) == OWN
        assert rig.resets == []
        assert rig.calls == FAILURES_TO_SOCKETS + 3

    story(tell)


def test_ppp_is_not_tried_where_it_cannot_be_had() -> None:
    """While there is no pppd the sockets stay; once there is, they give way."""

    async def tell(rig: Rig) -> None:
        rig.has_sockets, rig.why_not = True, "pppd is not installed"
        assert await rig.cellular.connect(5) == OWN
        await asyncio.sleep(2 * AGAIN)
        assert not rig.cellular.may_be_better(True)
        rig.why_not = None
        assert rig.cellular.may_be_better(True)

    story(tell)


def test_sockets_that_are_lost_while_they_are_made_ready_are_no_link() -> None:
    """The modem may say so before they are used."""

    async def tell(rig: Rig) -> None:
        rig.has_sockets, rig.why_not = True, "no PPP"
        rig.in_between = rig.cellular.sockets_lost
        assert "were lost" in (await rig.try_to_connect())[0]
        assert rig.cellular.link is None

    story(tell)


def test_sockets_that_are_cancelled_half_way_are_closed() -> None:
    """The modem does not keep a connection that nobody wants."""

    async def tell(rig: Rig) -> None:
        rig.has_sockets, rig.why_not, rig.hangs = True, "no PPP", True
        attempt = asyncio.create_task(rig.cellular.connect(5))
        await rig.until(lambda: rig.sockets == ["up"])
        attempt.cancel()
        await asyncio.wait({attempt})
        await rig.cellular.disconnect()
        assert rig.sockets == ["up", "down"]

    story(tell)


def test_a_modem_that_attaches_anew_for_its_apn_is_waited_for() -> None:
    """It is dialled once it is in a network again."""

    async def tell(rig: Rig) -> None:
        rig.reattaches = True
        assert await rig.cellular.connect(5) == PPP

    story(tell)


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (Facts(Sim.PIN), Code.CLOUD_ERR_SIM),
        (Facts(Sim.ABSENT), Code.CLOUD_ERR_SIM),
        (Facts(Sim.BUSY), Code.CLOUD_ERR_SIM),
        (Facts(Sim.READY, Registration.DENIED), Code.CLOUD_ERR_SIGNAL),
        (SEARCHING, Code.CLOUD_ERR_SIGNAL),
    ],
)
def test_why_there_is_no_network(facts: Facts, code: Code) -> None:
    """The failure carries the status code of its reason, and nothing was dialled."""

    async def tell(rig: Rig) -> None:
        rig.facts = facts
        await rig.until(lambda: rig.supervisor.modem)
        with pytest.raises(LinkError) as caught:
            await rig.cellular.connect(0.1)
        assert (caught.value.status, rig.calls) == (code, 0)

    story(tell)


def test_it_is_dialled_as_soon_as_there_is_a_network() -> None:
    """The modem's word ends the wait, not a clock."""

    async def tell(rig: Rig) -> None:
        rig.facts = SEARCHING
        await rig.until(lambda: rig.supervisor.modem)
        attempt = asyncio.create_task(rig.cellular.connect(60))
        await asyncio.sleep(0.02)
        assert not attempt.done()
        rig.becomes(HOME)
        async with asyncio.timeout(30):
            assert await attempt == PPP

    story(tell)


def test_a_modem_that_is_silent_when_it_is_to_dial_is_looked_at_at_once() -> None:
    """The next regular poll may be a minute away."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        rig.silent = True
        assert await rig.try_to_connect() == ["no answer"]
        await rig.until(lambda: not rig.supervisor.usable)

    story(tell)
