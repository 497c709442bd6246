"""The managed modem as a whole: the link that an earlier run has left, and what is asked about the messages.

The link is a unit of a stand-in for systemctl, the modem a simulated one, and all else the bridge's own.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.adapters.ip.resolver import Resolver
from bridge.adapters.ppp.unit import PppdUnit
from bridge.adapters.system.interface import counters
from bridge.adapters.system.loop_time import LoopTime
from bridge.adapters.system.systemd import Notifier
from bridge.assemblies.cellular_link import CellularSetup
from bridge.assemblies.link import traffic_of
from bridge.assemblies.message_flow import MessageFlow
from bridge.assemblies.no_link import NoLink
from bridge.core.budget import Way
from bridge.daemon.app import Bridge
from bridge.daemon.configure import CALLED_WITH, access, limits, make_paths
from bridge.daemon.links import clear_left_link
from bridge.daemon.metering import source_of
from bridge.daemon.modem_link import ModemLink
from bridge.flow.link.manager import Network
from bridge.flow.link.pacing import STALE
from bridge.flow.message.results import Results
from bridge.flow.message.topics import Names
from bridge.flow.notices import SILENT
from bridge.settings import Loaded, Settings
from bridge.store.database import boot_id
from bridge.store.journal import Journal
from tests.adapters.ppp.test_unit import Unit
from tests.doubles.time import SetClock
from tests.flow.link.test_manager import Wire
from tests.harness import Keeper, free_port
from tests.harness.modem import SimModem


class _Link(ModemLink):
    """One whose unit is the stand-in's."""

    unit: Unit

    def _make_setup(self, settings: Settings) -> CellularSetup:
        return super()._make_setup(settings)._replace(pppd=self._stand_in)

    def _stand_in(self, _loop: object, *, on_down: Callable[[str], None]) -> PppdUnit:
        pppd = self.unit.again()
        pppd.available = lambda: None  # type: ignore[method-assign]  # where no systemd runs too
        pppd._on_down = on_down
        return pppd


class Box:
    """A box with a modem, on which one bridge after the other runs."""

    def __init__(self, folder: Path, sim: SimModem) -> None:
        self.folder = folder
        self.devices = [str(sim.at), str(sim.dial)]
        (folder / "unit").mkdir()
        self.unit = Unit(folder / "unit")

    def settings(self, **network: Any) -> Settings:
        settings = {
            "credentials": {"devicekey": "abcd1234"},
            "mqtt": {"port": free_port()},
            "inbound": {"enabled": False},
            "store": {"path": str(self.folder / "outbox.db")},
            "network": {"interface": "cellular-nova-u201", "device": self.devices, **network},
        }
        return Settings.model_validate(settings)

    @contextlib.asynccontextmanager
    async def flow(self, settings: Settings) -> AsyncIterator[MessageFlow]:
        """The message flow of a bridge; what was written is on disk afterwards."""
        loop = asyncio.get_running_loop()
        with Journal.open(settings.store.path, limits(settings), LoopTime(loop)) as journal:
            results = Results(journal, Names("hologram"), SILENT)
            paths = make_paths(loop, Resolver(loop), lambda: access(settings))
            async with MessageFlow(journal, results, paths, SILENT, slots=4) as flow:
                yield flow

    @contextlib.asynccontextmanager
    async def bridge(self, **network: Any) -> AsyncIterator[ModemLink]:
        """A bridge that runs, and ends as one that is stopped does: its link stays."""
        settings = self.settings(**network)
        async with self.flow(settings) as flow:
            _Link.unit = self.unit
            async with _Link(lambda: settings, flow, Names("hologram"), SILENT) as link:
                yield link

    async def connected(self, **network: Any) -> tuple[int, int]:
        """Run a bridge until its link is up; return how often the unit was started and stopped by now."""
        async with self.bridge(**network) as managed:
            await until(lambda: managed.network.up)
        return self.unit.asked("start"), self.unit.asked("stop")

    @property
    def stands(self) -> bool:
        return (self.unit.folder / "active").read_text() == "active\n"

    @property
    def questions(self) -> int:
        """How often systemctl was run."""
        return len((self.unit.folder / "asked").read_text().splitlines())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


Story = Callable[[Box], Awaitable[None]]


@pytest.fixture
def run(keeper: Keeper, tmp_path: Path) -> Callable[[Story], None]:
    """Runs a story on a box whose modem is in a network."""

    def run(story: Story) -> None:
        async def all_of_it() -> None:
            sim = SimModem(keeper, tmp_path / "modem")
            sim.start("--registration", "0.1", "--sim-delay", "0.1")
            await story(Box(tmp_path, sim))

        asyncio.run(all_of_it())

    return run


def test_a_link_of_the_same_settings_is_taken_over_and_another_is_made_anew(
    run: Callable[[Story], None],
) -> None:
    """A bridge that is restarted saves the call; one that was given another scope or login makes its own."""

    async def story(box: Box) -> None:
        assert await box.connected() == (1, 0)
        assert await box.connected() == (1, 0)
        assert await box.connected(scope="hologram") == (2, 1)
        assert await box.connected(scope="hologram") == (2, 1)
        assert await box.connected(ppp_user="me", ppp_password="secret") == (3, 2)
        assert await box.connected(ppp_user="me", ppp_password="another") == (4, 3)
        assert await box.connected(ppp_user="me", ppp_password="another", poll=5) == (4, 3)

    run(story)


def test_an_outbox_that_knows_of_no_call_gives_no_reason_to_hang_up(run: Callable[[Story], None]) -> None:
    """That of an earlier version: whoever upgrades may have come in over this link."""

    async def story(box: Box) -> None:
        assert await box.connected() == (1, 0)
        with contextlib.closing(sqlite3.connect(box.folder / "outbox.db")) as outbox, outbox:
            assert outbox.execute("DELETE FROM meta WHERE key = ?", (CALLED_WITH,)).rowcount == 1
        assert await box.connected() == (1, 0)
        assert await box.connected(scope="hologram") == (2, 1)

    run(story)


@pytest.mark.parametrize("autoconnect", ["on_demand", False])
def test_a_link_that_nobody_wants_at_the_start_is_hung_up(
    run: Callable[[Story], None], autoconnect: str | bool
) -> None:
    """What the status calls disconnected is down, before there is anything to send."""

    async def story(box: Box) -> None:
        await box.connected(autoconnect=True)
        async with box.bridge(autoconnect=autoconnect) as managed:
            await until(lambda: not box.stands)
            assert managed.network.verdict().state == "disconnected"
        assert (box.unit.asked("start"), box.unit.asked("stop")) == (1, 1)

    run(story)


@pytest.mark.parametrize("interface", ["", "wifi"])
def test_without_a_modem_to_manage_the_link_of_before_is_hung_up_once(
    run: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch, interface: str
) -> None:
    """Where that fails the next start tries again; after that one that stands is somebody else's."""
    none = {"interface": interface, "device": None, "autoconnect": False}

    async def start(box: Box) -> None:
        settings = box.settings(**none)
        async with box.flow(settings) as flow:
            await clear_left_link(asyncio.get_running_loop(), settings, flow.journal)

    async def start_all_of_it(box: Box) -> None:
        loaded = Loaded(box.settings(**none), (), None)
        bridge = Bridge(loaded, lambda **_: loaded, Notifier(None))
        running = asyncio.create_task(bridge.run())
        await until(lambda: running.done() or not box.stands)
        await until(lambda: running.done() or bridge.journal.writer.idle)
        bridge._stop.set()
        assert await running == 0

    async def story(box: Box) -> None:
        monkeypatch.setenv("PATH", str(box.unit.folder), prepend=os.pathsep)
        monkeypatch.setattr(os, "geteuid", lambda: 1000)  # root dials by a child of its own
        (box.unit.folder / "asked").touch()
        await start(box)
        assert box.questions == 0
        await box.connected()
        (box.unit.folder / "stuck").touch()
        await start(box)
        assert box.stands
        (box.unit.folder / "stuck").unlink()
        await start_all_of_it(box)
        assert not box.stands
        (box.unit.folder / "active").write_text("active\n")
        await start(box)
        assert box.stands

    run(story)


@pytest.mark.parametrize(("scope", "dialled"), [("system", 2), ("hologram", 1)])
def test_only_a_link_that_messages_take_is_judged_by_what_they_reach(
    run: Callable[[Story], None], scope: str, dialled: int
) -> None:
    """With the other scope the machine's own network may be down just when somebody comes in by the modem."""

    async def story(box: Box) -> None:
        wire = Wire()
        async with box.flow(box.settings()) as flow:
            flow.uplink.unreached_since = lambda: wire.unreached  # type: ignore[method-assign]  # as after a failure
            network = Network(
                wire,
                traffic_of(flow, takes_messages=scope == "system"),
                SetClock(wire.clock),
                SILENT,
                autoconnect=True,
                on_change=lambda: None,
            )
            running = asyncio.create_task(network.run())
            await until(lambda: network.up)
            wire.unreached = wire.mono
            wire.mono += STALE + 1
            turns = network.progress()[0].steps
            network._wake.set()
            await until(lambda: network.up and network.progress()[0].steps > turns)
            await until(lambda: network.up and wire.attempts == dialled)
            running.cancel()
            await asyncio.wait({running})

    run(story)


def test_the_budget_goes_by_the_interface_of_the_link(run: Callable[[Story], None]) -> None:
    """Its counters where there is one; messages beside it, with the scope for Hologram's networks, do not."""

    async def story(box: Box) -> None:
        async with box.bridge() as managed:
            source = source_of(managed, "system")
            assert source.reading() is None, "there is no link yet"
            await until(lambda: managed.network.up)
            assert source.way() is Way.LINK
            assert managed.network.link is not None
            assert source.reading() == counters(managed.network.link.interface, boot_id())
            assert source_of(managed, "hologram").way() is Way.OFF

    run(story)
    source = source_of(NoLink(), "system")
    assert (source.way(), source.reading()) == (Way.APART, None)
