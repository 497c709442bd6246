"""The cloud socket's protocol as the server sees it: bytes in, requests out, and the answer to each.

The rules (Hologram, Embedded TCP API; hologram-python 0.3 to 0.10):

- One request per connection. Its first byte is the form: ``{`` (or ``[``, which is refused as no object)
  is JSON, ``S`` an SMS, ``C`` a message under a one-time code (TOTP). Any other first byte is code 5 at once.
- JSON and SMS end with two newlines, or with two carriage returns as the official SDK ends them; whichever
  pair comes first. TOTP ends with an empty field.
- Bytes after the end are ignored. A request that never ends is code 1, which only the log records.
- JSON is answered ``[code,0]``, the compact forms ``code`` and ``0`` as digits.

A request is checked in this order: form (2 and 5), credentials (3), payload (4), metadata (7), topics (8).

This module follows the documentation alone and shares no code with the bridge's encoder, so that each tests
the other.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from bridge.sim.requests import (
    AUTHINVALID,
    MSGINVALID,
    PROTINVALID,
    CloudKeys,
    Form,
    OneTimeCode,
    Request,
    read_json,
    read_sms,
    read_totp,
    refused,
)
from bridge.sim.totp import code_is_right

MAX_REQUEST: Final = 16 * 1024 * 1024
"""Bytes after which a request without an end is refused with code 2, to bound the memory."""

_TOTP_HEADER: Final = 128  # device id, timestamp and code with their spaces take some 40 bytes


class Accounts(NamedTuple):
    """The credentials that the cloud accepts: the device key, and optionally the older and the TOTP pair."""

    devicekey: str
    cloud_keys: CloudKeys | None = None
    device_id: str | None = None
    private_key: str | None = None


class RequestReader:
    """Collects the bytes of one connection until they are a request."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._seen = 0  # bytes already searched for an end
        self._fields: list[bytes] = []  # TOTP: the header, then the fields that are whole
        self._at = 0  # TOTP: where the next field starts
        self._done = False

    @property
    def pending(self) -> int:
        """Number of bytes of an unfinished request."""
        return 0 if self._done else len(self._buffer)

    def feed(self, data: bytes) -> Request | None:
        """Take received bytes; return the request once it is whole, afterwards None."""
        if self._done or not data:
            return None
        buffer = self._buffer
        buffer += data
        request = self._read()
        if request is None and len(buffer) >= MAX_REQUEST:
            request = refused("unknown", len(buffer), MSGINVALID, "the request has no end")
        self._done = request is not None
        return request

    def _text_end(self) -> int:
        """Return where the terminator starts, -1 when it has not come."""
        start = max(0, self._seen - 1)  # the pair may be split between two reads
        self._seen = len(self._buffer)
        newlines = self._buffer.find(b"\n\n", start)
        returns = self._buffer.find(b"\r\r", start, newlines if newlines >= 0 else len(self._buffer))
        return returns if returns >= 0 else newlines

    def _text(self, read: Callable[[bytes, int], Request]) -> Request | None:
        end = self._text_end()
        return None if end < 0 else read(bytes(self._buffer[:end]), end + 2)

    def _totp(self) -> Request | None:
        buffer = self._buffer
        if not self._fields:
            *parts, rest = bytes(buffer[:_TOTP_HEADER]).split(b" ", 3)
            if len(parts) < 3:
                if len(buffer) < _TOTP_HEADER:
                    return None
                return refused("totp", _TOTP_HEADER, MSGINVALID, "no device id, time and code")
            self._fields.append(b" ".join(parts))
            self._at = self._seen = min(len(buffer), _TOTP_HEADER) - len(rest)
        while self._at < len(buffer):
            if not buffer[self._at]:
                return read_totp(self._fields, self._at + 1)
            end = buffer.find(0, self._seen)
            if end < 0:
                self._seen = len(buffer)
                return None
            self._fields.append(bytes(buffer[self._at : end]))
            self._at = self._seen = end + 1
        return None

    def _read(self) -> Request | None:
        first = self._buffer[0]
        if first in b"{[":
            return self._text(read_json)
        if first in b"S":
            return self._text(read_sms)
        if first in b"C":
            return self._totp()
        return refused("unknown", 1, PROTINVALID, "the first byte belongs to no known form")


def judge(request: Request, accounts: Accounts, now: float) -> tuple[int, str | None]:
    """Return the code for ``request`` and the reason of a refusal; ``now`` in Unix seconds."""
    if request.code in {MSGINVALID, PROTINVALID} or _is_known(request, accounts, now):
        return request.code, request.problem
    return AUTHINVALID, "these credentials are not known"


def answer(form: Form, code: int) -> bytes:
    """Return the bytes of the answer ``code``."""
    return b"%d0" % code if form in {"sms", "totp"} else b"[%d,0]" % code


def _is_known(request: Request, accounts: Accounts, now: float) -> bool:
    proof = request.proof
    if isinstance(proof, OneTimeCode):
        if accounts.private_key is None or proof.device_id != accounts.device_id:
            return False
        return code_is_right(accounts.private_key, proof.timestamp, proof.code, now)
    if isinstance(proof, CloudKeys):
        return proof == accounts.cloud_keys
    # An SMS carries the older pair, of 4 characters each, as one key of 8 (hologram-python 0.3).
    older = "".join(accounts.cloud_keys) if accounts.cloud_keys and request.form == "sms" else None
    return proof is not None and proof in {accounts.devicekey, older}
