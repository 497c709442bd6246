"""Compression of a text that grows at its end: raw DEFLATE [RFC 1951] by zlib, as small as zlib makes it."""

import zlib

LEVEL = 9
RAW = -zlib.MAX_WBITS
"""A window of 32 KiB, without zlib's header and checksum."""


class Stream:
    """Text that can grow, and be compressed as if it ended here. It takes 300 kB of memory."""

    def __init__(self, beginning: bytes) -> None:
        self._zlib = zlib.compressobj(LEVEL, zlib.DEFLATED, RAW)
        self._compressed = bytearray(self._zlib.compress(beginning))

    def extend(self, data: bytes) -> None:
        """Take more text."""
        self._compressed += self._zlib.compress(data)

    def ended_with(self, end: bytes) -> bytes:
        """Return the compressed text, ``end`` at its end; the stream itself stays as it is."""
        ending = self._zlib.copy()
        return bytes(self._compressed) + ending.compress(end) + ending.flush()


def compress(text: bytes) -> bytes:
    """Return one complete stream."""
    return zlib.compress(text, LEVEL, RAW)


def never_more(size: int) -> int:
    """Return an upper bound for the compressed bytes of ``size`` bytes [zlib, deflate.c, deflateBound]."""
    return size + (size >> 12) + (size >> 14) + 13


def hardly_more(compressed: int, growth: int) -> int:
    """Return an upper bound for the compressed bytes of a text that grows, by its compressed bytes before.

    New text takes 15 bits a byte at most, and 7 bits once for each symbol that is new [RFC 1951, section
    3.2.7]. It makes rare codes of the old text in the same block longer by a bit: of the ten and more symbols
    that JSON has, and of the distances, at most a third of its bits. A block of zlib's has at most 16,383
    symbols. The parse of the old text changes in its last 258 bytes, the longest match.
    """
    return compressed + min(compressed // 3, 1200) + 2 * growth + 300
