"""Reports: what the publisher is given is what is on disk, from memory or not."""

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bridge.store.reports import RECENT, RECENT_SIZE
from tests.store.box import Box

steps = st.lists(
    st.one_of(
        st.tuples(st.just("report"), st.integers(1, 5), st.sampled_from([10, RECENT_SIZE - 15, RECENT_SIZE])),
        st.tuples(st.just("fail"), st.integers(1, 3), st.just(10)),
        st.tuples(st.just("read"), st.integers(1, 4), st.just(0)),
        st.tuples(st.just("sent"), st.integers(1, 4), st.just(0)),
        st.tuples(st.just("aside"), st.integers(0, 4), st.just(0)),
    ),
    max_size=25,
)


def on_disk(box: Box, seq: int, limit: int) -> list[tuple[Any, ...]]:
    return list(box.database.execute("report_after", (seq, limit)).fetchall())


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
@example([("report", 1, 10), ("report", 1, RECENT_SIZE + 1), ("report", 1, 10)])
def test_the_publisher_reads_what_is_on_disk(box: Box, given_steps: list[tuple[str, int, int]]) -> None:
    """In order behind its cursor, whatever came, failed, went or was set aside meanwhile."""
    cursor, unsent = max((row[0] for row in on_disk(box, 0, 9999)), default=0), list[int]()
    for step, number, size in given_steps:
        if step == "report":
            with box:
                for _ in range(number):
                    box.outbox.reports.add("hologram/result", b"x" * size)
        elif step == "fail":
            box.database.begin()
            for _ in range(number):
                box.outbox.reports.add("hologram/in", b"never durable")
            box.outbox.flush()
            box.database.rollback()
            box.outbox.reset()
        elif step == "read":
            found = box.outbox.reports.after(cursor, number)
            assert found == on_disk(box, cursor, number)
            unsent += [report.seq for report in found]
            cursor = found[-1].seq if found else cursor
        elif step == "sent":
            with box:
                box.outbox.reports.sent(unsent[-number:])
            del unsent[-number:]
        else:
            with box:
                box.outbox.set_report_aside(cursor + number, "a person wants it so")
    assert box.outbox.reports.after(cursor, 99) == on_disk(box, cursor, 99)
    assert box.outbox.reports.after(0, 99) == on_disk(box, 0, 99)


def test_within_a_transaction_what_was_reported_is_there(box: Box) -> None:
    """To be read, to be set aside, to be removed."""
    with box:
        for payload in (b"1", b"2", b"3"):
            box.outbox.reports.add("hologram/in", payload)
        first, second, third = box.outbox.reports.after(0, 9)
        box.outbox.set_report_aside(first.seq, "why")
        box.outbox.reports.sent([second.seq])
        assert box.outbox.reports.get(third.seq) == third
    assert box.outbox.reports.after(0, 9) == [third]


def test_few_of_many_stay_in_memory(tmp_path: Path) -> None:
    """While the broker is away thousands may come; all are read again, in order."""
    box = Box(tmp_path / "outbox.db")
    for _ in range(3):
        with box:
            for number in range(RECENT):
                box.outbox.reports.add("hologram/result", b"%d" % number)
    cursor, found = 0, list[bytes]()
    while reports := box.outbox.reports.after(cursor, 50):
        found += [report.payload for report in reports]
        cursor = reports[-1].seq
    assert found == [b"%d" % number for number in range(RECENT)] * 3
