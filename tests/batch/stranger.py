"""A reader of batches, written from their description alone by somebody who had not seen the writer."""

import base64
import json
import re
import zlib
from typing import Any, NamedTuple, NoReturn

LIMIT = 1_000_000  # bytes of the JSON once unpacked


class Reading(NamedTuple):
    """One message: `at` in Unix seconds or None, `seconds` since the first message of the batch."""

    topics: tuple[str, ...]
    at: int | None
    seconds: int
    payload: bytes


class Batch(NamedTuple):
    """A decoded batch; `id` is None in the plain form, which carries none."""

    id: str | None
    readings: list[Reading]


def read(text: str | bytes) -> Batch:
    """Decode a batch of either form; ValueError with one line for whatever is none."""
    try:
        data = text.encode() if isinstance(text, str) else text
        plain = data[:1] == b"["
        body = data if plain else _inflate(_base64(data))
        doc = json.loads(body.decode(), parse_constant=_no_json)  # as text: bytes might be UTF-16
        return _plain(doc) if plain else _packed(doc)
    except (ValueError, zlib.error, RecursionError) as err:
        raise ValueError(f"not a batch: {err}") from None


def _inflate(raw: bytes) -> bytes:
    """Raw DEFLATE undone: one complete stream, never more than LIMIT + 1 bytes made."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    out = stream.decompress(raw, LIMIT + 1)
    _need(len(out) <= LIMIT, f"it unpacks to more than {LIMIT} bytes")
    _need(stream.eof, "the DEFLATE stream is cut short")
    _need(not stream.unused_data, "something follows the DEFLATE stream")
    return out


def _packed(doc: Any) -> Batch:
    """The JSON of version 1."""
    _need(isinstance(doc, dict), "the JSON is no object")
    _need(_whole(doc.get("v")) and doc["v"] == 1, "its version is not 1")
    ident, at, lists, rows = doc.get("id"), doc.get("at", ""), doc.get("t"), doc.get("m")
    good_id = isinstance(ident, str) and re.fullmatch(r"[A-Za-z0-9-]{1,16}", ident)
    _need(good_id, "id is not 1 to 16 letters, digits and hyphens")
    _need(at is None or _whole(at), "at is no whole number or null")
    _need(isinstance(lists, list), "t is no array")
    _need(isinstance(rows, list) and rows, "m is no array with messages")
    topics, seconds, readings = [_topics(entry) for entry in lists], 0, list[Reading]()
    for n, row in enumerate(rows):
        _need(isinstance(row, list) and len(row) >= 3, f"m[{n}] is no array of 3 or more")
        index, step, body, flag = (*row, None)[:4]
        _need(_whole(index) and 0 <= index < len(topics), f"m[{n}] has no valid index into t")
        _need(_whole(step) and (n or step == 0), f"m[{n}] has no valid seconds")
        _need(isinstance(body, str), f"m[{n}] has no text as payload")
        _need(flag is None or (_whole(flag) and flag in (0, 1)), f"m[{n}] has an unknown encoding")
        seconds += step
        payload = _base64(body.encode()) if flag else body.encode()
        readings.append(Reading(topics[index], None if at is None else at + seconds, seconds, payload))
    return Batch(ident, readings)


def _plain(doc: list[Any]) -> Batch:
    """The JSON of the plain form; `data` that is no string is written as compact JSON again."""
    _need(doc, "the plain form has no messages")
    readings = list[Reading]()
    for n, entry in enumerate(doc):
        good = isinstance(entry, dict) and {"topic", "at"} <= entry.keys()
        _need(good, f"message {n} is no object with topic and at")
        _need(("data" in entry) != ("data_base64" in entry), f"message {n} needs data or data_base64")
        at = entry["at"]
        first = readings[0].at if readings else at
        _need(at is None or _whole(at), f"message {n}: at is no whole number or null")
        _need((at is None) == (first is None), f"message {n}: times known and unknown are mixed")
        body = entry.get("data_base64", entry.get("data"))
        _need("data" in entry or isinstance(body, str), f"message {n}: data_base64 is no text")
        if not isinstance(body, str):
            body = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        payload = body.encode() if "data" in entry else _base64(body.encode())
        seconds = 0 if at is None or first is None else at - first
        readings.append(Reading(_topics(entry["topic"]), at, seconds, payload))
    return Batch(None, readings)


def _topics(entry: Any) -> tuple[str, ...]:
    """Null, a string or an array of strings as a tuple."""
    names = [] if entry is None else [entry] if isinstance(entry, str) else entry
    good = isinstance(names, list) and all(isinstance(name, str) for name in names)
    _need(good, "a topic list is no null, string or array of strings")
    "".join(names).encode()  # refuses lone surrogates
    return tuple(names)


def _base64(data: bytes) -> bytes:
    """RFC 4648 section 4, canonical: padded, no other character, spare bits zero."""
    raw = base64.b64decode(data, validate=True)
    _need(base64.b64encode(raw) == data, "base64 with excess padding or bits")
    return raw


def _whole(value: object) -> bool:
    """A JSON number written as an integer (true and 1.0 are none)."""
    return isinstance(value, int) and not isinstance(value, bool)


def _need(condition: object, message: str) -> None:
    """Refuse unless the condition holds."""
    if not condition:
        raise ValueError(message)


def _no_json(name: str) -> NoReturn:
    """NaN and Infinity, which Python would take."""
    raise ValueError(f"{name} is no JSON")
