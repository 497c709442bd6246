"""Received texts, one by one: read from the modem's store, and deleted when they are handed over.

The modem's store is all there is, so nothing may fill it for ever. What cannot be read is handed over as it
is. A text that lacks parts stays in the store until they come, but no longer than the daemon waits for them,
and not where the store is full and holds no other text: what is there is then handed over, its gaps marked.
Which parts make a text is decided as `bridge.store.texts` does it, what a text says as
`bridge.flow.sms.reports` does.
"""

import base64
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from math import inf
from typing import Any, NamedTuple

from bridge.adapters.modem.sms import ModemInbox, Slot
from bridge.errors import BadPdu, ModemError
from bridge.flow.sms.inbox import PATIENCE, Patience
from bridge.flow.sms.reports import text_fields, unreadable_fields
from bridge.protocol.sms.received import Deliver, StatusReport, decode
from bridge.protocol.sms.status import describe
from bridge.sdk.engine.response import text_of
from bridge.sdk.engine.values import SMS

log = logging.getLogger("Modem")

Entry = tuple[Slot, str]
"""A text in the modem, as (slot, PDU)."""


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
    def total(self) -> int:
        """How many parts it has."""
        place = next(iter(self.parts.values())).text.place
        return place.total if place else 1

    @property
    def whole(self) -> bool:
        """Whether every part is there."""
        return len(self.parts) == self.total

    @property
    def entries(self) -> list[Entry]:
        """Everything of it in the modem."""
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

    def sms(self) -> SMS:
        """Return what a script gets."""
        found = {number: part.text for number, part in self.parts.items()}
        return _sms(text_fields("", found, self.total, 0.0), self.sent_at)


class _Found(NamedTuple):
    """What is in the modem."""

    texts: list[_Text]
    unreadable: list[tuple[Entry, str]]
    """With what is wrong with each."""
    reports: list[Entry]


class Texts:
    """Takes texts out of the modem; lives in the event loop's thread."""

    def __init__(
        self,
        inbox: ModemInbox,
        *,
        patience: Patience = PATIENCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``monotonic`` counts seconds while the script runs."""
        self._inbox = inbox
        self._patience = patience
        self._monotonic = monotonic
        self._done: set[Entry] = set()
        """What was handed over, or is a repetition of that, and could not be deleted."""
        self._since: dict[Entry, float] = {}
        """When a part that waits for others was first seen, in monotonic seconds."""

    async def count(self) -> int:
        """Return how many texts `pop` would hand over now. Raises `ModemError`."""
        found = await self._look()
        return len(found.unreadable) + len(self._ready(found.texts))

    async def pop(self) -> SMS | None:
        """Take the oldest text out of the modem; None where there is none. Raises `ModemError`."""
        found = await self._look()
        for entry in found.reports:
            await self._take([entry])
        for (slot, pdu), error in found.unreadable:
            log.warning("a text cannot be read and is handed over as it is: %s", error)
            await self._take([(slot, pdu)])
            return _sms(unreadable_fields("", pdu, error, 0.0), time.time())
        for text in self._ready(found.texts):
            await self._take(text.entries)
            return text.sms()
        return None

    def _ready(self, texts: list[_Text]) -> list[_Text]:
        """Return the texts to hand over, oldest first: those that are whole or overdue."""
        oldest_first = sorted(texts, key=lambda each: each.sent_at)
        ready = [text for text in oldest_first if text.whole or self._overdue(text)]
        usage = self._inbox.usage
        if not ready and usage and 0 < usage[1] <= usage[0]:
            return oldest_first[:1]  # the part that is missing could not come
        return ready

    async def _look(self) -> _Found:
        """Return what is in the modem and was not handed over; what was is deleted as soon as it can be."""
        listed = await self._inbox.list()
        done = self._done.intersection(listed)
        self._done = {entry for entry in done if not await self._delete(entry[0])}
        self._since = {entry: self._since.get(entry, self._monotonic()) for entry in listed}
        return _read([entry for entry in listed if entry not in done])

    def _overdue(self, text: _Text) -> bool:
        """Whether the parts that ``text`` lacks are waited for no longer.

        Its stamp does not tell: what the network kept for days comes part by part all the same.
        """
        first = min(self._since[entry] for entry in text.entries)
        return self._monotonic() - first >= self._patience.missing

    async def _take(self, entries: list[Entry]) -> None:
        """Delete what is handed over."""
        self._done |= {entry for entry in entries if not await self._delete(entry[0])}

    async def _delete(self, slot: Slot) -> bool:
        """Delete what is in ``slot``; return whether that was done."""
        try:
            return await self._inbox.delete(slot)
        except ModemError as exc:  # the text is read, and must not be lost with what is deleted of it
            log.warning("a text could not be deleted: %s", exc)
            return False


def _read(entries: list[Entry]) -> _Found:
    parts: list[_Part] = []
    found = _Found([], [], [])
    for slot, pdu in entries:
        try:
            text = decode(pdu)
        except BadPdu as exc:
            found.unreadable.append(((slot, pdu), str(exc)))
            continue
        if isinstance(text, StatusReport):
            log.info("a status report of a text to %s: %s", text.recipient, describe(text.status).text)
            found.reports.append((slot, pdu))
        else:
            parts.append(_Part(slot, pdu, text))
    return found._replace(texts=_together(parts))


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
    if nearest is not None and nearest.distance(part) <= PATIENCE.near:
        nearest.parts[part.number] = part
    else:
        group.append(_Text(part))


def _apart(one: float | None, other: float | None) -> float:
    """Return the seconds between two times; what has no time is near to all."""
    return 0.0 if one is None or other is None else abs(one - other)


def _sms(fields: dict[str, Any], sent_at: float) -> SMS:
    """Return what a script gets for ``fields``: of data that is no text its bytes, as text."""
    message = fields["body"]
    if message is None:
        message = text_of(base64.b64decode(fields.get("data_base64", "")))
    sms = SMS(
        # As the SDK's: digits alone, whatever kind of number it is [hologram-python 0.10].
        (fields["from"] or "").removeprefix("+"),
        # As the SDK's: a time without a zone, in the clock that the service centre wrote, which is UTC here.
        datetime.fromtimestamp(sent_at, UTC).replace(tzinfo=None),
        message,
    )
    sms.error, sms.pdu = fields.get("error"), fields.get("pdu")
    return sms
