"""The bridge's reports as JSON; the fields are documented in docs/reference."""

import base64
import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from bridge.core.messages import Channel, Result

dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Return a value as JSON. Of a text it is much quicker than of anything else."""


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
    (up, down), to, code = result.traffic, result.to, result.code
    # By its parts, because the encoder's way through a dictionary takes longer than all of them.
    parts = (
        f'"id":{dumps(result.id)},"channel":"{result.channel}","to":{"null" if to is None else dumps(to)}',
        f'"topics":{_json(result.topics)},"state":"{result.state}"',
        f'"code":{"null" if code is None else int(code)},"description":{dumps(result.description)}',
        f'"attempts":{result.attempts},"queued_at":"{timestamp(result.queued_at)}"',
        f'"finished_at":"{timestamp(result.finished_at)}","bytes_up":{up},"bytes_down":{down}',
    )
    return f"{{{','.join(parts)}{_more(_details(result))}}}".encode("utf-8", "backslashreplace")


def _details(result: Result) -> dict[str, Any]:
    """Return the fields that only some results have."""
    fields: dict[str, Any] = {}
    if result.batch:
        fields["batch"] = result.batch._asdict()
    if result.channel in (Channel.TCP, Channel.UDP):
        fields |= answer_fields(result.answer or b"")
    if result.quote:
        fields |= result.quote._asdict()
    return fields


def _more(fields: dict[str, Any]) -> str:
    """Return ``fields`` as JSON that continues an object."""
    return "".join([f',"{key}":{_json(value)}' for key, value in fields.items()])


def _json(value: Any) -> str:
    return f"[{','.join(map(dumps, value))}]" if isinstance(value, tuple) else dumps(value)


def answer_fields(answer: bytes) -> dict[str, str]:
    """Return ``answer`` if the bytes are UTF-8, else ``answer_base64``."""
    try:
        return {"answer": answer.decode()}
    except UnicodeDecodeError:
        return {"answer_base64": base64.b64encode(answer).decode()}


def event_json(event_type: str, wall: float, fields: dict[str, Any]) -> bytes:
    """Return the payload of ``hologram/event``."""
    text = f'{{"event_type":"{event_type}","at":"{timestamp(wall)}"{_more(fields)}}}'
    return text.encode("utf-8", "backslashreplace")
