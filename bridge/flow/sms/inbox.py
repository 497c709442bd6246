"""Received texts: from the modem's store to the broker, once and whole.

Way of one text: the modem tells of it, or its turn to be looked at comes; the store is listed; each PDU is
noted by its fingerprint and kept, in one transaction; the part that completes a text turns all of them into
reports in the same transaction; after the commit, and never before, they are deleted from the modem.

What is read twice counts once: a text that could not be deleted, a crash between commit and deletion, a part
that the network delivered twice. What cannot be read is published as it is. What lacks parts is published
after a day, with its gaps marked. Nothing is dropped, and nothing is left to fill the modem's store.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from bridge.core.progress import Progress
from bridge.errors import BadPdu, ModemError
from bridge.flow.message.intake import id_source
from bridge.flow.message.topics import Names
from bridge.flow.notices import Notices
from bridge.flow.sms.reports import text_fields, to_json, unreadable_fields
from bridge.protocol.sms.listing import read_notice, read_pushed
from bridge.protocol.sms.received import Deliver, StatusReport, decode
from bridge.protocol.sms.status import describe
from bridge.store.journal import Journal
from bridge.store.texts import Part, Texts, Waiting

log = logging.getLogger("texts")

KEEP_TIME_EVERY = 600.0
"""Seconds between notes of how long parts have waited."""


class Patience(NamedTuple):
    """How long and how much the receiver waits; seconds, but for ``max_waiting``."""

    every: float = 60.0
    """Between looks into the modem's store that nobody asked for: a code that tells of a text can be lost."""
    missing: float = 24 * 3600.0
    """After which a text is published without the parts that have not come."""
    near: float = 3600.0
    """Which the parts of one text are apart at most, by the service centre: references come again."""
    max_waiting: int = 20_000
    """Parts that wait for others; beyond, the text that has waited longest is published as it is."""
    stale: float = 10.0
    """After which a listing no longer says what is where; it is made anew before anything is deleted."""


PATIENCE = Patience()

Slot = tuple[str, int]
Listing = list[tuple[Slot, str]]


class Inbox(Protocol):
    """The modem's store of texts."""

    usage: tuple[int, int] | None
    """How many texts it held when last listed, and how many it takes."""

    @property
    def ready(self) -> bool:
        """Whether there is a modem to ask."""

    def noticed(self, store: str) -> None:
        """Look into the store of this name too."""

    async def list(self) -> Listing:
        """Return what is there, as (slot, PDU); raises `ModemError`."""

    async def delete(self, slot: Slot) -> bool:
        """Delete what is in ``slot``; False where the modem refuses. Raises `ModemError`."""


class _Told(NamedTuple):
    """An event to tell after the commit."""

    event: str
    fields: dict[str, Any]


class SmsInbox:
    """Takes texts out of the modem; lives in the event loop's thread."""

    def __init__(
        self,
        journal: Journal,
        texts: Texts,
        names: Names,
        inbox: Inbox,
        notices: Notices,
        *,
        patience: Patience = PATIENCE,
    ) -> None:
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self._texts = texts
        self._topic = names.inbound_sms
        self._last_topic = names.last_sms
        self._inbox = inbox
        self._notices = notices
        self._patience = patience
        self._new_id = id_source()
        self._woken = asyncio.Event()
        self._problem = ""
        self._kept_at = self._time.now().mono
        self._steps = 0
        self._resting = True
        """It waits for a reason to look."""

    # -- when to look ------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Look into the modem's store now: the modem is ready, or there may be something."""
        self._woken.set()

    def urc(self, line: str, data: bytes = b"") -> bool:
        """Take an unsolicited code; True where it was about texts."""
        pdu = read_pushed(line, data)
        if pdu is not None:
            self._keep([pdu], lambda _: None)
            return True
        store = read_notice(line)
        if store is None:
            return False
        self._inbox.noticed(store)
        self.wake()
        return True

    def progress(self) -> tuple[Progress, ...]:
        """Return how far it has come, for the watchdog: while the disk is full it rightly waits."""
        return (Progress("texts", self._steps, busy=not (self._resting or self._writer.full)),)

    async def run(self) -> None:
        """Look whenever there is reason to; runs until it is cancelled."""
        while True:
            self._woken.clear()
            self._resting = False
            try:
                await self._look()
            except ModemError as exc:
                log.info("texts cannot be read now: %s", exc)
            self._housekeep()
            self._resting = True
            try:
                async with asyncio.timeout(self._patience.every):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        """Empty the modem's store. While there is no room here everything stays where it is."""
        while self._inbox.ready and not self._writer.full and not self._outbox.results_full:
            found = await self._inbox.list()
            self._steps += 1
            if not found:
                self._cleared()
                return
            self._notice_full()
            if await self._store([pdu for _, pdu in found]) and not await self._delete(found):
                return

    async def _store(self, pdus: list[str]) -> bool:
        """Make ``pdus`` durable; False where that took so long that the listing is stale."""
        began = self._time.now().mono
        stored = asyncio.Event()
        self._keep(pdus, lambda _: stored.set())
        await stored.wait()
        self._steps += 1
        return self._time.now().mono - began < self._patience.stale

    async def _delete(self, found: Listing) -> bool:
        """Delete what is durable; False where the modem deletes nothing."""
        deleted = []
        for slot, _ in found:
            deleted.append(await self._inbox.delete(slot))
            self._steps += 1
        if not any(deleted):
            self._tell_problem("the modem does not delete texts; its store will run full")
        return any(deleted)

    def _notice_full(self) -> None:
        usage = self._inbox.usage
        if usage and 0 < usage[1] <= usage[0]:
            self._tell_problem(
                f"the modem's store of texts was full ({usage[0]} of {usage[1]}): they are taken out now; "
                "the network sends again what did not fit"
            )

    def _tell_problem(self, text: str) -> None:
        if text != self._problem:
            self._problem = text
            log.warning("%s", text)
            self._notices.problem("sms", text)

    def _cleared(self) -> None:
        self._problem = ""

    # -- storing -----------------------------------------------------------------------------------------

    def _keep(self, pdus: Sequence[str], then: Callable[[object], None]) -> None:
        """Have ``pdus`` stored, in one transaction; ``then`` is called after its commit."""

        def kept(told: list[_Told]) -> None:
            self._tell(told)
            then(None)

        size = 2 * sum(len(pdu) for pdu in pdus)
        self._writer.append(partial(self._take_all, pdus), kept, size=size)

    def _tell(self, told: list[_Told]) -> None:
        """Runs after the commit."""
        if told:
            self._notices.reports_ready()
        for each in told:
            self._notices.event(each.event, **each.fields)

    def _take_all(self, pdus: Sequence[str]) -> list[_Told]:
        """Runs inside the transaction, as all below does that writes."""
        self._texts.keep_time()
        return [told for pdu in pdus for told in self._take(pdu)]

    def _take(self, pdu: str) -> list[_Told]:
        # The service centre's stamp is in it: another text of the same words is another PDU.
        if not self._texts.first_sight(blake2b(pdu.upper().encode(), digest_size=16).digest()):
            return []
        try:
            found = decode(pdu)
        except BadPdu as exc:
            return [self._publish_unreadable(pdu, str(exc))]
        if isinstance(found, StatusReport):
            return [self._report(found)]
        if found.place is None or found.place.total == 1:
            return [self._publish(self._new_id(), {1: found}, 1)]
        return self._add(found, pdu)

    def _add(self, found: Deliver, pdu: str) -> list[_Told]:
        """Keep a part; publish the text that it completes, or the oldest where too many wait."""
        assert found.place is not None
        part = Part(found.sender, *found.place, found.sent_at, pdu)
        text = self._texts.add(part, self._new_id, self._patience.near)
        parts = self._parts(text)
        if len(parts) == found.place.total:
            self._texts.remove(text)
            return [self._publish(text, parts, found.place.total)]
        if self._texts.waiting() > self._patience.max_waiting and (oldest := self._texts.oldest()):
            return [self._give_up(oldest)]
        return []

    def _parts(self, text: str) -> dict[int, Deliver]:
        """Return the parts of a text; they were readable when they were kept."""
        found = ((number, decode(pdu)) for number, pdu in self._texts.parts(text).items())
        return {number: part for number, part in found if isinstance(part, Deliver)}

    def _report(self, report: StatusReport) -> _Told:
        status = describe(report.status)
        message = self._texts.reported(report.reference, report.recipient, final=status.final)
        fields = {"id": message, "to": report.recipient, "state": status.fate.value, "status": status.text}
        return _Told("sms.report", fields)

    # -- publishing --------------------------------------------------------------------------------------

    def _publish(self, text: str, parts: dict[int, Deliver], total: int) -> _Told:
        fields = text_fields(text, parts, total, self._time.now().wall)
        payload = to_json(fields)
        self._outbox.report(self._topic, payload)
        self._outbox.report(self._last_topic, payload, retain=True)
        return _Told("sms.received", {"id": text, "from": fields["from"], "parts": total})

    def _publish_unreadable(self, pdu: str, error: str) -> _Told:
        """Somebody may still make sense of it; the newest text it is not."""
        log.warning("a text cannot be read and is published as it is: %s", error)
        text = self._new_id()
        self._outbox.report(self._topic, to_json(unreadable_fields(text, pdu, error, self._time.now().wall)))
        return _Told("sms.received", {"id": text, "from": None, "parts": 1, "error": error})

    def _give_up(self, waiting: Waiting) -> _Told:
        parts = self._parts(waiting.id)
        log.warning(
            "text %s from %s: %d of its %d parts never came",
            waiting.id,
            waiting.sender,
            waiting.total - len(parts),
            waiting.total,
        )
        self._texts.remove(waiting.id)
        return self._publish(waiting.id, parts, waiting.total)

    # -- time --------------------------------------------------------------------------------------------

    def _housekeep(self) -> None:
        """Publish what has waited long enough, and note how long the rest has."""
        if self._writer.full or self._writer.busy(_next_time) or not self._texts.waiting():
            return
        if self._texts.overdue(self._patience.missing):
            self._writer.append(self._give_up_overdue, self._tell)
        elif self._time.now().mono - self._kept_at >= KEEP_TIME_EVERY:
            self._kept_at = self._time.now().mono
            self._writer.write(self._texts.keep_time)

    def _give_up_overdue(self) -> list[_Told]:
        self._texts.keep_time()
        return [self._give_up(waiting) for waiting in self._texts.overdue(self._patience.missing)]


def _next_time() -> None:
    """Housekeeping waits for its next turn, not for a commit: each turn asks the modem too."""
