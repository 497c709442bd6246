"""The outbox: every message between its acceptance and its result.

All methods run in the event loop's thread; those that write run inside the writer's transaction.
"""

import contextlib
import json
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from enum import Enum, auto
from math import floor, inf
from typing import Any, NamedTuple, Protocol, TypeVar

from bridge.core.messages import (
    Endpoint,
    Formed,
    Lane,
    Message,
    Now,
    Priority,
    Queued,
    Reply,
    State,
    Traffic,
)
from bridge.store.accepted import AcceptedCommands
from bridge.store.batches import Batches
from bridge.store.clock import Times
from bridge.store.database import Database
from bridge.store.escalations import Escalations
from bridge.store.keys import IdempotencyKeys
from bridge.store.lanes import Lanes
from bridge.store.ledger import Ledger
from bridge.store.receipts import Receipt, Receipts
from bridge.store.reports import Reports
from bridge.store.rows import describe, endpoint_key, names_key, read_endpoint, read_message, write_at
from bridge.store.running_time import RunningTime
from bridge.store.set_aside import Kind, Row, SetAside
from bridge.store.usage import Meter, NoMeter

log = logging.getLogger("store")

_Kind = TypeVar("_Kind")

SUPERSEDED = 100
"""Messages whose place one message takes at most."""


class Limits(NamedTuple):
    """The limits of the outbox."""

    max_messages: int = 1_000_000
    max_bytes: int = 512_000_000
    max_age: float | None = 7 * 86400.0
    drop_oldest: bool = False


class Verdict(Enum):
    """What the outbox did with a message."""

    STORED = auto()
    REDELIVERED = auto()
    """The message is stored already, because the broker repeated its delivery. It only needs an
    acknowledgement."""
    KNOWN = auto()
    """Its idempotency key was received before."""
    REFUSED = auto()
    """The outbox is full."""


class Dropped(NamedTuple):
    """A message that was dropped to make room."""

    queued: Queued
    formed: Formed | None
    """The batch that it was in."""


class Acceptance(NamedTuple):
    """The verdict and its details."""

    verdict: Verdict
    result: bytes | None = None
    """The final result under a known key, if there is one yet."""
    dropped: tuple[Dropped, ...] = ()
    """Messages that were dropped to make room."""
    superseded: tuple[Queued, ...] = ()
    """Messages whose place it took."""


class _Oldest(NamedTuple):
    """The message whose place is the oldest."""

    seq: int
    boot: int
    mono: float
    """When the place was taken, in monotonic seconds of the boot."""
    renewed: int
    """Whether a newer message took it over."""


class Held(Protocol):
    """Says what holds messages back."""

    def __call__(
        self, endpoint: Endpoint, priority: Priority, seq: int | None = None, /, *, over_sim: bool = False
    ) -> str | None:
        """Return the bound of the budget that holds such messages, or the one numbered ``seq``, back.

        None: they may go. ``over_sim`` asks whether they might go over the SIM, whatever they take now.
        """


class Outbox:
    """Messages, lanes and reports in SQLite."""

    def __init__(self, database: Database, boot: str, clock: Callable[[], Now], limits: Limits) -> None:
        self._database = database
        self.limits = limits
        self.heartbeat: str | None = None
        """The topic of which no link is dialled for messages of low priority; None: there is none."""
        database.begin()
        self.times = Times(database, boot, clock)
        if self.times.new_boot:
            database.execute("lane_wake_all")  # `not_before` counts in the monotonic time of the boot before
        # A key without a message, a command or a result is left over from a crash. It may be used again.
        database.execute("key_orphans")
        self.meter: Meter = NoMeter()
        """What is known of the bytes in flight."""
        self.held: Held = lambda _endpoint, _priority, _seq=None, *, over_sim=False: None  # noqa: ARG005
        """Returns the bound of the budget that holds messages back."""
        self.ledger = Ledger(database)
        if self.ledger.usage.recover():
            self.ledger.metered()
            self._flush_sums(max(self._last(), self.ledger.upto))
        database.commit()
        self.lanes = Lanes(database)
        self.batches = Batches(database, self.get)
        self.running = RunningTime(database, self.times)
        self.escalations = Escalations(database, self.running)
        self.receipts = Receipts(database)
        self.reports = Reports(database, self.ledger)
        self.keys = IdempotencyKeys(database, self.times, self.ledger)
        self.accepted = AcceptedCommands(database)
        self.set_aside = SetAside(database)
        # A number that the sums count is not drawn again.
        self._next_seq = max(self._last(), self.ledger.upto) + 1
        self._oldest = self._find_oldest()
        """The oldest message after the last `flush`; None without a message."""
        self._oldest_left = False
        self._writes = 0
        """Writes of the sums at the last `sweep`."""
        self.in_flight: set[int] = set()
        """Numbers of messages that are being sent. They are neither dropped nor purged, and do not expire."""
        self.last_errors: dict[int, str] = {}
        """The last error of each large message that was not delivered, by its number; since the start."""

    def turn_day(self) -> bool:
        """Begin another day of the usage where it is time; return whether it was."""
        return self.ledger.usage.turn(self.times.present_now(), known=self.times.trusted)

    def _last(self) -> int:
        """Return the number of the newest message that is there."""
        return self._database.execute("message_last").fetchone()[0] or 0

    def _find_oldest(self) -> _Oldest | None:
        row = self._database.execute("message_oldest").fetchone()
        return _Oldest(*row) if row else None

    # -- the transaction ---------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write the reports and the sums of the transaction."""
        self.reports.flush()
        if self._oldest is None or self._oldest_left:
            self._oldest, self._oldest_left = self._find_oldest(), False
        self.receipts.flush()
        self.escalations.flush()
        self._flush_sums(self._next_seq - 1)

    def _flush_sums(self, last_seq: int) -> None:
        self.ledger.flush(self.times.present_now(), last_seq, self.meter, known=self.times.trusted)

    def reset(self) -> None:
        """Forget what a rolled-back transaction added in memory. The numbers that it drew stay unused."""
        self.ledger.reset()
        self.reports.reset()
        self.receipts.reset()
        self.times.reset()
        self.lanes.reset()
        self.batches.reset()
        self.running.reset()
        self.escalations.reset()
        self.set_aside.reset()
        self._oldest, self._oldest_left = self._find_oldest(), False

    # -- in ----------------------------------------------------------------------------------------------

    def accept(self, message: Message, receipt: Receipt | None = None) -> Acceptance:
        """Store ``message``, unless it is stored already or there is no room for it."""
        if receipt and self.receipts.known(receipt):
            return Acceptance(Verdict.REDELIVERED)
        if message.idempotent and not self.keys.add(message.id):
            if receipt:
                self.receipts.add(receipt)
            return Acceptance(Verdict.KNOWN, self.keys.result(message.id))
        if receipt:
            self.receipts.add(receipt)
        superseded = self._waiting(message) if message.latest else []
        if superseded and self._take_place(message, superseded):
            return Acceptance(Verdict.STORED, superseded=tuple(superseded))
        fits, dropped = self._make_room(message)
        if fits:
            self.add(message)
            return Acceptance(Verdict.STORED, dropped=dropped)
        if message.idempotent:  # nothing was stored, so the producer may use the key again
            self.keys.release(message.id)
        return Acceptance(Verdict.REFUSED, dropped=dropped)

    def ask_again(self, message_id: str, reply: Reply) -> None:
        """Set the reply topic of a queued message: the latest request for its result counts."""
        self._database.execute("message_reply", (*reply, message_id))

    def reply_of(self, queued: Queued) -> Reply | None:
        """Return the present reply topic of ``queued``."""
        row = self._database.execute("message_get_reply", (queued.seq,)).fetchone()
        return Reply(*row) if row and row[0] else None

    def finish_key(self, message_id: str, result: bytes) -> None:
        """Keep the final result under a key, for later repetitions of it."""
        self.keys.finish(message_id, result)
        self._bound_keys()

    def _bound_keys(self) -> None:
        """Keep the keys within the outbox's own limits of number and bytes."""
        self.keys.bound(self.limits.max_messages, self.limits.max_bytes)

    def add(self, message: Message) -> int:
        """Store ``message``, whether there is room for it or not; return its number."""
        run, lane, times = self._database.execute, message.lane, self.times
        seq = self._next_seq
        self._next_seq += 1
        lane_id = self.lanes.append(lane, seq)
        mono = times.now().mono if message.received is None else message.received
        wall = times.date(times.boot, mono)
        deadline = None if message.lifetime is None else wall + message.lifetime
        reply = message.reply or (None, None)
        topics = _own_topics(lane)
        run(
            "message_add",
            (seq, message.id, message.idempotent, lane_id, message.payload, times.boot, wall, mono,
             deadline, message.max_attempts, *reply, self._time_of(message, mono), message.stamp, topics),
        )  # fmt: skip
        self.ledger.add(lane.endpoint.channel, lane.priority, len(message.payload))
        if message.escalate_after is not None:
            self.escalations.start(seq, mono, message.escalate_after)
        return seq

    def rewrite(self, queued: Queued, payload: bytes) -> None:
        """Give ``queued``, which waits and is in no batch, another payload."""
        self._database.execute("message_rewrite", (payload, queued.seq))
        channel, priority = queued.lane.endpoint.channel, queued.lane.priority
        self.ledger.remove(channel, priority, len(queued.payload))
        self.ledger.move(channel, priority, 1, len(payload))

    def waits(self, seq: int) -> bool:
        """Whether the message ``seq`` is there, and not one byte of it may have left."""
        found = self._database.execute("message_waits", (seq,)).fetchone()
        return found is not None and seq not in self.in_flight

    def _waiting(self, message: Message) -> list[Queued]:
        """Return the messages in the lane of ``message`` that wait behind what is in flight, newest first.

        There are some at most, unless the lane was filled before its route kept only the latest. Each message
        then takes the place of `SUPERSEDED` of them at most.
        """
        lane_id = self.lanes.find(message.lane)
        found: list[Queued] = []
        if lane_id is None:
            return found
        of = (lane_id, _own_topics(message.lane), SUPERSEDED)
        for (seq,) in self._database.execute("message_last_of", of).fetchall():
            # What a batch has been sent with stays as it is.
            fixed = seq in self.in_flight or self.batches.at(lane_id, seq)
            queued = None if fixed else self.get(seq)
            if queued is None:
                break
            found.append(queued)
        return found

    def _take_place(self, message: Message, superseded: list[Queued]) -> bool:
        """Put ``message`` in the place of the oldest of ``superseded``; return False if it does not fit."""
        oldest, size = superseded[-1], sum(len(queued.payload) for queued in superseded)
        if self.ledger.bytes - size + len(message.payload) > self.limits.max_bytes:
            return False
        escalates = self.escalations.take(queued.seq for queued in superseded)
        for queued in superseded[:-1]:
            self.remove(queued)
        if oldest.boot != self.times.boot:
            self._database.execute("message_reboot", self.times.moved(oldest.boot) | {"seq": oldest.seq})
        self._renew(message, oldest, escalates)
        return True

    def _renew(self, message: Message, oldest: Queued, escalates: float | None) -> None:
        lane = message.lane
        mono = self.times.now().mono if message.received is None else message.received
        reply = message.reply or (None, None)
        values = {
            "id": message.id, "chosen": message.idempotent, "payload": message.payload, "mono": mono,
            "lifetime": message.lifetime, "max_attempts": message.max_attempts, "reply": reply[0],
            "correlation": reply[1], "at": self._time_of(message, mono), "stamp": message.stamp,
            "seq": oldest.seq,
        }  # fmt: skip
        self._database.execute("message_renew", values)
        self.last_errors.pop(oldest.seq, None)
        self.lanes.renewed(oldest.lane_id)
        self.batches.renewed(oldest.lane_id, oldest.seq)
        if message.escalate_after is not None:
            self.escalations.start(oldest.seq, mono, message.escalate_after, escalates)
        self.ledger.remove(lane.endpoint.channel, lane.priority, len(oldest.payload))
        self.ledger.add(lane.endpoint.channel, lane.priority, len(message.payload))

    def _time_of(self, message: Message, mono: float) -> int | None:
        """Return the time of ``message``, which came at ``mono``, as far as it is settled at once.

        Where it goes with the message it is, so that the message is the same at each attempt.
        """
        if message.at is None and message.stamp is not None and self.times.known:
            return floor(self.times.wall() - (self.times.now().mono - mono))
        return message.at

    def _make_room(self, message: Message) -> tuple[bool, tuple[Dropped, ...]]:
        """Return whether ``message`` fits, and the messages dropped for it.

        If it does not fit, none is dropped.
        """
        limits, ledger, size = self.limits, self.ledger, len(message.payload)
        # Dropping every other message would not make room for this one.
        if size > limits.max_bytes:
            return False, ()
        dropped: list[Dropped] = []
        while ledger.messages >= limits.max_messages or ledger.bytes + size > limits.max_bytes:
            victim = self._lowest(message.lane.priority) if limits.drop_oldest else None
            if victim is None:
                self._put_back(dropped)
                return False, ()
            if not dropped:
                self._database.savepoint()
            formed, left = self.batches.of(victim), self.remove(victim)
            dropped.append(Dropped(victim._replace(traffic=victim.traffic.plus(left)), formed))
        if dropped:
            self._database.release()
        return True, tuple(dropped)

    def _put_back(self, dropped: list[Dropped]) -> None:
        if dropped:
            self._database.rollback_to_savepoint()
            self.lanes.reset()
            self.batches.reset()
        for queued, _ in dropped:
            lane = queued.lane
            self.ledger.move(lane.endpoint.channel, lane.priority, 1, len(queued.payload))

    def _lowest(self, at_most: Priority) -> Queued | None:
        """Return the oldest message of the lowest priority, at most ``at_most``, that is not in flight.

        Only the head of a lane can be in flight. So of one lane more than there are messages in flight at
        least one has a free head.
        """
        for priority in sorted(Priority, reverse=True):
            if priority < at_most:
                break
            heads = self.lanes.oldest(priority, len(self.in_flight) + 1)
            free = [
                seq
                for lane_id, head in heads
                if (seq := head if head not in self.in_flight else self._next_free(lane_id, head)) is not None
            ]
            if free:
                return self.get(min(free))
        return None

    def _next_free(self, lane_id: int, after: int) -> int | None:
        for (seq,) in self._database.execute(
            "lane_rest", (lane_id, after, len(self.in_flight) + 1)
        ).fetchall():
            if seq not in self.in_flight:
                return int(seq)
        return None

    # -- out ---------------------------------------------------------------------------------------------

    def endpoints(self) -> list[Endpoint]:
        """Return the destinations of the queued messages."""
        return self.lanes.endpoints()

    def heads(
        self, endpoint: Endpoint, limit: int, busy: Collection[int], *, timed: bool = False
    ) -> list[Queued]:
        """Return the oldest message of each ready lane of ``endpoint``, without ``busy``.

        Best priority first. ``timed`` leaves out those whose time has to go with them and is not known yet,
        but for a batch that is fixed already. A lane whose messages wait for their batch is not ready.
        """
        waiting = self.times.boot if timed and not self.times.known else 0
        first, busy = (endpoint_key(endpoint), waiting), {*busy, *self.lanes.waiting}
        rows = self._database.execute_except("lane_heads", first, busy, limit).fetchall()
        return [read_message(row, endpoint, self.times) for row in rows]

    def settle_time(self, queued: Queued) -> None:
        """Keep the time of ``queued`` as it is, before it goes with the message for the first time."""
        self._database.execute("message_settle", (write_at(queued.at), queued.seq))

    def overdue(self, queued: Queued) -> bool:
        """Whether the deadline of ``queued`` has passed."""
        return queued.deadline is not None and queued.deadline <= self.times.present(queued.boot)

    def mark_started(self, queued: Queued, *, started: bool) -> None:
        """Set or clear the durable mark that bytes of ``queued`` may have been sent."""
        self._database.execute("message_start", (started, queued.seq))

    def started(self) -> list[Queued]:
        """Return the marked messages. At a start these are messages whose send a crash interrupted."""
        rows = self._database.execute("message_started").fetchall()
        return [queued for (seq,) in rows if (queued := self.get(seq))]

    def next_wake(self) -> float | None:
        """Return the monotonic time in seconds at which the next delayed lane is ready; None without one."""
        value: float | None = self._database.execute("lane_next_wake").fetchone()[0]
        return value

    def ready_within(self, seconds: float) -> bool:
        """Whether the delay of any lane for which a link is dialled ends within ``seconds``."""
        until = self.times.now().mono + seconds
        rows = self._database.execute_except("lane_within", (until,), self.lanes.waiting | self._quiet(), 1)
        return bool(rows.fetchone()[0])

    def _quiet(self) -> set[int]:
        """Return the lanes that hold nothing but heartbeats."""
        if self.heartbeat is None:
            return set()
        names = names_key((self.heartbeat,))
        rows = self._database.execute("lane_only", (int(Priority.LOW), names, names)).fetchall()
        return {int(row[0]) for row in rows}

    def wake_due(self) -> None:
        """End the delay of every lane whose time has come."""
        self._database.execute("lane_wake_due", (self.times.now().mono,))

    def wake_all(self) -> None:
        """End the delay of every lane."""
        self._database.execute("lane_wake_all")

    def wake_soon(self, within: float) -> None:
        """End the delay of every lane that would end within ``within`` seconds."""
        self._database.execute("lane_wake_until", (self.times.now().mono + within,))

    def wake_endpoint(self, endpoint: Endpoint, within: float = inf) -> None:
        """End the delay of every lane of ``endpoint`` that would end within ``within`` seconds."""
        until = self.times.now().mono + within
        self._database.execute("lane_wake_endpoint", (until, endpoint_key(endpoint)))

    def defer(self, queued: Queued, attempts: int, traffic: Traffic, delay: float) -> None:
        """Keep ``queued``, or its batch, for a retry, and delay its lane by ``delay`` seconds."""
        if not self.batches.spent(queued, traffic, attempt=attempts > queued.attempts):
            self._database.execute("message_defer", (attempts, *traffic, queued.seq))
        if delay > 0:
            self._database.execute("lane_defer", (self.times.now().mono + delay, queued.lane_id))
        self.ledger.spend(traffic, own=queued.own)

    def remove(self, queued: Queued) -> Traffic:
        """Remove ``queued``; the caller records its result in the same transaction.

        Returns the bytes that the result has to bear beside its own: those that are left of its batch, where
        it was the last in it that waited.
        """
        run = self._database.execute
        run("message_drop", (queued.seq,))
        self.last_errors.pop(queued.seq, None)
        self._oldest_left = self._oldest_left or (self._oldest is not None and queued.seq == self._oldest.seq)
        lane = queued.lane
        head = self.lanes.advance(queued.lane_id, lane, queued.seq)
        self.ledger.remove(lane.endpoint.channel, lane.priority, len(queued.payload))
        return Traffic() if lane.batch is None else self.batches.advance(queued.lane_id, head)

    # -- looking -----------------------------------------------------------------------------------------

    def get(self, seq: int) -> Queued | None:
        """Return the message numbered ``seq``."""
        row = self._database.execute("message_full", (seq,)).fetchone()
        return read_message(row, read_endpoint(row[-1]), self.times) if row else None

    def due(self, limit: int) -> list[Queued]:
        """Return up to ``limit`` messages past their deadline or older than ``max_age``."""
        seqs = list(self._over_deadline(limit + len(self.in_flight))) + list(self._over_age(limit))
        found = (self.get(seq) for seq in dict.fromkeys(seqs) if seq not in self.in_flight)
        return [queued for queued in found if queued][:limit]

    def _over_deadline(self, limit: int) -> Iterator[int]:
        for boot, mono in self.times.passed():
            rows = self._database.execute("message_due", (boot, mono, limit)).fetchall()
            yield from (seq for (seq,) in rows)

    def _over_age(self, limit: int) -> Iterator[int]:
        max_age, oldest = self.limits.max_age, self.oldest_age()
        if max_age is None or self._oldest is None:
            return
        # A place that moved into a later boot may be older than it seems, and so may what is behind it.
        if not self._oldest.renewed and (oldest is None or oldest < max_age):
            return
        for boot, mono in self.times.passed():
            rows = self._database.execute("message_stale", (boot, mono - max_age, limit)).fetchall()
            yield from (seq for (seq,) in rows)
        for seq, boot, mono in self._database.execute("message_head", (limit,)):
            age = self.times.age(boot, mono)
            if age is None or age < max_age:
                return  # the other messages are younger
            yield seq

    def oldest_age(self) -> float | None:
        """Return the age of the oldest message in seconds, None without one; this reads no disk."""
        return self.times.age(self._oldest.boot, self._oldest.mono) if self._oldest else None

    def last_seq(self) -> int:
        """Return the number of the newest message ever accepted."""
        return self._next_seq - 1

    def page(self, after: int, upto: int, limit: int) -> list[Queued]:
        """Return up to ``limit`` messages with numbers above ``after``, up to ``upto``."""
        rows = self._database.execute("message_seqs", (after, upto, limit)).fetchall()
        return [queued for (seq,) in rows if (queued := self.get(seq))]

    def listing(self, after: int, limit: int) -> list[dict[str, Any]]:
        """Return the entries of ``queue list`` for up to ``limit`` messages, without payloads."""
        mono = self.times.now().mono
        return [
            describe(
                row, mono, self.times, self.batches.at(lane_id, row[0]), in_flight=row[0] in self.in_flight
            )
            | {"error": self.last_errors.get(row[0]), "held": self._held(row)}
            for *row, lane_id in self._database.execute("message_list", (after, limit)).fetchall()
        ]

    def _held(self, row: Sequence[Any]) -> str | None:
        """Return the bound that holds the message in a row of ``message_list``."""
        endpoint, priority = read_endpoint(row[2]), Priority(row[4])
        return None if row[0] in self.in_flight else self.held(endpoint, priority, row[0])

    @property
    def reports_full(self) -> bool:
        """Whether reports and set-aside entries hold ``max_bytes`` or more."""
        return self.ledger.report_bytes + self.set_aside.bytes >= self.limits.max_bytes

    # -- what could not be passed on ---------------------------------------------------------------------

    def set_report_aside(self, seq: int, reason: str) -> tuple[int, int]:
        """Set the publication ``seq`` aside for a person.

        Returns its number there, 0 if the publication is gone, and how many older entries were dropped for
        it.
        """
        report = self.reports.get(seq)
        if report is None:
            return 0, 0
        self.reports.sent([seq])
        return self._keep_aside(
            Row(Kind.REPORT, *report[1:4], bool(report.retain), reason, self.times.wall())
        )

    def set_delivery_aside(
        self, topic: str, payload: bytes, reason: str, properties: str | None = None
    ) -> tuple[int, int]:
        """Set aside an unusable delivery for a person; the caller acknowledges it after the commit.

        ``properties`` is text for a person. Surrogates in the texts are escaped. Returns the same as
        `set_report_aside`.
        """
        texts = [_storable(text) for text in (topic, properties, reason)]
        row = Row(Kind.DELIVERY, texts[0] or "", payload, texts[1], False, texts[2] or "", self.times.wall())
        return self._keep_aside(row)

    def _keep_aside(self, row: Row) -> tuple[int, int]:
        return self.set_aside.add(row, self.limits.max_bytes)

    def try_again(self, number: int) -> bool:
        """Move the set-aside report ``number`` back to the publications; return False if it is no report."""
        row = self.set_aside.get(number)
        if row is None or row.kind is not Kind.REPORT:
            return False
        self.set_aside.drop(number)
        self.reports.add(row.topic, row.payload, row.properties, retain=row.retain)
        return True

    @property
    def results_room(self) -> int:
        """The bytes that reports may still take.

        Without any no message is accepted, as its result would wait. Reports hold twice ``max_bytes`` at
        most. Inbound messages stop at ``max_bytes`` [bridge.flow.message.downlink]. The other half is for
        results.
        """
        return 2 * self.limits.max_bytes - self.ledger.report_bytes

    # -- housekeeping ------------------------------------------------------------------------------------

    def sweep(self) -> float:
        """Check for a step of the clock, and forget old keys; return the step in seconds, 0 without one."""
        step = self.times.check(idle=self.ledger.writes == self._writes)
        self._writes = self.ledger.writes
        self.keys.expire()
        self._bound_keys()
        return step

    def meta(self, key: str) -> Any:
        """Return the value under ``key``, None without one."""
        row = self._database.execute("meta_get", (key,)).fetchone()
        return row[0] if row else None

    def meta_json(self, key: str, default: _Kind) -> _Kind:
        """Return the JSON under ``key``; ``default`` without one, and where damage has left another kind."""
        text = self.meta(key)
        if text is None:
            return default
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            if isinstance(found := json.loads(text), type(default)):
                return found
        log.warning("the store's note %r is damaged and left out", key)
        return default

    def set_meta(self, key: str, value: str | float | None) -> None:
        """Set the value under ``key``."""
        self._database.execute("meta_set", (key, value))

    def count(self, state: State) -> None:
        """Count a result of ``state``."""
        self.ledger.count(state.value)


def _own_topics(lane: Lane) -> str | None:
    """Return the topics that a message of a lane of batches has for itself; None: those of its lane."""
    return None if lane.batch is None else names_key(lane.names)


def _storable(text: str | None) -> str | None:
    """Return ``text`` with escapes in place of surrogates, which SQLite cannot store."""
    return text if text is None else text.encode("utf-8", "backslashreplace").decode()
