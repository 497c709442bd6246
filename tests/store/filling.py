"""Fills a small disk again and again: ``python -m tests.store.filling FOLDER TIMES [FIRST SEED]``.

Each time an outbox lives through some runs on the same disk. In each of them results are recorded, larger
than the messages that they end; the broker takes them away or is not there; and the run ends in a clean
stop or is killed. Others leave the room that there is, or take it to the last byte and give it back at
the end. Prints a line for each time that a result could not be recorded though there was room and the
broker was there, that the outbox did not recover when others gave the room back, that a message was lost,
or that the outbox did not open.
"""

import contextlib
import os
import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bridge.core.delivery import Properties
from bridge.flow.message.controls import drop
from bridge.flow.message.publisher import Publisher
from bridge.flow.message.results import Results
from bridge.flow.message.topics import Names
from bridge.flow.notices import Notices
from bridge.store.reserve import SIZE
from bridge.store.space import Space
from tests.harness.small_disk import free
from tests.store.box import DAY, NOON, Clock, message
from tests.store.test_writer import Rig

RUNS = 5
"""Runs of one outbox; in the last one the broker is there."""

TURNS = 60
"""Turns of a run in which results come."""


class Broker:
    """Takes reports as far as it is there; `acknowledged` says which it has."""

    window = 64
    cut = False
    connection = 1

    def __init__(self, publisher: Publisher, *, there: bool) -> None:
        self.connected = there
        self._publisher = publisher
        self._taken: list[int] = []
        self._mids = 0
        self._echoes: list[Callable[[int], None]] = []

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> int | None:
        if not self.connected:
            return None
        self._mids += 1
        self._taken.append(self._mids)
        return self._mids

    def publish_event(self, topic: str, payload: bytes) -> bool:
        return True

    def explained(self) -> None:
        """Nothing waits for it here."""

    def echo(self, then: Callable[[int], None]) -> None:
        self._echoes.append(then)  # answered in order, as all that is asked of a broker

    def reconnect(self, reason: str) -> None:
        raise AssertionError(reason)

    def acknowledge(self) -> bool:
        """Acknowledge what was taken; return whether that was anything."""
        taken, self._taken = self._taken, []
        for mid in taken:
            self._publisher.published(mid, None)
        echoes, self._echoes = self._echoes, []
        for then in echoes:
            then(1)
        return bool(taken)


class Wakes(Notices):
    """Has new reports published."""

    def __init__(self, publisher: Publisher) -> None:
        self.event, self.reports_ready = publisher.event, publisher.wake  # type: ignore[method-assign]


class Life:
    """One run of an outbox on a disk that others use as well."""

    def __init__(self, place: Path, chance: random.Random, number: int, *, greedy: bool) -> None:
        self.chance = chance
        self.others = place / "others"
        self.greedy = greedy
        since = number * DAY
        self.rig = Rig(place / "outbox.db", reserve=SIZE, clock=Clock(NOON + since, 100.0 + since))
        names = Names("hologram")
        self.publisher = Publisher(self.rig.journal, names)
        self.results = Results(self.rig.journal, names, Wakes(self.publisher))
        self.last = number == RUNS - 1
        there = self.last or chance.random() < 0.5
        self.broker = Broker(self.publisher, there=there)
        self.publisher.attach(self.broker)
        self.busy: set[int] = set()

    def fill(self) -> None:
        """Bring messages until there is no room; sometimes others take what is left before that."""
        payload = self.chance.choice([10, 200, 1000, 20_000, 100_000, 900_000, 3_000_000])
        burst = self.chance.choice([1, 5, 50]) if payload > 1000 else 500
        left = self.chance.randrange(16_000_000) if self.chance.random() < 0.5 else 0
        idempotent = self.chance.random() < 0.2
        while not self.rig.writer.full:
            for _ in range(burst):
                self.bring(self.chance.randrange(1, 2 * payload), idempotent=idempotent)
            self.rig.turns.turn()
            if 0 < free(self.others) < left and not self.others.exists():
                take_all(self.others)

    def bring(self, size: int, *, idempotent: bool) -> None:
        payload = self.chance.randbytes(min(size, 4_000_000))
        item = message(self.chance.randbytes(8).hex(), payload=payload, idempotent=idempotent)
        self.rig.writer.append(partial(self.rig.box.outbox.accept, item), size=size)

    def work(self) -> None:
        """End messages as long as that can be recorded, as the uplink does."""
        together = self.chance.choice([1, 4, 20, 200])
        for turn in range(TURNS):
            if self.greedy:
                take_all(self.others)
            if turn % 10 == 0:
                self.tick()
            if self.recordable:
                self.end(together)
            self.rig.turns.turn()
            self.broker.acknowledge()
            self.rig.turns.turn()

    @property
    def recordable(self) -> bool:
        return self.rig.writer.space is not Space.EXHAUSTED

    def end(self, number: int) -> None:
        """Have a result take the place of each of some messages."""
        for queued in self.rig.box.outbox.page(0, 1 << 60, number + len(self.busy)):
            if queued.seq not in self.busy:
                self.busy.add(queued.seq)
                self.rig.writer.write(
                    partial(drop, self.rig.box.outbox, self.results, queued), partial(self.ended, queued.seq)
                )

    def ended(self, seq: int, _: object) -> None:
        self.busy.discard(seq)
        self.publisher.wake()

    def tick(self) -> None:
        """Two seconds pass for the writer, and an hour for what is remembered for a day."""
        self.rig.box.clock.pass_(3600.0)
        self.rig.writer.write(self.rig.box.outbox.sweep, frees=True)
        self.rig.turns.tick()

    def problem(self) -> str:
        """Return what is wrong at the end of the run, if anything is."""
        self.publisher.wake()
        self.rig.turns.turn()
        while self.broker.acknowledge():
            self.rig.turns.turn()
        said = self.rig.told[-1:] == [True]
        if self.rig.writer.full and not said:
            return "it did not say that the disk is full"
        if self.last:
            self.others.unlink(missing_ok=True)
        for _ in range(30):  # hours, in which ids are forgotten
            if self.greedy and not self.last:
                take_all(self.others)
            self.tick()
            while self.broker.acknowledge():
                self.rig.turns.turn()
        room = self.last or not self.others.exists()
        if room and self.broker.connected and self.busy:
            return f"{len(self.busy)} results could not be recorded"
        if room and self.rig.writer.space is Space.EXHAUSTED:
            return "it did not recover"
        return ""

    def count(self) -> int:
        """Return how many messages there ever were."""
        ledger: Any = self.rig.box.outbox.ledger
        return int(ledger.messages + ledger.counts["dropped"])

    def stop(self) -> None:
        """End the run in a clean stop."""
        self.rig.writer.close()
        self.rig.box.database.close()
        self.rig.reserve.take()


def take_all(others: Path) -> None:
    """Have others take what is free, to the last byte."""
    taken = others.stat().st_size if others.exists() else 0
    with others.open("r+b" if others.exists() else "wb") as file, contextlib.suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, taken + free(others))


def live(place: Path, seed: int, number: int, before: int) -> tuple[str, int]:
    """Live through run ``number``; return what was wrong, and how many messages there ever were."""
    chance = random.Random(f"{seed} {number}")
    life = Life(place, chance, number, greedy=random.Random(seed).random() < 0.5)
    found = life.count()
    if number and found < before:
        return f"{before - found} messages are lost", found
    if number == 0:
        life.fill()
    elif not life.greedy:
        life.bring(chance.randrange(1, 100_000), idempotent=False)
    life.work()
    wrong, ever = life.problem(), life.count()
    if chance.random() < 0.5:
        life.stop()
    return wrong, ever


def fork(place: Path, seed: int, number: int, before: int) -> tuple[str, int]:
    """Do that in a process of its own, which ends as if it were killed."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            wrong, ever = live(place, seed, number, before)
        except BaseException as exc:  # noqa: BLE001  # it is told
            wrong, ever = repr(exc), 0
        os.write(writer, f"{ever} {wrong}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        number_text, _, wrong = told.read().partition(" ")
    os.waitpid(pid, 0)
    return wrong, int(number_text or 0)


def main(folder: str, times: str, first: str = "0") -> None:
    """Do it so many times."""
    place = Path(folder)
    for seed in range(int(first), int(first) + int(times)):
        for file in place.iterdir():
            file.unlink()
        ever = 0
        for number in range(RUNS):
            wrong, ever = fork(place, seed, number, ever)
            if wrong:
                print(f"seed {seed}, run {number}: {wrong}", flush=True)
                break
            if random.Random(seed).random() < 0.5:
                take_all(place / "others")
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
