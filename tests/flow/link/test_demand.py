"""What waits in a real outbox, and whether it calls for a link."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from bridge.core.messages import CLOUD, CLOUD_SMS, MODEM_ANSWERS, MODEM_SMS, Channel, Endpoint
from bridge.flow.link.demand import Demand
from bridge.flow.link.manager import Network
from bridge.flow.link.traffic import Traffic
from bridge.flow.notices import SILENT
from tests.doubles.time import SetClock
from tests.flow.link.test_manager import Wire
from tests.store.box import Box, message


@pytest.mark.parametrize(
    ("endpoint", "wanted"),
    [
        (CLOUD, True),
        (CLOUD_SMS, True),
        (Endpoint(Channel.TCP, "scada.example.net", 5020), True),
        (Endpoint(Channel.UDP, "scada.example.net", 5020), True),
        (MODEM_SMS, False),
        (MODEM_ANSWERS, False),
    ],
)
def test_what_calls_for_a_link(box: Box, endpoint: Endpoint, wanted: bool) -> None:
    """Everything but a text over the air, which goes without one; nothing once it is gone."""
    demand = Demand(box.outbox, lambda: False, lambda: False)
    assert not demand()
    box.put(message("m", endpoint=endpoint))
    assert demand() is wanted
    box.finish("m")
    assert not demand()


def test_a_text_over_the_air_hides_nothing(box: Box) -> None:
    """Beside one that goes by the cloud the link is wanted."""
    demand = Demand(box.outbox, lambda: False, lambda: False)
    box.put(message("air", endpoint=MODEM_SMS))
    box.put(message("cloud", endpoint=CLOUD_SMS))
    assert demand()
    box.finish("cloud")
    assert not demand()


def test_what_was_read_last_holds_while_the_disk_is_written(box: Box) -> None:
    """Nothing is read during a commit, which may take as long as the disk hangs."""
    committing = [False]
    demand = Demand(box.outbox, lambda: False, lambda: committing[0])
    box.put(message("cloud", endpoint=CLOUD_SMS))
    assert demand()
    committing[0] = True
    box.put(message("air", endpoint=MODEM_SMS))
    box.finish("cloud")
    assert demand()
    committing[0] = False
    assert not demand()


def test_what_is_put_off_for_hours_needs_no_link(box: Box) -> None:
    """Nobody keeps a link up for it; beside anything else, or after a flush, it is wanted."""
    demand = Demand(box.outbox, lambda: False, lambda: False)
    box.put(message("large"))
    box.defer("large", 200.0)
    assert demand(), "within the ordinary delays the link stays"
    box.defer("large", 5000.0)
    assert not demand()
    with box:
        box.outbox.wake_soon(300.0)
        box.outbox.wake_endpoint(CLOUD, 300.0)
    assert not demand(), "neither a link nor a peer that comes back is a reason to try it"
    with box:
        box.outbox.wake_all()
    assert demand()


def test_a_paused_outbox_is_no_reason_to_dial(box: Box) -> None:
    """On demand nothing is dialled for what may not be sent; it is as soon as sending goes on."""
    paused = [True]
    wire = Wire()
    network = Network(
        wire,
        Traffic(pending=Demand(box.outbox, lambda: paused[0], lambda: False)),
        SetClock(wire.clock),
        SILENT,
        autoconnect="on_demand",
        on_change=lambda: None,
    )

    async def story() -> None:
        box.put(message())
        for _ in range(3):
            network.wanted_now()
            await asyncio.sleep(0.01)
        assert wire.attempts == 0
        paused[0] = False
        network.wanted_now()
        while not network.up:
            await asyncio.sleep(0.01)

    _run(network.run, story)


def _run(task: Callable[[], Awaitable[None]], story: Callable[[], Awaitable[None]]) -> None:
    async def both() -> None:
        running = asyncio.ensure_future(task())
        try:
            async with asyncio.timeout(60):
                await story()
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    asyncio.run(both())
