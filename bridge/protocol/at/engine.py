"""The AT engine: bytes from a modem in, events out. No I/O, no clock.

One command is in flight at a time. Its owner begins it by `Engine.begin`, and withdraws it by
`Engine.abandon` when its time is up. `bridge.protocol.at.rules` classifies the lines. Beside lines there are

* the prompt, ``> `` or ``@`` at the start of a line and without a line end, expected only while a command
  waits for it [3GPP TS 27.005, section 3.5.1; u-blox SARA-U2 AT commands manual UBX-13001820, +USOWR];
* raw bytes after a line, whose number ``payload_after`` returns (``+QIURC: "recv",0,12`` [Quectel BG96 TCP/IP
  AT Commands Manual]).

Every command gets exactly one final result, and an abandoned command still owes its own. A final that comes
while any is owed is `Stale` and counted, and information of the abandoned command is dropped, so that a late
answer is never taken for the next command's. `bridge.protocol.at.resync` leads back into step.

A final may also belong to another command: a USSD session is answered OK at once and may end by an error of
its own later [3GPP TS 27.007, section 7.15]. The owner reports it by `Engine.doubt` if it can tell. If it
cannot, information of the last command after its final shows it: then the command's own final is still to
come.

Memory is bounded by `MAX_LINE`, `MAX_PAYLOAD` and `MAX_ANSWER`, whatever the modem sends.
"""

from collections.abc import Callable
from typing import NamedTuple

from bridge.protocol.at.rules import TWO_LINES, Kind, Request, classify, is_code, is_unfinished, name_of

__all__ = ["Answer", "Engine", "Event", "Final", "Information", "Noise", "Prompt", "Request", "Stale", "Urc"]

MAX_LINE = 8192
"""Bytes of a line that are kept; the longest useful line is 1024 bytes in hex after their fields."""

MAX_PAYLOAD = 65536
"""Bytes of raw data that a line may announce; a larger number counts as an error."""

MAX_ANSWER = 1_000_000
"""Bytes of information in one answer; any more are dropped."""

_DROPPED = bytes(byte for byte in range(0x20) if byte not in b"\t\r\n") + b"\x7f"
_TABLE = bytes.maketrans(b"\t", b" ")


class Answer(NamedTuple):
    """A modem's answer to a command."""

    lines: tuple[str, ...]
    final: str
    data: bytes = b""
    """The raw bytes within the information."""


class Information(NamedTuple):
    """A line of the answer to the command in flight, and the raw bytes after it."""

    line: str
    data: bytes = b""


class Final(NamedTuple):
    """The end of the answer to the command in flight."""

    line: str
    ok: bool


class Stale(NamedTuple):
    """A final result while an abandoned command still owes one."""

    line: str
    ok: bool


class Urc(NamedTuple):
    """An unsolicited result code.

    ``data`` is the raw bytes after it, or, for ``+CMT``, ``+CDS`` and ``+CBM``, the line after it. The text
    of ``+CUSD`` may have line ends in its quotes, and ``line`` then has them too.
    """

    line: str
    data: bytes = b""


class Prompt(NamedTuple):
    """The modem waits for input that is not a command line."""

    mark: str


class Noise(NamedTuple):
    """An echo, garbage, or the late answer of an abandoned command."""

    line: str


Event = Information | Final | Stale | Urc | Prompt | Noise


class Engine:
    """Reads the bytes of a modem."""

    def __init__(self, payload_after: Callable[[str], int] | None = None) -> None:
        """``payload_after`` returns the number of raw bytes after a line that is no final result."""
        self._payload_after = payload_after
        self._request: Request | None = None
        self._abandoned: Request | None = None
        self._owed = 0
        self._prompt_owed = False
        """Whether an abandoned command may still get its prompt."""
        self._buffer = bytearray()
        self._overlong = False
        self._head: Information | Urc | Noise | None = None
        """The line whose raw bytes, or whose second line, are being read."""
        self._wanted = 0
        self._after_cr = False
        self._seen = False
        self._prompted = False
        self._room = MAX_ANSWER
        self._last: Request | None = None
        """The command before, if it ended without any information."""

    # -- the owner's calls -------------------------------------------------------------------------------

    def begin(self, request: Request) -> None:
        """Put ``request``, which is about to be written, in flight."""
        self._request = request
        self._seen = self._prompted = False
        self._room = MAX_ANSWER

    def abandon(self) -> None:
        """Abandon the command in flight; its final is still owed."""
        if self._request is not None:
            self._abandoned = self._request
            self._prompt_owed |= self._request.prompt
            self._request = None
            self._owed += 1

    def doubt(self, request: Request, *, prompt: bool) -> None:
        """Assume the final of ``request`` was another's: its own is owed, and with ``prompt`` its prompt."""
        self._abandoned = request
        self._prompt_owed |= prompt
        self._owed += 1

    def settle(self) -> None:
        """Assume that nothing is owed any more."""
        self._owed = 0
        self._abandoned = self._last = None
        self._prompt_owed = False

    @property
    def owed(self) -> int:
        """Number of finals that abandoned commands owe."""
        return self._owed

    @property
    def in_payload(self) -> bool:
        """Whether raw bytes, or a second line, are outstanding."""
        return self._head is not None

    def end_payload(self) -> list[Event]:
        """End the raw bytes early, because the rest was lost on the way."""
        return [self._close_payload()] if self._head is not None else []

    # -- the modem's bytes -------------------------------------------------------------------------------

    def feed(self, data: bytes) -> list[Event]:
        """Read ``data``, cut anywhere; return its events, in order."""
        events: list[Event] = []
        position = 0
        while position < len(data):
            if self._wanted:
                position = self._take_payload(data, position, events)
            else:
                position = self._take_line(data, position, events)
        return events

    def _take_payload(self, data: bytes, position: int, events: list[Event]) -> int:
        if self._after_cr:  # the line's own LF is not part of what follows it
            self._after_cr = False
            if data[position] == 0x0A:
                return position + 1
        part = data[position : position + self._wanted]
        self._buffer += part
        self._wanted -= len(part)
        if not self._wanted:
            events.append(self._close_payload())
        return position + len(part)

    def _close_payload(self) -> Event:
        assert self._head is not None
        head, self._head = self._head, None
        data = bytes(self._buffer)
        self._buffer.clear()
        self._wanted = 0
        return head if isinstance(head, Noise) else head._replace(data=data)

    def _take_line(self, data: bytes, position: int, events: list[Event]) -> int:
        end = _line_end(data, position)
        self._keep(data[position : end if end >= 0 else len(data)])
        if end < 0:
            self._look_for_prompt(events)
            return len(data)
        self._after_cr = data[end] == 0x0D
        self._look_for_prompt(events)
        raw = self._buffer.strip()
        overlong, self._overlong = self._overlong, False
        self._buffer.clear()
        if raw:
            text = raw.decode("utf-8", "replace")
            self._line(text, events) if not overlong else events.append(Noise(text))
        return end + 1

    def _keep(self, part: bytes) -> None:
        """Keep a part of a line without the bytes that no line has, such as NUL at power-up."""
        part = part.translate(_TABLE, _DROPPED)
        room = MAX_LINE - len(self._buffer)
        if len(part) > room:
            self._overlong = True
        self._buffer += part[:room]

    def _look_for_prompt(self, events: list[Event]) -> None:
        """Find a prompt at the start of the line."""
        if (
            self._prompted
            or self._head is not None
            or not (self._prompt_owed or (self._request and self._request.prompt))
        ):
            return
        begun = self._buffer.lstrip()
        if begun.startswith((b">", b"@")):
            self._prompted = True
            events.append(Prompt(begun[:1].decode()))
            self._buffer = begun[1:]

    def _line(self, line: str, events: list[Event]) -> None:
        if self._head is not None:  # a further line of a code that has several
            self._take_further(line, events)
            return
        self._notice_shift(line)
        kind = classify(line, self._waiting, seen=self._seen)
        if kind in (Kind.DONE, Kind.FAILED):
            events.append(self._final(line, ok=kind is Kind.DONE))
            return
        head = self._head_of(kind, line)
        self._wanted = self._announced(line)
        if self._wanted or (isinstance(head, Urc) and (name_of(line) in TWO_LINES or is_unfinished(line))):
            self._head = head
        else:
            events.append(head)

    def _take_further(self, line: str, events: list[Event]) -> None:
        """Take the second line of a code of two, or the next line of a quoted text, whatever its content."""
        head = self._head
        if isinstance(head, Urc) and is_unfinished(head.line):
            self._head = head = head._replace(line=f"{head.line}\n{line}")
            if is_unfinished(head.line):
                return
        else:
            self._buffer += line.encode()
        events.append(self._close_payload())

    def _notice_shift(self, line: str) -> None:
        """Detect that ``line`` belongs to the command before, whose final was another's."""
        last, name = self._last, name_of(line)
        if last is None or not name or is_code(line) or name not in last.names:
            return
        self._last = None
        if self._request is not None and name not in self._request.names and not self._owed:
            self.doubt(last, prompt=False)

    @property
    def _waiting(self) -> Request | None:
        """The command that the next lines belong to: the abandoned one as long as finals are owed."""
        if not self._owed or self._abandoned is None:
            return self._request
        return self._abandoned._replace(finals=(*self._abandoned.finals, "OK"))

    def _final(self, line: str, *, ok: bool) -> Event:
        if self._owed:
            self._owed -= 1
            if not self._owed:
                self.settle()
            return Stale(line, ok)
        request, self._request = self._request, None
        self._last = request if request and not self._seen and (not ok or request.reads) else None
        return Final(line, ok)

    def _head_of(self, kind: Kind, line: str) -> Information | Urc | Noise:
        if kind is Kind.UNSOLICITED:
            return Urc(line)
        self._seen = self._seen or kind is Kind.INFORMATION
        self._room -= len(line) + 64
        if kind is Kind.NOISE or self._owed or self._room < 0:
            return Noise(line)
        return Information(line)

    def _announced(self, line: str) -> int:
        announced = self._payload_after(line) if self._payload_after else 0
        return announced if 0 < announced <= MAX_PAYLOAD else 0


def _line_end(data: bytes, start: int) -> int:
    """Return the index of the first CR or LF, or -1."""
    cr, lf = data.find(b"\r", start), data.find(b"\n", start)
    return min(cr, lf) if cr >= 0 and lf >= 0 else max(cr, lf)
