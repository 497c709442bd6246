"""Batches are written message by message, up to a bound."""

import base64
from bisect import bisect_right
from collections.abc import Iterable
from itertools import count
from typing import NamedTuple, Protocol

from bridge.batch.deflate import compress
from bridge.batch.document import Document
from bridge.batch.values import LIMIT, Reading, is_id


class Packed(NamedTuple):
    """A batch as it is sent."""

    messages: int
    """The number of messages in it, from the first on: one more would not fit. 0 where the first does not."""
    content: bytes


class Builds(Protocol):
    """Collects messages, and packs as many of them as fit."""

    def add(self, reading: Reading) -> bool:
        """Take one more message; return False where it cannot fit beside those before it.

        Raises `ValueError` for a time that is out of range, or known where those before it are not.
        """

    def pack(self) -> Packed:
        """Return the batch of the first messages, as many as fit."""


def encode(batch_id: str, readings: Iterable[Reading]) -> bytes:
    """Return a batch's base64.

    Raises `ValueError` where it is empty or too large, for an id that is none, and as `Builds.add` does.
    """
    return encode_with(Builder(batch_id, 2 * LIMIT), readings)


def encode_with(builder: Builds, readings: Iterable[Reading]) -> bytes:
    """Return the batch of all ``readings``; raise `ValueError` where it takes too much, or is empty."""
    if not all(builder.add(each) for each in readings):
        raise ValueError(f"a batch has at most {LIMIT:,} bytes of JSON")
    packed = builder.pack()
    if not packed.messages:
        raise ValueError("a batch has at least one message")
    return packed.content


class _Trial(NamedTuple):
    """The first messages, compressed."""

    messages: int = 0
    size: int = 0
    """Bytes of their text."""
    compressed: bytes = b""


class Builder:
    """Builds version 1; ``limit`` is in bytes of its base64."""

    def __init__(self, batch_id: str, limit: int) -> None:
        if not is_id(batch_id):
            raise ValueError(f"a batch's id has 1 to 16 letters, digits and hyphens, not {batch_id!r}")
        self._document = Document(batch_id)
        self._room = limit // 4 * 3  # base64 writes 4 bytes for each 3 begun

    def add(self, reading: Reading) -> bool:
        """Take one more message where its text may fit, as `Builds` says."""
        return self._document.add(reading)

    def pack(self) -> Packed:
        """Return as much as fits, as `Builds` says."""
        found = self._search()
        return Packed(found.messages, base64.b64encode(found.compressed))

    def _search(self) -> _Trial:
        """Return the first messages that fit, where one more does not.

        Each trial compresses a whole text, and a thousand of them would take seconds. Compressed bytes grow
        nearly in step with the text, so a line through the nearest trials on either side leads there in a
        few. Where it misleads, every third trial halves what is left.
        """
        sizes = self._document.sizes()
        fits, over = _Trial(), self._try(sizes, len(sizes))
        if len(over.compressed) <= self._room:
            return over
        for number in count(1):
            if over.messages - fits.messages <= 1:
                break
            place = (
                (fits.messages + over.messages) // 2 if number % 3 == 0 else self._guess(sizes, fits, over)
            )
            trial = self._try(sizes, place)
            if len(trial.compressed) <= self._room:
                fits = trial
            else:
                over = trial
        return fits

    def _try(self, sizes: list[int], number: int) -> _Trial:
        if not number:
            return _Trial()
        return _Trial(number, sizes[number - 1], compress(self._document.text(number)))

    def _guess(self, sizes: list[int], fits: _Trial, over: _Trial) -> int:
        left, growth = self._room - len(fits.compressed), len(over.compressed) - len(fits.compressed)
        size = fits.size + left * (over.size - fits.size) // growth
        return min(max(bisect_right(sizes, size), fits.messages + 1), over.messages - 1)
