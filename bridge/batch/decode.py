"""Batches are read: whatever comes, it is a batch or a `BatchError`."""

import binascii
import json
import zlib
from typing import Any, NoReturn

from bridge.batch.deflate import RAW
from bridge.batch.document import dump
from bridge.batch.values import LARGEST_TIME, LIMIT, Batch, BatchError, Reading, is_id


def decode(text: str | bytes) -> Batch:
    """Return the batch that ``text`` is, in either form; white space around it is left out.

    Raises `BatchError` for all else. What would unpack to more than a million bytes is refused before it is
    unpacked. Keys, and elements of a row, that this version does not know are ignored.
    """
    data = (_payload(text, "a batch") if isinstance(text, str) else text).strip()
    if not data:
        raise BatchError("a batch is empty")
    if data.startswith(b"["):
        return _plain(_json(data))
    return _compact(_json(_inflated(_unbase64(data, "a batch"))))


def _unbase64(text: str | bytes, what: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as exc:
        raise BatchError(f"{what} is not base64: {exc}") from None


def _inflated(packed: bytes) -> bytes:
    stream = zlib.decompressobj(RAW)
    try:
        raw = stream.decompress(packed, LIMIT + 1)
    except zlib.error as exc:
        raise BatchError(f"a batch is not DEFLATE: {exc}") from None
    if len(raw) > LIMIT:
        raise BatchError(f"a batch is larger than {LIMIT:,} bytes unpacked")
    if not stream.eof:
        raise BatchError("a batch is truncated: its DEFLATE stream does not end")
    if stream.unused_data:
        raise BatchError(f"a batch has {len(stream.unused_data)} bytes after its DEFLATE stream")
    return raw


def _json(raw: bytes) -> Any:
    if len(raw) > LIMIT:
        raise BatchError(f"a batch is larger than {LIMIT:,} bytes")
    try:
        return json.loads(raw.decode(), parse_constant=_refuse)
    except UnicodeDecodeError:
        raise BatchError("a batch's JSON is not UTF-8") from None
    except RecursionError:
        raise BatchError("a batch's JSON is too deep") from None
    except ValueError as exc:
        raise BatchError(f"a batch is not JSON: {exc}") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"it has {constant}")


def _compact(value: Any) -> Batch:
    if not isinstance(value, dict):
        raise BatchError("a batch's JSON is not an object")
    version = value.get("v")
    if not _is_whole(version) or version != 1:
        raise BatchError(f"a batch has v {_shown(version)}; this version reads 1")
    if not is_id(value.get("id")):
        raise BatchError(
            f"a batch has id {_shown(value.get('id'))}; allowed are 16 letters, digits and hyphens"
        )
    at = _time_or_none(value.get("at"), "at")
    lists = [_topics(each, f"t[{number}]") for number, each in enumerate(_array(value.get("t"), "t"))]
    readings, seconds = [], 0
    for number, row in enumerate(_array(value.get("m"), "m")):
        topics, difference, payload = _row(row, lists, f"m[{number}]")
        seconds = _time(seconds + difference, f"m[{number}]")
        time = None if at is None else _time(at + seconds, f"m[{number}]")
        readings.append(Reading(topics, time, payload, seconds))
    return Batch(value["id"], tuple(readings))


def _row(row: Any, lists: list[tuple[str, ...]], where: str) -> tuple[tuple[str, ...], int, bytes]:
    if not isinstance(row, list) or len(row) < 3:
        raise BatchError(f"{where} is {_shown(row)}; a row has 3 elements")
    number, difference, text = row[:3]
    if not _is_whole(number) or not 0 <= number < len(lists):
        raise BatchError(f"{where}[0] is {_shown(number)}; allowed is an index into the {len(lists)} of t")
    is_base64 = len(row) > 3 and _is_whole(row[3]) and row[3] == 1
    payload = _payload(text, f"{where}[2]", is_base64=is_base64)
    return lists[number], _time(difference, f"{where}[1]"), payload


def _plain(value: Any) -> Batch:
    readings: list[Reading] = []
    first: float | None = None
    for number, each in enumerate(value):
        where = f"[{number}]"
        if not isinstance(each, dict):
            raise BatchError(f"{where} is {_shown(each)}; allowed is an object")
        topics = _topics(each.get("topic"), f"{where}.topic")
        at = _time_or_none(each.get("at"), f"{where}.at")
        first = at if first is None else first
        seconds = 0 if at is None or first is None else at - first
        readings.append(Reading(topics, at, _data(each, where), seconds))
    return Batch(None, tuple(readings))


def _data(value: dict[str, Any], where: str) -> bytes:
    if "data_base64" in value:
        return _payload(value["data_base64"], f"{where}.data_base64", is_base64=True)
    if "data" not in value:
        raise BatchError(f"{where} has no data")
    data = value["data"]
    try:
        return (data if isinstance(data, str) else dump(data)).encode()
    except (ValueError, RecursionError):
        raise BatchError(f"{where}.data cannot be written as JSON in UTF-8") from None


def _payload(text: Any, where: str, *, is_base64: bool = False) -> bytes:
    if not isinstance(text, str):
        raise BatchError(f"{where} is {_shown(text)}; allowed is text")
    if is_base64:
        return _unbase64(text, where)
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BatchError(f"{where} has half a surrogate pair, which UTF-8 has no form for") from None


def _topics(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    topics = [value] if isinstance(value, str) else value
    if not isinstance(topics, list) or not all(isinstance(each, str) for each in topics):
        raise BatchError(f"{where} is {_shown(value)}; allowed are null, a string, and an array of strings")
    for each in topics:
        _payload(each, where)
    return tuple(topics)


def _array(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise BatchError(f"a batch has {where} {_shown(value)}; allowed is an array")
    return value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _time(value: Any, where: str) -> int:
    if not _is_whole(value) or not -LARGEST_TIME <= value <= LARGEST_TIME:
        raise BatchError(f"{where} has time {_shown(value)}; allowed are whole seconds up to {LARGEST_TIME}")
    return int(value)


def _time_or_none(value: Any, where: str) -> int | None:
    return None if value is None else _time(value, where)


def _shown(value: Any) -> str:
    """Return the beginning of a value on one line."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else f"an array of {len(value)}"
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
