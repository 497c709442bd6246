"""The output of pppd and chat: log lines as events, exit codes in words.

Sources: pppd(8) and chat(8) of ppp 2.4.9 (Debian bookworm); the log lines as these two programs write them to
their standard output and error, which pppd gives to its connect script too.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from bridge.core.modem import Link

LONGEST_LINE = 4096
"""Number of characters of a log line; a longer line is cut."""


class Kind(StrEnum):
    """The meaning of a log line."""

    DIALLING = "dialling"
    """chat sent the dial command; the value is the command."""
    CONNECTED = "connected"
    """The modem is in data mode: the connect script is done."""
    INTERFACE = "interface"
    LOCAL_IP = "local_ip"
    REMOTE_IP = "remote_ip"
    DNS = "dns"
    WHY = "why"
    """The call ends; the value is the reason for the user."""
    HELD = "held"
    """The same, because another program has the port: no call was made."""
    VAGUE = "vague"
    """As WHY, but another line may give a better reason."""


class Event(NamedTuple):
    """The event of one log line."""

    kind: Kind
    value: str


_ABORTED = {
    "BUSY": "BUSY: the network has no room for the call now",
    "NO CARRIER": "NO CARRIER: no data connection; check the SIM's state, the APN and the signal",
    "NO ANSWER": "NO ANSWER: the network did not answer the call",
    "NO DIALTONE": "NO DIALTONE: the modem is in no network",
    "NO DIAL TONE": "NO DIAL TONE: the modem is in no network",
    "VOICE": "VOICE: the modem made a telephone call of it; check the dial command",
    "DELAYED": "DELAYED: the modem does not dial again so soon after failed calls",
    "ERROR": "ERROR: the modem refused a command of the chat script; check the APN",
}
"""The abort strings of our chat scripts [chat(8), ABORT; ITU-T V.250, section 5.7.1]."""

_LOCKED = "the port is held by another program ({})"
_PEER = "the other end hung up"
_ECHO = "the modem no longer answers on the data port (LCP echo)"
_HANGUP = "the modem hung up"
_AUTH = "authentication failed: check network.ppp_user and network.ppp_password"
_SILENT = "the modem is in data mode but does not speak PPP (LCP timeout)"
_NO_IP = "the network gave no address (IPCP timeout)"
_LOOP = "the modem is not in data mode: it sends back what it gets"
_NO_PPP = "this kernel has no PPP: /dev/ppp is missing; install the kernel's ppp modules (modprobe ppp_async)"
_CHAT_SILENT = "timeout: the modem did not answer the chat script; is it the right port?"
_PATTERNS: tuple[tuple[str, Kind, str], ...] = (
    # -- chat -v -s -S ------------------------------------------------------------------------------------
    (r"send \((AT ?D.*)\^M\)", Kind.DIALLING, "{}"),
    (r"Failed \((.+)\)", Kind.WHY, "{}"),
    (r"Failed", Kind.WHY, _CHAT_SILENT),
    (r"[Cc]an't open (?:chat )?file .*", Kind.WHY, "the chat script cannot be read: {line}"),
    # -- pppd: setting up ---------------------------------------------------------------------------------
    (r"Serial connection established\.", Kind.CONNECTED, ""),
    (r"Using interface (\S+)", Kind.INTERFACE, "{}"),
    (r"Renamed interface \S+ to (\S+)", Kind.INTERFACE, "{}"),
    (r"local  IP address ([0-9.]+)", Kind.LOCAL_IP, "{}"),
    (r"remote IP address ([0-9.]+)", Kind.REMOTE_IP, "{}"),
    (r"(?:primary|secondary) +DNS address ([0-9.]+)", Kind.DNS, "{}"),
    (r"Device \S+ is locked by pid (\d+)", Kind.HELD, _LOCKED.format("pid {}")),
    # EBUSY: the port's owner excludes all but root [ioctl_tty(2), TIOCEXCL]; ModemManager does so.
    (r"Failed to open (\S+): Device or resource busy", Kind.HELD, "the port {} is held by another program"),
    (r"Failed to open (\S+): (.+)", Kind.WHY, "the port {} cannot be opened: {}"),
    (r"Couldn't (?:stat|open) (/dev/(?!ppp)\S+): (.+)", Kind.WHY, "the port {} cannot be opened: {}"),
    (r"Couldn't open (?:the )?/dev/ppp.*", Kind.WHY, _NO_PPP),
    (r".*lacks (?:kernel support for PPP|PPP kernel support).*", Kind.WHY, _NO_PPP),
    (r"Connect script failed", Kind.VAGUE, "the connect script failed"),
    # -- pppd: negotiating --------------------------------------------------------------------------------
    (r"LCP: timeout sending Config-Requests", Kind.WHY, _SILENT),
    (r"IPCP: timeout sending Config-Requests", Kind.WHY, _NO_IP),
    (r"Serial line is looped back\.", Kind.WHY, _LOOP),
    (r"Serial link appears to be disconnected\.", Kind.WHY, _ECHO),
    (r"No response to \d+ echo-requests", Kind.WHY, _ECHO),
    (r"(?:PAP|CHAP|EAP) authentication failed.*", Kind.WHY, _AUTH),
    (r"(?:Failed to authenticate ourselves to peer|No auth is possible)", Kind.WHY, _AUTH),
    (r"No response to PAP authenticate-requests", Kind.WHY, _AUTH),
    (r"No \S+ secret found for authenticating us to .*", Kind.WHY, _AUTH),
    (r"(?:Peer r|R)efused (?:to agree to )?our IP address", Kind.WHY, "the network refused our address"),
    (r"Could not determine local IP address", Kind.WHY, "the network gave no address"),
    (r"Couldn't set tty to PPP discipline: (.+)", Kind.WHY, "this kernel has no PPP on serial ports: {}"),
    # -- pppd: ending -------------------------------------------------------------------------------------
    (r"LCP terminated by peer(?: \((.*)\))?", Kind.WHY, _PEER + "{}"),
    (r"Modem hangup", Kind.VAGUE, _HANGUP),
    (r"Hangup \(SIGHUP\)", Kind.VAGUE, _HANGUP),
    (r"Terminating on signal (\d+)", Kind.VAGUE, "pppd was told to end (signal {})"),
    (r"Fatal signal (\d+)", Kind.WHY, "pppd broke down (signal {})"),
)
_LINES = tuple((re.compile(pattern), kind, text) for pattern, kind, text in _PATTERNS)

_EXITS = {
    0: _PEER,
    1: "pppd failed at once: a system call it needs did not work",
    2: "pppd does not take an option: check the ppp options file",
    3: "pppd needs root",
    4: _NO_PPP,
    5: "pppd was told to end",
    6: _LOCKED.format("see its lock file in /run/lock"),
    7: "the port cannot be opened",
    8: "the chat script failed",
    9: "the command behind pppd's pty option could not be run",
    10: "the PPP negotiation failed",
    11: "the other end did not authenticate itself",
    12: "the link was idle",
    13: "the link's time was up",
    14: "the other end wants to call back",
    15: _ECHO,
    16: _HANGUP,
    17: _LOOP,
    18: "the init script failed",
    19: _AUTH,
}
"""[pppd(8), EXIT STATUS]"""


def read_line(line: str) -> Event | None:
    """Return the event of a log line of pppd or chat, or None if it does not matter."""
    text = line.strip()
    for pattern, kind, template in _LINES:
        match = pattern.fullmatch(text)
        if match:
            return Event(kind, _fill(template, match))
    return None


def _fill(template: str, match: re.Match[str]) -> str:
    values = [value or "" for value in match.groups()]
    if template == _PEER + "{}":
        return f"{_PEER}: {values[0]}" if values[0] else _PEER
    filled = template.format(*values, line=match.group())
    return _ABORTED.get(filled, filled)


def exit_reason(code: int) -> str:
    """Return the meaning of pppd's exit ``code``; negative: the signal that killed it."""
    if code < 0:
        return f"pppd was killed (signal {-code})"
    return _EXITS.get(code, f"pppd ended with the unknown code {code}")


class Lines:
    """Joins bytes to lines; ``feed`` accepts them in any pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """Return the lines that ``data`` completes, without bytes that only move the cursor."""
        *lines, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            lines, self._rest = [*lines, self._rest[:LONGEST_LINE]], b""
        for line in lines:
            text = "".join(
                char for char in line[:LONGEST_LINE].decode(errors="replace") if char.isprintable()
            )
            if text.strip():
                yield text.strip()

    def close(self) -> Iterator[str]:
        """Return the unfinished line at the end."""
        yield from self.feed(b"\n")


class Call:
    """The log of one run of pppd so far."""

    def __init__(self) -> None:
        self.dialled = False
        self.connected = False
        self.held = False
        """Whether another program has the port."""
        self.interface: str | None = None
        self.local_ip: str | None = None
        self.remote_ip: str | None = None
        self.dns: tuple[str, ...] = ()
        self._why: str | None = None
        self._vague: str | None = None

    @property
    def link(self) -> Link | None:
        """The link, once it has its interface and both addresses."""
        if self.interface and self.local_ip and self.remote_ip:
            return Link(self.interface, self.local_ip, self.remote_ip)
        return None

    @property
    def over(self) -> bool:
        """Whether a line has announced the end of the call."""
        return bool(self._why or self._vague)

    def take(self, line: str) -> Event | None:
        """Record ``line`` and return its event."""
        event = read_line(line)
        match event:
            case Event(Kind.DIALLING):
                self.dialled = True
            case Event(Kind.CONNECTED):
                self.connected = True
            case Event(Kind.INTERFACE, name):
                self.interface = name
            case Event(Kind.LOCAL_IP, address):
                self.local_ip = address
            case Event(Kind.REMOTE_IP, address):
                self.remote_ip = address
            case Event(Kind.DNS, address) if address not in self.dns:
                self.dns = (*self.dns, address)
            case Event(Kind.WHY | Kind.HELD as kind, reason):
                self.held = self.held or kind is Kind.HELD
                self._why = self._why or self._placed(reason)
            case Event(Kind.VAGUE, reason):
                self._vague = self._vague or reason
        return event

    def _placed(self, reason: str) -> str:
        if reason == _CHAT_SILENT and self.dialled:
            return "timeout: the modem did not answer the dial command"
        return reason

    def reason(self, code: int | None) -> str:
        """Return why the call ended, most precise first; ``code``: pppd's exit code, None while it runs."""
        ended = exit_reason(code) if code is not None else None
        return self._why or self._vague or ended or self.stage()

    def stage(self) -> str:
        """Return the stage that the call has reached."""
        if self.link:
            return "the link is up"
        if self.connected:
            return "connected, but the network has given no address yet"
        return "dialled, but not connected yet" if self.dialled else "not dialled yet"


_UP = re.compile(r"up on (\S+), local (\S+), remote ([^\s,]+)(?:, name servers ([0-9. ]+))?")


def status_up(link: Link) -> str:
    """Return the status line by which the root unit reports its link to the bridge [sd_notify(3), STATUS]."""
    dns = f", name servers {' '.join(link.dns)}" if link.dns else ""
    return f"up on {link.interface}, local {link.local_ip}, remote {link.remote_ip}{dns}"


def read_status(text: str) -> Link | None:
    """Return the link in the root unit's status line; None if there is none."""
    match = _UP.fullmatch(text)
    return Link(match[1], match[2], match[3], tuple((match[4] or "").split())) if match else None
