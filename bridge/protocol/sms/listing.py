"""The modem's answers about its store of SMS, in PDU mode [3GPP TS 27.005, sections 3.2.2 to 3.4.3]."""

import re
from collections.abc import Iterable
from typing import NamedTuple

_LISTED = re.compile(
    r'\+CMGL: ?(\d{1,6}) ?, ?(\d{1,6}) ?,((?: ?"[^"]*" ?|[^,]*),)? ?(\d{1,6})(?![^,])', re.ASCII
)
_READ = re.compile(r"\+CMGR: ?(\d{1,6}) ?,([^,]*,)? ?(\d{1,6})", re.ASCII)
_STORE = re.compile(r'\+CPMS: ?"(\w+)" ?, ?(\d{1,6}) ?, ?(\d{1,6})', re.ASCII)
_SENT = re.compile(r"\+CMGS: ?(\d{1,6})", re.ASCII)
_NOTICE = re.compile(
    r'(?:\+CMTI|\+CDSI|\^SMMEMFULL|\+QIND: ?"SMSFULL" ?,)(?::)? ?"?(\w+)"?', re.ASCII | re.IGNORECASE
)
_PUSHED = re.compile(r"\+(?:CMT|CDS) ?:", re.ASCII | re.IGNORECASE)
_HEX = re.compile(r"[0-9A-F]+", re.IGNORECASE | re.ASCII)

_RECEIVED = (0, 1)
"""Unread and read; 2 and 3 are SMS stored for sending."""


class Entry(NamedTuple):
    """A received SMS in the modem's store."""

    slot: int
    """The index in the store."""
    pdu: str
    whole: bool
    """Whether the PDU has the announced length; otherwise bytes were lost on the line."""


class Store(NamedTuple):
    """The use of the current store."""

    name: str
    used: int
    total: int


def read_list(lines: Iterable[str]) -> list[Entry]:
    """Return the received SMS of an answer to ``AT+CMGL=4``."""
    return [
        _entry(int(head[1]), int(head[4]), pdu)
        for head, pdu in _pairs(lines, _LISTED)
        if int(head[2]) in _RECEIVED
    ]


def unread(lines: Iterable[str]) -> list[str]:
    """Return the lines of an answer to ``AT+CMGL=4`` that name an SMS which `read_list` skips."""
    given = list(lines)
    known = tuple(head[0] for head, _ in _pairs(given, _LISTED))
    return [line for line in given if line.startswith("+CMGL") and not line.startswith(known)]


def read_one(index: int, lines: Iterable[str]) -> Entry | None:
    """Return the SMS of an answer to ``AT+CMGR=index``."""
    for head, pdu in _pairs(lines, _READ):
        return _entry(index, int(head[3]), pdu)
    return None


def read_store(lines: Iterable[str]) -> Store | None:
    """Return the first store of an answer to ``AT+CPMS?``."""
    for line in lines:
        if found := _STORE.match(line):
            return Store(found[1], int(found[2]), int(found[3]))
    return None


def read_reference(lines: Iterable[str]) -> int | None:
    """Return the reference in the answer to ``AT+CMGS``."""
    for line in lines:
        if found := _SENT.match(line):
            return int(found[1])
    return None


def read_notice(line: str) -> str | None:
    """Return the store that an unsolicited code names as full, or as having a new SMS."""
    found = _NOTICE.match(line)
    return found[1].upper() if found else None


def read_pushed(line: str, data: bytes) -> str | None:
    """Return the PDU inside an unsolicited code, by which some modems deliver flash SMS."""
    if not _PUSHED.match(line) or not data:
        return None
    return data.decode("ascii", "replace").strip()


def _pairs(lines: Iterable[str], head: re.Pattern[str]) -> Iterable[tuple[re.Match[str], str]]:
    """Return each head line with the hexadecimal line after it; a head without one is skipped.

    Lines after an unreadable head are skipped too, because they do not belong to the head before.
    """
    last: re.Match[str] | None = None
    for line in lines:
        if line.startswith("+CMG"):
            last = head.match(line)
        elif last is not None and _HEX.fullmatch(line.strip()):
            yield last, line.strip()
            last = None


def _entry(index: int, length: int, pdu: str) -> Entry:
    """Check ``pdu`` against its length, which counts octets without the service centre's address.

    Old modems omit that address altogether; an empty one takes its place.
    """
    if len(pdu) == 2 * length:
        return Entry(index, "00" + pdu, whole=True)
    centre = int(pdu[:2], 16) + 1
    return Entry(index, pdu, whole=len(pdu) == 2 * (centre + length))
