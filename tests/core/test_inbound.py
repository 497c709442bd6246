"""The gathering of one inbound message, driven by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.inbound import Ending, Gathering, Limits

LIMITS = Limits(timeout=5, max_bytes=10, deadline=60)
START = 1000.0


def test_the_peers_close_ends_a_message() -> None:
    """Byte by byte; nothing is over before the close."""
    gathering = Gathering(START)
    for byte in b"message":
        gathering.received(bytes([byte]), START, LIMITS)
        gathering.tick(START, LIMITS)
        assert gathering.ending is None
    gathering.closed()
    assert (gathering.ending, bytes(gathering.data)) == (Ending("whole"), b"message")


def test_silence_ends_a_message() -> None:
    """The silence counts from the last byte, and is of the limits of now."""
    gathering = Gathering(START)
    gathering.received(b"me", START + 4, LIMITS)
    gathering.tick(START + 8.9, LIMITS)
    assert gathering.ending is None
    gathering.tick(START + 9, LIMITS._replace(timeout=6))
    assert gathering.ending is None
    gathering.tick(START + 9, LIMITS)
    assert gathering.ending == Ending("whole")


@pytest.mark.parametrize("silent", [False, True])
def test_nothing_is_no_message(silent: bool) -> None:
    """Whether the peer closes or is silent."""
    gathering = Gathering(START)
    if silent:
        gathering.tick(START + 5, LIMITS)
    else:
        gathering.closed()
    assert gathering.ending == Ending("empty")


@pytest.mark.parametrize("pieces", [[10, 1], [1] * 11, [11], [5, 500]])
def test_a_message_over_the_limit_is_dropped(pieces: list[int]) -> None:
    """With the first byte too many, however it was cut; what trails is not kept."""
    gathering = Gathering(START)
    for size in pieces:
        assert gathering.ending is None
        gathering.received(b"x" * size, START, LIMITS)
    assert gathering.ending == Ending("too_large", "it is over inbound.max_bytes, 10")
    kept = len(gathering.data)
    gathering.received(b"trailing", START, LIMITS)
    gathering.closed()
    assert (gathering.ending.what, len(gathering.data)) == ("too_large", kept)


def test_a_message_of_the_limit_is_whole() -> None:
    """The limit itself is allowed."""
    gathering = Gathering(START)
    gathering.received(b"x" * 10, START, LIMITS)
    gathering.closed()
    assert gathering.ending == Ending("whole")


def test_a_broken_connection_leaves_nothing() -> None:
    """Nobody knows what is missing."""
    gathering = Gathering(START)
    gathering.received(b"mess", START, LIMITS)
    gathering.broke("reset")
    assert gathering.ending == Ending("broken", "the connection broke in the middle: reset")


def test_the_deadline_bounds_a_peer_that_never_ends() -> None:
    """A byte in time is no silence, and yet the whole is bounded; more bytes are given more time."""
    limits = LIMITS._replace(max_bytes=100_000)
    slow, large = Gathering(START), Gathering(START)
    for second in range(0, 61, 4):
        for gathering, size in ((slow, 1), (large, 4100)):
            gathering.received(b"x" * size, START + second, limits)
            gathering.tick(START + second, limits)
    assert (slow.ending, large.ending) == (Ending("cut", "it took longer than inbound.deadline, 60 s"), None)


def test_what_waits_on_our_side_is_no_silence() -> None:
    """Only the deadline counts then."""
    gathering = Gathering(START)
    gathering.received(b"me", START, LIMITS)
    gathering.held = True
    gathering.tick(START + 59, LIMITS)
    assert gathering.ending is None
    gathering.tick(START + 60, LIMITS)
    assert gathering.ending is not None
    assert gathering.ending.what == "cut"


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("received"), st.binary(max_size=4)),
        st.tuples(st.just("tick"), st.floats(0, 10)),
        st.tuples(st.sampled_from(["closed", "broke"]), st.none()),
    ),
    max_size=30,
)


@given(EVENTS)
def test_what_ends_it_first_decides(events: list[tuple[str, object]]) -> None:
    """In any order of events: the ending never changes, and a whole message is what came before it."""
    gathering, now, came, ending = Gathering(START), START, b"", None
    for name, value in events:
        if isinstance(value, bytes):
            came += value if ending is None else b""
            gathering.received(value, now, LIMITS)
        elif isinstance(value, float):
            now += value
            gathering.tick(now, LIMITS)
        elif name == "closed":
            gathering.closed()
        else:
            gathering.broke("reset")
        assert ending in (None, gathering.ending)
        ending = gathering.ending
    gathering.tick(now + LIMITS.deadline, LIMITS)
    assert gathering.ending is not None
    assert bytes(gathering.data) == came
    assert (gathering.ending.what in ("whole", "cut")) <= (0 < len(came) <= LIMITS.max_bytes)
    assert (gathering.ending.what == "too_large") is (len(came) > LIMITS.max_bytes)
