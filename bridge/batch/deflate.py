"""Compression: raw DEFLATE [RFC 1951] by zlib, as small as zlib makes it."""

import zlib

LEVEL = 9
RAW = -zlib.MAX_WBITS
"""A window of 32 KiB, without zlib's header and checksum."""


def compress(text: bytes) -> bytes:
    """Return one complete stream."""
    return zlib.compress(text, LEVEL, RAW)
