"""The tables of texts: parts, fingerprints and awaited reports, over restarts and whatever the clock does."""

from itertools import count

from bridge.store import sms as sms_module
from bridge.store.sms import Part, SmsStore, Waiting
from tests.store.box import DAY, NOON, Box, Clock

HOUR = 3600.0


def texts(box: Box) -> SmsStore:
    return SmsStore(box.database, box.clock)


def part(number: int, **more: object) -> Part:
    usual = Part("+15551234567", 7, False, 3, number, NOON, f"pdu{number}")
    return usual._replace(**more)  # type: ignore[arg-type]  # fields by name


class Ids:
    """Numbered ids."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self) -> str:
        return f"t{next(self._numbers)}"


def add(box: Box, store: SmsStore, new: Part, ids: Ids) -> str:
    with box:
        return store.add(new, ids, 3 * HOUR)


def test_parts_of_one_text_find_each_other(box: Box) -> None:
    """Parts come in any order and belong together by sender, reference, its width, and number of parts."""
    store, ids = texts(box), Ids()
    assert add(box, store, part(2), ids) == "t1"
    assert add(box, store, part(3, sender="+1999"), ids) == "t2"
    assert add(box, store, part(3, reference=8), ids) == "t3"
    assert add(box, store, part(3, wide=True), ids) == "t4"
    assert add(box, store, part(3, total=4), ids) == "t5"
    assert add(box, store, part(1, sent_at=NOON - 60), ids) == "t1"
    assert add(box, store, part(3, sent_at=None), ids) == "t1"
    assert store.parts("t1") == {1: "pdu1", 2: "pdu2", 3: "pdu3"}
    assert store.waiting() == 7


def test_a_reference_that_comes_again_begins_another_text(box: Box) -> None:
    """A part that is there already, or one sent hours later, is another text's of the same reference."""
    store, ids = texts(box), Ids()
    assert add(box, store, part(1), ids) == "t1"
    assert add(box, store, part(1, pdu="other"), ids) == "t2"
    assert add(box, store, part(2, sent_at=NOON + 4 * HOUR), ids) == "t3"
    assert add(box, store, part(2, sent_at=NOON + 2 * HOUR), ids) == "t1"
    assert add(box, store, part(3, sent_at=NOON + 4 * HOUR), ids) == "t3"


def test_of_several_texts_the_nearest_gets_the_part(box: Box) -> None:
    """Two texts of one reference that both lack a part: it goes to the one sent at its time."""
    store, ids = texts(box), Ids()
    for minutes in (0, 30, 60):
        add(box, store, part(1, sent_at=NOON + 60 * minutes), ids)
    assert add(box, store, part(2, sent_at=NOON + 60 * 31), ids) == "t2"
    assert add(box, store, part(2, sent_at=NOON + 60 * 59), ids) == "t3"
    assert add(box, store, part(2, sent_at=NOON + 60 * 59), ids) == "t1"


def test_parts_and_fingerprints_outlast_a_restart(box: Box) -> None:
    """What was committed is known after a crash; what was rolled back is not."""
    store, ids = texts(box), Ids()
    add(box, store, part(1), ids)
    with box:
        assert store.first_sight(b"one")
    box.database.begin()
    assert store.first_sight(b"two")
    box.database.rollback()
    box.reopen()
    store = texts(box)
    assert store.parts("t1") == {1: "pdu1"}
    with box:
        assert not store.first_sight(b"one")
        assert store.first_sight(b"two")


def test_a_text_is_gone_once_it_is_published(box: Box) -> None:
    """Removing a text removes its parts and no others."""
    store, ids = texts(box), Ids()
    add(box, store, part(1), ids)
    add(box, store, part(2), ids)
    add(box, store, part(2, reference=8), ids)
    with box:
        store.remove("t1")
    assert store.parts("t1") == {}
    assert store.waiting() == 1


def test_waiting_counts_the_hours_that_the_bridge_ran(box: Box) -> None:
    """Neither a step of the clock nor hours without power make a part wait longer."""
    store, ids = texts(box), Ids()
    add(box, store, part(1), ids)
    box.clock.pass_(10 * HOUR)
    box.clock.step(-300 * DAY)
    with box:
        store.keep_time()
    assert store.overdue(12 * HOUR) == []
    box.reopen(boot="boot-2", clock=Clock(wall=NOON + 3 * DAY, mono=5.0))
    store = texts(box)
    assert store.overdue(12 * HOUR) == []
    box.clock.pass_(HOUR)
    add(box, store, part(2), ids)
    box.clock.pass_(HOUR)
    assert store.overdue(12 * HOUR) == [Waiting("t1", "+15551234567", 3, 12 * HOUR)]
    assert store.oldest() == Waiting("t1", "+15551234567", 3, 12 * HOUR)


def test_overdue_texts_come_oldest_first(box: Box) -> None:
    """Only those whose first part has waited long enough, each once."""
    store, ids = texts(box), Ids()
    assert store.oldest() is None
    for reference in (1, 2, 3):
        add(box, store, part(1, reference=reference), ids)
        add(box, store, part(2, reference=reference), ids)
        box.clock.pass_(HOUR)
    assert [waiting.id for waiting in store.overdue(2 * HOUR)] == ["t1", "t2"]


def test_fingerprints_are_bounded_in_number_and_age(box: Box) -> None:
    """The oldest go; one that is read again, as it is still on the modem, counts as new."""
    store = texts(box)
    with box:
        assert all(store.first_sight(b"%d" % number) for number in range(sms_module.MAX_SEEN + 10))
        assert not store.first_sight(b"5")
        store.keep_time()
        assert not store.first_sight(b"5")
        assert not store.first_sight(b"100")
        assert store.first_sight(b"4")
    box.clock.pass_(31 * DAY)
    with box:
        store.keep_time()
        assert store.first_sight(b"100")


def test_a_status_report_finds_its_message(box: Box) -> None:
    """By reference and recipient, however the network writes it; the newest of several is meant."""
    store = texts(box)
    with box:
        store.await_report(9, "+15551234567", "old")
        store.await_report(9, "+15551234567", "new")
        store.await_report(9, "+4915112345678", "german")
    box.reopen()
    store = texts(box)
    with box:
        assert store.reported(9, "0015551234567", final=False) == "new"
        assert store.reported(9, "+15551234567", final=True) == "new"
        assert store.reported(9, "5551234567", final=True) == "old"
        assert store.reported(9, "+15551234567", final=True) is None
        assert store.reported(9, "015112345678", final=True) == "german"
        assert store.reported(8, "+15551234567", final=True) is None
        assert store.reported(9, "67", final=True) is None


def test_awaited_reports_are_bounded_in_number_and_age(box: Box) -> None:
    """A report that never comes is not awaited for ever."""
    store = texts(box)
    with box:
        store.await_report(0, "+15551234567", "first")
        for number in range(sms_module.MAX_SENT):
            store.await_report(1, f"+1555{number:07}", "one")
        store.keep_time()
        assert store.reported(0, "+15551234567", final=False) is None
        assert store.reported(1, "+15550000500", final=False) == "one"
    box.clock.pass_(8 * DAY)
    with box:
        store.keep_time()
        assert store.reported(1, "+15550000500", final=False) is None


def test_waiting_parts_outlast_a_damaged_file(box: Box) -> None:
    """What can be read of a damaged store includes parts, fingerprints and awaited reports."""
    store, ids = texts(box), Ids()
    add(box, store, part(1), ids)
    with box:
        store.first_sight(b"one")
        store.await_report(9, "+15551234567", "m1")
    box.database.close()
    with box.path.open("r+b") as file:
        file.write(b"no database")
    box.open()
    store = texts(box)
    assert store.parts("t1") == {1: "pdu1"}
    with box:
        assert not store.first_sight(b"one")
        assert store.reported(9, "+15551234567", final=True) == "m1"
