"""Uploads become messages: batches are unpacked, and what no repeat would mend is set aside."""

import binascii

from bridge.batch import BatchError, Reading, decode
from bridge.collect.messages import Message, SetAside
from bridge.collect.webhook import Upload
from bridge.core.topic_rules import is_cloud_topic

BINARY = "base64"
"""The extra topic of a payload that is not UTF-8 and travelled as base64 in the cloud's JSON form."""

MOST_MESSAGES = 10_000
"""Messages of a batch at most, ten times what a bridge puts into one: a row takes 10 bytes unpacked."""

Unpacked = tuple[tuple[Message, ...], tuple[SetAside, ...]]


def unpack(upload: Upload, batch_topic: str) -> Unpacked:
    """Return the messages of an upload, and what is set aside."""
    if upload.may_be_batch:
        return _of_unknown_kind(upload)
    if upload.topics and upload.topics[0] == batch_topic:
        return _batch(upload)
    return _alone(upload)


def _of_unknown_kind(upload: Upload) -> Unpacked:
    unpacked = _batch(upload)
    if unpacked[0]:
        return unpacked
    reason = "no topic is given, and the payload is no batch of this version"
    return (), (SetAside("no_topic", reason),)


def _alone(upload: Upload) -> Unpacked:
    topics, payload = _as_sent(upload.topics, upload.payload)
    if wrong := _wrong_topics(topics):
        return (), (wrong,)
    return (Message(upload.device, topics, payload, upload.received, upload.received_at),), ()


def _as_sent(topics: tuple[str, ...], payload: bytes) -> tuple[tuple[str, ...], bytes]:
    """Return topics and payload as the device's producer gave them.

    The bridge writes a payload that is not UTF-8, or in the TOTP form one with a NUL, as base64, and adds a
    topic that says so.
    """
    if len(topics) < 2 or topics[-1] != BINARY:
        return topics, payload
    try:
        raw = binascii.a2b_base64(payload, strict_mode=True)
    except ValueError:
        return topics, payload
    return (topics[:-1], raw) if _is_binary(raw) else (topics, payload)


def _is_binary(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return True
    return b"\0" in raw


def _batch(upload: Upload) -> Unpacked:
    try:
        batch = decode(upload.payload)
    except BatchError as error:
        return (), (SetAside("batch", str(error)),)
    if len(batch.readings) > MOST_MESSAGES:
        reason = f"a batch has {len(batch.readings)} messages; allowed are {MOST_MESSAGES}"
        return (), (SetAside("batch", reason),)
    messages, aside = [], []
    for number, reading in enumerate(batch.readings):
        if wrong := _wrong_topics(reading.topics):
            aside.append(wrong)
        else:
            messages.append(_of_batch(upload, batch.id, number, reading))
    return tuple(messages), tuple(aside)


def _of_batch(upload: Upload, batch: str | None, number: int, reading: Reading) -> Message:
    at = None if reading.at is None else int(reading.at)
    return Message(upload.device, reading.topics, reading.payload, at, upload.received_at, batch, number)


def _wrong_topics(topics: tuple[str, ...]) -> SetAside | None:
    """Return why a message with these topics has no place; the cloud's rule fits both engines."""
    if not topics:
        return SetAside("no_topic", "a message has no topic of its own")
    wrong = next((topic for topic in topics if not is_cloud_topic(topic)), None)
    if wrong is None:
        return None
    return SetAside("topic", f"topic {wrong[:80]!r} breaks the cloud's rule")
