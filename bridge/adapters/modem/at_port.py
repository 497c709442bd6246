"""A modem's AT port: one tty, one command in flight, unsolicited codes as they come.

Owned by the event loop's thread. `bridge.adapters.modem.at_tty` moves the bytes; this module assigns answers
to commands.

A command ends by its final result, by its own deadline, or with the port. After a deadline the modem's late
answer must not be taken for the next command's. Therefore the next command begins with a resynchronisation
(`bridge.protocol.at.resync`), within its own deadline.

The logger ``at`` traces the wire at debug level: ``>`` is ours, ``<`` the modem's, ``!`` unsolicited.
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
"""Seconds without a byte after which announced raw bytes count as lost."""

TRACED = 200
"""Number of a line's characters that the trace shows."""

PROMPT_PAUSE = {"@": 0.05}
"""Seconds that a modem needs after its prompt [u-blox SARA-R4 AT commands manual UBX-17003787, +USOWR]."""

RESYNC_TIMEOUT = 10.0
"""Seconds in which a modem must answer anything at all after a command that it did not answer."""


class _Flight:
    """A command in flight."""

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
        """Whether its information has the line that proves a success."""
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
        """``on_lost`` is called once, with the reason, when an open port breaks; not after `close`.

        ``payload_after`` returns the number of raw bytes after a line. Each callback runs in its own loop
        turn.
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
        """Whether the port takes commands."""
        return self._tty.is_open

    async def open(self, path: str, baud: int = 115200) -> None:
        """Open the tty at ``path`` exclusively; raises ModemGone if it is missing or taken.

        Does not wait for a carrier, and drops bytes that came before.
        """
        self.close()
        await self._tty.open(path, baud)
        self._engine = Engine(self._payload_after)

    def close(self) -> None:
        """Close the port; commands in flight or in the queue end with ModemGone."""
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
        """Send the command ``text``, without its line end, and return its answer.

        Commands queue up; ``timeout`` is the seconds from the command's turn on. ``finals`` are the final
        results that mean success. ``prompt`` is written unchanged after the prompt. ``proof`` is the name of
        the information line that a success has by its standard, such as ``+CMGS``. ``shown`` replaces
        ``text`` in traces and errors if it holds a secret. Raises AtRefused, AtOutOfStep, ModemSilent,
        ModemGone; ModemError if ``text`` is not one line of ASCII.
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
        """Withdraw a command whose caller was cancelled; does nothing if it has ended."""
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
        # Even the question of the resynchronisation was not answered: the queue must not wait for that modem.
        waiting = [flight, *self._queue]
        self._queue.clear()
        for each in waiting:
            _settle(each, ModemSilent(f"the modem does not answer: {each.shown} was not given"))

    def _give_up(self) -> None:
        """Abandon the command in flight and go on with the next."""
        self._engine.abandon()
        self._stop_resync()
        self._tty.drop_unwritten()
        if self._flight is not None and self._flight.timer is not None:
            self._flight.timer.cancel()
        self._flight = None
        self._loop.call_soon(self._next)

    # -- resynchronisation -------------------------------------------------------------------------------

    def _be_quiet(self) -> None:
        """Wait for a line, or for the silence that replaces one."""
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
        """Send the waiting command once the modem is in step."""
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
        self._receive(self._engine.feed(data))
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        if self._engine.in_payload and self.is_open:
            self._stall = self._loop.call_later(PAYLOAD_QUIET, self._payload_lost)

    def _payload_lost(self) -> None:
        log.debug("announced bytes did not come")
        self._receive(self._engine.end_payload())

    def _receive(self, events: list[Event]) -> None:
        for event in events:
            self._trace(event)
            if isinstance(event, Urc):
                self._loop.call_soon(self._notify, event, self._tty.generation)
                self._restarted(event.line)
            elif self._resync is not None:
                self._resync.receive(event)
            else:
                self._receive_answer(event)
        if self._resync is not None and any(isinstance(event, Stale | Final | Prompt) for event in events):
            self._tty.write(self._resync.act())
            self._resynced()

    def _restarted(self, line: str) -> None:
        """End a command whose answer the modem forgot because it restarted."""
        flight = self._flight
        if flight is not None and flight.prompted and line.strip().upper() in RESTARTED:
            self._give_up()
            _settle(flight, ModemSilent(f"the modem restarted before it answered {flight.shown}"))

    def _receive_answer(self, event: Event) -> None:
        flight = self._flight
        match event:
            case Prompt(mark=mark) if flight is not None and flight.prompt is not None:
                self._loop.call_later(PROMPT_PAUSE.get(mark, 0.0), self._answer_prompt, flight)
            case Prompt():
                self._tty.write(ESC)  # the prompt came too late: its command was abandoned
            case Information(line=line, data=data) if flight is not None:
                flight.lines.append(line)
                flight.data += data
            case Final(line=line, ok=ok) if flight is not None:
                self._flight = None
                _settle(flight, self._result(flight, line, ok=ok))
                self._loop.call_soon(self._next)

    def _result(self, flight: _Flight, line: str, *, ok: bool) -> Answer | ModemError:
        """Return the meaning of a command's final ``line``.

        Three results may be another command's: a final in place of a prompt, an error after the prompt, and a
        success without its proof. The next command then begins with a resynchronisation. ``+CMS ERROR``
        belongs only to SMS [3GPP TS 27.005, section 3.2.5].
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
            flight.lines.clear()  # lines before the prompt do not belong to the answer after it
            self._tty.write(flight.prompt or b"")

    def _notify(self, urc: Urc, generation: int) -> None:
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
                # Perhaps a garbled echo of a secret?
                hidden = flight is not None and flight.secret
                log.debug("~ %s", f"({len(line)} characters)" if hidden else _clip(line))
            case Information(line=line) | Final(line=line) | Stale(line=line):
                hidden = isinstance(event, Information) and flight is not None and flight.secret
                log.debug("< %s", f"({len(line)} characters)" if hidden else _clip(line))


def _clip(line: str) -> str:
    """Return ``line`` cut to the length that the trace shows."""
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
        flight.future.exception()  # the caller may have been cancelled: the error is not lost
