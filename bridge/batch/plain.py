"""The form ``plain``: a JSON array for receivers that want no decoder; it promises nothing about bytes."""

import base64
import json
from collections.abc import Callable, Iterable
from typing import NoReturn

from bridge.batch.builder import Packed, encode_with
from bridge.batch.document import dump, rounded_time, topics_on_wire
from bridge.batch.values import LIMIT, Reading

DEEPEST = 50
"""Levels of a payload's JSON at most that are written as JSON: readers recurse."""


def encode_plain(readings: Iterable[Reading]) -> bytes:
    """Return a batch in the form ``plain``, one line; raise `ValueError` as `encode` does."""
    return encode_with(PlainBuilder(LIMIT), readings)


class PlainBuilder:
    """Builds the form ``plain``.

    ``limit`` is in what ``measure`` makes of each piece of it: its bytes, or those that it takes as text in a
    request's JSON.
    """

    def __init__(self, limit: int, measure: Callable[[bytes], int] = len) -> None:
        self._objects: list[bytes] = []
        self._size = len(b"[]")
        self._measure = measure
        self._room = limit - measure(b"[]")

    def add(self, reading: Reading) -> bool:
        """Take one more message where it fits, as `Builds` says."""
        line = (b"," if self._objects else b"") + _object(reading)
        room = self._room - self._measure(line)
        if room < 0 or self._size + len(line) > LIMIT:
            return False
        self._room, self._size = room, self._size + len(line)
        self._objects.append(line)
        return True

    def pack(self) -> Packed:
        """Return the array of all that were taken."""
        return Packed(len(self._objects), b"[%s]" % b"".join(self._objects))


def _object(reading: Reading) -> bytes:
    at = None if reading.at is None else rounded_time(reading)
    start = f'{{"topic":{dump(topics_on_wire(reading.topics))},"at":{dump(at)},'.encode()
    try:
        text = reading.payload.decode()
    except UnicodeDecodeError:
        return start + b'"data_base64":"%s"}' % base64.b64encode(reading.payload)
    return start + f'"data":{_on_one_line(text) if is_json(text) else dump(text)}}}'.encode()


def _on_one_line(text: str) -> str:
    """Line ends in JSON are white space between its parts [RFC 8259, section 2]."""
    return text.strip().replace("\r", " ").replace("\n", " ")


def is_json(text: str) -> bool:
    """Return whether ``text`` is JSON that every reader takes: UTF-8, finite numbers, not too deep."""
    try:
        value = json.loads(text, parse_constant=_refuse)
        dump(value).encode()
    except (ValueError, RecursionError):
        return False
    level = [value]
    for _ in range(DEEPEST):
        level = [child for each in level for child in _children(each)]
    return not level


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
