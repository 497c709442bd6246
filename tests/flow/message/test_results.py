"""Results: the reports of a command's end, and its event."""

import json

import pytest

from bridge.core.messages import Channel, Reply, Result, State
from tests.doubles.heart import Heart


def result(channel: Channel = Channel.CLOUD, state: State = State.DELIVERED, **more: object) -> Result:
    made = Result("7", channel, state, "why", 1.0, 2.0)
    return made._replace(**more)  # type: ignore[arg-type]  # fields by name


def test_a_result_goes_to_its_topic_and_to_who_asked(heart: Heart) -> None:
    """The reply carries the correlation data, and the same bytes."""
    heart.write(lambda: heart.results.record(result(), idempotent=False, reply=Reply("answers", b"\xff7")))
    ours, theirs = heart.reports()
    assert (ours.topic, ours.properties) == ("hologram/result", None)
    assert (theirs.topic, theirs.payload) == ("answers", ours.payload)
    assert theirs.properties is not None
    assert json.loads(theirs.properties) == ["ff37", []]


def test_a_result_counts_once(heart: Heart) -> None:
    """A repetition of it does not."""
    heart.write(lambda: heart.results.record(result(), idempotent=False, reply=None))
    payload = heart.reports()[0].payload
    heart.write(lambda: heart.results.repeat(payload, None))
    assert heart.outbox.ledger.counts["delivered"] == 1
    assert [report.payload for report in heart.reports()] == [payload, payload]


def test_the_result_of_an_idempotent_message_is_kept(heart: Heart) -> None:
    """The producer may send the message again."""
    heart.write(lambda: heart.outbox.keys.add("7"))
    heart.write(lambda: heart.results.record(result(), idempotent=True, reply=None))
    assert heart.outbox.keys.result("7") == heart.reports()[0].payload


@pytest.mark.parametrize(
    ("channel", "state", "event"),
    [
        (Channel.CLOUD, State.DELIVERED, "message.sent"),
        (Channel.TCP, State.REJECTED, "message.rejected"),
        (Channel.UDP, State.EXPIRED, "message.expired"),
        (Channel.CLOUD, State.DROPPED, "message.dropped"),
        (Channel.CLOUD, State.FAILED, "message.failed"),
        (Channel.SMS, State.DELIVERED, "sms.sent"),
        (Channel.SMS, State.UNCONFIRMED, "sms.unconfirmed"),
        (Channel.SMS, State.EXPIRED, "message.expired"),
        (Channel.NETWORK, State.DONE, None),
        (Channel.QUEUE, State.FAILED, None),
    ],
)
def test_each_end_of_a_message_has_its_event(
    heart: Heart, channel: Channel, state: State, event: str | None
) -> None:
    """Commands about the bridge have no event, but their results are published too."""
    heart.results.notify(result(channel, state))
    assert heart.events() == ([event] if event else [])
    assert heart.notices.reports == 1


def test_an_event_says_why_only_where_something_went_wrong(heart: Heart) -> None:
    """It names recipient and topics if there are any."""
    heart.results.notify(result(topics=("a", "b")))
    heart.results.notify(result(Channel.SMS, State.REJECTED, to="+15551234567"))
    assert [fields for _, fields in heart.notices.events] == [
        {"id": "7", "channel": "cloud", "topics": ("a", "b")},
        {"id": "7", "channel": "sms", "to": "+15551234567", "description": "why"},
    ]
