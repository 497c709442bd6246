"""Forming: which of the messages that wait in a lane fit into its next batch, and its content."""

import base64
import json
import secrets
from collections.abc import Iterable
from typing import NamedTuple

from bridge.batch import Builder, Builds, PlainBuilder, Reading
from bridge.core.batching import Batching
from bridge.core.messages import Queued
from bridge.flow.message.codecs import with_time
from bridge.protocol import cloud

ID_BYTES = 10
"""Random bytes of an id: 16 characters of base32 [RFC 4648, section 6], the longest that a batch's id may be.

At a batch a second for ten years two ids of a device are equal with a chance of 4 in 100 million, even if its
store was lost.
"""


class Content(NamedTuple):
    """A batch and the messages in it."""

    id: str
    """Empty in the form that has none."""
    content: bytes
    messages: tuple[Queued, ...]
    full: bool
    """Whether the message behind them did not fit."""


def form(batching: Batching, credentials: cloud.Credentials | None, queued: Iterable[Queued]) -> Content:
    """Return the batch of the first of ``queued`` that fit into one; of none where the first does not fit.

    ``credentials`` are those that the request has beside it; None: they are not known yet. Of ``queued`` no
    more is read than may fit.
    """
    batch_id = new_id()
    builder = _builder(batching, credentials, batch_id)
    given: list[Queued] = []
    full = False
    for each in queued:
        if given and _clock(each) != _clock(given[0]):
            break
        if full := not _may_fit(builder, each):
            break
        given.append(each)
    number, content = builder.pack()
    return Content(
        "" if batching.plain else batch_id, content, tuple(given[:number]), full or number < len(given)
    )


def _may_fit(builder: Builds, queued: Queued) -> bool:
    try:
        return builder.add(reading(queued))
    except ValueError:  # a time that no reader takes
        return False


def new_id() -> str:
    """Return an id that no other batch of this device has, or ever had."""
    return base64.b32encode(secrets.token_bytes(ID_BYTES)).decode().lower()


def room(batching: Batching, credentials: cloud.Credentials | None) -> int:
    """Return the bytes that the content may have in a request of ``batching.bytes``."""
    return batching.bytes - (cloud.overhead(credentials, batching.topic) if credentials else 0)


def _builder(batching: Batching, credentials: cloud.Credentials | None, batch_id: str) -> Builds:
    limit = room(batching, credentials)
    if not batching.plain:
        return Builder(batch_id, limit)
    return PlainBuilder(limit, len if isinstance(credentials, cloud.Totp) else _escaped)


def _escaped(piece: bytes) -> int:
    """Return the bytes that ``piece`` takes as text in the request's JSON."""
    return len(json.dumps(piece.decode(), ensure_ascii=False).encode()) - len('""')


def reading(queued: Queued) -> Reading:
    """Return a message as a batch has it."""
    return Reading(queued.lane.topics, queued.at, with_time(queued).payload, queued.queued_at)


def _clock(queued: Queued) -> int | None:
    """Return the boot by whose clock alone the time of a message is known; None: it is known."""
    return None if queued.at is not None else queued.boot
