"""Resynchronisation with a modem whose answers are late: finding out which final belongs to which command.

A modem executes its commands in order and gives each one final result [ITU-T V.250, section 5.7]. A command
or final that was lost on the way never gets one, so counting alone is not enough. The rules::

    AT is sent repeatedly until anything is received
    a final while none is owed      every command has had its own: in step again
    OK while finals are owed        the abandoned command's, or the probe's: `MARKER` is sent, whose answer is
                                    recognised by its information line
    the marker's information line   the final after it is the marker's own: in step again
    quiet after an OK               the modem does not know the marker: in step again, as far as one can tell
    a prompt                        the modem is in the middle of a text: ESC ends it [3GPP TS 27.005,
                                    section 3.5.1]
"""

from enum import Enum, auto

from bridge.protocol.at.engine import Engine, Event, Final, Noise, Prompt, Request, Stale

PROBE = Request("AT")
MARKER = Request("AT+CMEE?")
"""A query that every modem answers at once [3GPP TS 27.007, section 9.1]; never in flight twice."""

QUIET = 1.0
"""Seconds of silence after which the next step is taken."""

LONGEST_QUIET = 8.0

ESC = b"\x1b"


class State(Enum):
    """The state of the resynchronisation."""

    WAITING = auto()
    IN_STEP = auto()


class Resync:
    """One resynchronisation; the caller writes the results of `start`, `act` and `silence` at once.

    A batch of bytes may hold several events, which were read with the commands known before it. Therefore all
    events are taken in before the next step is decided.
    """

    def __init__(self, engine: Engine) -> None:
        self.state = State.WAITING
        self.quiet = QUIET
        """Seconds of silence after which `silence` is to be called."""
        self._engine = engine
        self._ok = False
        """Whether an OK was received."""
        self._marked = False
        """Whether the marker is in flight."""
        self._recognised = False
        """Whether the marker's information line was received."""
        self._prompted = False

    def start(self) -> bytes:
        """Return the first probe."""
        return self._send(PROBE)

    def receive(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case Final(ok=ok):
                if ok or self._marked:
                    self.state = State.IN_STEP
            case Stale(ok=ok):
                self._ok |= ok
                if self._recognised:
                    self.state = State.IN_STEP
            case Noise(line=line):
                self._recognised |= self._marked and line.startswith("+CMEE:")
            case Prompt():
                self._prompted = True

    def act(self) -> bytes:
        """Return what to write after a batch of events."""
        if self.state is State.IN_STEP:
            self._engine.settle()
            return b""
        prompted, self._prompted = self._prompted, False
        if self._ok and not self._marked:
            self._marked = True
            self._engine.abandon()
            return self._send(MARKER)
        return ESC if prompted else b""

    def silence(self) -> bytes:
        """Return what to write after ``quiet`` seconds of silence."""
        if self._ok:
            self.state = State.IN_STEP
            return self.act()
        self._engine.abandon()
        self.quiet = min(LONGEST_QUIET, 2 * self.quiet)
        # ESC ends a text that the modem waits for; before "AT" it is skipped [V.250, section 5.2.1].
        return ESC + self._send(PROBE)

    def _send(self, request: Request) -> bytes:
        self._engine.begin(request)
        return f"{request.text}\r".encode()
