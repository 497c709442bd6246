"""Requests are read: the webhook's JSON, or the body of an Alert with its headers, become an upload.

A webhook's JSON [Hologram documentation, Data message fields]::

    {"received": "2016-09-27T18:53:09.302915", "authtype": "psk", "tags": ["TOPIC1", "_DEVICE_12345_"],
     "device": {"id": 5678, "name": "My Device"}, "errorcode": 0, "source": "abcd", "timestamp": "0",
     "data": "<base64 of the payload>"}
"""

import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, NoReturn
from urllib.parse import unquote

DEVICE = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)
"""What a device's id may be: one level of a topic, and one token of a subject.

It has no hyphen, so that ``<device id>-<batch id>-<n>`` is of one message alone.
"""

_LONGEST_TIME = 64


class BadRequest(ValueError):
    """A request that is no message of the cloud's; the text is one line that says why."""


class Upload(NamedTuple):
    """One message as the cloud passed it on."""

    device: str
    topics: tuple[str, ...]
    """The device's own topics, without the cloud's."""
    payload: bytes
    received_at: str
    received: int | None
    """The same in Unix seconds; None where it could not be read."""
    may_be_batch: bool = False
    """Whether the topics are not known, so that only the payload shows what it is."""


def read_webhook(body: bytes) -> Upload:
    """Return the upload in a webhook's JSON; raises `BadRequest` for all else.

    The time is text in UTC without a zone. One that cannot be read is passed on as it is.
    """
    value = _json(body)
    if not isinstance(value, dict):
        raise BadRequest("the body is not a JSON object")
    device = value.get("device")
    if not isinstance(device, dict):
        raise BadRequest('"device" is not an object with an "id"')
    received = value.get("received")
    received_at, seconds = _time(received if isinstance(received, str) else "")
    return Upload(
        _device(device.get("id")),
        own_topics(value.get("tags")),
        _data(value.get("data")),
        received_at,
        seconds,
    )


def read_alert(body: bytes, path: str, headers: Mapping[str, str | None], now: float) -> Upload:
    """Return the upload of an Alert whose body is ``<<decdata>>``.

    ``path`` is what follows ``/alerts``: a device's id and a topic, or less. ``headers`` have ``device``,
    ``topics`` and ``received``. ``now`` in Unix seconds stands for a time that is not given. Raises
    `BadRequest` where no device is named.
    """
    first, _, rest = path.strip("/").partition("/")
    device = headers.get("device") or unquote(first)
    if not device:
        raise BadRequest("no device is named, neither by a header nor by the path /alerts/<device id>")
    tags = headers.get("topics")
    topics = own_topics(_listed(tags)) if tags else (unquote(rest),) if rest else ()
    stamp = headers.get("received") or datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    received_at, seconds = _time(stamp)
    return Upload(_device(device), topics, body, received_at, seconds, may_be_batch=not topics)


def own_topics(tags: object) -> tuple[str, ...]:
    """Return the topics that are the device's own.

    The cloud adds topics that begin with an underscore, such as ``_DEVICE_12345_``. Raises `BadRequest`.
    """
    given = [tags] if isinstance(tags, str) else tags
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise BadRequest('"tags" is not an array of strings')
    return tuple(each for each in given if each and not each.startswith("_"))


def _listed(text: str) -> Any:
    """Return the topics in a header: a JSON array, or words with commas between them."""
    if text.lstrip().startswith("["):
        return _json(text.encode())
    return [each.strip() for each in text.split(",")]


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), parse_constant=_refuse)
    except RecursionError:
        raise BadRequest("its JSON is too deep") from None
    except ValueError as error:  # UnicodeDecodeError is one
        raise BadRequest(f"it is not JSON in UTF-8: {error}") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"it has {constant}")


def _device(value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else value
    if not isinstance(text, str) or not DEVICE.fullmatch(text):
        raise BadRequest("the device's id is not a number, nor 1 to 64 letters, digits and underscores")
    return text


def _data(value: object) -> bytes:
    if not isinstance(value, str):
        raise BadRequest('"data" is not text')
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError as error:
        raise BadRequest(f'"data" is not base64: {error}') from None


def _time(text: str) -> tuple[str, int | None]:
    """Return a time as it may be passed on, and in Unix seconds."""
    if len(text) > _LONGEST_TIME or not text.isprintable() or not text.isascii():
        return "", None
    try:
        time = datetime.fromisoformat(text)
        return text, int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() // 1)
    except (ValueError, OverflowError):
        return text, None
