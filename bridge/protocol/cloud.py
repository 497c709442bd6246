"""The cloud socket's requests and answers: from values to bytes, and back.

One TCP connection carries one request: connect, send it, read the answer [Hologram documentation, Embedded
TCP API]. The JSON form is an object and two newline characters. The compact forms of SMS and TOTP end in two
newlines or in NUL bytes. The answer to JSON is ``[code,0]``. The answer to a compact form is the digits of
``code`` and ``0``, such as ``00`` [documentation; hologram-python 0.9].
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from bridge.errors import InvalidCommand

BASE64_TOPIC = "base64"
"""The extra topic of a payload that is not UTF-8. JSON carries text, so such a payload travels as base64."""

SMS_LIMIT = 160
"""Characters of an SMS by the cloud at most [Hologram documentation, Embedded TCP API]."""

TOTP_STEP = 30
"""Seconds for which one code is valid [RFC 6238, section 4.1; hologram-python 0.3]."""

_ANSWER = re.compile(rb"\s*(?:\[\s*(\d{1,3})\s*,\s*\d{1,3}\s*\]|(\d)0)\s*")
_PARTIAL = re.compile(rb"\s*(?:\[\s*(?:\d{1,3}\s*(?:,\s*(?:\d{1,3}\s*)?)?)?|\d?)")


class DeviceKey(NamedTuple):
    """The 8-character device key: ``k`` of the JSON form."""

    key: str


class LegacyKey(NamedTuple):
    """The older cloud id and cloud key, 4 characters each: ``s`` and ``c`` [hologram-python 0.3]."""

    cloud_id: str
    cloud_key: str


class Totp(NamedTuple):
    """Device id (the SIM's ICCID) and private key (its IMSI), which sign the time [hologram-python 0.3]."""

    device_id: str
    private_key: str


Credentials = DeviceKey | LegacyKey | Totp


def encode(credentials: Credentials, topics: Sequence[str], payload: bytes, wall: float) -> bytes:
    """Return the request that sends ``payload`` under ``topics``.

    ``wall`` is Unix seconds; only TOTP uses it.
    """
    if isinstance(credentials, Totp):
        return _encode_totp(credentials, topics, payload, wall)
    return _encode_json(credentials, topics, payload)


def _encode_json(credentials: DeviceKey | LegacyKey, topics: Sequence[str], payload: bytes) -> bytes:
    """Return the most compact JSON: short keys, no spaces, UTF-8, one topic as a string, no empty list.

    Short and long key names must not be mixed [Hologram documentation, Embedded TCP API].
    """
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        text = base64.b64encode(payload).decode()
        if BASE64_TOPIC not in topics:
            topics = (*topics, BASE64_TOPIC)
    if isinstance(credentials, DeviceKey):
        who = f'"k":{_dumps(credentials.key)}'
    else:
        who = f'"s":{_dumps(credentials.cloud_id)},"c":{_dumps(credentials.cloud_key)}'
    under = f',"t":{_dumps(topics[0] if len(topics) == 1 else list(topics))}' if topics else ""
    return f'{{{who},"d":{_dumps(text)}{under}}}\n\n'.encode()


_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _encode_totp(credentials: Totp, topics: Sequence[str], payload: bytes, wall: float) -> bytes:
    r"""``C<device_id> <timestamp> <code> T<topic>\0 B<data>\0 \0`` without the spaces between the parts.

    The form carries bytes as they are, except NUL, which ends a part [hologram-python 0.3].
    """
    if b"\0" in payload:
        payload = base64.b64encode(payload)
        topics = (*(topic for topic in topics if topic != BASE64_TOPIC), BASE64_TOPIC)
    timestamp = int(wall)
    head = f"C{credentials.device_id} {timestamp} {totp_code(credentials.private_key, timestamp)} "
    parts = b"".join(b"T" + topic.encode() + b"\0" for topic in topics)
    return head.encode() + parts + b"B" + payload + b"\0\0"


def totp_code(private_key: str, timestamp: int) -> int:
    """Return the HOTP value of RFC 4226 for ``timestamp`` in Unix seconds, modulo 10^6, not padded."""
    return hotp(private_key.encode("ascii"), timestamp // TOTP_STEP)


def hotp(key: bytes, counter: int) -> int:
    """Return HOTP(key, counter) with 6 digits over SHA-1 [RFC 4226, section 5.3]."""
    digest = hmac.new(key, counter.to_bytes(8, "big"), hashlib.sha1).digest()
    start = digest[-1] & 0x0F
    return (int.from_bytes(digest[start : start + 4], "big") & 0x7FFFFFFF) % 10**6


def overhead(credentials: Credentials, topic: str) -> int:
    """Return the bytes of a request under ``topic`` beside its payload, which needs no escapes, at most."""
    if isinstance(credentials, Totp):  # the code has up to 6 digits; the seconds have 10 until 2286
        return len(f"C{credentials.device_id} {10**9} {10**5} T{topic}\0B\0\0")
    return len(_encode_json(credentials, (topic,), b""))


def encode_sms(credentials: DeviceKey | LegacyKey, to: str, body: str) -> bytes:
    """Return the request that sends one SMS: ``S``, the key, the number, a space, the text, two newlines.

    Only key authentication can send SMS [Hologram documentation, Embedded TCP API].
    """
    key = credentials.key if isinstance(credentials, DeviceKey) else "".join(credentials)
    return f"S{key}{to} {body}\n\n".encode()


def check_sms_body(body: str) -> None:
    """Raise `InvalidCommand` unless ``body`` fits one SMS request."""
    if len(body) > SMS_LIMIT:
        raise InvalidCommand(
            "body", body, f"a cloud SMS has at most {SMS_LIMIT} characters, this has {len(body)}"
        )
    if re.search(r"\n\n|\r\r", body) or body.endswith(("\n", "\r")):
        raise InvalidCommand("body", body, "two line ends in a row end a cloud SMS; send it via the modem")
    if not body:
        raise InvalidCommand("body", body, "an SMS needs a text")


class Answer(NamedTuple):
    """The meaning of the bytes received so far."""

    code: int | None
    """The cloud's code; None: there is none yet."""
    garbled: bool
    """Whether no continuation of these bytes can be an answer."""


_MORE = Answer(None, garbled=False)
_GARBLED = Answer(None, garbled=True)
_OK = Answer(0, garbled=False)


def read_answer(received: bytes) -> Answer:
    """Return the answer in ``received``, however it was split; without code and garbled more is needed."""
    if received == b"[0,0]":
        return _OK
    if match := _ANSWER.fullmatch(received):
        return Answer(int(match[1] or match[2]), garbled=False)
    return _MORE if _PARTIAL.fullmatch(received) else _GARBLED
