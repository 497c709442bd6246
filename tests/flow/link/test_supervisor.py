"""The keeper with a modem that does as it is told, and a clock that a test moves."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bridge.core.link import Code
from bridge.core.messages import Now
from bridge.core.modem import Facts, Place, Registration, Signal, Sim
from bridge.core.recovery import Limits
from bridge.errors import AtRefused, BridgeError, ModemGone, ModemSilent, OperationError
from bridge.flow.link.hardware import Hardware
from bridge.flow.link.supervisor import ModemSupervisor
from tests.doubles.notices import Told
from tests.doubles.time import SetClock

HOME = Facts(Sim.READY, Registration.HOME, operator="Vodafone", signal=Signal(-77, 58))
PLACE = Place("cellular-nova-u201", "/dev/at", "/dev/dial", "1-1")
SINGLE = Place("cellular-nova-r410", "/dev/at", "/dev/at")


class Modem:
    """A modem, as far as the keeper sees it; `Rig` says how it is."""

    def __init__(self, rig: "Rig", on_facts: Callable[[Facts], None], on_lost: Callable[[str], None]) -> None:
        self._rig = rig
        self.on_facts = on_facts
        self.on_lost = on_lost
        self.facts = HOME
        self.sim_problem: str | None = None
        self.open = False

    async def _told(self, word: str) -> None:
        rig = self._rig
        rig.told.append(word)
        await rig.admission.wait()
        if word in rig.refuses:
            raise AtRefused(word, "ERROR", "ERROR")
        if word in rig.cures:
            rig.silent = False
        if rig.silent and word != "reset":
            raise ModemSilent(f"no answer to {word}")

    async def start(self, path: str, *, radio: bool = True) -> None:
        if not self._rig.there:
            raise ModemGone(f"cannot open {path}")
        if self._rig.speaks_early:
            self.on_facts(self._rig.facts)
        await self._told("start" if radio else "start without radio")
        self.open = True
        self.facts = self._rig.facts

    def close(self) -> None:
        self.open = False

    async def poll(self) -> None:
        await self._told("poll")
        if not self.open:
            raise ModemGone("the port was closed")
        self.facts = self._rig.facts
        self.on_facts(self.facts)

    async def probe(self, timeout: float = 3.0) -> bool:
        with contextlib.suppress(ModemSilent):
            await self._told("probe")
            return True
        return False

    async def radio(self, on: bool) -> None:
        await self._told("on" if on else "off")

    async def soft_reset(self) -> None:
        await self._told("soft_reset")

    async def reset(self) -> None:
        await self._told("reset")

    async def prepare_data(self, apn: str) -> None:
        await self._told(f"apn {apn}")


class Rig:
    """A keeper that runs, and the world around it."""

    def __init__(self, place: Place, limits: Limits) -> None:
        self.there = True
        self.silent = False
        self.speaks_early = False
        """It tells something while it is set up."""
        self.facts = HOME
        self.refuses: set[str] = set()
        self.cures: set[str] = set()
        """What makes a silent modem answer."""
        self.told: list[str] = []
        self.admission = asyncio.Event()
        self.admission.set()
        self.modems: list[Modem] = []
        self.told_notices = Told()
        self.powered = 0
        self.can_power = True
        self.mono = 1000.0
        self.link_up = False
        self.place = place
        self.supervisor = ModemSupervisor(
            Hardware(
                find=lambda: self.place if self.there else None,
                missing="no modem",
                make=self._make,
                power=self._power,
                can_power=lambda _: self.can_power,
            ),
            SetClock(lambda: Now(1.7e9 + self.mono, self.mono)),
            self.told_notices,
            on_change=lambda: None,
            link_up=lambda: self.link_up,
            limits=limits,
        )

    def _make(self, place: Place, on_facts: Callable[[Facts], None], on_lost: Callable[[str], None]) -> Modem:
        self.modems.append(Modem(self, on_facts, on_lost))
        return self.modems[-1]

    async def _power(self, place: Place) -> None:
        assert place == self.place
        self.powered += 1
        if "power" in self.cures:
            self.silent = False

    @property
    def recovery(self) -> list[tuple[str, str, bool | None]]:
        assert {name for name, _ in self.told_notices.events} <= {"modem.recovery"}
        return [(each["rung"], each["trouble"], each["worked"]) for _, each in self.told_notices.events]

    async def until(self, condition: Callable[[], object]) -> None:
        """Give the keeper turns until ``condition`` holds."""
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.001)

    async def later(self, condition: Callable[[], object], step: float = 1.0) -> None:
        """Let time go by until ``condition`` holds."""
        async with asyncio.timeout(60):
            while not condition():
                self.mono += step
                self.supervisor._wake()
                await asyncio.sleep(0.001)

    async def unplug(self) -> None:
        """Take the modem away."""
        self.there = False
        modem = self.modems[-1]
        modem.open = False
        modem.on_lost("the port was hung up")


def story(
    tell: Callable[[Rig], Awaitable[None]], *, place: Place = PLACE, limits: Limits | None = None
) -> None:
    """Run a keeper while ``tell`` tells what happens."""

    async def run() -> None:
        rig = Rig(place, limits or Limits())
        task = asyncio.create_task(rig.supervisor.run())
        try:
            await tell(rig)
            assert not task.done(), task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(run())


def _ends_match(told: list[tuple[str, str, bool | None]]) -> bool:
    """Tell whether each rung begins, and ends before the next begins."""
    return all(
        began[0] == ended[0] and began[2] is None and ended[2] is not None
        for began, ended in zip(told[::2], told[1::2], strict=True)
    )


def test_a_modem_that_is_pulled_is_waited_for() -> None:
    """Its trouble is told, nothing is reset, and it is started when it is back."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        await rig.unplug()
        assert rig.supervisor.fault() == (Code.CLOUD_ERR_CONNECT, "the port was hung up")
        assert (rig.supervisor.shown_place, rig.supervisor.facts.registration) == (None, Registration.UNKNOWN)
        for _ in range(50):
            rig.mono += 60
            rig.supervisor._wake()
            await asyncio.sleep(0.001)
        rig.there = True
        await rig.later(lambda: rig.supervisor.ready)
        assert rig.supervisor.fault() is None
        assert rig.recovery == []

    story(tell)


def test_a_modem_that_was_not_looked_for_yet_is_no_error() -> None:
    """The status of a start says that it is looked for; a look that finds none says that it is missing."""

    async def tell(rig: Rig) -> None:
        found = rig.supervisor.fault()
        assert found
        assert (found.code, found.passing) == (Code.CLOUD_DISCONNECTED, True)
        rig.there = False
        await rig.until(lambda: rig.supervisor.fault() == (Code.CLOUD_ERR_CONNECT, "no modem"))

    story(tell)


def test_a_modem_that_is_being_set_up_is_not_missing() -> None:
    """From its first word on the status does not say that there is none."""

    async def tell(rig: Rig) -> None:
        rig.speaks_early = True
        rig.admission.clear()
        await rig.until(lambda: rig.told)
        assert rig.supervisor.fault() is None
        assert rig.supervisor.shown_place == PLACE
        assert not rig.supervisor.ready
        rig.admission.set()
        await rig.until(lambda: rig.supervisor.ready)

    story(tell)


def test_a_silent_modem_is_got_back_by_ever_stronger_means() -> None:
    """Each rung is told twice: as it begins, and what came of it, for the trouble that it was for."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        rig.silent, rig.cures = True, {"power"}
        await rig.later(lambda: len(rig.recovery) >= 10)
        assert [each[0] for each in rig.recovery[::2]] == [
            "probe", "soft_reset", "reset", "reopen", "usb_power",
        ]  # fmt: skip
        assert _ends_match(rig.recovery)
        assert {each[1] for each in rig.recovery} == {"silent"}
        assert [each[2] for each in rig.recovery[1::2]] == [False] * 4 + [True]
        assert (rig.powered, rig.supervisor.ready) == (1, True)

    story(tell)


def test_power_that_cannot_be_switched_is_not_tried() -> None:
    """Whether it can be depends on where the modem is; the pause after the last rung follows."""

    async def tell(rig: Rig) -> None:
        rig.can_power = False
        await rig.until(lambda: rig.supervisor.ready)
        rig.silent = True
        await rig.later(lambda: len(rig.recovery) >= 10)
        assert "usb_power" not in {each[0] for each in rig.recovery}
        assert rig.powered == 0

    story(tell)


def test_a_modem_that_is_pulled_in_the_middle_of_a_climb() -> None:
    """The rung ends without success, and the modem is waited for."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        rig.silent = True
        await rig.later(lambda: any(each[0] == "soft_reset" for each in rig.recovery))
        await rig.unplug()
        await rig.later(lambda: len(rig.recovery) % 2 == 0)
        assert _ends_match(rig.recovery)
        number = len(rig.recovery)
        for _ in range(50):
            rig.mono += 60
            rig.supervisor._wake()
            await asyncio.sleep(0.001)
        assert len(rig.recovery) == number
        assert {each[1] for each in rig.recovery} == {"silent"}
        rig.there, rig.silent = True, False
        await rig.later(lambda: rig.supervisor.ready)

    story(tell)


def test_a_modem_without_a_network_gets_time_and_then_a_soft_reset() -> None:
    """A search of minutes is nothing to act on; one that goes on is."""

    async def tell(rig: Rig) -> None:
        rig.facts = HOME._replace(registration=Registration.SEARCHING)
        await rig.until(lambda: rig.supervisor.modem)
        began = rig.mono
        await rig.later(lambda: rig.recovery)
        assert 175 < rig.mono - began < 190
        assert rig.recovery[0] == ("soft_reset", "no_network", None)
        rig.facts = HOME
        rig.modems[-1].on_facts(HOME)
        await rig.later(lambda: len(rig.recovery) == 2)
        assert rig.recovery[1] == ("soft_reset", "no_network", True)

    story(tell)


def test_a_link_that_does_not_come_up_climbs_on() -> None:
    """That the modem is in a network does not mean that a rung helped: the next call tells."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        rig.supervisor.link_failed(3)
        await rig.until(lambda: rig.recovery)
        for _ in range(20):
            rig.mono += 60
            rig.supervisor._wake()
            await asyncio.sleep(0.001)
        assert rig.recovery == [("soft_reset", "no_link", None)]
        rig.supervisor.link_failed(4)
        await rig.later(lambda: len(rig.recovery) == 3)
        assert rig.recovery[1:] == [("soft_reset", "no_link", False), ("reset", "no_link", None)]
        await rig.later(lambda: rig.supervisor.ready)
        rig.supervisor.link_failed(0)
        await rig.later(lambda: len(rig.recovery) == 4)
        assert rig.recovery[-1] == ("reset", "no_link", True)

    story(tell)


def test_what_helped_is_reported_though_the_port_is_released() -> None:
    """With a single port nobody looks at the modem while the link stands, which may be for weeks."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        rig.supervisor.link_failed(3)
        await rig.until(lambda: rig.recovery)
        rig.supervisor.release_port()
        rig.supervisor.link_failed(0)
        assert rig.recovery[-1] == ("soft_reset", "no_link", True)

    story(tell, place=SINGLE)


def test_a_port_that_is_lent_is_left_alone() -> None:
    """A question that this cut off is no fault of the modem's; what is known stays, but for the signal."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        rig.admission.clear()
        await rig.later(lambda: rig.told[-1] == "poll", 10)
        rig.supervisor.release_port()
        told = len(rig.told)
        rig.admission.set()
        rig.mono += 1000
        rig.supervisor._wake()
        await asyncio.sleep(0.02)
        assert len(rig.told) == told
        assert rig.supervisor.fault() is None
        assert (rig.supervisor.facts, rig.supervisor.shown_place) == (HOME._replace(signal=Signal()), SINGLE)
        rig.supervisor.reclaim_port()
        await rig.until(lambda: rig.supervisor.ready)
        assert rig.supervisor.facts == HOME
        assert rig.recovery == []

    story(tell, place=SINGLE)


def test_an_order_waits_for_a_port_that_has_just_been_given_back() -> None:
    """The link is hung up for it: the modem needs a moment to be asked again."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        rig.supervisor.release_port()
        await asyncio.sleep(0.01)
        rig.supervisor.reclaim_port()
        assert await rig.supervisor.order("radio_off") == "the radio is off"
        assert rig.told[-1] == "off"

    story(tell, place=SINGLE)


def test_an_order_at_the_start_waits_for_the_modem() -> None:
    """A command right after the start of the bridge is carried out."""

    async def tell(rig: Rig) -> None:
        rig.admission.clear()
        await rig.until(lambda: rig.told)
        order = asyncio.create_task(rig.supervisor.order("radio_off"))
        await asyncio.sleep(0.01)
        assert not order.done()
        rig.admission.set()
        assert await order == "the radio is off"

    story(tell)


def test_an_order_without_a_modem_fails_at_once() -> None:
    """With the reason."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        await rig.unplug()
        with pytest.raises(OperationError, match="reset: the port was hung up"):
            await rig.supervisor.order("reset")

    story(tell)


def test_a_reset_is_done_when_the_modem_answers_again() -> None:
    """Its port goes and comes back; meanwhile the status says why."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        rig.admission.clear()
        order = asyncio.create_task(rig.supervisor.order("reset"))
        await rig.until(lambda: rig.told[-1] == "reset")
        rig.there = False
        rig.admission.set()
        await rig.later(rig.supervisor.fault)
        assert not order.done()
        rig.there = True
        await rig.later(order.done)
        assert order.result() == "the modem restarted and answers"
        assert rig.recovery == []

    story(tell)


def test_a_modem_that_was_reset_is_left_alone_for_a_moment() -> None:
    """It may answer before it goes down: that would not be the restart that was asked for."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        order = asyncio.create_task(rig.supervisor.order("reset"))
        await rig.until(lambda: "reset" in rig.told)
        began = rig.mono
        await rig.later(order.done, 0.25)
        assert rig.mono - began > 2.5

    story(tell)


def test_the_radio_stays_off_when_the_modem_restarts_by_itself() -> None:
    """Until radio_on, or a reset that somebody asked for; without radio no network is no trouble."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        await rig.supervisor.order("radio_off")
        rig.facts = HOME._replace(registration=Registration.NONE)
        await rig.unplug()
        rig.there = True
        await rig.later(lambda: rig.supervisor.modem)
        assert rig.told[-2:] == ["start without radio", "off"]
        rig.mono += 10_000
        rig.supervisor._wake()
        await asyncio.sleep(0.01)
        assert (rig.recovery, rig.supervisor.fault()) == ([], None)
        rig.facts = HOME
        await asyncio.gather(rig.supervisor.order("reset"), rig.later(lambda: rig.supervisor.ready))
        assert rig.told[-1] == "start"

    story(tell)


def test_a_radio_that_the_modem_will_not_switch_is_as_it_was() -> None:
    """An order that is refused changes nothing."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        rig.refuses = {"off"}
        with pytest.raises(AtRefused):
            await rig.supervisor.order("radio_off")
        assert rig.supervisor.radio

    story(tell)


def test_an_order_that_is_called_off_half_way_is_looked_into() -> None:
    """A hung modem is found out at once, not at the next regular poll."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        rig.admission.clear()
        order = asyncio.create_task(rig.supervisor.order("reset"))
        await rig.until(lambda: rig.told[-1] == "reset")
        order.cancel()
        await asyncio.wait({order})
        rig.silent = True
        rig.admission.set()
        await rig.until(lambda: not rig.supervisor.usable)

    story(tell)


def test_late_words_of_an_earlier_modem_are_not_about_this_one() -> None:
    """A port may be told lost, and facts come, after another has been opened."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        before = rig.modems[-1]
        await rig.unplug()
        rig.there = True
        await rig.later(lambda: rig.supervisor.ready)
        before.on_lost("late")
        before.on_facts(Facts(Sim.ABSENT))
        assert rig.supervisor.ready
        assert rig.supervisor.fault() is None

    story(tell)


@pytest.mark.parametrize("facts", [HOME._replace(sim=Sim.PIN), HOME._replace(sim=Sim.PUK)])
def test_a_sim_that_wants_a_person_is_not_reset(facts: Facts) -> None:
    """Its trouble is told for as long as it lasts."""

    async def tell(rig: Rig) -> None:
        rig.facts = facts
        await rig.until(lambda: rig.supervisor.modem)
        for _ in range(100):
            rig.mono += 100
            rig.supervisor._wake()
            await asyncio.sleep(0.001)
        found: Any = rig.supervisor.fault()
        assert found.code is Code.CLOUD_ERR_SIM
        assert rig.recovery == []

    story(tell)


def test_orders_in_any_state_end() -> None:
    """While it is silent, recovered, gone or coming back: each order ends, with what was done or why not."""

    async def tell(rig: Rig) -> None:
        await rig.until(lambda: rig.supervisor.ready)
        ended: list[str] = []

        async def order(command: str) -> None:
            try:
                ended.append(await rig.supervisor.order(command))
            except BridgeError as exc:
                ended.append(str(exc))

        for number in range(60):
            rig.there, rig.silent = number % 3 != 0, number % 4 == 1
            if not rig.there and rig.supervisor.modem:
                await rig.unplug()
            orders = [asyncio.create_task(order(each)) for each in ("radio_off", "reset", "radio_on")]
            for _ in range(3):
                rig.mono += 5
                rig.supervisor._wake()
                await asyncio.sleep(0.001)
            rig.there, rig.silent = True, False
            await rig.later(lambda: all(each.done() for each in orders))  # noqa: B023 ended in this turn
            for each in orders:
                each.result()
        assert len(ended) == 180
        await rig.supervisor.order("radio_on")
        await rig.later(lambda: rig.supervisor.ready)

    story(tell)
