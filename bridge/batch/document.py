"""The JSON of a batch, which grows by one message after the other."""

import base64
import json
import math
from collections.abc import Sequence

from bridge.batch.values import LARGEST_TIME, LIMIT, Reading

dump = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
"""Compact JSON; `ValueError` for what JSON has no form for."""

MIDDLE, TAIL = b'],"m":[', b"]}"
"""What stands between the topic lists and the rows, and what follows the last row."""


class Document:
    """The JSON of version 1, as `bridge.batch` shows it: of all its messages, or of the first of them."""

    def __init__(self, batch_id: str) -> None:
        self._id = batch_id
        self._topics: dict[tuple[str, ...], int] = {}
        self._start = b""
        self._topic_lists, self._rows = bytearray(), bytearray()
        self._ends: list[tuple[int, int]] = []
        """Of each message the bytes of topic lists and of rows up to it."""
        self._last = 0
        self._is_known = False

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, reading: Reading) -> bool:
        """Take one more message unless there were more than `LIMIT` bytes; return whether it was taken.

        Raises `ValueError` for a time that is out of range, or known where those before it are not.
        """
        time, is_known = rounded_time(reading), reading.at is not None
        if not self._ends:
            self._start = f'{{"v":1,"id":"{self._id}","at":{dump(time if is_known else None)},"t":['.encode()
            self._is_known, self._last = is_known, time
        elif is_known != self._is_known:
            raise ValueError("messages whose time is known and others never share a batch")
        is_new = reading.topics not in self._topics
        topic_list = self._after(self._topic_lists, dump(topics_on_wire(reading.topics))) if is_new else b""
        number = self._topics.get(reading.topics, len(self._topics))
        row = self._after(self._rows, _row(number, time - self._last, reading.payload))
        end = len(self._topic_lists) + len(topic_list), len(self._rows) + len(row)
        if self._size(end) > LIMIT:
            return False
        self._topics[reading.topics], self._last = number, time
        self._topic_lists += topic_list
        self._rows += row
        self._ends.append(end)
        return True

    @staticmethod
    def _after(others: bytearray, text: str) -> bytes:
        return (b"," if others else b"") + text.encode()

    def _size(self, end: tuple[int, int]) -> int:
        return len(self._start) + len(MIDDLE) + len(TAIL) + sum(end)

    def sizes(self) -> list[int]:
        """Return the bytes of the text of the first message, of the first two, and so on."""
        return [self._size(end) for end in self._ends]

    def text(self, number: int) -> bytes:
        """Return the text of the first ``number`` messages, one at least."""
        topic_lists, rows = self._ends[number - 1]
        return b"".join((self._start, self._topic_lists[:topic_lists], MIDDLE, self._rows[:rows], TAIL))


def rounded_time(reading: Reading) -> int:
    """Return a message's time in whole seconds, rounded down; raise `ValueError` where it has none."""
    time = reading.seconds if reading.at is None else reading.at
    if not -LARGEST_TIME <= time <= LARGEST_TIME:
        raise ValueError(f"a time is within {LARGEST_TIME} seconds, not {time!r}")
    return math.floor(time)


def topics_on_wire(topics: Sequence[str]) -> object:
    """Return null for no topic, a string for one, an array for several."""
    return list(topics) if len(topics) > 1 else topics[0] if topics else None


def _row(number: int, difference: int, payload: bytes) -> str:
    try:
        return f"[{number},{difference},{dump(payload.decode())}]"
    except UnicodeDecodeError:
        return f'[{number},{difference},"{base64.b64encode(payload).decode()}",1]'
