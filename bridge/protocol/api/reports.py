"""The bridge's reports as JSON; the fields are documented in docs/reference."""

import base64
import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from bridge.core.messages import Channel, Result

dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def timestamp(wall: float) -> str:
    """Return ``wall`` (Unix seconds) in ISO 8601, UTC, to the millisecond."""
    milliseconds = int(wall * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    """Return the date and time of ``seconds``.

    Cached, because a message writes several of the same second.
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def result_json(result: Result) -> bytes:
    """Return the payload of ``hologram/result``."""
    fields: dict[str, Any] = {
        "id": result.id,
        "channel": result.channel,
        "to": result.to,
        "topics": result.topics,
        "state": result.state,
        "code": result.code,
        "description": result.description,
        "attempts": result.attempts,
        "queued_at": timestamp(result.queued_at),
        "finished_at": timestamp(result.finished_at),
        "bytes_up": result.traffic.up,
        "bytes_down": result.traffic.down,
    }
    if result.batch:
        fields["batch"] = result.batch._asdict()
    if result.channel in (Channel.TCP, Channel.UDP):
        fields |= answer_fields(result.answer or b"")
    if result.quote:
        fields |= result.quote._asdict()
    return dumps(fields).encode("utf-8", "backslashreplace")


def answer_fields(answer: bytes) -> dict[str, str]:
    """Return ``answer`` if the bytes are UTF-8, else ``answer_base64``."""
    try:
        return {"answer": answer.decode()}
    except UnicodeDecodeError:
        return {"answer_base64": base64.b64encode(answer).decode()}


def event_json(event_type: str, wall: float, fields: dict[str, Any]) -> bytes:
    """Return the payload of ``hologram/event``."""
    return dumps({"event_type": event_type, "at": timestamp(wall), **fields}).encode(
        "utf-8", "backslashreplace"
    )
