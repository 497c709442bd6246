"""The memory of what the broker has acknowledged."""

from bridge.collect.seen import Seen

HOUR = 3600.0


def test_a_message_is_remembered_for_an_hour_by_device_batch_and_number() -> None:
    """From its acknowledgement on; an acknowledgement of its batch keeps all of the batch."""
    seen = Seen()
    seen.add(("1", "a"), 0, 0)
    seen.add(("1", "a"), 900, HOUR / 2)
    assert seen.holds(("1", "a"), 0, HOUR)
    assert seen.holds(("1", "a"), 900, 1.5 * HOUR)
    assert not seen.holds(("1", "a"), 1, 1)
    assert not seen.holds(("2", "a"), 0, 1)
    assert not seen.holds(("1", "b"), 0, 1)
    assert not seen.holds(("1", "a"), 900, 1.5 * HOUR + 1)
    assert len(seen) == 0


def test_the_oldest_is_forgotten_where_there_are_too_many() -> None:
    """Memory is bounded."""
    seen = Seen(most=3)
    for number in range(5):
        seen.add(("1", str(number)), 0, number)
    assert [seen.holds(("1", str(number)), 0, 5) for number in range(5)] == [False, False, True, True, True]
