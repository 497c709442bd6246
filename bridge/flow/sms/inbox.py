"""SMS inbox: moves received SMS from the modem's store to the broker, each once and whole.

The modem announces an SMS, or the regular check comes. The inbox lists the modem's store, notes the
fingerprint of each PDU and stores it, all in one transaction. The part that completes an SMS turns all its
parts into reports in the same transaction. After the commit, and never before, the PDUs are deleted from the
modem.

A PDU that is read twice counts once: after a failed deletion, after a crash between commit and deletion, or
after a second delivery by the network. An unreadable PDU is published as it is. An incomplete SMS is
published after a day with its gaps marked. Nothing is dropped, and nothing stays to fill the modem's store.

A command (`bridge.flow.remote.gate`) is no message: it is passed on, and published nowhere.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from bridge.core.progress import Progress
from bridge.errors import BadPdu, ModemError
from bridge.flow.message.ids import id_source
from bridge.flow.message.topics import Names
from bridge.flow.notices import Notices
from bridge.flow.sms.commands import Commands, NoCommands
from bridge.flow.sms.reports import content, text_fields, to_json, unreadable_fields
from bridge.protocol.sms.listing import read_notice, read_pushed
from bridge.protocol.sms.received import Deliver, StatusReport, decode
from bridge.protocol.sms.status import describe
from bridge.store.journal import Journal
from bridge.store.sms import Part, SmsStore, Waiting

log = logging.getLogger("texts")

KEEP_TIME_EVERY = 600.0
"""Seconds between writes of the time that parts have waited."""


class Patience(NamedTuple):
    """Limits of the inbox, in seconds unless they say otherwise."""

    every: float = 60.0
    """Time between regular checks of the modem's store. They are needed because a URC can be lost."""
    missing: float = 24 * 3600.0
    """Time after which an incomplete SMS is published."""
    near: float = 3600.0
    """Time between the service centre's stamps of two parts of one SMS at most, because references are
    reused."""
    max_waiting: int = 20_000
    """Number of parts that wait for others at most. Beyond it the SMS that has waited longest is
    published."""
    stale: float = 10.0
    """Age at which a listing may no longer match the modem's store. Nothing is deleted by it any more."""


PATIENCE = Patience()

Slot = tuple[str, int]
Listing = list[tuple[Slot, str]]


class Inbox(Protocol):
    """The modem's store of SMS."""

    usage: tuple[int, int] | None
    """Number of SMS in it at the last listing, and its capacity."""

    @property
    def ready(self) -> bool:
        """Whether there is a modem to ask."""

    def noticed(self, store: str) -> None:
        """Include the store of this name in the next listing."""

    async def list(self) -> Listing:
        """Return the content as (slot, PDU); raises `ModemError`."""

    async def delete(self, slot: Slot) -> bool:
        """Delete the content of ``slot``; return False if the modem refuses. Raises `ModemError`."""


class _Command(NamedTuple):
    """A command, to be passed on after the commit."""

    text: bytes
    sender: str


class _Event(NamedTuple):
    """An event to publish after the commit."""

    event: str
    fields: dict[str, Any]


class SmsInbox:
    """Moves SMS out of the modem; lives in the event loop's thread."""

    def __init__(
        self,
        journal: Journal,
        store: SmsStore,
        names: Names,
        inbox: Inbox,
        notices: Notices,
        *,
        commands: Commands | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        self._commands = commands or NoCommands()
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self._sms = store
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
        """Whether it waits for the next reason to check the store."""

    # -- when to look ------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Check the modem's store now."""
        self._woken.set()

    def urc(self, line: str, data: bytes = b"") -> bool:
        """Handle a URC; return whether it was about SMS."""
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
        """Return the progress for the watchdog; waiting for a full disk counts as rest."""
        return (Progress("texts", self._steps, busy=not (self._resting or self._writer.full)),)

    async def run(self) -> None:
        """Check the store whenever there is a reason; runs until it is cancelled."""
        while True:
            self._woken.clear()
            self._resting = False
            try:
                await self._look()
            except ModemError as exc:
                log.info("SMS cannot be read now: %s", exc)
            self._housekeep()
            self._resting = True
            try:
                async with asyncio.timeout(self._patience.every):
                    await self._woken.wait()
            except TimeoutError:
                continue

    @property
    def _has_room(self) -> bool:
        return not self._writer.full and self._outbox.results_room > 0

    async def _look(self) -> None:
        """Empty the modem's store.

        While the disk is full, or the reports are, everything but commands stays in it.
        """
        # More than once, because the network sends the SMS that it held back as soon as there is room.
        while self._inbox.ready and (self._has_room or self._commands.listening):
            found = await self._inbox.list()
            self._steps += 1
            if not self._has_room:
                found = [each for each in found if self._command(each[1])]
            if not found:
                self._problem = ""
                return
            self._notice_full()
            # After a slow commit the modem may have reused the slots: the next listing decides what is
            # deleted.
            if await self._store([pdu for _, pdu in found]) and not await self._delete(found):
                return

    async def _store(self, pdus: list[str]) -> bool:
        """Make ``pdus`` durable; return False if that took so long that the listing is stale."""
        began = self._time.now().mono
        stored = asyncio.Event()
        self._keep(pdus, lambda _: stored.set())
        await stored.wait()
        self._steps += 1
        return self._time.now().mono - began < self._patience.stale

    async def _delete(self, found: Listing) -> bool:
        """Delete the listed PDUs, which are durable; return False if the modem deletes none."""
        deleted = []
        for slot, _ in found:
            deleted.append(await self._inbox.delete(slot))
            self._steps += 1
        if not any(deleted):
            self._report_problem("the modem deletes no SMS; its store will become full")
        return any(deleted)

    def _notice_full(self) -> None:
        usage = self._inbox.usage
        if usage and 0 < usage[1] <= usage[0]:
            self._report_problem(
                f"the modem's store of SMS was full ({usage[0]} of {usage[1]}); it is being emptied, and the "
                "network repeats the SMS that did not fit"
            )

    def _report_problem(self, text: str) -> None:
        if text != self._problem:
            self._problem = text
            log.warning("%s", text)
            self._notices.problem("sms", text)

    # -- storing -----------------------------------------------------------------------------------------

    def _keep(self, pdus: Sequence[str], then: Callable[[object], None]) -> None:
        """Store ``pdus`` in one transaction, and pass on commands; ``then`` is called when all is durable."""
        commands = [found for pdu in pdus if (found := self._command(pdu))]
        messages = [pdu for pdu in pdus if not self._command(pdu)] if commands else pdus
        waiting = len(commands) + bool(messages)

        def settled() -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                then(None)

        def kept(found: list[_Event | _Command]) -> None:
            self._publish_events(found)
            settled()

        if messages:
            size = 2 * sum(len(pdu) for pdu in messages)
            self._writer.append(partial(self._take_all, messages), kept, size=size)
        for text, sender in commands:
            self._commands.heard(text, sender, settled)

    def _command(self, pdu: str) -> _Command | None:
        """Return the command of an SMS of one part; it costs no write before it is accepted."""
        if not self._commands.listening:
            return None
        try:
            found = decode(pdu)
        except BadPdu:
            return None
        if not isinstance(found, Deliver) or (found.place is not None and found.place.total > 1):
            return None
        data = content(text_fields("", {1: found}, 1, 0.0))
        return _Command(data, found.sender) if self._commands.is_command(data) else None

    def _publish_events(self, found: list[_Event | _Command]) -> None:
        """Publish the reports and events, and pass on the commands; runs after the commit."""
        if found:
            self._notices.reports_ready()
        for each in found:
            if isinstance(each, _Command):
                self._commands.heard(each.text, each.sender, lambda: None)
            else:
                self._notices.event(each.event, **each.fields)

    def _take_all(self, pdus: Sequence[str]) -> list[_Event | _Command]:
        """Store ``pdus``; runs inside the transaction, like every method below that writes."""
        self._sms.keep_time()
        return [event for pdu in pdus for event in self._take(pdu)]

    def _take(self, pdu: str) -> list[_Event | _Command]:
        # The service centre's time stamp is part of the PDU, so a second SMS with the same words differs.
        if not self._sms.first_sight(blake2b(pdu.upper().encode(), digest_size=16).digest()):
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

    def _add(self, found: Deliver, pdu: str) -> list[_Event | _Command]:
        """Store a part. Publish the SMS that it completes, or the oldest one if too many parts wait."""
        assert found.place is not None
        part = Part(found.sender, *found.place, found.sent_at, pdu)
        text = self._sms.add(part, self._new_id, self._patience.near)
        parts = self._parts(text)
        if len(parts) == found.place.total:
            self._sms.remove(text)
            return [self._publish(text, parts, found.place.total)]
        # Parts of SMS that never become whole must not fill the disk.
        if self._sms.waiting() > self._patience.max_waiting and (oldest := self._sms.oldest()):
            return [self._give_up(oldest)]
        return []

    def _parts(self, text: str) -> dict[int, Deliver]:
        """Return the parts of an SMS; each was readable when it was stored."""
        found = ((number, decode(pdu)) for number, pdu in self._sms.parts(text).items())
        return {number: part for number, part in found if isinstance(part, Deliver)}

    def _report(self, report: StatusReport) -> _Event:
        status = describe(report.status)
        message = self._sms.reported(report.reference, report.recipient, final=status.final)
        fields = {"id": message, "to": report.recipient, "state": status.fate.value, "status": status.text}
        return _Event("sms.report", fields)

    # -- publishing --------------------------------------------------------------------------------------

    def _publish(self, text: str, parts: dict[int, Deliver], total: int) -> _Event | _Command:
        fields = text_fields(text, parts, total, self._time.now().wall)
        if self._commands.is_command(data := content(fields)):
            return _Command(data, fields["from"] or "")
        payload = to_json(fields)
        self._outbox.reports.add(self._topic, payload)
        self._outbox.reports.add(self._last_topic, payload, retain=True)
        return _Event("sms.received", {"id": text, "from": fields["from"], "parts": total})

    def _publish_unreadable(self, pdu: str, error: str) -> _Event:
        """Publish the PDU itself, in case a person can read it. It does not become the last SMS."""
        log.warning("an SMS is unreadable and is published as it is: %s", error)
        text = self._new_id()
        self._outbox.reports.add(
            self._topic, to_json(unreadable_fields(text, pdu, error, self._time.now().wall))
        )
        return _Event("sms.received", {"id": text, "from": None, "parts": 1, "error": error})

    def _give_up(self, waiting: Waiting) -> _Event | _Command:
        parts = self._parts(waiting.id)
        log.warning(
            "SMS %s from %s: %d of its %d parts never came",
            waiting.id,
            waiting.sender,
            waiting.total - len(parts),
            waiting.total,
        )
        self._sms.remove(waiting.id)
        return self._publish(waiting.id, parts, waiting.total)

    # -- time --------------------------------------------------------------------------------------------

    def _housekeep(self) -> None:
        """Publish SMS that have waited long enough for their parts.

        Write down how long the others have waited.
        """
        # On a full disk the report would have no room.
        if self._writer.full or self._writer.busy(_next_time) or not self._sms.waiting():
            return
        if self._sms.overdue(self._patience.missing):
            self._writer.append(self._give_up_overdue, self._publish_events)
        elif self._time.now().mono - self._kept_at >= KEEP_TIME_EVERY:
            self._kept_at = self._time.now().mono
            self._writer.write(self._sms.keep_time)

    def _give_up_overdue(self) -> list[_Event | _Command]:
        self._sms.keep_time()
        return [self._give_up(waiting) for waiting in self._sms.overdue(self._patience.missing)]


def _next_time() -> None:
    """Do nothing: the next regular check does the housekeeping, rather than the end of a commit."""
