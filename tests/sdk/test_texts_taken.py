"""Received texts are taken out of the modem one by one: whole, once, and nothing else with them."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from bridge.adapters.at_port import AtPort
from bridge.adapters.texts import ModemInbox
from bridge.sdk.texts import Texts
from bridge.sim.modem import air, tpdu
from tests.adapters.test_texts import Modem, on_air

SENDER = "+15551234567"
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
LONG = "A" * 153 + "B" * 40


def parts(text: str, reference: int = 9, at: datetime = NOON) -> list[str]:
    """Return the PDUs of a text, in their order."""
    return [pdu.hex().upper() for pdu in air.parts(SENDER, text, at, reference=reference, wide=False)]


def taking(scenario: Callable[[Modem, Callable[[], Awaitable[str | None]]], Awaitable[None]]) -> None:
    """Run ``scenario`` with a modem, and what takes the next text out of it."""

    async def run(modem: Modem, port: AtPort) -> None:
        texts = Texts(ModemInbox(lambda: port))

        async def pop() -> str | None:
            found = await texts.pop()
            return found.message if found else None

        await scenario(modem, pop)

    on_air(run)


def test_a_part_that_comes_twice_completes_nothing() -> None:
    """The text waits in the modem for its other part, and leaves nothing behind then."""

    async def scenario(modem: Modem, pop: Callable[[], Awaitable[str | None]]) -> None:
        first, second = parts(LONG)
        modem.put(first)
        modem.put(first)
        assert await pop() is None
        assert len(modem.stores["ME"]) == 2
        modem.put(second)
        assert await pop() == LONG
        assert await pop() is None
        assert not modem.stores["ME"]

    taking(scenario)


def test_texts_of_one_reference_are_not_mixed() -> None:
    """References come again: a part whose place is taken begins a text, as does one of another hour."""

    async def scenario(modem: Modem, pop: Callable[[], Awaitable[str | None]]) -> None:
        one = parts("1" * 200)
        other = parts("2" * 200, at=NOON + timedelta(seconds=2))
        for pdu in (one[0], other[0], other[1], one[1]):
            modem.put(pdu)
        assert {await pop(), await pop()} == {"1" * 200, "2" * 200}
        assert await pop() is None
        modem.put(parts("3" * 200)[0])
        modem.put(parts("4" * 200, at=NOON + timedelta(hours=2))[1])
        assert await pop() is None
        assert len(modem.stores["ME"]) == 2

    taking(scenario)


def test_what_the_modem_does_not_delete_is_handed_over_once() -> None:
    """It does not come again, and is deleted as soon as the modem lets it."""

    async def scenario(modem: Modem, pop: Callable[[], Awaitable[str | None]]) -> None:
        modem.put(parts("stays")[0])
        modem.script["AT+CMGD"].extend(["+CMS ERROR: 321"] * 2)
        assert await pop() == "stays"
        assert await pop() is None
        assert len(modem.stores["ME"]) == 1
        assert await pop() is None
        assert not modem.stores["ME"]

    taking(scenario)


def test_a_modem_that_goes_away_over_the_deleting_loses_no_text() -> None:
    """Some of it is deleted by then: what was read is handed over, and the rest of it never again."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        for pdu in parts(LONG):
            modem.put(pdu)
        there = iter((port, port, None))  # for the list, and one part
        texts = Texts(ModemInbox(lambda: next(there, port)))
        found = await texts.pop()
        assert found is not None
        assert found.message == LONG
        assert len(modem.stores["ME"]) == 1
        assert await texts.pop() is None
        assert not modem.stores["ME"]

    on_air(scenario)


def test_what_is_no_text_stays_and_holds_up_nothing() -> None:
    """Data that came as a text is left in the modem, for whoever can read it."""

    async def scenario(modem: Modem, pop: Callable[[], Awaitable[str | None]]) -> None:
        readable = parts("after it", at=NOON + timedelta(hours=1))[0]
        data = tpdu.deliver(SENDER, NOON, 0x04, 2, b"\xff\xfe", header=False).hex().upper()
        modem.put(data)
        modem.put(readable)
        assert await pop() == "after it"
        assert await pop() is None
        assert [pdu for _, pdu, _ in modem.stores["ME"].values()] == [data]

    taking(scenario)
