"""Results and events as the broker gets them."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.messages import Channel, Result, State, Traffic
from bridge.protocol.api.reports import event_json, result_json, timestamp

FIELDS = [
    "id", "channel", "to", "topics", "state", "code", "description", "attempts", "queued_at", "finished_at",
    "bytes_up", "bytes_down",
]  # fmt: skip


def make(channel: Channel = Channel.CLOUD, **more: object) -> Result:
    result = Result("7", channel, State.DELIVERED, "accepted", 1_700_000_000.0, 1_700_000_001.25)
    return result._replace(**more)  # type: ignore[arg-type]  # fields by name


def test_a_result_has_every_field_of_the_contract() -> None:
    """The fields, their names and their forms are those that users rely on."""
    result = make(topics=("a", "b"), code=0, attempts=2, traffic=Traffic(300, 166))
    assert json.loads(result_json(result)) == {
        "id": "7",
        "channel": "cloud",
        "to": None,
        "topics": ["a", "b"],
        "state": "delivered",
        "code": 0,
        "description": "accepted",
        "attempts": 2,
        "queued_at": "2023-11-14T22:13:20.000Z",
        "finished_at": "2023-11-14T22:13:21.250Z",
        "bytes_up": 300,
        "bytes_down": 166,
    }


@pytest.mark.parametrize("channel", list(Channel))
@pytest.mark.parametrize("answer", [None, b"", b"OK", b"\xff"])
def test_direct_ip_alone_has_an_answer(channel: Channel, answer: bytes | None) -> None:
    """TCP and UDP add the peer's answer, as text or as base64; no other channel has the field."""
    fields = list(json.loads(result_json(make(channel, answer=answer))))
    if channel in (Channel.TCP, Channel.UDP):
        assert fields == [*FIELDS, "answer_base64" if answer == b"\xff" else "answer"]
    else:
        assert fields == FIELDS


@given(st.binary(max_size=100))
def test_any_answer_comes_out_as_it_went_in(answer: bytes) -> None:
    """No byte of a peer's answer is lost on the way to the result."""
    found = json.loads(result_json(make(Channel.TCP, answer=answer)))
    text = found.get("answer")
    assert (text.encode() if text is not None else base64.b64decode(found["answer_base64"])) == answer


@given(st.text(), st.lists(st.text(), max_size=3))
def test_any_text_makes_a_readable_result(description: str, topics: list[str]) -> None:
    """Whatever text is in a result, half a surrogate pair included, it is JSON in UTF-8."""
    found = json.loads(result_json(make(description=description, topics=tuple(topics))).decode())
    assert found["state"] == "delivered"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_in_a_result_stays_itself(description: str) -> None:
    """Quotes, controls and every script come out as they went in."""
    assert json.loads(result_json(make(description=description)))["description"] == description


@given(st.floats(0, 4e9))
def test_times_are_read_back_to_the_millisecond(wall: float) -> None:
    """Timestamps are ISO 8601 in UTC and lose less than a millisecond."""
    text = timestamp(wall)
    assert text.endswith("Z")
    back = datetime.fromisoformat(text).astimezone(UTC).timestamp()
    assert abs(back - wall) < 0.0011


def test_an_event_says_what_and_when() -> None:
    """Events begin with their type and time and go on with their own fields."""
    event = event_json("message.sent", 0.0, {"id": "7", "topics": ("a",)})
    assert event == b'{"event_type":"message.sent","at":"1970-01-01T00:00:00.000Z","id":"7","topics":["a"]}'


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)


@given(
    ANY_TEXT, ANY_TEXT, st.lists(ANY_TEXT, max_size=3), st.none() | ANY_TEXT, st.none() | st.integers(0, 20)
)
def test_any_text_comes_out_as_it_went_in(
    name: str, description: str, topics: list[str], to: str | None, code: int | None
) -> None:
    """Quotes, control characters and halves of surrogate pairs, in results as in events."""
    result = make(id=name, description=description, topics=tuple(topics), to=to, code=code)
    found = json.loads(result_json(result))
    assert list(found) == FIELDS
    assert [found[key] for key in ("id", "description", "topics", "to", "code")] == [
        name, description, topics, to, code,
    ]  # fmt: skip
    event = json.loads(event_json("message.sent", 0.0, {"id": name, "topics": tuple(topics), "to": to}))
    assert event == {"event_type": "message.sent", "at": "1970-01-01T00:00:00.000Z", "id": name,
                     "topics": topics, "to": to}  # fmt: skip
