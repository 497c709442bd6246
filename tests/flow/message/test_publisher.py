"""The publisher at a broker that does not acknowledge, in a time that tests move."""

from functools import partial
from pathlib import Path

import pytest

from bridge.flow.message.publisher import Publisher
from bridge.flow.message.topics import Names
from bridge.store.writer import CommitWorker
from tests.doubles.heart import Disk
from tests.doubles.publishing import Broker
from tests.doubles.time import MovableTime
from tests.store.box import Box
from tests.store.test_writer import Rig


class Desk:
    """A publisher and its broker."""

    def __init__(self, path: Path, broker: Broker, worker: CommitWorker | None = None) -> None:
        self.rig = Rig(path, worker=worker)
        self.box: Box = self.rig.box
        self.broker = broker
        self.time = MovableTime(self.box.clock)
        self.publisher = broker.publisher = Publisher(self.rig.with_time(self.time), Names("hologram"))
        self.publisher.attach(broker)
        self.publisher.state("hologram/bridge/state", b"online")
        self.publisher.up()

    def report(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.rig.writer.append(partial(self.box.outbox.reports.add, "hologram/in", payload))
        self.rig.turns.turn()
        self.publisher.wake()

    def run(self, seconds: int) -> None:
        """Let so many seconds pass."""
        for _ in range(seconds):
            self.time.pass_(1.0)
            for _ in range(3):
                self.turn()
                self.broker.turn()
        self.turn()

    def turn(self) -> None:
        self.rig.turns.turn()
        self.time.pass_()

    @property
    def aside(self) -> list[int]:
        return [entry.bytes for entry in self.box.outbox.set_aside.entries(10)]


@pytest.mark.parametrize("window", [1, 2, 64])
def test_one_that_is_never_acknowledged(tmp_path: Path, window: int) -> None:
    """It is set aside, the rest goes on, and no more is under way than the broker allows."""
    desk = Desk(tmp_path / "outbox.db", Broker(window, lambda payload: payload != b"poison"))
    desk.run(1)
    desk.report(b"before", b"poison", b"after")
    desk.run(180)
    assert desk.aside == [len(b"poison")]
    assert desk.broker.payloads[-1] in (b"after", b"online")
    assert {b"before", b"after"} <= set(desk.broker.payloads)
    assert desk.broker.most <= window


def test_nothing_is_published_before_it_is_durable(tmp_path: Path) -> None:
    """The disk hangs in the commit; what is published meanwhile a power cut could take back."""
    disk = Disk()
    desk = Desk(tmp_path / "outbox.db", Broker(64, lambda _: True), disk)
    desk.run(1)
    disk.hangs = True
    desk.report(b"delivered")
    desk.run(5)
    assert b"delivered" not in desk.broker.payloads
    disk.go_on()
    desk.run(1)
    assert b"delivered" in desk.broker.payloads


def test_a_broker_that_acknowledges_nothing_for_a_while(tmp_path: Path) -> None:
    """Such as one whose disk hangs: nothing is set aside, however long it takes."""
    broker = Broker(64, lambda _: True)
    desk = Desk(tmp_path / "outbox.db", broker)
    desk.report(b"before")
    desk.run(5)
    broker.acknowledges = lambda _: False
    wanted = [b"%d" % number for number in range(100)]
    desk.report(*wanted)
    desk.run(3600)
    assert desk.aside == []
    broker.acknowledges = lambda _: True
    desk.run(60)
    assert [payload for payload in broker.payloads if payload.isdigit()] == wanted
    assert desk.aside == []


def test_what_could_be_carried_out_twice_leaves_the_disk_at_once(tmp_path: Path) -> None:
    """A published result waits for a transaction with other writes, as its repetition says the same."""
    desk = Desk(tmp_path / "outbox.db", Broker(64, lambda _: True))
    desk.run(1)
    desk.report(b"pump on")
    desk.run(1)
    assert desk.box.outbox.reports.after(0, 10) == []
    desk.rig.writer.append(partial(desk.box.outbox.reports.add, "hologram/result", b"{}"))
    desk.rig.turns.turn()
    desk.publisher.wake()
    desk.run(1)
    assert b"{}" in desk.broker.payloads
    assert [report.payload for report in desk.box.outbox.reports.after(0, 10)] == [b"{}"]
    desk.rig.writer.write(lambda: None)
    desk.rig.turns.turn()
    assert desk.box.outbox.reports.after(0, 10) == []
