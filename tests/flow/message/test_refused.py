"""Reports that the broker refuses: tried again, one of each topic, and not for ever."""

from collections.abc import Callable

from bridge.flow.message.refused import LONGEST_PAUSE, PAUSE, REFUSED_FOR, Refused


class Rig:
    """A time that tests move, and what was published again."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.published: list[list[int]] = []
        self.refused = Refused(self.published.append, self.call_later)

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.timers.append((self.now + delay, callback))

    def refuse(self, seq: int, topic: str) -> list[int]:
        return self.refused.add(seq, topic, self.now)

    def tick(self) -> float:
        """Run the next timer; return how long it took."""
        self.timers.sort(key=lambda timer: timer[0])
        at, callback = self.timers.pop(0)
        waited, self.now = at - self.now, at
        callback()
        return waited


def test_one_of_each_topic_is_tried() -> None:
    """However many are refused, a try costs one publication for each topic."""
    rig = Rig()
    for seq in range(100):
        rig.refuse(seq, f"topic {seq % 2}")
    rig.tick()
    assert rig.published == [[0, 1]]
    assert len(rig.timers) == 1


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
    assert not rig.timers
    rig.refuse(2, "topic")
    assert rig.tick() == PAUSE


def test_after_a_day_it_ends() -> None:
    """All of the topic that are as old as that go together; younger ones stay."""
    rig = Rig()
    for seq in (1, 2):
        rig.refuse(seq, "topic")
    rig.now = REFUSED_FOR / 2
    rig.refuse(3, "topic")
    rig.now = REFUSED_FOR - 1
    assert rig.refuse(1, "topic") == []
    rig.now = REFUSED_FOR
    assert rig.refuse(1, "topic") == [1, 2]
    assert "topic" in rig.refused
