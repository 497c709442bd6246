"""Reports that the broker refuses: tried again, one of each topic, and not for ever."""

from bridge.flow.message.refused_reports import LONGEST_PAUSE, PAUSE, REFUSED_FOR, Refused
from tests.doubles.time import Clock, MovableTime


class Rig:
    """A time that tests move, and what was published again."""

    def __init__(self) -> None:
        self.time = MovableTime(Clock(mono=0.0))
        self.published: list[list[int]] = []
        self.refused = Refused(self.published.append, self.time)

    def refuse(self, seq: int, topic: str) -> list[int]:
        return self.refused.add(seq, topic, self.time.now().mono)

    def tick(self) -> float:
        """Run the next timer; return how long it took."""
        return self.time.tick()


def test_one_of_each_topic_is_tried() -> None:
    """However many are refused, a try costs one publication for each topic."""
    rig = Rig()
    for seq in range(100):
        rig.refuse(seq, f"topic {seq % 2}")
    rig.tick()
    assert rig.published == [[0, 1]]
    assert rig.time.pending == 1


def test_the_others_of_its_topic_follow() -> None:
    """Once, and those of another topic do not."""
    rig = Rig()
    for seq in range(6):
        rig.refuse(seq, f"topic {seq % 2}")
    rig.tick()
    rig.refused.taken(0)
    rig.refused.taken(2)
    assert rig.published == [[0, 1], [2, 4]]
    assert "topic 0" not in rig.refused
    assert "topic 1" in rig.refused


def test_pauses_double() -> None:
    """Up to a bound; when nothing is refused any more they begin anew."""
    rig = Rig()
    rig.refuse(1, "topic")
    waits = [rig.tick() for _ in range(12)]
    assert waits[:3] == [PAUSE, 2 * PAUSE, 4 * PAUSE]
    assert waits[-1] == LONGEST_PAUSE
    rig.refused.taken(1)
    rig.tick()
    assert not rig.time.pending
    rig.refuse(2, "topic")
    assert rig.tick() == PAUSE


def test_after_a_day_it_ends() -> None:
    """All of the topic that are as old as that go together; younger ones stay."""
    rig = Rig()
    for seq in (1, 2):
        rig.refuse(seq, "topic")
    rig.time.clock.mono = REFUSED_FOR / 2
    rig.refuse(3, "topic")
    rig.time.clock.mono = REFUSED_FOR - 1
    assert rig.refuse(1, "topic") == []
    rig.time.clock.mono = REFUSED_FOR
    assert rig.refuse(1, "topic") == [1, 2]
    assert "topic" in rig.refused
