"""Routes and topic rules."""

import re
import tracemalloc

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from bridge.core.batching import Batching
from bridge.core.messages import CLOUD, Channel, Endpoint, Lane, Priority
from bridge.core.routing import DEFAULT, PLACES, Route, Router
from bridge.core.topic_rules import CLOUD_TOPIC_LIMIT, check_cloud_topic, matcher
from bridge.errors import InvalidCommand

SCADA = Route(Endpoint(Channel.TCP, "scada.example.net", 5020, "OK"), max_attempts=20)
URGENT = Route(priority=Priority.HIGH, lifetime=3600.0)
REST = Route(priority=Priority.LOW)

levels = st.sampled_from(["a", "b", "ab", "A", "a.b", "(", "é", "a b", "\n", "[a]", "$"])
names = st.lists(levels | st.just(""), min_size=1, max_size=5).map("/".join)


@st.composite
def filters(draw: st.DrawFn) -> str:
    """Draw a valid filter: ``+`` as whole levels, ``#`` as the last one [MQTT 5.0, section 4.7.1]."""
    parts = draw(st.lists(levels | st.sampled_from(["", "+", "+"]), max_size=4))
    if draw(st.booleans()) or not parts:
        parts.append("#")
    return "/".join(parts)


@given(filters(), names)
def test_filters_match_as_mqtt_says(pattern: str, topic: str) -> None:
    """A route matches what the same filter would match at a broker, paho being the judge.

    Topics that begin with ``$`` are left out: below our prefix they are no topics of the broker's own
    [MQTT 5.0, section 4.7.2].
    """
    assume(not topic.startswith("$"))
    assert matcher(pattern)(topic) == topic_matches_sub(pattern, topic)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("alarms/#", ["alarms", "alarms/fire", "alarms/fire/1"], ["alarm", "alarms2", "x/alarms", ""]),
        ("+/state", ["a/state", "/state"], ["state", "a/b/state", "a/state/x"]),
        ("#", ["", "a", "a/b/c", "new\nline"], []),
        ("a.b", ["a.b"], ["aXb"]),
        ("/#", ["/", "/a", "/a/b"], ["a", "a/b"]),
        ("Temp", ["Temp"], ["temp", "Temp/"]),
    ],
)
def test_filters_by_example(pattern: str, matching: list[str], others: list[str]) -> None:
    """Wildcards stand for whole levels; everything else is itself."""
    assert [topic for topic in matching + others if matcher(pattern)(topic)] == matching


def test_the_first_route_that_matches_wins() -> None:
    """Order decides, not how exact a filter is; whatever matches nothing goes to the cloud as usual."""
    router = Router([("alarms/#", URGENT), ("alarms/scada", SCADA), ("scada/#", SCADA)])
    assert router.route(["alarms/scada"]) == URGENT
    assert router.route(["scada/1"]) == SCADA
    assert router.route(["other"]) == DEFAULT
    assert Router([]).route(["other"]) == DEFAULT


def test_any_topic_of_several_may_match() -> None:
    """With several topics the first route that any of them matches wins."""
    router = Router([("alarms/#", URGENT), ("scada/#", SCADA)])
    assert router.route(["scada/1", "alarms/fire"]) == URGENT


def test_a_message_without_topics_matches_a_catch_all() -> None:
    """``#`` takes what has no topic too; a filter with a name in it does not."""
    assert Router([("a/#", URGENT), ("#", REST)]).route([]) == REST


ALPHABET = "abcXYZ019-_"
good_topics = st.lists(st.text(ALPHABET, min_size=1), min_size=1, max_size=6).map("/".join)


@given(good_topics)
def test_good_cloud_topics_pass(topic: str) -> None:
    """Letters, digits, hyphen, underscore and slash pass, up to 31 characters."""
    assume(len(topic) < CLOUD_TOPIC_LIMIT)
    check_cloud_topic(topic)


@pytest.mark.parametrize(
    "topic",
    ["", "/", "/a", "a/", "a//b", "a b", "a+", "a/#", "$SYS", "é", "a\n", "a\0", "\u0661", "a.b", "x" * 32],
)
def test_bad_cloud_topics_are_refused(topic: str) -> None:
    """Spaces, wildcards, other scripts, empty levels and 32 characters are refused, naming the field."""
    with pytest.raises(InvalidCommand) as caught:
        check_cloud_topic(topic, "topics")
    assert caught.value.field == "topics"
    assert "shorter than 32 characters" in str(caught.value)


def test_the_length_limit_is_exact() -> None:
    """31 characters pass, 32 do not."""
    check_cloud_topic("x" * 31)
    check_cloud_topic("x" * 15 + "/" + "y" * 15)


@given(st.text(max_size=40))
def test_the_rule_for_cloud_topics_is_the_documented_one(topic: str) -> None:
    """Any text passes exactly if the documented rule, and ours about empty levels, allow it."""
    allowed = 0 < len(topic) < 32 and all(re.fullmatch("[A-Za-z0-9_-]+", part) for part in topic.split("/"))
    if allowed:
        check_cloud_topic(topic)
    else:
        with pytest.raises(InvalidCommand) as caught:
            check_cloud_topic(topic)
        assert "\n" not in str(caught.value)


def test_a_place_is_the_route_and_its_lane() -> None:
    """However often it is asked for; a route of batches has one lane for all topics."""
    batched = Route(match="sensors/#", batching=Batching(60.0), priority=Priority.LOW)
    router = Router([("sensors/#", batched), ("valves/+", SCADA)])
    for _ in range(2):
        assert router.place(("sensors/a", "b")) == (
            batched,
            Lane(CLOUD, ("sensors/a", "b"), Priority.LOW, "sensors/#"),
        )
        assert router.place(("valves/1",)) == (SCADA, Lane(SCADA.endpoint, ("valves/1",), Priority.NORMAL))
        assert router.place(()) == (DEFAULT, Lane(CLOUD, (), Priority.NORMAL))
    for number in range(2 * PLACES):
        assert router.place((f"valves/{number}",))[1].names == (f"valves/{number}",)
    assert Router([]).place(("valves/1",)) == (DEFAULT, Lane(CLOUD, ("valves/1",), Priority.NORMAL))


def test_very_long_topics_do_not_stay_in_memory() -> None:
    """MQTT allows 65,535 bytes, and a producer may make new ones all the time."""
    router = Router([])
    tracemalloc.start()
    try:
        for number in range(200):
            router.place((f"{number}" * 20_000,))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 200_000
