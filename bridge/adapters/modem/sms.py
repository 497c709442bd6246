"""SMS over the modem's AT port: sending, and the modem's store of received SMS.

The commands are those of PDU mode [3GPP TS 27.005, section 4].
"""

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections.abc import Callable
from typing import NamedTuple, Protocol

from bridge.adapters.system.odd_lines import OddLines
from bridge.core.exchange import Outcome
from bridge.core.sms import SmsJob
from bridge.errors import AtOutOfStep, AtRefused, ModemError, ModemGone
from bridge.protocol.sms.errors import MODEM_CODES, Blame, judge
from bridge.protocol.sms.listing import Entry, read_list, read_one, read_reference, read_store, unread
from bridge.protocol.sms.submit import Pdu, submit

log = logging.getLogger("texts")

PART_TRIES = 3
"""Number of tries of a part that was clearly refused for the moment, once an earlier part has gone out."""

TRY_PAUSE = 2.0
"""Seconds between those tries."""

ERRORS_IN_NUMBERS, ERRORS_IN_WORDS = "AT+CMEE=1", "AT+CMEE=2"
"""Network errors as numbers, because modems have no common words for them; other errors as words."""

LIST_TIMEOUT = 60.0
"""Seconds for listing a store: 255 SMS of 176 bytes take about 8 s at 115,200 baud."""

Slot = tuple[str, int]
"""The place of an SMS: the name of a store of the modem, and an index in it."""

Listing = list[tuple[Slot, str]]
"""SMS as (slot, PDU)."""

READ_TRIES = 2
"""Number of extra reads of an SMS whose length is not the announced one: bytes get lost on the line."""


class Answered(Protocol):
    """The answer to a command."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines before the final one."""


class Port(Protocol):
    """The interface of the AT port that this module needs."""

    @property
    def is_open(self) -> bool:
        """Whether the port takes commands."""

    async def command(
        self, text: str, *, timeout: float = 10.0, prompt: bytes | None = None, proof: str = ""
    ) -> Answered:
        """Send a command; ``proof`` names the line that a success has. Raises `ModemError`."""


class SmsTransport:
    """The transport of `SmsJob`. One SMS at a time; owned by the event loop's thread.

    The `Outcome` is ``connected`` where the modem was ready, ``written`` once a part
    may have gone out, ``complete`` when the network has taken every part. ``answer`` holds the references of
    the parts that were taken, or where nothing went out the modem's error line.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        port: Callable[[], Port | None],
        *,
        status_reports: Callable[[], bool] = lambda: False,
        on_reference: Callable[[SmsJob, int], None] = lambda _job, _reference: None,
        try_pause: float = TRY_PAUSE,
    ) -> None:
        """``port`` returns the modem's AT port while the modem is ready, else None.

        ``status_reports`` says whether to ask the network for them; ``on_reference`` is told the reference of
        each part that it took; ``try_pause`` is seconds.
        """
        self._loop = loop
        self._port = port
        self._status_reports = status_reports
        self._on_reference = on_reference
        self._try_pause = try_pause
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        # From a random start, so that a restart does not use the last run's references at once.
        self._numbers = itertools.count(secrets.randbelow(256))

    def start(self, job: SmsJob, done: Callable[[Outcome], None]) -> None:
        """Begin ``job``; ``done`` is called exactly once, in the loop, and never before this returns."""
        task = self._loop.create_task(self._run(job, done))
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        """Raise the exception of a defect, so that the loop's exception handler gets it."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()

    async def _run(self, job: SmsJob, done: Callable[[Outcome], None]) -> None:
        async with self._turn:
            port = self._port()
            if port is None or not port.is_open:
                done(Outcome(error="no modem is ready"))
                return
            done(await self._send(port, job))
            with contextlib.suppress(ModemError):
                await port.command(ERRORS_IN_WORDS)

    async def _send(self, port: Port, job: SmsJob) -> Outcome:
        pdus = submit(
            job.recipient,
            job.body,
            reference=next(self._numbers) & 0xFF,
            status_report=self._status_reports(),
        )
        try:
            await _prepare(port, len(pdus))
        except ModemError as exc:  # nothing has gone out, and the modem says itself that it cannot
            return Outcome(error=str(exc))
        return await self._send_parts(port, job, pdus)

    async def _send_parts(self, port: Port, job: SmsJob, pdus: list[Pdu]) -> Outcome:
        taken: list[int] = []
        for pdu in pdus:
            result = await self._send_part(port, job, pdu, tries=PART_TRIES if taken else 1)
            if isinstance(result, _Refusal):
                return _broken_off(len(taken), len(pdus), result)
            taken.append(result)
        references = " ".join(map(str, taken)).encode()
        return Outcome(connected=True, written=True, complete=True, answer=references)

    async def _send_part(self, port: Port, job: SmsJob, pdu: Pdu, *, tries: int) -> "int | _Refusal":
        """Send a part and return its reference.

        One that was refused for the moment is tried again if others have gone out before.
        """
        command, prompt = f"AT+CMGS={pdu.length}", pdu.hex.encode() + b"\x1a"
        while port.is_open:
            tries -= 1
            try:
                answer = await port.command(command, timeout=job.part_timeout, prompt=prompt, proof="+CMGS")
                reference = read_reference(answer.lines)
            except ModemError as exc:
                refusal = _refusal(exc)
            else:
                if reference is not None:
                    self._on_reference(job, reference)
                    return reference
                refusal = _Refusal("", "the modem's answer to the text has no reference", may_be_out=True)
            if not tries or not refusal.passing:
                return refusal
            await asyncio.sleep(self._try_pause)
        return _Refusal("", "the modem went away", may_be_out=False)


class _Refusal(NamedTuple):
    """A part was refused, or its fate is unknown."""

    final: str
    text: str
    may_be_out: bool
    passing: bool = False
    """Whether the part has not gone out, and may be tried again at once."""


def _refusal(error: ModemError) -> _Refusal:
    """Return why a part was not accepted: the modem said so, it was silent, or the port broke.

    Before the prompt nothing can have gone out, and a network error (below 300) is about another SMS.
    """
    if not isinstance(error, AtRefused):
        passing = isinstance(error, AtOutOfStep) and not error.prompted
        return _Refusal("", str(error), error.prompted, passing)
    judgement = judge(error.final)
    if not error.prompted and judgement.code is not None and judgement.code < MODEM_CODES:
        text = f"in the place of a prompt the modem gave another text's answer, {judgement.text}"
        return _Refusal("", text, may_be_out=False, passing=True)
    doubt = error.prompted and judgement.blame is Blame.NOBODY_KNOWS
    passing = not doubt and judgement.blame is not Blame.MESSAGE
    return _Refusal(error.final, judgement.text, doubt, passing)


async def _prepare(port: Port, parts: int) -> None:
    """Choose PDU mode and numeric errors.

    The radio link is asked to stay up between parts, for modems that cannot set up a new one for each.
    """
    await port.command("AT+CMGF=0")
    await port.command(ERRORS_IN_NUMBERS)
    if parts > 1:
        with contextlib.suppress(AtRefused):
            await port.command("AT+CMMS=2")


def _broken_off(taken: int, total: int, refusal: _Refusal) -> Outcome:
    final = refusal.final.encode()
    if not taken:
        return Outcome(connected=True, written=refusal.may_be_out, answer=final, error=refusal.text)
    text = f"the network took {taken} of {total} parts, and then: {refusal.text}"
    return Outcome(connected=True, written=True, answer=final, error=text)


class ModemInbox:
    """The modem's store of received SMS; owned by the task that reads it.

    An SMS is named by its store and its index there.
    """

    def __init__(
        self,
        port: Callable[[], Port | None],
        *,
        status_reports: Callable[[], bool] = lambda: False,
        list_timeout: float = LIST_TIMEOUT,
    ) -> None:
        """``port`` returns the modem's AT port while the modem is ready, else None.

        ``status_reports`` asks the modem to pass them on; ``list_timeout`` is in seconds.
        """
        self._port = port
        self._status_reports = status_reports
        self._list_timeout = list_timeout
        self._named: set[str] = set()
        """Stores that the modem has named; a store other than the usual one is only read if named."""
        self._listed: Port | None = None
        self._searched: Port | None = None
        """The port whose SIM store was read although no code had named it."""
        self._odd = OddLines(log)
        self._store = ""
        self._home = ""
        """The store that this modem reads from by default."""
        self.usage: tuple[int, int] | None = None
        """Number of SMS in the current store, and its capacity, when last listed."""

    @property
    def ready(self) -> bool:
        """Whether a modem is ready."""
        port = self._port()
        return port is not None and port.is_open

    def noticed(self, store: str) -> None:
        """Note that the modem has named ``store``, so that it is read from now on."""
        self._named.add(store)

    async def list(self) -> Listing:
        """Return the received SMS as (slot, PDU); raises `ModemError`."""
        port = self._port()
        if port is None or not port.is_open:
            raise ModemGone("no modem is ready")
        known, self._listed = port is self._listed, port
        await self._prepare(port)
        main = read_store((await port.command("AT+CPMS?")).lines)
        self._store = main.name if main else ""
        if not known:
            self._home = self._store
        elif self._store != self._home:  # an earlier read was interrupted
            await self._change_to(port, self._home)
        home = self._home
        if main is None or main.name == home:
            self.usage = (main.used, main.total) if main else None
        found = await self._list(port)
        others = self._named - {home}
        if port is not self._searched and home == "ME":
            # The SIM's store holds SMS from before this modem was set to keep them itself, and those that
            # belong on a SIM (class 2); no code names it.
            others.add("SM")
        for store in sorted(others):
            found += await self._list_of(port, store)
        if self._store != home:
            await self._change_to(port, home)
        self._searched = port
        if any(store == "SM" for (store, _), _ in found):
            self._named.add("SM")  # until it is empty
        return found

    async def _list_of(self, port: Port, store: str) -> Listing:
        """Return what is in a store beside the usual one, whose SMS are read in any case."""
        if not await self._change_to(port, store):
            return []
        try:
            found = await self._list(port)
        except AtRefused as exc:
            log.info("the modem's store %s cannot be listed now: %s", store, exc.final)
            return []
        if not found and store == "SM":
            self._named.discard(store)  # empty: not read until it is named again, or the modem restarts
        return found

    async def _prepare(self, port: Port) -> None:
        """Repeat the settings: a modem that was reset unnoticed starts in text mode."""
        await port.command("AT+CMGF=0")
        if self._status_reports():
            with contextlib.suppress(AtRefused):
                await port.command("AT+CNMI=2,1,0,2")

    async def _list(self, port: Port) -> Listing:
        answer = await port.command("AT+CMGL=4", timeout=self._list_timeout)
        for line in unread(answer.lines):
            self._odd.say(line)
        return [
            ((self._store, entry.slot), (await self._whole(port, entry)).pdu)
            for entry in read_list(answer.lines)
        ]

    async def _whole(self, port: Port, entry: Entry) -> Entry:
        """Read an SMS again if bytes of it got lost on the line."""
        for _ in range(READ_TRIES):
            if entry.whole:
                break
            with contextlib.suppress(AtRefused, AtOutOfStep):  # an unreadable SMS must not stop the others
                answer = await port.command(f"AT+CMGR={entry.slot}", proof="+CMGR")
                entry = read_one(entry.slot, answer.lines) or entry
        return entry

    async def _change_to(self, port: Port, store: str) -> bool:
        """Read from ``store``; False if the modem does not.

        The modem is queried afterwards, because an index means another SMS in another store, which must not
        be deleted.
        """
        try:
            await port.command(f'AT+CPMS="{store}"')
            now = read_store((await port.command("AT+CPMS?")).lines)
        except AtRefused as exc:
            log.info("the modem's store %s cannot be read: %s", store, exc.final)
            self._named.discard(store)
            return False
        self._store = now.name if now else store
        if self._store != store:
            log.info("the modem reads from its store %s, not from %s", self._store, store)
            return False
        return True

    async def delete(self, slot: Slot) -> bool:
        """Delete a listed SMS; False if the modem refuses. Raises `ModemError`."""
        port = self._port()
        if port is None or port is not self._listed or not port.is_open:
            raise ModemGone("the modem went away before its texts were deleted")
        store, index = slot
        home = self._store
        if store != home and not await self._change_to(port, store):
            return False
        try:
            await port.command(f"AT+CMGD={index}")
        except AtRefused as exc:
            log.warning("the modem does not delete text %d: %s", index, exc.final)
            return False
        finally:
            if store != home:
                await self._change_to(port, home)
        return True
