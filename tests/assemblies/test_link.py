"""Links, put together: what a message that waits does to one, and what ends one."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.assemblies.link import ManagedLink, traffic_of
from bridge.assemblies.message_flow import MessageFlow, until
from bridge.assemblies.no_link import NoLink
from bridge.assemblies.workers import Workers
from bridge.core.messages import CLOUD
from bridge.errors import LinkError, OperationError
from bridge.flow.link.manager import Network
from bridge.flow.message.paths import NetworkPaths
from bridge.flow.message.results import Results
from bridge.flow.message.topics import Names
from bridge.flow.notices import SILENT
from bridge.store.journal import Journal
from bridge.store.outbox import Limits
from tests.doubles.time import MovableTime
from tests.flow.link.test_manager import Wire
from tests.store.box import message


class Link(ManagedLink):
    """A link over a wire that does as it is told."""

    def __init__(self, flow: MessageFlow, wire: Wire, autoconnect: bool | str) -> None:
        super().__init__()
        traffic = traffic_of(flow, takes_messages=True)
        time = flow.journal.time
        self._manage(Network(wire, traffic, time, SILENT, autoconnect=autoconnect, on_change=self._changed))

    def status(self) -> dict[str, Any]:
        return {"state": self.network.verdict().state}


def run(
    path: Path, story: Callable[[MessageFlow, Wire, MovableTime], Awaitable[None]], autoconnect: bool | str
) -> None:
    """Tell ``story`` of a flow whose messages take a link over a wire, in a time that stands still."""

    async def told() -> None:
        time, wire = MovableTime(), Wire()
        with Journal.open(path / "o.db", Limits(), time) as journal:
            paths = NetworkPaths({}, {}, identified=lambda: True)
            flow = MessageFlow(journal, Results(journal, Names("hologram"), SILENT), paths, SILENT, slots=1)
            async with Link(flow, wire, autoconnect) as link:
                paths.link = link
                flow.start()
                await story(flow, wire, time)
            assert wire.link is None

    asyncio.run(told())


def test_a_message_brings_an_on_demand_link_up_at_once(tmp_path: Path) -> None:
    """No second goes by: the message itself wakes the link."""

    async def story(flow: MessageFlow, wire: Wire, time: MovableTime) -> None:
        await asyncio.sleep(0.05)
        assert wire.attempts == 0
        journal, waiting = flow.journal, message()
        journal.writer.append(
            partial(journal.outbox.accept, waiting), lambda _: flow.uplink.wake(waiting.lane.endpoint)
        )
        time.pass_(0.1)
        await until(lambda: wire.attempts == 1, 5.0)
        assert wire.attempts == 1

    run(tmp_path, story, "on_demand")


def test_what_was_put_off_is_found_by_a_look(tmp_path: Path) -> None:
    """Nothing wakes the link when the delay of a costly message is nearly over."""

    async def story(flow: MessageFlow, wire: Wire, time: MovableTime) -> None:
        await asyncio.sleep(0.05)  # it rests
        journal = flow.journal
        journal.writer.append(partial(journal.outbox.accept, message()))
        time.pass_(0.1)
        await asyncio.sleep(0.05)
        assert wire.attempts == 0, "nobody said that it waits"
        time.pass_(30.0)
        await until(lambda: wire.attempts == 1, 5.0)
        assert wire.attempts == 1

    run(tmp_path, story, "on_demand")


def test_a_link_that_is_left_is_released(tmp_path: Path) -> None:
    """Leaving it hangs up, whatever happens inside."""

    async def story(_: MessageFlow, wire: Wire, time: MovableTime) -> None:
        await until(lambda: wire.link is not None, 5.0)
        raise LinkError("stop")

    with pytest.raises(LinkError, match="stop"):
        run(tmp_path, story, True)


def test_no_link_says_what_there_is_not() -> None:
    """Commands and questions get one clear line; messages always pass."""

    async def story() -> None:
        async with NoLink() as link:
            assert link.carries
            assert link.status()["state"] == "unmanaged"
            with pytest.raises(OperationError, match="no network interface is managed here"):
                await link.command("connect", None)
            with pytest.raises(OperationError, match="no modem is managed here"):
                await link.query({"what": "signal"})

    asyncio.run(story())


def test_a_worker_that_ends_is_a_failure_and_one_that_is_stopped_is_none() -> None:
    """Whether it raised or not; a job that may end may not raise either."""

    async def story() -> None:
        failures: list[BaseException] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))

        async def returns() -> None: ...

        async def raises() -> None:
            raise LinkError("broken")

        async def rests() -> None:
            await asyncio.Event().wait()

        async with Workers() as workers:
            workers.start(rests())
            workers.start(returns(), raises(), ends=True)
            await until(lambda: bool(failures), 5.0)
            workers.start(returns())
            await until(lambda: len(failures) == 2, 5.0)
        assert [str(each) for each in failures] == ["broken", "a task ended by itself"]

    asyncio.run(story())


def test_a_path_without_a_link_is_open() -> None:
    """The machine's own network is not known to be down."""
    paths = NetworkPaths({}, {}, identified=lambda: True)
    paths.wanted()
    assert paths.ready(CLOUD)
