"""The modem on a simulated one: a real pty, and a peer that was written without knowing us."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.adapters.modem.at_port import Urc
from bridge.adapters.modem.client import Pace
from bridge.adapters.modem.modem import Modem
from bridge.adapters.modem.queries import answer
from bridge.adapters.modem.sim_pin import PinGuard
from bridge.core.modem import Facts, Registration, Sim
from bridge.errors import AtRefused, ModemError, ModemGone, ModemSilent, OperationError
from bridge.protocol.modems import by_interface
from bridge.sim.modem.device import Options, SimModem
from bridge.sim.modem.faults import parse_fault
from bridge.sim.modem.profiles import by_name

SECOND = 1.0
"""What is announced is known within this time."""

HASTE = Pace(wake=10, wake_step=1, answer=1, probe=1, blind=1)
"""For tests of silence: they wait for it to end."""

NAMES = ("e303", "ms2131", "iota", "nova-u201", "nova-r410", "bg96", "ec21")


class Watched:
    """A modem and what it has told."""

    def __init__(self, name: str, links: tuple[Path, ...], **options: Any) -> None:
        self.facts: list[Facts] = []
        self.urcs: list[str] = []
        self.lost: list[str] = []
        self.link = str(links[0])
        options = {"sim_pin": None, **options}
        self.modem = Modem(
            asyncio.get_running_loop(),
            by_interface(f"cellular-{name}"),
            on_facts=self.facts.append,
            on_urc=self._heard,
            on_lost=self.lost.append,
            **options,
        )

    def _heard(self, urc: Urc) -> None:
        self.urcs.append(urc.line)


@contextlib.asynccontextmanager
async def stage(
    tmp_path: Path,
    name: str = "bg96",
    *,
    faults: tuple[str, ...] = (),
    ours: dict[str, Any] | None = None,
    **sim: Any,
) -> AsyncIterator[tuple[Watched, SimModem]]:
    """Yield a modem that was not started yet, and the simulated one behind it."""
    links = (tmp_path / "at", tmp_path / "dial")
    given = {"registration_delay": 0.1, "sim_delay": 0.0, "boot": 0.2, "answer": 0.0, **sim}
    options = Options(by_name(name), links, tuple(parse_fault(fault) for fault in faults), **given)
    async with SimModem(options) as simulated:
        watched = Watched(name, links, **(ours or {}))
        try:
            yield watched, simulated
        finally:
            watched.modem.close()


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for ``condition``; the seconds are the loop's own, so that a busy machine does not count."""
    for _ in range(int(seconds * 100)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within {seconds} s")


def play(scenario: Awaitable[None]) -> None:
    """Run a scenario; whatever a callback or a task of its own raises fails the test."""

    async def main() -> None:
        errors: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
        await scenario
        assert errors == []

    asyncio.run(main())


# -- start -----------------------------------------------------------------------------------------------

TECHNOLOGIES = {"nova-r410": "LTE-M", "bg96": "LTE-M", "ec21": "LTE"}


@pytest.mark.parametrize("name", NAMES)
def test_a_start_finds_out_all_there_is(tmp_path: Path, name: str) -> None:
    """Once a modem of any kind is started, SIM, identity, network and signal are known."""

    async def scenario() -> None:
        async with stage(tmp_path, name) as (watched, simulated):
            await watched.modem.start(watched.link)
            await until(lambda: watched.modem.facts.operator)
            facts = watched.modem.facts
            assert facts.sim is Sim.READY
            assert facts.registration is Registration.ROAMING
            assert facts.operator == "Simulated Mobile"
            assert facts.technology == TECHNOLOGIES.get(name, "3G")
            assert facts.signal.rssi_dbm == 2 * 18 - 113 or facts.signal.percent is not None
            assert facts.identity.imei == simulated.options.profile.imei
            assert facts.identity.model == simulated.options.profile.model
            assert facts.identity.imsi == "234500012345678"
            assert facts.identity.iccid == "8944500102198304826"
            assert facts.identity.firmware == simulated.options.profile.firmware or facts.identity.firmware
            assert watched.facts[-1] == facts, "every change was told"
            assert len(set(watched.facts)) == len(watched.facts), "and nothing but changes"

    play(scenario())


@pytest.mark.parametrize(
    "fault",
    ["echo:0.05", "garbage", "interleave", "slow:0.02", "sim-busy:1", "left-over", "numeric", "ucs2"],
)
def test_a_start_copes_with_a_difficult_modem(tmp_path: Path, fault: str) -> None:
    """Echo that comes back, garbage, codes within answers and slowness do not keep a modem from starting."""

    async def scenario() -> None:
        async with stage(tmp_path, faults=(fault,)) as (watched, _):
            await watched.modem.start(watched.link)
            await until(lambda: watched.modem.facts.operator)
            assert watched.modem.facts.operator == "Simulated Mobile"
            assert watched.modem.facts.identity.imsi == "234500012345678"
            assert watched.modem.facts.registration is Registration.ROAMING

    play(scenario())


def test_a_registration_of_an_unknown_shape_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With its line, however often it comes; what is known stays."""

    async def scenario() -> None:
        async with stage(tmp_path) as (watched, simulated):
            await watched.modem.start(watched.link)
            await until(lambda: watched.modem.facts.operator)
            for area in (1, 2, 3):
                simulated.code(f'+CEREG: home,"{area}",x')
            await until(lambda: len([line for line in watched.urcs if "home" in line]) == 3)
            assert watched.modem.facts.registration is Registration.ROAMING

    play(scenario())
    said = [each for each in caplog.messages if "cannot be read" in each]
    assert said == ["the modem said what cannot be read, and it is left out: '+CEREG: home,\"1\",x'"]


def test_nothing_is_started_where_no_modem_is(tmp_path: Path) -> None:
    """A port that is not there says so at once; the modem can be started when it is."""

    async def scenario() -> None:
        async with stage(tmp_path) as (watched, _):
            with pytest.raises(ModemGone, match="nothing-here"):
                await watched.modem.start(str(tmp_path / "nothing-here"))
            assert not watched.modem.port.is_open
            await watched.modem.start(watched.link)
            assert watched.modem.facts.sim is Sim.READY

    play(scenario())


def test_a_ublox_modem_gets_its_ports_in_order(tmp_path: Path) -> None:
    """In another USB configuration it is set to 0 and restarted, once; then it starts."""

    async def scenario() -> None:
        async with stage(tmp_path, "nova-u201", usb_layout=2) as (watched, simulated):
            with pytest.raises(ModemGone, match="restarts"):
                await watched.modem.start(watched.link)
            await until(lambda: not Path(watched.link).exists())
            await until(lambda: Path(watched.link).exists())
            await watched.modem.start(watched.link)
            assert (await watched.modem.at("AT+UUSBCONF?")).lines[0].startswith("+UUSBCONF: 0")
            assert simulated.sim.ready

    play(scenario())


def test_a_modem_can_be_asked_without_changing_it(tmp_path: Path) -> None:
    """Attached to, it is left as it is, whatever it announces: radio off, nothing announced."""

    async def scenario() -> None:
        async with stage(tmp_path) as (watched, simulated):
            simulated.radio.functionality = 4
            await watched.modem.attach(watched.link)
            simulated.code("RDY")
            await until(lambda: "RDY" in watched.urcs)
            assert (await watched.modem.at("AT+CFUN?")).lines == ("+CFUN: 4",)
            assert (await watched.modem.at("AT+CEREG?")).lines[0].startswith("+CEREG: 0,")

    play(scenario())


def test_a_start_can_be_broken_off(tmp_path: Path) -> None:
    """Whoever gives a start up leaves a closed port, which can be started again."""

    async def scenario() -> None:
        async with stage(tmp_path, faults=("slow:0.05",)) as (watched, simulated):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await watched.modem.start(watched.link)
            assert not watched.modem.port.is_open
            simulated.clear()
            await watched.modem.start(watched.link)
            assert watched.modem.facts.sim is Sim.READY

    play(scenario())


# -- what is announced -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["e303", "nova-u201", "nova-r410", "ec21"])
def test_registration_is_followed_at_once(tmp_path: Path, name: str) -> None:
    """Losing the network, being denied and coming back are known within a second, with the operator."""

    async def scenario() -> None:
        async with stage(tmp_path, name) as (watched, simulated):
            modem = watched.modem
            await modem.start(watched.link)
            await until(lambda: modem.facts.operator)
            simulated.radio.order(2)
            await until(lambda: modem.facts.registration is Registration.SEARCHING, SECOND)
            assert modem.facts.operator is None
            assert modem.facts.technology is None
            simulated.radio.order(3)
            await until(lambda: modem.facts.registration is Registration.DENIED, SECOND)
            simulated.radio.order(1)
            await until(lambda: modem.facts.registration is Registration.HOME, SECOND)
            await until(lambda: modem.facts.operator == "Simulated Mobile", SECOND)
            assert modem.facts.technology is not None

    play(scenario())


@pytest.mark.parametrize("name", ["ms2131", "bg96"])
def test_a_sim_that_goes_and_comes_is_noticed(tmp_path: Path, name: str) -> None:
    """A SIM taken out is absent within a second, with its numbers; put in again it is who it was."""

    async def scenario() -> None:
        async with stage(tmp_path, name) as (watched, simulated):
            modem = watched.modem
            await modem.start(watched.link)
            await until(lambda: modem.facts.operator)
            simulated.sim.order("absent")
            await until(lambda: modem.facts.sim is Sim.ABSENT, SECOND)
            assert modem.facts.identity.imsi is None
            assert modem.facts.identity.imei is not None
            await until(lambda: modem.sim_problem == "no SIM is in the modem", SECOND)
            simulated.sim.order("ready")
            await until(lambda: modem.facts.sim is Sim.READY, SECOND)
            await until(lambda: modem.facts.identity.imsi == "234500012345678", SECOND)
            assert modem.sim_problem is None

    play(scenario())


def test_the_signal_is_asked_for(tmp_path: Path) -> None:
    """A poll brings the signal of now; a modem without one has none."""

    async def scenario() -> None:
        async with stage(tmp_path) as (watched, simulated):
            await watched.modem.start(watched.link)
            simulated.radio.rssi = 31
            await watched.modem.poll()
            assert watched.modem.facts.signal.rssi_dbm == -51
            assert watched.modem.facts.signal.percent == 100
            simulated.radio.rssi = 99
            await watched.modem.poll()
            assert watched.modem.facts.signal.rssi_dbm is None

    play(scenario())


def test_a_modem_that_forgot_is_set_up_again(tmp_path: Path) -> None:
    """A modem that restarted silently does not announce any more: the next poll notices and repairs that."""

    async def scenario() -> None:
        async with stage(tmp_path) as (watched, simulated):
            modem = watched.modem
            await modem.start(watched.link)
            await until(lambda: modem.facts.operator)
            simulated.radio.start()  # as after a restart, while its port stayed
            simulated.radio.order(2)
            await asyncio.sleep(0.1)
            await modem.poll()
            simulated.radio.order(5)
            await until(lambda: modem.facts.operator == "Simulated Mobile")
            simulated.radio.order(3)
            await until(lambda: modem.facts.registration is Registration.DENIED, SECOND)

    play(scenario())


def test_every_announcement_is_handed_on(tmp_path: Path) -> None:
    """What concerns others, such as a text that came, reaches the modem's owner."""

    async def scenario() -> None:
        async with stage(tmp_path) as (watched, simulated):
            await watched.modem.start(watched.link)
            simulated.code('+CMTI: "ME",3')
            await until(lambda: '+CMTI: "ME",3' in watched.urcs, SECOND)

    play(scenario())


# -- the PIN ---------------------------------------------------------------------------------------------


def test_the_pin_opens_the_sim(tmp_path: Path) -> None:
    """The configured PIN is entered, and the modem registers."""

    async def scenario() -> None:
        async with stage(tmp_path, pin="1234", ours={"sim_pin": "1234"}) as (watched, _):
            await watched.modem.start(watched.link)
            await until(lambda: watched.modem.facts.operator)
            assert watched.modem.facts.sim is Sim.READY
            assert watched.modem.sim_problem is None

    play(scenario())


def test_a_missing_pin_is_asked_for(tmp_path: Path) -> None:
    """Without a configured PIN nothing is entered, and somebody is told what to do."""

    async def scenario() -> None:
        async with stage(tmp_path, pin="1234") as (watched, simulated):
            await watched.modem.start(watched.link)
            assert watched.modem.facts.sim is Sim.PIN
            assert "network.sim_pin" in str(watched.modem.sim_problem)
            assert simulated.sim.tries == 3

    play(scenario())


@pytest.mark.parametrize("name", ["e303", "nova-u201", "bg96"])
def test_a_wrong_pin_is_entered_once(tmp_path: Path, name: str) -> None:
    """However often the modem is polled and started, by however many objects, one try is spent."""

    async def scenario() -> None:
        pins = PinGuard()
        async with stage(tmp_path, name, pin="1234") as (_, simulated):
            for _ in range(2):
                watched = Watched(name, (tmp_path / "at",), sim_pin="4321", pins=pins)
                for _ in range(2):
                    await watched.modem.start(watched.link)
                    await watched.modem.poll()
                    assert watched.modem.facts.sim is Sim.PIN
                    assert "network.sim_pin" in str(watched.modem.sim_problem)
                watched.modem.close()
            assert simulated.sim.tries == 2
            right = Watched(name, (tmp_path / "at",), sim_pin="1234", pins=pins)
            await right.modem.start(right.link)
            await until(lambda: right.modem.facts.sim is Sim.READY)
            right.modem.close()

    play(scenario())


def test_the_last_try_is_never_taken(tmp_path: Path) -> None:
    """Where one try is left, not even the right PIN is entered: a typing error would lock the SIM."""

    async def scenario() -> None:
        async with stage(tmp_path, pin="1234", ours={"sim_pin": "1234"}) as (watched, simulated):
            simulated.sim.tries = 1
            await watched.modem.start(watched.link)
            assert watched.modem.facts.sim is Sim.PIN
            assert "1 more PIN" in str(watched.modem.sim_problem)
            assert simulated.sim.tries == 1

    play(scenario())


@pytest.mark.parametrize(
    ("before", "left", "again"),
    [(3, 3, True), (3, 2, False), (None, 3, False), (3, None, False), (2, 3, True), (2, 1, False)],
)
def test_a_pin_whose_entry_was_cut_off(before: int | None, left: int | None, again: bool) -> None:
    """It is entered again only where that is known to have cost no try, also by the next process."""
    kept: list[Any] = []
    guard = PinGuard(on_change=kept.append)
    guard.note("key", before)
    for later in (guard, PinGuard(kept[-1])):
        assert (later.why_not("key", left) is None) == again
        assert later.why_not("another", 3) is None


def test_a_pin_that_worked_is_forgotten() -> None:
    """It may be entered at every start; one that was refused not even with all tries there."""
    kept: list[Any] = []
    guard = PinGuard(on_change=kept.append)
    guard.note("key", None)
    guard.forget("key")
    assert kept[-1] == {}
    assert guard.why_not("key", None) is None
    guard.refused("key")
    assert guard.why_not("key", 3) is not None
    assert guard.why_not("other", 1) is not None


def test_the_pin_is_in_no_trace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the start nor a command that somebody gives shows a PIN at any level."""

    async def scenario() -> None:
        async with stage(tmp_path, pin="7355608", ours={"sim_pin": "7355608"}) as (watched, _):
            await watched.modem.start(watched.link)
            with contextlib.suppress(AtRefused):
                await watched.modem.at('AT+CPIN="7355608"')
            with contextlib.suppress(AtRefused):
                await watched.modem.at('at+clck="SC",0,"7355608"')

    with caplog.at_level(logging.DEBUG):
        play(scenario())
    assert "AT+CPIN=" in caplog.text
    assert "7355608" not in caplog.text


@pytest.mark.parametrize(
    ("fault", "state", "word"),
    [
        ("sim-absent", Sim.ABSENT, "no SIM"),
        ("sim-puk", Sim.PUK, "PUK"),
        ("sim-error", Sim.FAILED, "cannot use"),
    ],
)
def test_a_useless_sim_is_told(tmp_path: Path, fault: str, state: Sim, word: str) -> None:
    """No SIM, a locked and a broken one are told apart, and what to do is said."""

    async def scenario() -> None:
        async with stage(tmp_path, faults=(fault,), ours={"sim_pin": "1234"}) as (watched, _):
            await watched.modem.start(watched.link)
            assert watched.modem.facts.sim is state
            assert word in str(watched.modem.sim_problem)
            assert watched.modem.facts.identity.iccid is None or state is Sim.PUK

    play(scenario())


# -- trouble ---------------------------------------------------------------------------------------------


def test_a_modem_that_goes_is_told(tmp_path: Path) -> None:
    """When the port breaks its owner is told, and what was known of the network is no longer claimed."""

    async def scenario() -> None:
        async with stage(tmp_path) as (watched, simulated):
            modem = watched.modem
            await modem.start(watched.link)
            await until(lambda: modem.facts.operator)
            simulated.vanish(0.2)
            await until(lambda: watched.lost, SECOND)
            assert modem.facts == Facts(identity=modem.facts.identity)
            assert modem.facts.identity.imei is not None
            with pytest.raises(ModemGone):
                await modem.poll()
            await until(lambda: Path(watched.link).exists())
            await modem.start(watched.link)
            await until(lambda: modem.facts.operator)

    play(scenario())


@pytest.mark.parametrize(("fault", "rung"), [("hang", "soft_reset"), ("hang-reset", "reset")])
def test_a_hung_modem_is_told_what_it_may_hear(tmp_path: Path, fault: str, rung: str) -> None:
    """A modem that answers nothing is still told to reset, and answers again where it heard that."""

    async def scenario() -> None:
        async with stage(tmp_path, ours={"pace": HASTE}) as (watched, simulated):
            modem = watched.modem
            await modem.start(watched.link)
            simulated.fault(parse_fault(fault))
            assert not await modem.probe(0.2)
            await getattr(modem, rung)()
            if rung == "reset":
                await until(lambda: not Path(watched.link).exists())
                await until(lambda: Path(watched.link).exists())
                await modem.start(watched.link)
            assert await modem.probe()
            await until(lambda: modem.facts.operator)

    play(scenario())


def test_silence_is_told_from_refusal(tmp_path: Path) -> None:
    """A modem that refuses goes on being asked; one that answers nothing ends a poll with ModemSilent."""

    async def scenario() -> None:
        async with stage(tmp_path, ours={"pace": HASTE}) as (watched, simulated):
            await watched.modem.start(watched.link)
            with pytest.raises(AtRefused):
                await watched.modem.at("AT+NOSUCH")
            await watched.modem.poll()
            simulated.fault(parse_fault("hang"))
            with pytest.raises(ModemSilent):
                await watched.modem.poll()
            assert not await watched.modem.probe()

    play(scenario())


def test_the_radio_goes_off_and_on(tmp_path: Path) -> None:
    """Off there is no network and no signal, and the SIM stays; on the modem comes back by itself."""

    async def scenario() -> None:
        async with stage(tmp_path) as (watched, simulated):
            modem = watched.modem
            await modem.start(watched.link)
            await until(lambda: modem.facts.operator)
            await modem.radio(False)
            assert simulated.radio.functionality == 4
            assert modem.facts.registration is Registration.NONE
            assert modem.facts.operator is None
            await modem.radio(True)
            await until(lambda: modem.facts.operator)
            assert modem.facts.sim is Sim.READY

    play(scenario())


def test_a_radio_that_was_off_is_switched_on(tmp_path: Path) -> None:
    """A start switches the radio on, unless it is to stay as it is."""

    async def scenario() -> None:
        async with stage(tmp_path) as (watched, simulated):
            simulated.radio.functionality = 4
            await watched.modem.start(watched.link, radio=False)
            assert simulated.radio.functionality == 4
            await watched.modem.start(watched.link)
            assert simulated.radio.functionality == 1

    play(scenario())


# -- what else it does -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["e303", "nova-r410"])
def test_data_is_prepared(tmp_path: Path, name: str) -> None:
    """The APN is set where it is another, and left alone where it is right."""

    async def scenario() -> None:
        async with stage(tmp_path, name) as (watched, _):
            await watched.modem.start(watched.link)
            for apn in ("hologram", "hologram", "other.apn"):
                await watched.modem.prepare_data(apn)
                lines = (await watched.modem.at("AT+CGDCONT?")).lines
                assert any(line.startswith(f'+CGDCONT: 1,"IP","{apn}"') for line in lines)

    play(scenario())


@pytest.mark.parametrize("name", ["nova-u201", "bg96"])
def test_a_modem_says_where_it_is(tmp_path: Path, name: str) -> None:
    """By the cells around it, or by its receiver; and what was switched on for it is off again."""

    async def scenario() -> None:
        async with stage(tmp_path, name) as (watched, _):
            await watched.modem.start(watched.link)
            await until(lambda: watched.modem.facts.operator)
            place = await watched.modem.location(20)
            assert 41 < place["latitude"] < 42
            assert -88 < place["longitude"] < -87
            assert place["at"].endswith("Z")
            if name == "nova-u201":
                assert (await watched.modem.at("AT+UPSND=0,8")).lines == ("+UPSND: 0,8,0",)

    play(scenario())


def test_a_modem_without_a_place_says_so(tmp_path: Path) -> None:
    """One that has no means to find its place is not asked."""

    async def scenario() -> None:
        async with stage(tmp_path, "nova-r410") as (watched, _):
            await watched.modem.start(watched.link)
            with pytest.raises(ModemError, match="no means"):
                await watched.modem.location()

    play(scenario())


def test_a_question_that_is_not_known_names_those_that_are(tmp_path: Path) -> None:
    """Whoever asks through the control socket may ask anything, and gets a line that says what there is."""

    async def scenario() -> None:
        async with stage(tmp_path) as (watched, _):
            for request in ({}, {"what": "weather"}, {"what": ["info"]}):
                with pytest.raises(OperationError, match="info, signal, operator"):
                    await answer(watched.modem, request)

    play(scenario())
