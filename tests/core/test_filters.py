"""Filters: which readings pass, which are held, and what becomes of the held ones."""

import json
from collections.abc import Callable
from decimal import Decimal
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.filters import Filter, Filters, Offer, Topics, Verdict, find_number

A, B = ("a",), ("b",)


class Sensor:
    """Readings that are offered at times that a test sets; each is handed back as its text."""

    def __init__(self, rule: Filter, filters: Filters[str] | None = None) -> None:
        self.rule = rule
        self.filters = filters or Filters[str]()
        self.dropped: tuple[str, ...] = ()
        self.passed: tuple[str, ...] = ()
        self.now = 1000.0

    def says(self, text: str, *, after: float = 0.0, topics: Topics = A, urgent: bool = False) -> str:
        """Return the verdict on the reading ``text``, ``after`` seconds later."""
        self.now += after
        offer = self.filters.offer(self.rule, topics, text.encode(), text, self.now, urgent=urgent)
        self.dropped, self.passed = offer.dropped, offer.passed
        return offer.verdict.name.lower()

    def ends(self, *, after: float = 0.0) -> tuple[str, ...]:
        """Return what passes at the end of the interval."""
        self.now += after
        due = self.filters.due(A)
        return self.filters.release(A, self.now) if due is not None and due <= self.now else ()


def deadband(size: str, **more: object) -> Filter:
    return Filter(deadband=Decimal(size), **more)  # type: ignore[arg-type]  # by name


def test_a_number_passes_when_it_has_moved_far_enough() -> None:
    """Compared with the last that passed, not with the last that came, so that a slow drift is seen."""
    sensor = Sensor(deadband("0.2"))
    said = [sensor.says(text) for text in ("20.0", "20.1", "20.19", "20.2", "20.1", "20.0")]
    assert said == ["pass", "drop", "drop", "pass", "drop", "pass"], "20.2 - 20.0 is 0.2"


def test_the_number_may_be_inside_an_object() -> None:
    """Other keys do not count; without the number it passes, and so does the next with one."""
    sensor = Sensor(deadband("1", field=("a", "b")))
    readings = [
        {"a": {"b": 1}},
        {"a": {"b": 1.5}, "c": 2},
        {"a": {}},
        {"a": {"b": 1}},
        {"a": {"b": "9"}},
        {"a": {"b": True}},
        {"a": [1]},
    ]
    assert [sensor.says(json.dumps(each)) for each in readings] == ["pass", "drop", *["pass"] * 5]


def test_a_payload_that_changes_passes() -> None:
    """Byte for byte."""
    sensor = Sensor(Filter(changed=True))
    said = [sensor.says(text) for text in ("on", "on", "on ", "off", "off", "")]
    assert said == ["pass", "drop", "pass", "pass", "drop", "pass"]


def test_both_have_to_pass() -> None:
    """A change that is too small is none, and neither is a number that is no change."""
    sensor = Sensor(deadband("1", changed=True))
    said = [sensor.says(text) for text in ("5", "5", "5.5", "6", "none", "none", "7")]
    assert said == ["pass", "drop", "drop", "pass", "pass", "drop", "pass"]


def test_the_last_of_an_interval_passes_at_its_end() -> None:
    """Those before it are dropped; the next interval begins when it passes."""
    sensor = Sensor(Filter(min_interval=10.0))
    assert sensor.says("1") == "pass"
    assert sensor.says("2", after=4.0) == "hold"
    assert sensor.says("3", after=4.0) == "hold"
    assert sensor.dropped == ("2",)
    assert sensor.ends(after=1.9) == ()
    assert sensor.ends(after=0.1) == ("3",)
    assert sensor.ends(after=0.1) == ()
    assert sensor.says("4", after=9.8) == "hold"
    assert sensor.says("5", after=0.1) == "pass"
    assert sensor.dropped == ("4",), "it came later and passes now"


def test_a_held_reading_that_is_no_longer_true_is_taken_back() -> None:
    """The door was opened and closed again: whoever was told that it is closed needs no word."""
    sensor = Sensor(Filter(changed=True, min_interval=10.0))
    sensor.says("closed")
    assert sensor.says("open", after=2.0) == "hold"
    assert sensor.says("closed", after=2.0) == "drop"
    assert sensor.dropped == ("open",)
    assert sensor.ends(after=10.0) == ()
    assert sensor.says("open") == "pass"


def test_max_interval_beats_everything() -> None:
    """After it one passes whatever it says, and takes the place of what was held."""
    sensor = Sensor(deadband("5", changed=True, min_interval=60.0, max_interval=90.0))
    sensor.says("1")
    assert sensor.says("1", after=89.9) == "drop"
    assert sensor.says("1", after=0.1) == "pass"
    assert sensor.says("9", after=10.0) == "hold"
    assert sensor.says("9", after=80.0) == "pass"
    assert sensor.dropped == ("9",)


def test_an_urgent_reading_passes() -> None:
    """It counts as the last that passed, and the held one before it is old news."""
    sensor = Sensor(Filter(changed=True, min_interval=10.0))
    sensor.says("1")
    assert sensor.says("2", after=1.0) == "hold"
    assert sensor.says("3", after=1.0, urgent=True) == "pass"
    assert sensor.dropped == ("2",)
    assert sensor.says("3", after=1.0, urgent=True) == "pass"
    assert sensor.says("3", after=1.0) == "drop"
    assert sensor.says("4", after=8.9) == "hold"


def test_topics_are_filtered_apart() -> None:
    """Each list has its own last reading."""
    sensor = Sensor(Filter(changed=True))
    assert [sensor.says("1"), sensor.says("1", topics=B), sensor.says("1", topics=(*A, *B))] == ["pass"] * 3
    assert sensor.says("1", topics=B) == "drop"


def test_the_latest_topics_are_kept() -> None:
    """What falls out with a held reading lets it pass, and begins anew."""
    sensor = Sensor(Filter(min_interval=10.0), Filters[str](kept=2))
    sensor.says("1")
    sensor.says("2")
    sensor.says("1", topics=B)
    assert sensor.says("3") == "hold", "it was used last"
    sensor.says("1", topics=("c",))
    assert not sensor.passed
    sensor.says("1", topics=("d",))
    assert sensor.passed == ("3",)
    assert sensor.says("4") == "pass"


def test_held_readings_have_a_bound_in_bytes() -> None:
    """What would be beyond it passes instead, and what is let go makes room."""
    sensor = Sensor(Filter(min_interval=10.0), Filters[str](held_bytes=5))
    for topics in (A, B):
        sensor.says("1", topics=topics)
    assert sensor.says("12345") == "hold"
    assert sensor.says("1", topics=B) == "pass"
    assert sensor.says("1234567") == "pass"
    assert sensor.says("1", after=1.0) == "hold"


def test_flush_purge_and_a_changed_rule_take_the_held_readings() -> None:
    """Flushed they have passed; purged they have not; a topic whose rule is another begins anew."""
    sensor = Sensor(Filter(changed=True, min_interval=10.0))
    sensor.says("1")
    sensor.says("2")
    assert sensor.filters.release_all(sensor.now) == ["2"]
    assert sensor.says("2") == "drop"
    sensor.says("3")
    assert sensor.filters.held() == ["3"]
    assert sensor.filters.drop_all() == ["3"]
    assert sensor.says("2") == "drop"
    sensor.says("4")
    assert sensor.filters.renew([(A, sensor.rule)]) == []
    assert sensor.filters.renew([(A, None)]) == ["4"]
    assert sensor.filters.topics() == []
    sensor.says("4")
    assert sensor.says("5") == "hold"
    sensor.rule = Filter(changed=True)
    assert sensor.says("5") == "pass"
    assert sensor.passed == ("5",), "the held one was of another rule"


def test_a_reading_that_got_no_further_does_not_count() -> None:
    """The next one passes."""
    sensor = Sensor(Filter(changed=True, min_interval=10.0))
    sensor.says("1")
    sensor.filters.forget(A)
    assert sensor.says("1") == "pass"
    sensor.filters.forget(B)
    assert sensor.says("2") == "hold"


def test_an_offer_is_taken_back_whatever_its_verdict() -> None:
    """The last that passed, its time and the held reading are what they were; its room is taken again."""
    rule = Filter(changed=True, min_interval=10.0)
    for text, urgent, verdict in (("1", False, "DROP"), ("3", False, "HOLD"), ("3", True, "PASS")):
        filters = Filters[str](held_bytes=1)
        filters.offer(rule, A, b"1", "1", 0.0)
        filters.offer(rule, A, b"2", "2", 1.0)
        offer = filters.offer(rule, A, text.encode(), text, 2.0, urgent=urgent)
        assert (offer.verdict.name, offer.dropped) == (verdict, ("2",))
        assert filters.undo(A, offer)
        assert (filters.held(), filters.due(A)) == (["2"], 10.0)
        assert filters.offer(rule, B, b"1", "1", 2.0).verdict.name == "PASS"
        assert filters.offer(rule, B, b"2", "2", 2.0).verdict.name == "PASS", "there is no room to hold it"
        assert filters.release(A, 10.0) == ("2",)
        assert filters.offer(rule, A, b"1", "1", 20.0).verdict.name == "PASS"


def test_an_offer_that_others_followed_is_not_taken_back() -> None:
    """They were judged by it, or began anew."""
    rule = Filter(changed=True, min_interval=10.0)
    filters = Filters[str]()

    def offer(text: str) -> Offer[str]:
        return filters.offer(rule, A, text.encode(), text, 0.0)

    offer("1")
    followers: list[Callable[[], object]] = [
        lambda: offer("1"), lambda: filters.release(A, 1.0), lambda: filters.forget(A),
        lambda: filters.renew([(A, None)]),
    ]  # fmt: skip
    for follow in followers:
        old = offer("2")
        follow()
        held = filters.held()
        assert not filters.undo(A, old)
        assert filters.held() == held


def test_where_nothing_may_be_held_it_passes() -> None:
    """It is the last that passed then."""
    filters = Filters[str]()
    for text, verdict in (("1", Verdict.PASS), ("2", Verdict.PASS), ("2", Verdict.DROP)):
        offer = filters.offer(
            Filter(changed=True, min_interval=10.0), A, text.encode(), text, 0.0, hold=False
        )
        assert offer.verdict is verdict


@pytest.mark.parametrize(
    ("payload", "number"),
    [
        ("21.5", "21.5"),
        (" -3e2\n", "-300"),
        ("\ufeff1", "1"),
        ("9" * 5000, None),
        ("1." + "1" * 5000, repr(float("1." + "1" * 20))),
        ("1e999", None),
        ("1e-999999999", "0"),
        ("NaN", None),
        ("-Infinity", None),
        ("021", None),
        ("21.5 C", None),
        ('"21.5"', None),
        ("true", None),
        ("[1]", None),
        ('{"a":1}', None),
        ("[" * 100_000, None),
        ("", None),
    ],
)
def test_a_number_is_one_of_json(payload: str, number: str | None) -> None:
    """Anything else is a payload without a number."""
    assert find_number(payload.encode(), ()) == (None if number is None else Decimal(number))


def test_bytes_and_large_payloads_have_no_number() -> None:
    """Neither is read."""
    assert find_number(b"\xff", ()) is None
    assert find_number(b"1" + b" " * 1_000_000, ()) is None


steps = st.lists(
    st.tuples(st.sampled_from(["20", "20.1", "21", "x", "{}"]), st.floats(0, 20), st.booleans()), max_size=40
)
rules = st.builds(
    Filter,
    deadband=st.none() | st.just(Decimal("0.5")),
    changed=st.booleans(),
    min_interval=st.sampled_from([0.0, 10.0]),
    max_interval=st.sampled_from([15.0, inf]),
)


@given(rules, steps)
def test_no_reading_is_lost_and_none_is_handed_back_twice(
    rule: Filter, readings: list[tuple[str, float, bool]]
) -> None:
    """Each passes, is dropped or is held; of a topic list at most one is held, and the intervals are kept."""
    filters, now, ended, passed = Filters[int](), 0.0, list[int](), list[float]()
    for number, (text, pause, urgent) in enumerate(readings):
        now += pause
        due = filters.due(A)
        if due is not None and due <= now:
            ended += filters.release(A, due)
            passed.append(due)
        before = passed[-1] if passed else -inf
        offer = filters.offer(rule, A, text.encode(), number, now, urgent=urgent)
        ended += offer.dropped + offer.passed
        if offer.verdict is not Verdict.HOLD:
            ended.append(number)
        if offer.verdict is Verdict.PASS:
            assert urgent or now - before >= min(rule.min_interval, rule.max_interval)
            passed.append(now)
        else:
            assert now - before < rule.max_interval
        assert len(filters.held()) <= 1
    assert sorted(ended + filters.held()) == list(range(len(readings)))
