"""Whatever comes is an upload or a `BadRequest`, and whatever is in it is messages or set aside."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from bridge.collect.jetstream import subject
from bridge.collect.unpack import unpack
from bridge.collect.webhook import BadRequest, read_alert, read_webhook
from bridge.core.topic_rules import is_cloud_topic
from tests.collect.test_seen import HOUR
from tests.harness.collector import batch, webhook

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(["received", "tags", "device", "data", "errorcode", "x"])


def taken(body: bytes) -> None:
    """Take a body to its end; all messages have a place in both engines."""
    try:
        upload = read_webhook(body)
    except BadRequest:
        return
    messages, _ = unpack(upload, "batch")
    for each in messages:
        assert each.device.replace("_", "").isalnum()
        assert all(is_cloud_topic(topic) for topic in each.topics)
        assert re.fullmatch(r"fleet(\.[A-Za-z0-9_-]+){2,}", subject("fleet", each), re.ASCII)
        assert all(value.isprintable() for _, value in each.properties)


@given(st.binary() | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_taken_or_refused(body: bytes) -> None:
    """Bytes and JSON that have nothing to do with a webhook."""
    taken(body)


@given(st.dictionaries(KEYS, VALUES), st.sampled_from([b"21.5", batch("b", 2), b"", b"[" * 100]))
def test_any_change_of_a_webhook_is_taken_or_refused(changes: dict[str, object], data: bytes) -> None:
    """Each key with any value."""
    taken(json.dumps(webhook(data, "batch") | changes).encode())


@given(st.binary(), st.text(), st.dictionaries(st.sampled_from(["device", "topics", "received"]), st.text()))
def test_any_alert_is_taken_or_refused(body: bytes, path: str, headers: dict[str, str | None]) -> None:
    """Any path, and any text in the headers."""
    try:
        upload = read_alert(body, path, headers, HOUR)
    except BadRequest:
        return
    unpack(upload, "batch")
