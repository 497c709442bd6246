"""The managed modem as a whole: the link that an earlier run has left, and what is asked about the messages.

The link is a unit of a stand-in for systemctl, the modem a simulated one, and all else the bridge's own.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.adapters.ppp.dialler import PppDialler, dial_of
from bridge.daemon.app import Bridge
from bridge.daemon.configure import CALLED_WITH
from bridge.daemon.managed import Around, ManagedModem
from bridge.daemon.parts import Parts
from bridge.flow.link.manager import Network
from bridge.flow.link.pacing import STALE
from bridge.flow.notices import SILENT
from bridge.settings import Settings
from tests.adapters.ppp.test_unit import Unit
from tests.doubles.time import SetClock
from tests.flow.link.test_manager import Wire
from tests.harness import Keeper, free_port
from tests.harness.modem import SimModem


class _Dialler(PppDialler):
    """One that is not ruled out where no systemd runs."""

    def unavailable(self) -> str | None:
        return None


class _Managed(ManagedModem):
    """One whose unit is the stand-in's."""

    def __init__(self, around: Around, unit: Unit) -> None:
        self._unit = unit
        super().__init__(around)

    def _dialler(self) -> PppDialler:
        return _Dialler(self._unit.again(), partial(dial_of, apn="hologram"))


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
    async def parts(self, **network: Any) -> AsyncIterator[Parts]:
        """The parts of a bridge; what they wrote is on disk afterwards."""
        parts = Parts(self.settings(**network), asyncio.get_running_loop())
        try:
            yield parts
            await until(lambda: parts.writer.idle)
        finally:
            parts.journal.close()

    @contextlib.asynccontextmanager
    async def bridge(self, **network: Any) -> AsyncIterator[ManagedModem]:
        """A bridge that runs, and ends as one that is stopped does: its link stays."""
        async with self.parts(**network) as parts:
            managed = _Managed(around_of(parts), self.unit)
            tasks = [asyncio.create_task(each) for each in managed.tasks()]
            try:
                yield managed
            finally:
                await managed.stop()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

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


def around_of(parts: Parts) -> Around:
    managed = parts.managed
    assert isinstance(managed, ManagedModem)
    return managed._around


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
        async with box.parts(**none) as parts:
            await parts.clear_link()

    async def start_all_of_it(box: Box) -> None:
        bridge = Bridge(box.settings(**none), asyncio.get_running_loop())
        running = asyncio.create_task(bridge.run())
        parts = bridge._parts
        await until(
            lambda: not parts.writer.busy(lambda: None) and parts.outbox.meta(CALLED_WITH) is None,
        )
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
        async with box.parts(scope=scope) as parts:
            around = around_of(parts)._replace(unreached_since=lambda: wire.unreached)
            network = Network(
                wire,
                around.traffic(),
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
