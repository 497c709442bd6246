"""Requests as values, and the checks of a whole request of each form.

The order of the checks: form (2), payload (4), metadata (7), topics (8); credentials (3) are judged in
:mod:`bridge.sim.wire`. Sources: Hologram, Embedded TCP API; hologram-python 0.3 to 0.10.
"""

import json
import re
from typing import Any, Final, Literal, NamedTuple

Form = Literal["json", "sms", "totp", "unknown"]

OK: Final = 0
MSGINVALID: Final = 2
AUTHINVALID: Final = 3
PAYLOADINVALID: Final = 4
PROTINVALID: Final = 5
METADATA: Final = 7
TOPICINVALID: Final = 8

MAX_SMS: Final = 160
"""Characters in one SMS (Hologram, Embedded TCP API)."""

_TOPIC = re.compile(r"[A-Za-z0-9_/-]{1,31}")  # Hologram, Embedded TCP API: shorter than 32 characters
_SMS = re.compile(rb"S(.{8})(\+[1-9][0-9]{1,14}) (.*)", re.DOTALL)  # the number is E.164 with a plus sign
_SHORT = frozenset("kscdt")
_LONG = frozenset({"devicekey", "data", "tags"})


class OneTimeCode(NamedTuple):
    """The proof of a TOTP request; ``timestamp`` in Unix seconds, ``code`` as sent."""

    device_id: str
    timestamp: int
    code: str


class CloudKeys(NamedTuple):
    """The older credentials, 4 characters each: ``s`` and ``c`` in JSON (hologram-python 0.3)."""

    cloud_id: str
    cloud_key: str


Proof = str | CloudKeys | OneTimeCode | None
"""A device key, or the older pair, or a one-time code; None when the request holds none of them."""


class Request(NamedTuple):
    """One whole request, before its credentials are checked.

    ``code`` is the reason of a refusal that does not depend on the sender: 0, 2, 4, 5, 7 or 8. ``problem`` is
    the same in words. ``data`` is the payload (UTF-8 in JSON); several TOTP messages are joined by newlines.
    ``size`` is the request's length in bytes with its terminator.
    """

    form: Form
    size: int
    code: int = OK
    problem: str | None = None
    proof: Proof = None
    data: bytes | None = None
    topics: tuple[str, ...] = ()
    to: str | None = None


def refused(form: Form, size: int, code: int, problem: str) -> Request:
    """Return a request that could not be read, with the reason."""
    return Request(form, size, code, problem)


def _no_constant(name: str) -> None:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_no_constant)  # NaN and Infinity are Python's, not JSON's


def read_json(text: bytes, size: int) -> Request:
    """Read a JSON request without its terminator; ``size`` includes the terminator."""
    try:
        value = _DECODER.decode(text.decode())
    except (ValueError, RecursionError):
        return refused("json", size, MSGINVALID, "not JSON")
    if not isinstance(value, dict):
        return refused("json", size, MSGINVALID, "not a JSON object")
    long_names = not _LONG.isdisjoint(value)
    if long_names and not _SHORT.isdisjoint(value):
        return refused("json", size, MSGINVALID, "short and long key names are mixed")
    data = value.get("data" if long_names else "d")
    try:
        payload = data.encode() if isinstance(data, str) else None
    except UnicodeEncodeError:
        return refused("json", size, MSGINVALID, "data holds half a surrogate pair")
    topics = value.get("tags" if long_names else "t", [])
    code, problem = _check_json(payload, value, topics)
    return Request(
        "json",
        size,
        code,
        problem,
        proof=_json_proof(value, long_names),
        data=payload,
        topics=_topics(topics),
    )


def _check_json(payload: bytes | None, value: dict[str, Any], topics: object) -> tuple[int, str | None]:
    if payload is None:
        return PAYLOADINVALID, "data is not a string"
    if "m" in value and not _metadata_is_right(value["m"]):
        return METADATA, "metadata does not start with its version, byte 1"
    if not isinstance(topics, str | list) or not _topics_are_right(topics):
        return TOPICINVALID, "a topic is not 1 to 31 letters, digits, hyphens, underscores or slashes"
    return OK, None


def _json_proof(value: dict[str, Any], long_names: bool) -> Proof:
    key = value.get("devicekey" if long_names else "k")
    if isinstance(key, str):
        return key
    cloud_id, cloud_key = value.get("s"), value.get("c")
    if isinstance(cloud_id, str) and isinstance(cloud_key, str):
        return CloudKeys(cloud_id, cloud_key)
    return None


def _metadata_is_right(metadata: object) -> bool:
    """Whether it is version byte 1, then text such as ``agnostic-0.9.1`` (hologram-python 0.10)."""
    return isinstance(metadata, str) and metadata.startswith("\x01")


def _topics(topics: object) -> tuple[str, ...]:
    """Return the topics for the log, valid or not."""
    given = topics if isinstance(topics, list) else [topics]
    return tuple(topic for topic in given if isinstance(topic, str))


def _topics_are_right(topics: str | list[Any]) -> bool:
    given = [topics] if isinstance(topics, str) else topics
    return all(isinstance(topic, str) and _TOPIC.fullmatch(topic) for topic in given)


def read_sms(text: bytes, size: int) -> Request:
    """Read an SMS request without its terminator; ``size`` includes the terminator."""
    match = _SMS.fullmatch(text)
    if match is None:
        return refused("sms", size, MSGINVALID, "not S, 8 characters of key, +number, space, text")
    key, to, body = match.groups()
    code, problem = OK, None
    try:
        if len(body.decode()) > MAX_SMS:
            code, problem = PAYLOADINVALID, f"the text is longer than {MAX_SMS} characters"
    except UnicodeDecodeError:
        code, problem = PAYLOADINVALID, "the text is not UTF-8"
    return Request("sms", size, code, problem, proof=key.decode("latin-1"), data=body, to=to.decode())


def read_totp(fields: list[bytes], size: int) -> Request:
    """Read a TOTP request: its header without the last space, then its fields without their NULs."""
    header, *rest = fields
    device_id, timestamp, code = header[1:].decode("latin-1").split(" ")
    if not (device_id and re.fullmatch("[0-9]{1,12}", timestamp) and re.fullmatch("[0-9]{1,6}", code)):
        return refused("totp", size, MSGINVALID, "device id, time or code is malformed")
    if any(field[:1] not in {b"T", b"B", b"M"} for field in rest):
        return refused("totp", size, MSGINVALID, "a field is neither T, B nor M")
    proof = OneTimeCode(device_id, int(timestamp), code)
    topics = [field[1:].decode("latin-1") for field in rest if field[:1] == b"T"]
    messages = [field[1:] for field in rest if field[:1] == b"B"]
    data = b"\n".join(messages) if messages else None
    answer_code, problem = OK, None
    if data is None:
        answer_code, problem = PAYLOADINVALID, "there is no B field"
    elif any(field[:1] == b"M" and field[1:2] != b"\x01" for field in rest):
        answer_code, problem = METADATA, "metadata does not start with its version, byte 1"
    elif not _topics_are_right(topics):
        answer_code, problem = TOPICINVALID, "a topic is malformed"
    return Request("totp", size, answer_code, problem, proof=proof, data=data, topics=tuple(topics))
