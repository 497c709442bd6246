"""Received texts, one by one: read from the modem's store, and deleted when they are handed over.

The modem's store is all there is: a text of which parts are missing stays in it until they come, and what
cannot be read stays as well. Which parts make a text is decided as `bridge.store.texts` does it.
"""

import logging
from datetime import UTC, datetime
from math import inf
from typing import NamedTuple

from bridge.adapters.texts import ModemInbox, Slot
from bridge.errors import BadPdu, ModemError
from bridge.protocol.sms.received import Deliver, decode
from bridge.protocol.sms.text import join
from bridge.sdk.values import SMS

log = logging.getLogger("Modem")

NEAR = 3600.0
"""Seconds which the parts of one text are apart at most, by the service centre: references come again."""


class _Part(NamedTuple):
    slot: Slot
    pdu: str
    text: Deliver

    @property
    def number(self) -> int:
        """From 1."""
        return self.text.place.number if self.text.place else 1


class _Text:
    """Parts that belong together, by their numbers."""

    def __init__(self, first: _Part) -> None:
        self.parts = {first.number: first}
        self.again: list[_Part] = []
        """Parts that the network has delivered once more."""

    @property
    def sent_at(self) -> float:
        """When it was sent, in Unix seconds; 0 where nobody knows."""
        known = (part.text.sent_at for part in self.parts.values())
        return min((each for each in known if each is not None), default=0.0)

    @property
    def whole(self) -> bool:
        """Whether every part is there."""
        place = next(iter(self.parts.values())).text.place
        return place is None or len(self.parts) == place.total

    @property
    def entries(self) -> list[tuple[Slot, str]]:
        """Everything of it in the modem, as (slot, PDU)."""
        return [(part.slot, part.pdu) for part in (*self.parts.values(), *self.again)]

    def repeats(self, part: _Part) -> bool:
        """Whether ``part`` is here already: the same, with the service centre's stamp."""
        here = self.parts.get(part.number)
        return here is not None and here.pdu == part.pdu

    def distance(self, part: _Part) -> float:
        """Return the seconds between ``part`` and the others; infinite where its place is taken."""
        if part.number in self.parts:
            return inf
        return max(_apart(part.text.sent_at, other.text.sent_at) for other in self.parts.values())


class Texts:
    """Takes texts out of the modem; lives in the event loop's thread."""

    def __init__(self, inbox: ModemInbox) -> None:
        self._inbox = inbox
        self._done: set[tuple[Slot, str]] = set()
        """What was handed over, or is a repetition of that, and could not be deleted."""

    async def pop(self) -> SMS | None:
        """Take the oldest whole text out of the modem; None where there is none. Raises `ModemError`."""
        found = await self._inbox.list()
        done = self._done.intersection(found)
        self._done = {entry for entry in done if not await self._delete(entry[0])}
        parts = [part for entry in found if entry not in done and (part := _read(*entry))]
        for text in sorted((each for each in _together(parts) if each.whole), key=lambda each: each.sent_at):
            sms = _sms(text)
            if sms is not None:
                self._done |= {entry for entry in text.entries if not await self._delete(entry[0])}
                return sms
        return None

    async def _delete(self, slot: Slot) -> bool:
        """Delete what is in ``slot``; return whether that was done."""
        try:
            return await self._inbox.delete(slot)
        except ModemError as exc:  # the text is read, and must not be lost with what is deleted of it
            log.warning("a text could not be deleted: %s", exc)
            return False


def _read(slot: Slot, pdu: str) -> _Part | None:
    try:
        text = decode(pdu)
    except BadPdu as exc:
        log.warning("a text cannot be read, and stays in the modem: %s", exc)
        return None
    return _Part(slot, pdu, text) if isinstance(text, Deliver) else None


def _together(parts: list[_Part]) -> list[_Text]:
    """Return the texts that ``parts`` make, whole or not."""
    texts: dict[object, list[_Text]] = {}
    for part in parts:
        place = part.text.place
        if place is None:
            texts[part.slot] = [_Text(part)]
        else:
            _add(texts.setdefault((part.text.sender, *place[:3]), []), part)
    return [text for group in texts.values() for text in group]


def _add(group: list[_Text], part: _Part) -> None:
    """Add ``part`` to the text of ``group`` that is nearest to it in time and lacks it, or begin one."""
    repeated = next((text for text in group if text.repeats(part)), None)
    if repeated is not None:
        repeated.again.append(part)
        return
    nearest = min(group, key=lambda text: text.distance(part), default=None)
    if nearest is not None and nearest.distance(part) <= NEAR:
        nearest.parts[part.number] = part
    else:
        group.append(_Text(part))


def _apart(one: float | None, other: float | None) -> float:
    """Return the seconds between two times; what has no time is near to all."""
    return 0.0 if one is None or other is None else abs(one - other)


def _sms(text: _Text) -> SMS | None:
    parts = [text.parts[number].text for number in sorted(text.parts)]
    try:
        message = join(part.data for part in parts)
    except BadPdu as exc:
        log.warning("a text cannot be read, and stays in the modem: %s", exc)
        return None
    # As the SDK's: a time without a zone, in the clock that the service centre wrote, which is UTC here.
    return SMS(parts[0].sender, datetime.fromtimestamp(text.sent_at, UTC).replace(tzinfo=None), message)
