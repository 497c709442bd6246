"""Uplink: from the outbox to the destinations. It chooses, sends and records messages.

A message is in flight from its first byte until its result is on disk. Its slot is free when its exchange
ends, so that the next exchange does not wait for the disk. Its lane is free after the commit, so a lane keeps
its order even when the power fails. At most `slots` exchanges per destination are under way, and at most
twice as many messages are in flight: so many may be in doubt when the power fails, and arrive twice. A
message that must not be sent twice keeps its slot until the commit; so does each while the disk is nearly
full.
"""

import logging
from functools import partial
from typing import NamedTuple, Protocol

from bridge.core.destination import Condition, Destination
from bridge.core.exchange import AnyJob, Job, Outcome, Transport
from bridge.core.known_time import TimeWait
from bridge.core.messages import MODEM_ANSWERS, Channel, Endpoint, Queued, Result, State
from bridge.core.progress import Progress
from bridge.core.retry import MAX_DELAY, Blame, Kind, Reading, backoff, decide, sparing
from bridge.errors import InvalidCommand
from bridge.flow.message.batches import Batches
from bridge.flow.message.codecs import Codec, with_time
from bridge.flow.message.gate import Gate, OpenGate
from bridge.flow.message.heads import Heads
from bridge.flow.message.results import NOTHING, Results
from bridge.flow.notices import Notices
from bridge.store.journal import Journal
from bridge.store.space import Space
from bridge.store.writer import Operation

log = logging.getLogger("uplink")

TICK = 1.0
"""Seconds between checks of what is due: deadlines, retries, probes."""

EXPIRE_BATCH = 200
"""Messages that expire in one transaction at most."""


class Path(NamedTuple):
    """A codec and the transport that carries its exchanges."""

    codec: Codec
    transport: Transport
    own: bool = False
    """Whether it is the own network, for which the modem is only the backup."""


class Paths(Protocol):
    """Maps each endpoint to its path. Paths change as links come and go."""

    def ready(self, endpoint: Endpoint) -> bool:
        """Whether ``endpoint`` may be reachable: False only while its path is known to be closed."""

    def path(self, endpoint: Endpoint) -> Path:
        """Return the path to ``endpoint``."""

    def wanted(self) -> None:
        """Note that a message waits for a path that is closed."""

    def ended(self, queued: Queued, reading: Reading) -> Blame:
        """Learn how an exchange of ``queued`` ended; return whose fault a failure is."""


class _Traffic:
    """One destination and its messages in flight."""

    def __init__(self, slots: int, heads: Heads) -> None:
        self.destination = Destination(slots)
        self.heads = heads
        self.busy: dict[int, Queued] = {}
        """Messages in flight by their lane."""
        self.recording: set[int] = set()
        """Numbers of those whose exchange has ended, and whose slot is free before the commit."""
        self.out = 0
        """Exchanges that the transport is carrying."""
        self.limit = 0.0
        """Seconds that the longest of these exchanges may take."""
        self.moves = 0
        """Exchanges begun plus exchanges ended: the progress that the watchdog compares."""
        self.large = 0
        """Payload bytes of the large exchange in progress, 0 without one."""


class Uplink:
    """Owns the messages in flight; lives in the event loop's thread."""

    def __init__(
        self,
        journal: Journal,
        results: Results,
        paths: Paths,
        notices: Notices,
        *,
        slots: int,
    ) -> None:
        """``slots`` is the number of exchanges that may be under way with one destination."""
        self.slots = slots
        self.paused = False
        self.gate: Gate = OpenGate()
        self._journal = journal
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self._results = results
        self._paths = paths
        self._notices = notices
        self.batches = Batches(journal, results, notices, self._free)
        self._traffic: dict[Endpoint, _Traffic] = {}
        self._scheduled = False
        self._stopping = False
        self._next_retry: float | None = None
        self._looks = 0
        self._unanswered: dict[int, int] = {}
        """How often in a row the lane with this number got no answer, whatever message was its head."""
        self._time_wait = TimeWait()

    def start(self) -> None:
        """Resume after a restart: end messages that were marked as started, and wake every destination."""
        for queued in self._outbox.started():
            self._outbox.in_flight.add(queued.seq)
            text = "the bridge stopped during the send; the message is not sent again"
            self._end(queued, State.UNCONFIRMED, Reading(Kind.DOUBTFUL, text), queued.attempts + 1)
        for endpoint in self._outbox.endpoints():
            self.wake(endpoint)
        self._next_retry = self._outbox.next_wake()
        self._look_at_clock()
        self._time.call_later(TICK, self._tick)

    def wake(self, endpoint: Endpoint | None = None) -> None:
        """Schedule a round of sending: there is a new message, or a retry is due."""
        if endpoint is not None and endpoint not in self._traffic:
            new = {endpoint: _Traffic(self._slots_of(endpoint), Heads(self._journal, endpoint))}
            # The desk waits for the answers to its commands, so they come first.
            self._traffic = new | self._traffic if endpoint == MODEM_ANSWERS else self._traffic | new
        if not self._scheduled:
            self._scheduled = True
            self._time.call_soon(self._fill)

    @property
    def conditions(self) -> dict[Endpoint, Destination]:
        """The condition of each destination."""
        return {endpoint: traffic.destination for endpoint, traffic in self._traffic.items()}

    def unreached_since(self) -> float | None:
        """Return the monotonic time in seconds since which no destination was reached.

        None: one is reachable.

        UDP and SMS over the air say nothing about it, because neither connects a socket. A large exchange in
        progress returns None: on a dead link its silence limit ends it long before its whole limit.
        """
        if any(traffic.large for traffic in self._traffic.values()):
            return None
        known = [traffic.destination for endpoint, traffic in self._traffic.items() if _connects(endpoint)]
        down = [each.down_since for each in known if each.down_since is not None]
        heard = [each.heard_at for each in known if each.heard_at is not None]
        return max(down + heard) if down else None

    @property
    def in_flight(self) -> int:
        """The number of messages in flight."""
        return sum(len(traffic.busy) for traffic in self._traffic.values())

    @property
    def in_flight_over_link(self) -> int:
        """The number of those that do not take the own network."""
        return sum(not each.own for traffic in self._traffic.values() for each in traffic.busy.values())

    def set_slots(self, slots: int) -> None:
        """Set the number of exchanges per destination that may be under way."""
        self.slots = slots
        for endpoint, traffic in self._traffic.items():
            traffic.destination.slots = self._slots_of(endpoint)

    def _slots_of(self, endpoint: Endpoint) -> int:
        """Return the slots of ``endpoint``: one for the modem, which sends one SMS at a time."""
        return 1 if endpoint.over_air else self.slots

    def stop(self) -> None:
        """Start no more messages; those in flight end by themselves."""
        self._stopping = True
        self._writer.hasten()

    def flush(self) -> None:
        """Try everything now: incomplete batches too, and without the delays of lanes and destinations."""
        self.batches.lanes.flush()
        self.try_again()

    def send_batches(self) -> bool:
        """Send what waits for its batch, incomplete as it is; return whether there is anything."""
        waits = self.batches.lanes.release()
        self.wake()
        return waits

    def try_again(self) -> None:
        """Try what has failed now, without the remaining delays of lanes and destinations."""
        self._writer.write(self._outbox.wake_all, lambda _: self.release())

    def link_back(self) -> None:
        """Try waiting messages because a link came up; long delays of costly large messages stay."""
        self._writer.write(partial(self._outbox.wake_soon, MAX_DELAY), lambda _: self.release())

    def path_changed(self) -> None:
        """Try waiting messages because they take another network, over which nothing is known yet."""
        for traffic in self._traffic.values():
            traffic.destination.renew()
        self.link_back()

    def release(self) -> None:
        """Let every destination be tried now."""
        changed = [traffic.destination.release() for traffic in self._traffic.values()]
        if any(changed):
            self._notices.health_changed()
        self.wake()

    @property
    def _recordable(self) -> bool:
        """Whether the disk has room for the result of a message sent now."""
        return self._writer.space is not Space.EXHAUSTED

    # -- choosing ----------------------------------------------------------------------------------------

    def _fill(self) -> None:
        self._scheduled = False
        if self._stopping or not self._recordable:
            return
        # The heads of lanes may change with the commit, or come back with a rollback.
        if self._writer.busy(self.wake):
            return
        self.batches.lanes.look()
        overdue = False
        for endpoint, traffic in self._traffic.items():
            if self._is_held(endpoint):
                continue
            if self._paths.ready(endpoint):
                self._time_wait.opened(endpoint, self._time.now().mono)
                overdue |= self._start_heads(endpoint, traffic)
            else:
                self._paths.wanted()
            if traffic.busy and not traffic.out:  # all that is in flight waits for the next commit
                self._writer.hurry()
        if overdue:
            self.expire()

    def _is_held(self, endpoint: Endpoint) -> bool:
        """Whether what has not begun stays in the outbox: sending is paused, or has ended.

        A pause does not hold the answers to commands from afar: it may be such a command itself.
        """
        return self._stopping or (self.paused and endpoint != MODEM_ANSWERS)

    def _start_heads(self, endpoint: Endpoint, traffic: _Traffic) -> bool:
        """Start what may go to ``endpoint``; return whether the deadline of a message has passed."""
        overdue = False
        free = 0 if endpoint.over_air and self._modem_sends else self._free_slots(traffic)
        for queued in self._heads(endpoint, traffic, free) if free > 0 else ():
            if queued.seq in self._outbox.in_flight:
                continue  # a purge or its expiry is being committed
            if self._outbox.overdue(queued):
                overdue = True
            elif self.gate.admits(queued) and (
                # A much smaller message beside a large one delays it little.
                not traffic.large or len(queued.payload) < traffic.large / 2
            ):
                self._start(queued, traffic)
                continue
            traffic.heads.read_again()
        return overdue

    def _heads(self, endpoint: Endpoint, traffic: _Traffic, free: int) -> list[Queued]:
        """Return up to ``free`` heads of lanes that may start."""
        room, timed = 2 * traffic.destination.slots - len(traffic.busy), self.waits_for_time(endpoint)
        return traffic.heads.take(free, room, traffic.busy, self.gate.passed_over, timed=timed)

    @property
    def _modem_sends(self) -> bool:
        """Whether an SMS is in flight over the air: the modem sends one at a time, an answer or another."""
        return any(endpoint.over_air and traffic.busy for endpoint, traffic in self._traffic.items())

    def _free_slots(self, traffic: _Traffic) -> int:
        destination, mono, in_flight = traffic.destination, self._time.now().mono, len(traffic.busy)
        if self._writer.space is not Space.OK:
            return destination.may_start(mono, in_flight)
        under_way = in_flight - len(traffic.recording)
        return min(destination.may_start(mono, under_way), 2 * destination.slots - in_flight)

    def _start(self, queued: Queued, traffic: _Traffic) -> None:
        endpoint = queued.lane.endpoint
        # The lane and the slot are taken before `encode`, which may end the message at once.
        codec, transport, own = self._paths.path(endpoint)
        queued = queued._replace(own=own) if own else queued
        self._outbox.in_flight.add(queued.seq)
        fix: Operation | None = None
        if queued.lane.batch is not None:
            queued, fix = self.batches.request(queued)
        traffic.busy[queued.lane_id] = queued
        try:
            job = codec.encode(with_time(queued))
        except InvalidCommand as exc:
            self._end(queued, State.REJECTED, Reading(Kind.REFUSED, str(exc)), queued.attempts)
            return
        if "socket.connected" in self._notices.wanted and isinstance(job, Job) and _connects(endpoint):
            job = job._replace(on_connected=partial(self._on_socket, "socket.connected", queued))
        go = partial(self._go, queued, codec, transport, job)
        before = self._before(queued, codec, fix, ready=self.gate.started(queued, job))
        if before:
            held = partial(self._is_held, endpoint)
            self._writer.write(before, lambda _: self._hold(queued, codec) if held() else go())
        else:
            go()

    def _before(
        self, queued: Queued, codec: Codec, fix: Operation | None, *, ready: bool
    ) -> Operation | None:
        """Return what has to be durable before the first byte of ``queued``; ``fix`` writes its batch."""
        if codec.at_most_once:
            # After a crash the mark tells that bytes may have left, and the message is not sent twice.
            return partial(self._outbox.mark_started, queued, started=True)
        if fix:  # a repeat after a crash has to be the same batch
            return fix
        if queued.stamp is not None and not queued.settled:
            # The clock may be corrected later, and a repeat has to be the same message.
            return partial(self._outbox.settle_time, queued)
        # The empty transaction notes the bytes that a crash would leave uncounted.
        return None if ready else lambda: None

    def _hold(self, queued: Queued, codec: Codec) -> None:
        """Put ``queued`` back, of which no byte has left."""
        if codec.at_most_once:
            unmark = partial(self._outbox.mark_started, queued, started=False)
            self._writer.write(unmark, lambda _: self._free(queued))
        else:
            self._free(queued)

    def _go(self, queued: Queued, codec: Codec, transport: Transport, job: AnyJob) -> None:
        traffic = self._traffic[queued.lane.endpoint]
        traffic.limit = max(traffic.limit, job.limit) if traffic.out else job.limit
        traffic.out += 1
        traffic.moves += 1
        if job.large:  # several side by side would each be too slow on a link that carries one
            traffic.large = len(queued.payload)
        transport.start(job, partial(self._ended, queued, codec, job))

    def _on_socket(self, event_type: str, queued: Queued) -> None:
        endpoint = queued.lane.endpoint
        about = {"to": endpoint.where} if endpoint.where else {}
        self._notices.event(event_type, channel=endpoint.channel, **about, id=queued.id)

    # -- ending ------------------------------------------------------------------------------------------

    def _ended(self, queued: Queued, codec: Codec, job: AnyJob, outcome: Outcome) -> None:
        endpoint = queued.lane.endpoint
        traffic = self._traffic[endpoint]
        traffic.out -= 1
        traffic.moves += 1
        if job.large:
            traffic.large = 0
        if not codec.at_most_once:
            traffic.recording.add(queued.seq)
        self.wake()  # before the commit, during which no other exchange could begin
        if "socket.closed" in self._notices.wanted and outcome.connected and _connects(endpoint):
            self._on_socket("socket.closed", queued)
        reading = codec.decode(outcome)
        blame = self._paths.ended(queued, reading)
        if blame is Blame.PATH:
            self._wait_for_link(queued, reading, outcome)
            return
        # Refused credentials are no fault of the message, so they use up no attempt.
        attempts = queued.attempts + (reading.kind is not Kind.HELD and blame is not Blame.NETWORK)
        if blame is not Blame.EARLIER_PATH:
            self._learn(queued, reading)
        if queued.lane.batch is not None and self.batches.ended(queued, reading, outcome.traffic):
            self._unanswered.pop(queued.lane_id, None)
            return
        state = decide(reading, attempts, queued.max_attempts)
        if state:
            self._end(queued, state, reading, attempts, outcome)
        else:
            waits = reading.kind is Kind.UNANSWERED and blame is not Blame.EARLIER_PATH
            self._defer(queued, codec, reading, attempts, outcome, waits=waits)
            self.batches.give_up(queued, reading)
            if job.large and outcome.written:
                self._report_large(queued, reading, attempts, outcome)

    def _wait_for_link(self, queued: Queued, reading: Reading, outcome: Outcome) -> None:
        """Requeue ``queued`` after the link went down before its first byte; this is not an attempt."""
        log.info("message %s waits for the link: %s", queued.id, reading.description)

        def operation() -> None:
            self._outbox.defer(queued, queued.attempts, outcome.traffic, 0.0)
            self._outbox.mark_started(queued, started=False)

        self._writer.write(operation, lambda _: self._free(queued))

    def _learn(self, queued: Queued, reading: Reading) -> None:
        endpoint = queued.lane.endpoint
        destination = self._traffic[endpoint].destination
        before = destination.condition
        # A doubtful SMS is final for the message; for the destination it counts as no answer.
        kind = Kind.UNANSWERED if reading.kind is Kind.DOUBTFUL else reading.kind
        if destination.learn(kind, queued.lane_id, self._time.now().mono, reading.description):
            if before is not Condition.UP and destination.condition is Condition.UP:
                # The lanes' delays were for a destination that was down.
                self._writer.write(
                    partial(self._outbox.wake_endpoint, endpoint, MAX_DELAY), lambda _: self.wake()
                )
            self._notices.condition_changed(endpoint, destination)

    def _defer(
        self,
        queued: Queued,
        codec: Codec,
        reading: Reading,
        attempts: int,
        outcome: Outcome,
        *,
        waits: bool,
    ) -> None:
        """Requeue ``queued``; delay its lane where it ``waits`` for an answer, and after a costly attempt.

        A destination that is down delays all its lanes itself, so a lane needs no delay of its own then.
        """
        failures = self._unanswered[queued.lane_id] = self._unanswered.get(queued.lane_id, 0) + waits
        # A newer message that took the place of an older one has had no attempt, and no better prospects.
        delay = max(backoff(max(attempts, failures)) if waits else 0.0, _put_off(queued, outcome))
        log.info("message %s not delivered (attempt %d): %s", queued.id, attempts, reading.description)

        def operation() -> None:
            self._outbox.defer(queued, attempts, outcome.traffic, delay)
            if codec.at_most_once:
                self._outbox.mark_started(queued, started=False)

        def done(_: object) -> None:
            if delay:
                due = self._time.now().mono + delay
                self._next_retry = due if self._next_retry is None else min(self._next_retry, due)
                self._time.call_later(delay, self._retry)
            self._free(queued)

        self._writer.write(operation, done)

    def _report_large(self, queued: Queued, reading: Reading, attempts: int, outcome: Outcome) -> None:
        spent, delay = queued.traffic.up + outcome.traffic.up, _put_off(queued, outcome)
        later = f"; it is tried again in {delay / 60:.0f} minutes, or on flush" * (delay > MAX_DELAY)
        text = (
            f"message {queued.id} of {len(queued.payload)} bytes was not delivered (attempt {attempts}, "
            f"{spent} bytes up so far): {reading.description}{later}"
        )
        log.warning("%s", text)
        self._outbox.last_errors[queued.seq] = reading.description
        self._notices.problem("uplink", text)

    def _end(
        self, queued: Queued, state: State, reading: Reading, attempts: int, outcome: Outcome | None = None
    ) -> None:
        traffic = outcome.traffic if outcome else NOTHING
        self._unanswered.pop(queued.lane_id, None)
        result = self._results.of_queued(queued, state, reading, attempts=attempts, traffic=traffic)

        def operation() -> None:
            # A repetition of the same id may have changed the reply topic since the message was selected.
            reply = self._outbox.reply_of(queued) if queued.idempotent else queued.reply
            left = self._outbox.remove(queued)
            if outcome:
                self._outbox.ledger.spend(traffic, own=queued.own)
            self.gate.record(queued, state)
            self._results.end(queued, result.bears(left), reply)

        self._writer.write(operation, lambda _: self._recorded(queued, result))

    def _recorded(self, queued: Queued, result: Result) -> None:
        self._results.notify(result)
        self._free(queued)

    def _free(self, queued: Queued) -> None:
        self._outbox.in_flight.discard(queued.seq)
        self.batches.landed(queued)
        self.gate.freed(queued)
        traffic = self._traffic.get(queued.lane.endpoint)
        if traffic and traffic.busy.get(queued.lane_id) == queued:
            del traffic.busy[queued.lane_id]
            traffic.recording.discard(queued.seq)
        self.wake()

    def expire_held(self, queued: Queued, why: str) -> None:
        """End ``queued``, which was held back for too long."""
        if queued.seq not in self._outbox.in_flight and self._recordable:
            self._outbox.in_flight.add(queued.seq)
            self._end(queued, State.EXPIRED, Reading(Kind.REFUSED, why), queued.attempts)

    # -- for the watchdog --------------------------------------------------------------------------------

    def progress(self) -> list[Progress]:
        """Return the progress of the regular checks and of each destination, for the watchdog."""
        looks = Progress("looks", self._looks, busy=not self._stopping)
        return [looks, *(self._destination_progress(*each) for each in self._traffic.items())]

    def _destination_progress(self, endpoint: Endpoint, traffic: _Traffic) -> Progress:
        ended = bool(traffic.busy) and traffic.out == 0 and self._writer.idle
        busy = traffic.out > 0 or ended or (not traffic.busy and self._could_start(endpoint, traffic))
        name = " ".join(filter(None, ("uplink", endpoint.channel.value, endpoint.where)))
        return Progress(name, traffic.moves, busy, traffic.limit if traffic.out else 0.0)

    def _could_start(self, endpoint: Endpoint, traffic: _Traffic) -> bool:
        if self._is_held(endpoint) or not self._recordable or not self._paths.ready(endpoint):
            return False
        if endpoint.over_air and self._modem_sends:
            return False
        if self._writer.committing or traffic.destination.may_start(self._time.now().mono, 0) <= 0:
            return False
        timed = self.waits_for_time(endpoint)
        heads = self._outbox.heads(endpoint, 1, self.gate.passed_over, timed=timed)
        return any(each.seq not in self._outbox.in_flight and self.gate.admits(each) for each in heads)

    # -- time --------------------------------------------------------------------------------------------

    def _retry(self) -> None:
        """Wake the lanes whose delay is over."""
        if self._recordable:
            self._writer.write(self._outbox.wake_due, lambda _: self.wake())

    def _tick(self) -> None:
        if self._stopping:
            return
        self._time.call_later(TICK, self._tick)
        self._looks += 1
        self._look_at_clock()
        mono = self._time.now().mono
        if self._next_retry is not None and self._next_retry <= mono and not self._writer.committing:
            self._next_retry = self._outbox.next_wake()
            self._retry()
        if not self._writer.committing and self.batches.lanes.look():
            self.wake()
        # On a full disk room for results may have come back.
        if self._writer.full or any(
            (due := traffic.destination.wakes_at()) is not None and due <= mono
            for traffic in self._traffic.values()
        ):
            self.wake()
        self.expire()

    def waits_for_time(self, endpoint: Endpoint) -> bool:
        """Return whether a message to ``endpoint`` that needs the time waits until the box knows it."""
        return not self._outbox.times.known and not self._time_wait.over(endpoint, self._time.now().mono)

    def _look_at_clock(self) -> None:
        """Learn the time once the box knows it; messages may wait for it, or for the end of the wait."""
        if self._outbox.times.known or not self._recordable or self._writer.committing:
            return
        if self._time.knows():
            self._writer.write(self._outbox.times.learn, lambda _: self.wake())
        else:
            self.wake()

    def expire(self) -> None:
        """End messages whose deadline has passed."""
        if not self._recordable or self._writer.busy(self.expire):
            return
        due = self._outbox.due(EXPIRE_BATCH)
        for queued in due:
            self._outbox.in_flight.add(queued.seq)
            text = "its deadline passed before it was delivered"
            self._end(queued, State.EXPIRED, Reading(Kind.REFUSED, text), queued.attempts)
        # More may be due. The next batch waits for a commit, so that other operations get their turn.
        if len(due) == EXPIRE_BATCH:
            self._writer.write(lambda: None, lambda _: self.expire())


def _put_off(queued: Queued, outcome: Outcome) -> float:
    return sparing(queued.traffic.up + outcome.traffic.up) if outcome.written else 0.0


def _connects(endpoint: Endpoint) -> bool:
    """Whether messages to ``endpoint`` connect a socket: not those over UDP, nor SMS over the air."""
    return endpoint.channel is not Channel.UDP and not endpoint.over_air
