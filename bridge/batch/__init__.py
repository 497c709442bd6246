"""Many messages in one: the batches that the bridge sends to the cloud, written and read.

This package needs the standard library alone, so a receiver can take it as it is::

    from bridge.batch import BatchError, decode

    batch = decode(text)
    for reading in batch.readings:
        print(reading.topics, reading.at, reading.payload)

Version 1 on the wire is base64 [RFC 4648, section 4, with padding] of raw DEFLATE [RFC 1951] of this JSON
[RFC 8259]::

    {"v":1,"id":"<batch id>","at":<Unix seconds of the first message, or null>,
     "t":[<topic lists: null for none, a string for one, an array of strings for several>],
     "m":[[<index into t>, <seconds after the message before it>, "<payload as text>"], …]}

A payload that is not UTF-8 is base64, and its row has a fourth element, 1. The form ``plain`` is a JSON array
of objects with ``topic``, ``at`` and ``data`` or ``data_base64``. The first character tells the forms: ``[``
is plain.
"""

from bridge.batch.builder import Builder, Builds, Packed, encode
from bridge.batch.decode import decode
from bridge.batch.plain import PlainBuilder, encode_plain
from bridge.batch.values import LIMIT, Batch, BatchError, Reading

__all__ = [
    "LIMIT",
    "Batch",
    "BatchError",
    "Builder",
    "Builds",
    "Packed",
    "PlainBuilder",
    "Reading",
    "decode",
    "encode",
    "encode_plain",
]
