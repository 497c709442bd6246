"""The JSON of a batch, which grows by one message after the other."""

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from bridge.batch.values import LARGEST_TIME, Reading

dump = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
"""Compact JSON; `ValueError` for what JSON has no form for."""

TAIL = b"]}"
"""What follows the last row."""


@dataclass(frozen=True, slots=True)
class Addition:
    """What one more message adds to a document."""

    topics: tuple[str, ...]
    topic_list: bytes
    """Empty where the document has it already."""
    row: bytes
    time: int
    is_known: bool
    size: int
    """Bytes of the document with it."""


class Document:
    """The JSON of version 1, as `bridge.batch` shows it."""

    def __init__(self, batch_id: str) -> None:
        self.rows: list[bytes] = []
        """Each but the first with the comma before it."""
        self.topics: dict[tuple[str, ...], int] = {}
        self._id = batch_id
        self._topic_lists = bytearray()
        self._start = b""
        self._first = 0
        self._last = 0
        self._is_known = False
        self._size = 0

    def addition(self, reading: Reading) -> Addition:
        """Return what ``reading`` would add.

        Raises `ValueError` for a time that is out of range, or known where those before it are not.
        """
        time, is_known = rounded_time(reading), reading.at is not None
        if self.rows and is_known != self._is_known:
            raise ValueError("messages whose time is known and others never share a batch")
        number = self.topics.get(reading.topics, len(self.topics))
        topic_list = b"" if reading.topics in self.topics else dump(topics_on_wire(reading.topics)).encode()
        if topic_list and self.topics:
            topic_list = b"," + topic_list
        row = _row(number, time - self._last if self.rows else 0, reading.payload)
        if self.rows:
            row = b"," + row
        size = self._size or len(self._start_at(time if is_known else None)) + len(b'],"m":[') + len(TAIL)
        return Addition(reading.topics, topic_list, row, time, is_known, size + len(topic_list) + len(row))

    def _start_at(self, at: int | None) -> bytes:
        return f'{{"v":1,"id":"{self._id}","at":{dump(at)},"t":['.encode()

    def head(self, addition: Addition) -> bytes:
        """Return what is before the first row, with ``addition``."""
        start = self._start or self._start_at(addition.time if addition.is_known else None)
        return start + bytes(self._topic_lists) + addition.topic_list + b'],"m":['

    def add(self, addition: Addition) -> None:
        """Take an addition, the last that was returned."""
        if not self.rows:
            self._is_known = addition.is_known
            self._start = self._start_at(addition.time if addition.is_known else None)
        self._last, self._size = addition.time, addition.size
        self.topics.setdefault(addition.topics, len(self.topics))
        self._topic_lists += addition.topic_list
        self.rows.append(addition.row)

    def text(self) -> bytes:
        """Return all of it."""
        return self._start + bytes(self._topic_lists) + b'],"m":[' + b"".join(self.rows) + TAIL


def rounded_time(reading: Reading) -> int:
    """Return a message's time in whole seconds, rounded down; raise `ValueError` where it has none."""
    time = reading.seconds if reading.at is None else reading.at
    if not -LARGEST_TIME <= time <= LARGEST_TIME:
        raise ValueError(f"a time is within {LARGEST_TIME} seconds, not {time!r}")
    return math.floor(time)


def topics_on_wire(topics: Sequence[str]) -> object:
    """Return null for no topic, a string for one, an array for several."""
    return list(topics) if len(topics) > 1 else topics[0] if topics else None


def _row(number: int, difference: int, payload: bytes) -> bytes:
    try:
        return f"[{number},{difference},{dump(payload.decode())}]".encode()
    except UnicodeDecodeError:
        return b'[%d,%d,"%s",1]' % (number, difference, base64.b64encode(payload))
