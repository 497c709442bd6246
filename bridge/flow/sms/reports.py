"""The JSON fields of ``hologram/in/sms``."""

import base64
from typing import Any

from bridge.errors import BadPdu
from bridge.protocol.api.reports import dumps, timestamp
from bridge.protocol.sms.received import Deliver
from bridge.protocol.sms.segments import Alphabet
from bridge.protocol.sms.text import UserData, join_with_gaps


def to_json(fields: dict[str, Any]) -> bytes:
    """Return ``fields`` as a payload."""
    return dumps(fields).encode("utf-8", "backslashreplace")


def text_fields(text: str, parts: dict[int, Deliver], total: int, now: float) -> dict[str, Any]:
    """Return the fields of the SMS with the id ``text``.

    ``parts`` are the parts that came, by their numbers.
    """
    first = parts[min(parts)]
    fields = _fields(text, first.sender, first.sent_at, total, now)
    return fields | _body({number: part.data for number, part in parts.items()}, total)


def content(fields: dict[str, Any]) -> bytes:
    """Return the content of an SMS as bytes, from its fields."""
    body = fields["body"]
    return (
        base64.b64decode(fields.get("data_base64", "")) if body is None else body.encode("utf-8", "replace")
    )


def unreadable_fields(text: str, pdu: str, error: str, now: float) -> dict[str, Any]:
    """Return the fields of an unreadable PDU: the PDU itself, and the error."""
    return _fields(text, "", None, 1, now) | {"error": error, "pdu": pdu}


def _fields(text: str, sender: str, sent_at: float | None, total: int, now: float) -> dict[str, Any]:
    return {
        "id": text,
        "from": sender or None,
        "body": None,
        "received_at": timestamp(now),
        "sent_at": None if sent_at is None else timestamp(sent_at),
        "parts": total,
    }


def _body(parts: dict[int, UserData], total: int) -> dict[str, Any]:
    """Return the body, or the bytes of an SMS that carries data; ``error`` says what may be wrong with it."""
    try:
        body = join_with_gaps(parts, total)
    except BadPdu as exc:
        data = b"".join(part.data for _, part in sorted(parts.items()) if part.alphabet is Alphabet.DATA)
        return {"error": str(exc), "data_base64": base64.b64encode(data).decode()}
    if all(part.legible for part in parts.values()):
        return {"body": body}
    return {"body": body, "error": "written in a language whose table is not known: letters may be wrong"}
