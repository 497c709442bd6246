"""Received SMS, one by one: read from the modem's store, and deleted when they are handed over.

The modem's store is the only one, so nothing may stay in it for ever. An unreadable PDU is handed over as it
is. An SMS that lacks parts stays in the store until they arrive, but no longer than the daemon waits for
them. If the store is full and holds no complete SMS, the oldest is handed over at once, with its gaps marked.
The rules for joining parts are those of `bridge.store.sms`, the rules for the text those of
`bridge.flow.sms.reports`.
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
"""A PDU in the modem's store, with its slot."""


class _Part(NamedTuple):
    slot: Slot
    pdu: str
    text: Deliver

    @property
    def number(self) -> int:
        """Number of the part, from 1."""
        return self.text.place.number if self.text.place else 1


class _Text:
    """The parts of one SMS, by their numbers."""

    def __init__(self, first: _Part) -> None:
        self.parts = {first.number: first}
        self.again: list[_Part] = []
        """Parts that the network delivered twice."""

    @property
    def sent_at(self) -> float:
        """Time of sending in Unix seconds; 0 if no part has one."""
        known = (part.text.sent_at for part in self.parts.values())
        return min((each for each in known if each is not None), default=0.0)

    @property
    def total(self) -> int:
        """Number of parts of the whole SMS."""
        place = next(iter(self.parts.values())).text.place
        return place.total if place else 1

    @property
    def whole(self) -> bool:
        """Whether every part has arrived."""
        return len(self.parts) == self.total

    @property
    def entries(self) -> list[Entry]:
        """All entries of the SMS in the modem's store."""
        return [(part.slot, part.pdu) for part in (*self.parts.values(), *self.again)]

    def repeats(self, part: _Part) -> bool:
        """Whether ``part`` equals a part that is here, with the service centre's time stamp."""
        here = self.parts.get(part.number)
        return here is not None and here.pdu == part.pdu

    def distance(self, part: _Part) -> float:
        """Return the seconds between ``part`` and the others; infinite if its number is taken."""
        if part.number in self.parts:
            return inf
        return max(_apart(part.text.sent_at, other.text.sent_at) for other in self.parts.values())

    def sms(self) -> SMS:
        """Return the SMS for the script."""
        found = {number: part.text for number, part in self.parts.items()}
        return _sms(text_fields("", found, self.total, 0.0), self.sent_at)


class _Found(NamedTuple):
    """The contents of the modem's store."""

    texts: list[_Text]
    unreadable: list[tuple[Entry, str]]
    """Unreadable entries, each with the reason."""
    reports: list[Entry]


class SmsReader:
    """Takes SMS out of the modem; lives in the event loop's thread."""

    def __init__(
        self,
        inbox: ModemInbox,
        *,
        patience: Patience = PATIENCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``monotonic`` returns the monotonic time in seconds."""
        self._inbox = inbox
        self._patience = patience
        self._monotonic = monotonic
        self._done: set[Entry] = set()
        """Entries that were handed over, and their repetitions, which could not be deleted yet."""
        self._since: dict[Entry, float] = {}
        """Monotonic time in seconds at which each entry was first seen."""

    async def count(self) -> int:
        """Return how many SMS `pop` would hand over now. Raises `ModemError`."""
        found = await self._look()
        return len(found.unreadable) + len(self._ready(found.texts))

    async def pop(self) -> SMS | None:
        """Take the oldest SMS out of the modem; None without one. Raises `ModemError`."""
        found = await self._look()
        for entry in found.reports:
            await self._take([entry])
        for (slot, pdu), error in found.unreadable:
            log.warning("an SMS is unreadable and is handed over as it is: %s", error)
            await self._take([(slot, pdu)])
            return _sms(unreadable_fields("", pdu, error, 0.0), time.time())
        for text in self._ready(found.texts):
            await self._take(text.entries)
            return text.sms()
        return None

    def _ready(self, texts: list[_Text]) -> list[_Text]:
        """Return the SMS to hand over, oldest first: those that are whole or overdue."""
        oldest_first = sorted(texts, key=lambda each: each.sent_at)
        ready = [text for text in oldest_first if text.whole or self._overdue(text)]
        usage = self._inbox.usage
        if not ready and usage and 0 < usage[1] <= usage[0]:
            return oldest_first[:1]  # the full store has no room for a missing part
        return ready

    async def _look(self) -> _Found:
        """Return the store's contents; delete the entries that were handed over before."""
        listed = await self._inbox.list()
        done = self._done.intersection(listed)
        self._done = {entry for entry in done if not await self._delete(entry[0])}
        self._since = {entry: self._since.get(entry, self._monotonic()) for entry in listed}
        return _read([entry for entry in listed if entry not in done])

    def _overdue(self, text: _Text) -> bool:
        """Whether the wait for the missing parts of ``text`` is over.

        Its time stamp does not count, because the parts of an SMS that the network kept for days come one by
        one too.
        """
        first = min(self._since[entry] for entry in text.entries)
        return self._monotonic() - first >= self._patience.missing

    async def _take(self, entries: list[Entry]) -> None:
        """Delete the entries that are handed over."""
        self._done |= {entry for entry in entries if not await self._delete(entry[0])}

    async def _delete(self, slot: Slot) -> bool:
        """Delete the entry in ``slot``; return whether the modem did it."""
        try:
            return await self._inbox.delete(slot)
        except ModemError as exc:  # return the SMS all the same: some of its parts may be deleted already
            log.warning("an SMS could not be deleted: %s", exc)
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
            log.info("a status report of an SMS to %s: %s", text.recipient, describe(text.status).text)
            found.reports.append((slot, pdu))
        else:
            parts.append(_Part(slot, pdu, text))
    return found._replace(texts=_together(parts))


def _together(parts: list[_Part]) -> list[_Text]:
    """Return the SMS that ``parts`` form, whole or not."""
    texts: dict[object, list[_Text]] = {}
    for part in parts:
        place = part.text.place
        if place is None:
            texts[part.slot] = [_Text(part)]
        else:
            _add(texts.setdefault((part.text.sender, *place[:3]), []), part)
    return [text for group in texts.values() for text in group]


def _add(group: list[_Text], part: _Part) -> None:
    """Add ``part`` to the SMS of ``group`` that lacks it and is nearest in time, or begin one."""
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
    """Return the seconds between two times; a missing time is near to every other."""
    return 0.0 if one is None or other is None else abs(one - other)


def _sms(fields: dict[str, Any], sent_at: float) -> SMS:
    """Return the SMS for the script; data that is no text becomes text from its bytes."""
    message = fields["body"]
    if message is None:
        message = text_of(base64.b64decode(fields.get("data_base64", "")))
    sms = SMS(
        # Digits alone for any type of number, as the released SDK has it [hologram-python 0.10].
        (fields["from"] or "").removeprefix("+"),
        # A time without a zone, as the released SDK has it; there it is the service centre's, here UTC.
        datetime.fromtimestamp(sent_at, UTC).replace(tzinfo=None),
        message,
    )
    sms.error, sms.pdu = fields.get("error"), fields.get("pdu")
    return sms
