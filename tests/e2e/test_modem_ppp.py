"""PPP and a modem's own sockets in turn: all of the link on a simulated modem, with a stand-in for pppd.

The call goes by the real chat script over the modem's real port; what follows it the stand-in says, as the
kernel here may have no PPP.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.adapters.modem.at_port import Urc
from bridge.adapters.modem.modem import Modem
from bridge.adapters.modem_sockets.listening import ListeningSockets
from bridge.adapters.modem_sockets.sockets import Sockets, make_sockets, payload_after
from bridge.adapters.ppp.dialler import PppDialler, dial_of
from bridge.adapters.ppp.pppd import Pppd
from bridge.adapters.ppp.routes import Routes
from bridge.adapters.system.loop_time import LoopTime, read_clock
from bridge.adapters.usb.finder import Finder
from bridge.core.messages import Now
from bridge.core.modem import Facts, Place
from bridge.errors import LinkError
from bridge.flow.link.cellular import Cellular
from bridge.flow.link.commands import NetworkCommands
from bridge.flow.link.hardware import Hardware
from bridge.flow.link.manager import Network
from bridge.flow.link.supervisor import ModemSupervisor
from bridge.flow.link.traffic import Traffic
from bridge.protocol.modems import by_interface
from tests.adapters.ppp.test_pppd import UP, write_ip, write_program
from tests.doubles.notices import Told
from tests.doubles.time import SetClock
from tests.harness import Keeper
from tests.harness.modem import SimModem

AGAIN = 0.5
"""Seconds over sockets until PPP is tried again."""


def _hasty() -> Now:
    """A clock by which the pauses between attempts are a tenth of what they are."""
    now = read_clock()
    return now._replace(mono=10 * now.mono)


class _Pppd(Pppd):
    """One that is never ruled out by the kernel."""

    @staticmethod
    def available() -> str | None:
        return None


class Rig:
    """A link and its modem, as the daemon puts them together."""

    def __init__(self, folder: Path, sim: SimModem) -> None:
        self.loop = asyncio.get_running_loop()
        self.folder = folder
        self.sim = sim
        self.interface = f"cellular-{sim.profile}"
        self.notices = Told()
        self.pending = True
        self.in_flight = 0
        self.sockets: Sockets | None = None
        self.keeper = ModemSupervisor(
            Hardware(
                find=Finder(self.interface, (str(sim.at), str(sim.dial))),
                missing="no modem",
                make=self._make,
                power=self._power,
                can_power=lambda _: False,
            ),
            LoopTime(self.loop),
            self.notices,
            on_change=lambda: self.network.changed_facts(),  # noqa: PLW0108  # made below
            link_up=lambda: self.network.up,
        )
        dialler = PppDialler(self._pppd(), partial(dial_of, apn="hologram"))
        self.cellular = Cellular(self.keeper, dialler, self._usable, "hologram", ppp_again=AGAIN)
        self.network = Network(
            self.cellular,
            Traffic(pending=lambda: self.pending, in_flight=lambda: self.in_flight),
            SetClock(_hasty),
            self.notices,
            autoconnect="on_demand",  # which looks at the link each second
            on_change=lambda: None,
        )
        self.commands = NetworkCommands(self.network)

    def _pppd(self) -> Pppd:
        (self.folder / "options").write_text("")
        (self.folder / "script").write_text(f"chat\n{UP}hold\n")
        return _Pppd(
            self.loop,
            on_down=lambda reason: self.network.lost(reason),  # noqa: PLW0108  # made later
            program=str(write_program(self.folder)),
            options=self.folder / "options",
            routes=Routes(self.loop, ip=str(write_ip(self.folder)), root=self.folder),
            grace=0.5,
            sys=self.folder / "sys",
        )

    def _make(self, _: Place, on_facts: Callable[[Facts], None], on_lost: Callable[[str], None]) -> Modem:
        profile = by_interface(self.interface)
        modem = Modem(
            self.loop,
            profile,
            sim_pin=None,
            on_facts=on_facts,
            on_urc=self._heard,
            on_lost=on_lost,
            payload_after=payload_after,
        )
        self.sockets = make_sockets(profile, modem.port, self.loop, self._sockets_down)
        return modem

    def _heard(self, urc: Urc) -> None:
        if self.sockets:
            self.sockets.urc(urc)

    def _sockets_down(self, reason: str) -> None:
        self.cellular.sockets_lost()
        self.network.lost(reason)

    def _usable(self) -> ListeningSockets | None:
        return ListeningSockets(self.sockets, None, ()) if self.sockets else None

    async def _power(self, _: Place) -> None:
        raise AssertionError

    def told(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.notices.events if name == event]

    @property
    def links(self) -> list[str]:
        """The interfaces of the links so far, in order."""
        return [each["interface"] for each in self.told("network.connected")]

    async def until(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)

    async def fail(self, times: int) -> list[str]:
        """Connect in vain so often, without the pauses between; return why."""
        why = []
        for _ in range(times):
            with pytest.raises(LinkError) as caught:
                await self.commands.carry_out("connect", 30)
            why.append(str(caught.value))
        return why


@asynccontextmanager
async def _running(folder: Path, sim: SimModem) -> AsyncIterator[Rig]:
    rig = Rig(folder, sim)
    tasks = [asyncio.create_task(each) for each in (rig.keeper.run(), rig.network.run())]
    try:
        async with asyncio.timeout(60):
            yield rig
    finally:
        await rig.network.stop()
        for task in tasks:
            task.cancel()
        assert {type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)} == {
            asyncio.CancelledError
        }


Story = Callable[[Rig], Awaitable[None]]


@pytest.fixture
def run(keeper: Keeper, tmp_path: Path) -> Callable[..., None]:
    """Runs a story with a modem of a profile and its faults."""

    def run(story: Story, profile: str, *options: str) -> None:
        async def all_of_it() -> None:
            sim = SimModem(keeper, tmp_path / "modem", profile)
            sim.start("--registration", "0.1", "--sim-delay", "0.1", "--pppd", "sleep 600", *options)
            async with _running(tmp_path, sim) as rig:
                await story(rig)

        asyncio.run(all_of_it())

    return run


@asynccontextmanager
async def _held(port: Path) -> AsyncIterator[int]:
    """Have another program hold ``port``; gives its process id."""
    ours = os.open(port, os.O_RDWR | os.O_NOCTTY)
    holder = await asyncio.create_subprocess_exec("sleep", "600", stdin=ours)
    os.close(ours)
    try:
        yield holder.pid
    finally:
        holder.kill()
        await holder.wait()


def test_ppp_comes_back_in_the_place_of_the_modems_sockets(run: Callable[..., None]) -> None:
    """It is tried again while they carry, but not while a message is under way.

    Where the call fails they are the link again, and nothing is done to the modem; where it works PPP is.
    """

    async def story(rig: Rig) -> None:
        async with _held(rig.sim.dial):
            rig.in_flight = 1
            await rig.until(lambda: rig.links)
            await asyncio.sleep(AGAIN + 1.5)  # a look is made each second
            assert (rig.links, rig.told("network.disconnected")) == (["at-sockets"], [])
            rig.in_flight = 0
            await rig.until(lambda: rig.links == ["at-sockets"] * 2)
        await rig.until(lambda: rig.links == ["at-sockets", "at-sockets", "ppp0"])
        assert {each["reason"] for each in rig.told("network.disconnected")} == {"a better link is tried"}
        assert not rig.told("modem.recovery")

    run(story, "nova-u201")


def test_a_port_that_another_program_has_is_not_the_modems_fault(run: Callable[..., None]) -> None:
    """It is named at each attempt, however many; the modem is left alone, and dialled once that is over."""

    async def story(rig: Rig) -> None:
        rig.pending = False
        async with _held(rig.sim.dial) as pid:
            for why in await rig.fail(4):
                assert f"is held by sleep (process {pid})" in why
        assert "10.176.5.6" in await rig.commands.carry_out("connect", 30)
        assert not rig.told("modem.recovery")
        assert not await asyncio.to_thread(rig.sim.events, "restart")

    run(story, "e303")
