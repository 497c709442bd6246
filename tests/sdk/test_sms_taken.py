"""Received texts are taken out of the modem one by one: whole, once, and nothing else with them."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from bridge.adapters.modem.at_port import AtPort
from bridge.adapters.modem.sms import ModemInbox
from bridge.sdk.engine.sms import SmsReader
from bridge.sim.modem import air
from bridge.sim.modem.pdu import gsm7, tpdu
from tests.adapters.modem.test_sms import Modem, on_air

SENDER = "+15551234567"
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
LONG = "A" * 153 + "B" * 40

GARBAGE, CUT, ABC = "FF", "07912160130300F4040B9151", "0ABC0D"


def odd(dcs: int, data: bytes, length: int | None = None, *, header: bool = False) -> str:
    """Return the PDU of a text whose user data are ``data``."""
    size = len(data) if length is None else length
    return tpdu.deliver(SENDER, NOON, dcs, size, data, header=header).hex().upper()


ODD = [
    odd(0x04, b"\xff\xfe"),
    odd(0x04, b"\x05\x00\x03\x07\x02\x01\xff", header=True),
    odd(0x04, b"\x05\x00\x03\x07\x02\x02\xfe\xfd", header=True),
    odd(0x00, b""),
    odd(0x08, b"\xd8\x3d"),  # half of a surrogate pair
    odd(
        0x8C, gsm7.pack([code for each in gsm7.septets("reserved") or () for code in each]), 8
    ),  # a reserved data coding scheme
    tpdu.status_report(7, "+15557654321", NOON, NOON, 0).hex().upper(),
    odd(0x04, b"\x06\x05\x04\x0b\x84\x23\xf0\x01\x06\xfc", header=True),  # a WAP push
    GARBAGE,
    CUT,
    ABC,
]
"""Texts that are none, or nearly: each of a kind of its own."""


def parts(text: str, reference: int = 9, at: datetime = NOON) -> list[str]:
    """Return the PDUs of a text, in their order."""
    return [pdu.hex().upper() for pdu in air.parts(SENDER, text, at, reference=reference, wide=False)]


def taking(scenario: Callable[[Modem, Callable[[], Awaitable[str | None]]], Awaitable[None]]) -> None:
    """Run ``scenario`` with a modem, and what takes the next text out of it."""

    async def run(modem: Modem, port: AtPort) -> None:
        texts = SmsReader(ModemInbox(lambda: port))

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
        texts = SmsReader(ModemInbox(lambda: next(there, port)))
        found = await texts.pop()
        assert found is not None
        assert found.message == LONG
        assert len(modem.stores["ME"]) == 1
        assert await texts.pop() is None
        assert not modem.stores["ME"]

    on_air(scenario)


def test_what_cannot_be_read_is_handed_over_and_holds_up_nothing() -> None:
    """Data in one part and in two, garbage and a status report leave the modem, and the texts come."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        for pdu in ODD:
            modem.put(pdu, length=17 if pdu in (GARBAGE, CUT, ABC) else None)
        modem.put(parts("after it", at=NOON + timedelta(hours=1))[0])
        texts = SmsReader(ModemInbox(lambda: port))
        # The status report is no text, two parts are one, and the readable text is one more.
        assert await texts.count() == len(ODD) - 2 + 1
        found = []
        while (sms := await texts.pop()) is not None:
            found.append(sms)
        assert not modem.stores["ME"]
        assert [(sms.sender, sms.message) for sms in found if sms.error is None] == [
            *[(SENDER.removeprefix("+"), text) for text in ("", "\ufffd", "reserved", "after it")],
        ]
        assert sorted(sms.message for sms in found if sms.error) == [
            *["", "", ""],
            *["\x01\x06\\xfc", "\\xff\\xfe", "\\xff\\xfe\\xfd"],
        ]
        assert [sms.pdu for sms in found if sms.pdu] == [GARBAGE, CUT, ABC]
        assert all(str(sms).startswith("SMS: sender: ") for sms in found)

    on_air(scenario)


def test_a_sender_is_digits_alone() -> None:
    """As with the released SDK, whose scripts put the plus sign before them; a name stays one."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        texts = SmsReader(ModemInbox(lambda: port))
        for sender, told in (("+15551234567", "15551234567"), ("12345", "12345"), ("Hologram", "Hologram")):
            modem.put(air.parts(sender, "x", NOON, reference=1, wide=False)[0].hex())
            found = await texts.pop()
            assert found is not None
            assert found.sender == told
            assert repr(found) == f"SMS: sender: {told}, timestamp: {NOON:%c}, message: x"

    on_air(scenario)


def test_a_text_that_lacks_a_part_is_given_up_after_a_day() -> None:
    """As by the daemon: what is there is handed over, and the gap is marked."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        now = [1000.0]
        texts = SmsReader(ModemInbox(lambda: port), monotonic=lambda: now[0])
        modem.put(parts(LONG)[1])
        assert await texts.pop() is None
        now[0] += 23 * 3600
        assert await texts.pop() is None
        assert await texts.count() == 0
        now[0] += 3600
        assert await texts.count() == 1
        found = await texts.pop()
        assert found is not None
        assert found.message == "[…]" + "B" * 40
        assert await texts.pop() is None
        assert not modem.stores["ME"]

    on_air(scenario)


def test_texts_that_lack_parts_never_fill_the_modem() -> None:
    """However short the script runs: where nothing more fits, whole texts go first, then the oldest."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        for hour in range(modem.size - 1):
            modem.put(parts(str(hour % 10) * 200, at=NOON + timedelta(hours=hour))[0])
        assert await SmsReader(ModemInbox(lambda: port)).pop() is None
        modem.put(parts("whole", at=NOON + timedelta(days=9))[0])
        found = await SmsReader(ModemInbox(lambda: port)).pop()
        assert found is not None
        assert found.message == "whole"
        modem.put(parts("x" * 200, at=NOON + timedelta(days=9))[0])
        found = await SmsReader(ModemInbox(lambda: port)).pop()
        assert found is not None
        assert found.message == "0" * 153 + "[…]"
        assert await SmsReader(ModemInbox(lambda: port)).pop() is None
        assert len(modem.stores["ME"]) == modem.size - 1

    on_air(scenario)
