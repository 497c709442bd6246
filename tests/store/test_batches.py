"""Batches on disk: their messages, their content, and how they are divided."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from bridge.core.messages import CLOUD, Formed, Lane, Message, Priority, Traffic
from bridge.store.batches import UNDIVIDED, Division
from bridge.store.files import note_failure
from bridge.store.outbox import Limits
from tests.store.box import Box


def batched(name: str, *, topic: str = "s/a", route: str = "s/#", payload: bytes = b"x") -> Message:
    """Return a message for a batch."""
    return Message(name, False, Lane(CLOUD, (topic,) if topic else (), Priority.NORMAL, route), payload)


def fill(box: Box, number: int = 4) -> int:
    """Put messages for one batch; return their lane."""
    for n in range(number):
        box.put(batched(f"m{n}", topic=f"s/{n}"))
    return box.all()[0].lane_id


def form(box: Box, lane: int, upto: int, content: bytes = b"content") -> Formed:
    """Fix the batch of the messages up to the one at place ``upto``."""
    formed = Formed("id-1", "batch", box.all()[upto].seq, upto + 1)
    with box:
        box.outbox.batches.form(lane, formed, content)
    return formed


def test_messages_of_a_route_share_a_lane_and_keep_their_topics(box: Box) -> None:
    """Also without topics, and after a restart; an ordinary lane of the same topics is another one."""
    fill(box, 2)
    box.put(batched("none", topic=""))
    with box:
        box.outbox.accept(Message("other", False, Lane(CLOUD, ("s/0",), Priority.NORMAL), b"x"))
    for _ in range(2):
        assert [each.lane.topics for each in box.all()] == [("s/0",), ("s/1",), (), ("s/0",)]
        assert [each.lane.batch for each in box.all()] == ["s/#"] * 3 + [None]
        assert len({each.lane_id for each in box.all()}) == 2
        assert [each["topics"] for each in box.outbox.listing(0, 10)] == [["s/0"], ["s/1"], [], ["s/0"]]
        box.reopen()


def test_a_lane_waits_for_its_batch_until_somebody_finds_it_due(box: Box) -> None:
    """It has no head that could be sent, and needs no link."""
    lane = fill(box)
    assert (box.heads(), box.outbox.ready_within(300.0)) == ([], False)
    box.outbox.lanes.waiting.clear()
    assert (box.heads(), box.outbox.ready_within(300.0)) == (["m0"], True)
    box.reopen()
    assert box.outbox.lanes.batched.keys() == box.outbox.lanes.waiting == {lane}
    for n in range(4):
        box.finish(f"m{n}")
    assert not box.outbox.lanes.batched
    assert not box.outbox.lanes.waiting


def test_a_batch_is_of_the_messages_up_to_its_last(box: Box) -> None:
    """It outlives a restart; later messages are in no batch."""
    lane = fill(box)
    formed = form(box, lane, 2)
    box.put(batched("late"))
    box.reopen()
    batches = box.outbox.batches
    assert batches.division(lane) == Division(formed)
    assert batches.content(lane) == b"content"
    assert [each.id for each in batches.members(lane)] == ["m0", "m1", "m2"]
    assert [batches.of(each) is not None for each in box.all()] == [True, True, True, False, False]


def test_exchanges_are_counted_at_the_batch(box: Box) -> None:
    """Not at its messages; what results have told is taken off."""
    lane = fill(box)
    form(box, lane, 3)
    box.defer("m0", 10.0)
    with box:
        box.outbox.batches.took(lane, Traffic(4, 2))
    box.reopen()
    formed = box.outbox.batches.division(lane).formed
    assert formed
    assert (formed.attempts, formed.traffic) == (1, Traffic(6, 3))
    assert [(each.attempts, each.traffic) for each in box.all()] == [(0, Traffic())] * 4
    assert [each["attempts"] for each in box.outbox.listing(0, 9)] == [1] * 4
    assert box.outbox.listing(0, 1)[0]["batch"] == {"id": "id-1", "messages": 4}


def test_a_batch_goes_with_the_last_of_its_messages(box: Box) -> None:
    """Whatever order they end in; the next messages are in no batch."""
    lane = fill(box)
    form(box, lane, 2)
    for name in ("m1", "m0"):
        box.finish(name)
        assert box.outbox.batches.division(lane).formed
    box.finish("m2")
    assert box.outbox.batches.division(lane) == UNDIVIDED
    assert box.database._run("SELECT count(*) FROM batch").fetchone() == (0,)
    assert box.ids() == ["m3"]


def test_a_division_goes_on_after_a_restart(box: Box) -> None:
    """Ends that have passed are forgotten, and so is the message that went alone."""
    lane = fill(box)
    form(box, lane, 3)
    seqs = [each.seq for each in box.all()]
    with box:
        box.outbox.batches.divide(lane, Division(ends=(seqs[1], seqs[3]), alone=seqs[0]))
    box.reopen()
    assert box.outbox.batches.division(lane) == Division(None, (seqs[1], seqs[3]), seqs[0])
    box.finish("m0")
    assert box.outbox.batches.division(lane) == Division(None, (seqs[1], seqs[3]))
    box.finish("m1")
    assert box.outbox.batches.division(lane) == Division(None, (seqs[3],))


def test_a_rollback_takes_everything_back(box: Box) -> None:
    """A batch that was formed, spent on, and ended."""
    lane = fill(box)

    def fail() -> None:
        with box:
            box.outbox.batches.form(lane, Formed("id-2", "batch", 9, 4), b"c")
            box.outbox.remove(box.all()[0])
            raise ValueError("undone")

    with pytest.raises(ValueError, match="undone"):
        fail()
    assert box.outbox.batches.division(lane) == UNDIVIDED
    assert box.outbox.lanes.batched.keys() == {lane}
    assert box.outbox.lanes.changed == {lane}
    formed = form(box, lane, 1)
    assert box.outbox.batches.division(lane).formed == formed


def test_room_that_cannot_be_made_leaves_the_batch(tmp_path: Path) -> None:
    """Messages that were dropped for one which does not fit in the end are back in it."""
    box = Box(tmp_path / "o.db", limits=Limits(max_bytes=100, drop_oldest=True))
    for n in range(3):
        box.put(batched(f"m{n}", payload=b"x" * 20))
    lane = box.all()[0].lane_id
    formed = form(box, lane, 2)
    box.outbox.in_flight.add(box.all()[1].seq)
    box.put(batched("large", payload=b"y" * 90))
    assert box.ids() == ["m0", "m1", "m2"]
    assert box.outbox.batches.division(lane).formed == formed
    box.database.close()


@pytest.mark.parametrize(
    "garbled",
    [
        "UPDATE message SET topics = '[1]' WHERE seq = 2",
        "UPDATE message SET topics = '{' WHERE seq = 2",
        "UPDATE batch SET ends = '[\"a\"]'",
        "UPDATE batch SET ends = 'no JSON'",
    ],
)
def test_garbled_rows_are_mended(tmp_path: Path, garbled: str) -> None:
    """All messages are there, in their order; a batch that cannot be read is formed again."""
    path = tmp_path / "o.db"
    box = Box(path)
    lane = fill(box)
    form(box, lane, 2)
    box.database.close()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute(garbled)
        other.commit()
    note_failure(path, ValueError("whatever the row made fail"))
    box.reopen()
    assert box.ids() == ["m0", "m1", "m2", "m3"]
    assert bool(box.outbox.batches.division(lane).formed) is garbled.startswith("UPDATE message")
    box.database.close()
