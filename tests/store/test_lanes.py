"""Lanes keep their rows when they are empty, within a bound."""

from bridge.core.messages import CLOUD, Lane, Priority
from bridge.store import lanes
from tests.store.box import Box, message


def rows(box: Box) -> int:
    """Return how many rows there are, with messages or without."""
    number: int = box.database._run("SELECT count(*) FROM lane").fetchone()[0]
    return number


def through(box: Box, topic: str) -> None:
    """Put a message in and take it out again."""
    box.put(message("m", topic=topic))
    box.finish("m")


def test_an_empty_lane_is_used_again(box: Box) -> None:
    """The next message on its topics takes the row as it is, also after a restart; it is not delayed."""
    through(box, "a")
    assert (rows(box), box.lanes()) == (1, 0)
    box.reopen()
    box.put(message("late", topic="a"))
    box.defer("late", 1000.0)
    box.finish("late")
    box.put(message("next", topic="a"))
    assert (rows(box), box.heads()) == (1, ["next"])


def test_empty_lanes_are_bounded(box: Box) -> None:
    """The one that has been empty for longest goes."""
    for number in range(lanes.KEPT + 10):
        through(box, f"t{number}")
    assert rows(box) == lanes.KEPT
    (left,) = box.database._run("SELECT names FROM lane WHERE names = '[\"t9\"]'").fetchall() or (None,)
    assert left is None
    through(box, "t9")
    assert rows(box) == lanes.KEPT


def test_a_rollback_brings_back_what_it_undid(box: Box) -> None:
    """Neither a lane that was emptied nor one that was begun is taken for what it was within."""
    box.put(message("m", topic="a"))
    (queued,) = box.all()
    box.database.begin()
    box.outbox.remove(queued)
    box.outbox.accept(message("new", topic="b"))
    box.database.rollback()
    box.outbox.reset()
    assert box.heads() == ["m"]
    box.put(message("n", topic="a"))
    box.put(message("o", topic="b"))
    assert box.heads() == ["m", "o"]
    assert box.outbox.endpoints() == [CLOUD]
    assert Lane(CLOUD, ("a",), Priority.NORMAL) == box.all()[0].lane


def test_more_lanes_than_are_known_by_heart_keep_their_order(box: Box) -> None:
    """A lane whose number was forgotten is found again, and one that was emptied begins anew."""
    topics = [f"t{number}" for number in range(lanes.KNOWN + 2)]
    for turn in "ab":
        for topic in topics:
            box.put(message(f"{topic}{turn}", topic=topic))
    assert rows(box) == box.lanes() == len(topics)
    for topic in ("t0", "t9"):
        box.finish(f"{topic}a")
        box.finish(f"{topic}b")
        box.put(message(f"{topic}c", topic=topic))
        box.put(message(f"{topic}d", topic=topic))
    heads = box.heads(limit=len(topics))
    assert len(heads) == len(topics)
    assert {"t0c", "t1a", "t9c"} <= {*heads}
    assert rows(box) == len(topics)
