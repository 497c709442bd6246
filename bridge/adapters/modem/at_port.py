"""A modem's AT port: one tty, one command in flight, unsolicited codes as they come.

Owned by the event loop's thread. The bytes are `bridge.adapters.modem.at_tty`'s, the commands are told
apart here.

A command ends by its final result, by its own deadline, or with the port. After a deadline the modem's late
answer must not be taken for the next command's: the next one begins with a resynchronisation
(`bridge.protocol.at.resync`), within its own deadline.

The wire is traced at debug level by the logger ``at``: ``>`` is ours, ``<`` the modem's, ``!`` unsolicited.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from bridge.adapters.modem.at_tty import Tty
from bridge.errors import AtOutOfStep, ModemError, ModemGone, ModemSilent
from bridge.protocol.at.answers import RESTARTED
from bridge.protocol.at.engine import (
    Answer,
    Engine,
    Event,
    Final,
    Information,
    Noise,
    Prompt,
    Request,
    Stale,
    Urc,
)
from bridge.protocol.at.resync import ESC, Resync, State
from bridge.protocol.at.rules import name_of, refusal

__all__ = ["Answer", "AtPort", "Urc"]

log = logging.getLogger("at")

PAYLOAD_QUIET = 1.0
"""Seconds without a byte after which announced raw bytes are taken for lost."""

TRACED = 200
"""Characters of a line that the trace shows."""

PROMPT_PAUSE = {"@": 0.05}
"""Seconds that a modem needs after its prompt [u-blox SARA-R4 AT commands manual UBX-17003787, +USOWR]."""

RESYNC_TIMEOUT = 10.0
"""Seconds in which a modem must say anything at all after a command that it did not answer."""


class _Flight:
    """A command on its way."""

    __slots__ = (
        *("data", "future", "lines", "prompt", "prompted", "proof", "request", "shown", "timeout", "timer"),
    )

    def __init__(
        self,
        request: Request,
        shown: str,
        prompt: bytes | None,
        proof: str,
        timeout: float,
        future: "asyncio.Future[Answer]",
    ) -> None:
        self.request = request
        self.shown = shown
        self.prompt = prompt
        self.prompted = False
        self.proof = proof
        self.timeout = timeout
        self.future = future
        self.timer: asyncio.TimerHandle | None = None
        self.lines: list[str] = []
        self.data = b""

    @property
    def unasked(self) -> bool:
        """Whether a prompt is still to come."""
        return self.prompt is not None and not self.prompted

    @property
    def proven(self) -> bool:
        """Whether its information has the line without which a success is none."""
        return not self.proof or any(name_of(line) == self.proof for line in self.lines)

    @property
    def secret(self) -> bool:
        return self.shown != self.request.text


class AtPort:
    """One AT port."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_urc: Callable[[Urc], None],
        on_lost: Callable[[str], None],
        payload_after: Callable[[str], int] | None = None,
    ) -> None:
        """``on_lost`` is told once, with the reason, when an open port breaks; not after `close`.

        ``payload_after`` returns how many raw bytes follow a line. Both callbacks run in a turn of their own.
        """
        self._loop = loop
        self._on_urc = on_urc
        self._on_lost = on_lost
        self._payload_after = payload_after
        self._engine = Engine(payload_after)
        self._tty = Tty(loop, on_data=self._took, on_broken=self._broke)
        self._queue: deque[_Flight] = deque()
        self._flight: _Flight | None = None
        self._resync: Resync | None = None
        self._quiet: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None

    # -- life --------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether commands can be given."""
        return self._tty.is_open

    async def open(self, path: str, baud: int = 115200) -> None:
        """Open the tty at ``path`` for us alone; raises ModemGone where it is not there or taken.

        Waits for no carrier, and drops what came before.
        """
        self.close()
        await self._tty.open(path, baud)
        self._engine = Engine(self._payload_after)

    def close(self) -> None:
        """Close the port; what is in flight or waits ends with ModemGone."""
        self._end(f"{self._tty.path or 'the port'} was closed")

    def _broke(self, reason: str) -> None:
        self._end(reason)
        log.debug("lost: %s", reason)
        self._loop.call_soon(self._on_lost, reason)

    def _end(self, reason: str) -> None:
        self._tty.close()
        self._resync = None
        for timer in (self._quiet, self._stall):
            if timer is not None:
                timer.cancel()
        flights = [*([self._flight] if self._flight else []), *self._queue]
        self._flight = None
        self._queue.clear()
        for flight in flights:
            _settle(flight, ModemGone(reason))

    # -- commands ----------------------------------------------------------------------------------------

    async def command(
        self,
        text: str,
        *,
        timeout: float = 10.0,
        finals: tuple[str, ...] = ("OK",),
        prompt: bytes | None = None,
        proof: str = "",
        shown: str | None = None,
    ) -> Answer:
        """Give the command ``text``, without its end, and return its answer.

        Commands queue up; ``timeout`` is seconds from the command's turn on. ``finals`` are the results that
        are success; ``prompt`` is written as it is after the prompt; ``proof`` is the name of the information
        line that a success has by its standard, as ``+CMGS``; ``shown`` stands for ``text`` in traces and
        errors where it holds a secret. Raises AtRefused, AtOutOfStep, ModemSilent, ModemGone; ModemError
        where ``text`` is no line of ASCII.
        """
        if not (text.isascii() and text.isprintable()):
            raise ModemError(f"an AT command is one line of printable ASCII, not {(shown or text)!r}")
        if not self.is_open:
            raise ModemGone(f"{self._tty.path or 'the port'} is not open")
        payload = "" if prompt is None else prompt.decode("latin-1").strip("\x1a\r\n ")
        request = Request(text, finals, prompt is not None, payload)
        flight = _Flight(request, shown or text, prompt, proof, timeout, self._loop.create_future())
        self._queue.append(flight)
        self._next()
        try:
            return await flight.future
        except ModemError as exc:
            exc.prompted = flight.prompted
            raise
        finally:
            self._forget(flight)

    def _forget(self, flight: _Flight) -> None:
        """Take back a command whose caller has gone; nothing to do for one that has ended."""
        if flight is self._flight:
            self._give_up()
        elif flight in self._queue:
            self._queue.remove(flight)

    def _next(self) -> None:
        if self._flight is not None or not self._queue:
            return
        flight = self._flight = self._queue.popleft()
        if self._engine.owed:
            patience = min(flight.timeout, RESYNC_TIMEOUT)
            flight.timer = self._loop.call_later(patience, self._timed_out, flight)
            log.debug("finding out which answer is whose")
            self._resync = Resync(self._engine)
            self._tty.write(self._resync.start())
            self._be_quiet()
        else:
            self._send(flight)

    def _send(self, flight: _Flight) -> None:
        if flight.timer is not None:
            flight.timer.cancel()
        flight.timer = self._loop.call_later(flight.timeout, self._timed_out, flight)
        log.debug("> %s", flight.shown)
        self._engine.begin(flight.request)
        self._tty.write(flight.request.text.encode() + b"\r")

    def _timed_out(self, flight: _Flight) -> None:
        log.debug("no answer to %s within %g s", flight.shown, flight.timeout)
        silent = self._resync is not None
        self._give_up()
        if not silent:
            _settle(
                flight, ModemSilent(f"the modem did not answer {flight.shown} within {flight.timeout:g} s")
            )
            return
        # Not even the question after an earlier command was answered: nobody in the queue need wait for that.
        waiting = [flight, *self._queue]
        self._queue.clear()
        for each in waiting:
            _settle(each, ModemSilent(f"the modem does not answer: {each.shown} was not given"))

    def _give_up(self) -> None:
        """Abandon the command in flight and go on to the next."""
        self._engine.abandon()
        self._stop_resync()
        self._tty.drop_unwritten()
        if self._flight is not None and self._flight.timer is not None:
            self._flight.timer.cancel()
        self._flight = None
        self._loop.call_soon(self._next)

    # -- resynchronisation -------------------------------------------------------------------------------

    def _be_quiet(self) -> None:
        """Wait for a word, or for the silence that is as good as one."""
        if self._quiet is not None:
            self._quiet.cancel()
        if self._resync is not None:
            self._quiet = self._loop.call_later(self._resync.quiet, self._silence)

    def _silence(self) -> None:
        if self._resync is not None:
            self._tty.drop_unwritten()
            self._tty.write(self._resync.silence())
            self._resynced()

    def _resynced(self) -> None:
        """Go on with the command that waits, once the modem is in step."""
        if self._resync is not None and self._resync.state is State.IN_STEP:
            self._stop_resync()
            if self._flight is not None:
                self._send(self._flight)
        else:
            self._be_quiet()

    def _stop_resync(self) -> None:
        self._resync = None
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None

    # -- reading -----------------------------------------------------------------------------------------

    def _took(self, data: bytes) -> None:
        self._hear(self._engine.feed(data))
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        if self._engine.in_payload and self.is_open:
            self._stall = self._loop.call_later(PAYLOAD_QUIET, self._payload_lost)

    def _payload_lost(self) -> None:
        log.debug("announced bytes did not come")
        self._hear(self._engine.end_payload())

    def _hear(self, events: list[Event]) -> None:
        for event in events:
            self._trace(event)
            if isinstance(event, Urc):
                self._loop.call_soon(self._tell, event, self._tty.generation)
                self._hear_restart(event.line)
            elif self._resync is not None:
                self._resync.hear(event)
            else:
                self._hear_answer(event)
        if self._resync is not None and any(isinstance(event, Stale | Final | Prompt) for event in events):
            self._tty.write(self._resync.act())
            self._resynced()

    def _hear_restart(self, line: str) -> None:
        """End a command whose answer a modem forgot that started anew."""
        flight = self._flight
        if flight is not None and flight.prompted and line.strip().upper() in RESTARTED:
            self._give_up()
            _settle(flight, ModemSilent(f"the modem started anew before it answered {flight.shown}"))

    def _hear_answer(self, event: Event) -> None:
        flight = self._flight
        match event:
            case Prompt(mark=mark) if flight is not None and flight.prompt is not None:
                self._loop.call_later(PROMPT_PAUSE.get(mark, 0.0), self._answer_prompt, flight)
            case Prompt():
                self._tty.write(ESC)  # it came too late, nobody has anything to say to it
            case Information(line=line, data=data) if flight is not None:
                flight.lines.append(line)
                flight.data += data
            case Final(line=line, ok=ok) if flight is not None:
                self._flight = None
                _settle(flight, self._result(flight, line, ok=ok))
                self._loop.call_soon(self._next)

    def _result(self, flight: _Flight, line: str, *, ok: bool) -> Answer | ModemError:
        """Return what the final ``line`` of a command means.

        What comes in the place of a prompt, and an error after one, may be another command's, and a success
        without what proves it is: the next command begins with a resynchronisation then. ``+CMS ERROR`` is of
        texts alone [3GPP TS 27.005, section 3.2.5].
        """
        refused = None if ok else refusal(flight.shown, line)
        foreign = flight.prompted and refused is not None and refused.kind != "CMS"
        if flight.unasked or foreign or (ok and not flight.proven):
            self._engine.doubt(flight.request, prompt=flight.unasked)
        if refused is not None:
            return refused
        if flight.unasked:
            return AtOutOfStep(
                f"the modem answered {flight.shown} with {line} in the place of a prompt", line
            )
        if not flight.proven:
            return AtOutOfStep(f"the modem answered {flight.shown} with {line} without {flight.proof}", line)
        return Answer(tuple(flight.lines), line, flight.data)

    def _answer_prompt(self, flight: _Flight) -> None:
        if flight is self._flight:
            flight.prompted = True
            flight.lines.clear()  # what came before is nothing that it says to what follows
            self._tty.write(flight.prompt or b"")

    def _tell(self, urc: Urc, generation: int) -> None:
        if generation == self._tty.generation:
            self._on_urc(urc)

    def _trace(self, event: Event) -> None:
        if not log.isEnabledFor(logging.DEBUG):
            return
        flight = self._flight
        match event:
            case Urc(line=line, data=data):
                log.debug("! %s%s", _clip(line), f" + {len(data)} bytes" if data else "")
            case Prompt(mark=mark):
                log.debug("< %s", mark)
            case Noise(line=line):
                # An echo, perhaps garbled, of what must not be seen?
                hidden = flight is not None and flight.secret
                log.debug("~ %s", f"({len(line)} characters)" if hidden else _clip(line))
            case Information(line=line) | Final(line=line) | Stale(line=line):
                hidden = isinstance(event, Information) and flight is not None and flight.secret
                log.debug("< %s", f"({len(line)} characters)" if hidden else _clip(line))


def _clip(line: str) -> str:
    """Return ``line`` as a trace needs it."""
    return line if len(line) <= TRACED else f"{line[:TRACED]}… ({len(line)} characters)"


def _settle(flight: _Flight, result: Answer | ModemError) -> None:
    if flight.timer is not None:
        flight.timer.cancel()
    if flight.future.done():
        return
    if isinstance(result, Answer):
        flight.future.set_result(result)
    else:
        flight.future.set_exception(result)
        flight.future.exception()  # its caller may have been cancelled: that is no lost error
