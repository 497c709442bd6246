"""Batches are written message by message, up to a bound."""

import base64
from collections.abc import Iterable
from typing import Protocol

from bridge.batch.deflate import Stream, compress, hardly_more, never_more
from bridge.batch.document import TAIL, Addition, Document
from bridge.batch.values import LIMIT, Reading, is_id


class Builds(Protocol):
    """Collects messages as long as their batch fits its bounds.

    A batch that has refused a message is whole as it was before, and can be encoded.
    """

    def __len__(self) -> int:
        """Return the number of messages in it."""

    def add(self, reading: Reading) -> bool:
        """Take one more message unless the batch would exceed a bound with it; return whether it was taken.

        Raises `ValueError` for a time that is out of range, or known where those before it are not.
        """

    def encode(self) -> bytes:
        """Return the batch as it is sent; raise `ValueError` where it is empty."""


def encode(batch_id: str, readings: Iterable[Reading]) -> bytes:
    """Return a batch's base64.

    Raises `ValueError` where it is empty or too large, for an id that is none, and as `Builds.add` does.
    """
    return encode_with(Builder(batch_id, 2 * LIMIT), readings)


def encode_with(builder: Builds, readings: Iterable[Reading]) -> bytes:
    """Return the batch of all ``readings``; raise `ValueError` where it takes too much."""
    if not all(builder.add(each) for each in readings):
        raise ValueError(f"a batch has at most {LIMIT:,} bytes of JSON")
    return builder.encode()


class Builder:
    """Builds version 1; ``limit`` is in bytes of its base64."""

    def __init__(self, batch_id: str, limit: int) -> None:
        if not is_id(batch_id):
            raise ValueError(f"a batch's id has 1 to 16 letters, digits and hyphens, not {batch_id!r}")
        self._document = Document(batch_id)
        self._room = limit // 4 * 3  # base64 writes 4 bytes for each 3 begun
        self._compressor = _Compressor(self._document)
        self._checked: tuple[int, int] | None = None
        self._packed: bytes | None = None

    def __len__(self) -> int:
        return len(self._document.rows)

    def add(self, reading: Reading) -> bool:
        """Take one more message where it fits, as `Builds` says."""
        addition = self._document.addition(reading)
        if addition.size > LIMIT:
            return False
        packed = None
        if not self._surely_fits(addition.size):
            packed = self._compressor.compress_with(addition)
            if len(packed) > self._room:
                return False
            self._checked = len(packed), addition.size
        self._packed = packed
        self._document.add(addition)
        return True

    def _surely_fits(self, size: int) -> bool:
        """Return True where JSON of ``size`` bytes fits for certain: few of many messages pay for more."""
        if never_more(size) <= self._room:
            return True
        if self._checked is None:
            return False
        compressed, before = self._checked
        return hardly_more(compressed, size - before) <= self._room

    def encode(self) -> bytes:
        """Return the base64, as `Builds` says."""
        if not len(self):
            raise ValueError("a batch has at least one message")
        return base64.b64encode(self._packed or compress(self._document.text()))


class _Compressor:
    """Compresses a document with one more message, and of what it has had before only the end.

    A new topic list stands before all rows, so that it has to begin again.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._stream: Stream | None = None
        self._topics = 0
        self._rows = 0

    def compress_with(self, addition: Addition) -> bytes:
        topics = len(self._document.topics) + bool(addition.topic_list)
        if self._stream is None or topics != self._topics:
            self._stream = Stream(self._document.head(addition))
            self._topics, self._rows = topics, 0
        self._stream.extend(b"".join(self._document.rows[self._rows :]))
        self._rows = len(self._document.rows)
        return self._stream.ended_with(addition.row + TAIL)
