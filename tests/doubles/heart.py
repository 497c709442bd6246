"""The flow of messages on a real store, between a broker's session and peers that a test plays.

It is built here alone, so that a change of a constructor is a change of this module.
"""

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from bridge.assemblies.no_link import NoLink
from bridge.core.budget import Prices
from bridge.core.delivery import Delivery, Properties
from bridge.core.exchange import Outcome
from bridge.core.messages import Channel, Endpoint, Traffic
from bridge.core.routing import Route, Router
from bridge.errors import InvalidCommand
from bridge.flow.message.batch_lanes import Policy as BatchPolicy
from bridge.flow.message.codecs import (
    CloudAccess,
    CloudCodec,
    CloudSmsCodec,
    Codec,
    DatagramCodec,
    DirectCodec,
)
from bridge.flow.message.controls import Carry, Controls
from bridge.flow.message.downlink import Downlink
from bridge.flow.message.escalator import Escalator
from bridge.flow.message.filtering import Filtering
from bridge.flow.message.intake import Intake
from bridge.flow.message.paths import NetworkPaths
from bridge.flow.message.quotes import Quotes, Ways
from bridge.flow.message.reader import Policy
from bridge.flow.message.results import Results
from bridge.flow.message.topics import Names
from bridge.flow.message.uplink import Path as WayOut
from bridge.flow.message.uplink import Uplink
from bridge.protocol.api.budget import BudgetChange
from bridge.protocol.cloud import DeviceKey
from bridge.store.journal import Journal
from bridge.store.outbox import Limits
from bridge.store.reports import Report
from bridge.store.writer import CommitWorker
from tests.doubles.notices import Told
from tests.doubles.time import Clock, MovableTime

TIMEOUT = 5.0
"""`cloud.timeout`, in seconds."""

SPENT = Traffic(466, 252)
"""Bytes of the exchanges that `answered` and `silent` describe."""

UNREACHED = Outcome(False, False, False, b"", False, "Connection refused", Traffic(60, 40))


def answered(answer: bytes = b"[0,0]") -> Outcome:
    """Return how an exchange ends that the peer answers."""
    return Outcome(True, True, True, answer, True, None, SPENT)


def silent(*, written: bool = True, spent: Traffic = SPENT) -> Outcome:
    """Return how an exchange ends that the peer never answers."""
    return Outcome(True, written, False, b"", False, "silence for 5 s", spent)


class Session:
    """The broker's session that deliveries come by; it keeps which were acknowledged."""

    def __init__(self, number: int = 1) -> None:
        self.number = number
        self.acked: list[int] = []
        self._mids = itertools.count(1)

    def ack(self, delivery: Delivery) -> None:
        self.acked.append(delivery.mid)

    def delivery(
        self,
        topic: str,
        payload: bytes = b"x",
        *,
        qos: int = 1,
        retain: bool = False,
        problem: InvalidCommand | None = None,
        expiry: int | None = None,
        reply: str | None = None,
        correlation: bytes | None = None,
        **user: str,
    ) -> Delivery:
        """Return the next delivery; ``topic`` is below the prefix."""
        properties = Properties(expiry, reply, correlation, tuple(user.items()))
        mid = next(self._mids) if qos else 0
        return Delivery(f"hologram/{topic}", payload, qos, retain, False, mid, 1, properties, problem)


class Peer:
    """A transport whose exchanges a test ends, or that ends each by itself once ``manner`` is set."""

    def __init__(self, time: MovableTime) -> None:
        self.manner: Outcome | None = None
        self.jobs: list[Any] = []
        self._open: list[tuple[Any, Callable[[Outcome], None]]] = []
        self._time = time

    def start(self, job: Any, done: Callable[[Outcome], None]) -> None:
        self.jobs.append(job)
        self._open.append((job, done))
        if self.manner is not None:
            self._time.call_later(0.05, self.end, self.manner, job)

    def end(self, outcome: Outcome, job: object = None) -> None:
        """End the oldest exchange that is in progress, or that of ``job``."""
        place = next(n for n, (each, _) in enumerate(self._open) if job is None or each is job)
        found, done = self._open.pop(place)
        if outcome.connected and getattr(found, "on_connected", None):
            found.on_connected()
        done(outcome)

    @property
    def in_progress(self) -> int:
        return len(self._open)


class Link:
    """A link that does as a test says."""

    def __init__(self, *, carries: bool = True, air: WayOut | None = None) -> None:
        self.carries = carries
        self.air = air
        self.sockets: dict[Channel, Peer] = {}
        self.wanted = 0

    def wanted_now(self) -> None:
        self.wanted += 1

    def sockets_for(self, channel: Channel) -> Peer | None:
        return self.sockets.get(channel)


class Disk:
    """Commits at once, or holds the commit until it is let go."""

    def __init__(self) -> None:
        self.hangs = False
        self._held: list[Callable[[], None]] = []

    def __call__(self, call: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        def commit() -> None:
            call()
            done(None)

        if self.hangs:
            self._held.append(commit)
        else:
            commit()

    def go_on(self) -> None:
        self.hangs = False
        self._held.pop()()


class Heart:
    """Intake, uplink, controls and downlink on a store."""

    def __init__(
        self,
        path: Path,
        *,
        limits: Limits | None = None,
        routes: Sequence[tuple[str, Route]] = (),
        clock: Clock | None = None,
        slots: int = 4,
        worker: CommitWorker | None = None,
        knows_time: bool = True,
    ) -> None:
        self.time = MovableTime(clock)
        self.time.known = knows_time
        self.journal = Journal.open(path, limits or Limits(), self.time, worker=worker)
        self.outbox, self.writer = self.journal.outbox, self.journal.writer
        self.notices = Told()
        self.names = Names("hologram")
        self.escalator = Escalator(
            self.journal, self.notices, policy=lambda: self.intake.reader.policy, on_text=self._wake
        )
        self.results = Results(self.journal, self.names, self.notices, self.escalator)
        self.session, self.control_session = Session(), Session()
        self.access = CloudAccess("cloud", 9999, TIMEOUT, DeviceKey("abcd1234"))
        self.cloud, self.sms, self.air = Peer(self.time), Peer(self.time), Peer(self.time)
        self.tcp, self.udp = Peer(self.time), Peer(self.time)
        self.identified = True
        self.paths = self._paths()
        self.uplink = Uplink(self.journal, self.results, self.paths, self.notices, slots=slots)
        policy = Policy(Router(routes), air_refusal=None)
        self.route_batches(routes)
        self.filtering = Filtering(self.journal, self.results)
        self.intake = Intake(
            self.journal,
            self.results,
            policy,
            self.filtering,
            self.session,
            self.uplink.wake,
            self.notices,
        )
        self.filtering.store = self.intake.store
        self.carry_out: Carry = NoLink().command
        """What commands about the network are carried out by."""
        network: Carry = lambda *order: self.carry_out(*order)  # noqa: E731, PLW0108  a test replaces it
        self.change_budget: Callable[[BudgetChange], str] = str
        """What commands about the budget are carried out by."""
        quotes = Quotes(self.results, self.intake.reader.message_of, Ways(self.paths.codec), Prices)
        self.controls = Controls(
            self.journal,
            self.results,
            self.uplink,
            self.filtering,
            self.notices,
            network=network,
            change_budget=lambda change: self.change_budget(change),  # noqa: PLW0108  a test replaces it
            quote=quotes.answer,
        )
        self.downlink = Downlink(self.journal, self.names, self.notices)
        self.uplink.start()
        self.escalator.start()

    def _wake(self, endpoint: Endpoint) -> None:
        self.uplink.wake(endpoint)

    def route(self, routes: Sequence[tuple[str, Route]]) -> None:
        """Let new messages and escalations follow ``routes``, as a reload does."""
        self.intake.reader.policy = self.intake.reader.policy._replace(router=Router(routes))

    def route_batches(self, routes: Sequence[tuple[str, Route]]) -> None:
        """Let what waits for its batch follow ``routes``, as a reload does."""
        self.uplink.batches.lanes.policy = BatchPolicy(Router(routes), lambda: self.access)

    def _paths(self) -> NetworkPaths:
        sms = CloudSmsCodec(lambda: self.access)
        codecs: dict[Channel, Codec] = {
            Channel.CLOUD: CloudCodec(lambda: self.access, self.time.now),
            Channel.SMS: sms,
            Channel.TCP: DirectCodec(lambda: TIMEOUT),
            Channel.UDP: DatagramCodec(lambda: TIMEOUT),
        }
        peers = {
            Channel.CLOUD: self.cloud,
            Channel.SMS: self.sms,
            Channel.TCP: self.tcp,
            Channel.UDP: self.udp,
        }
        paths = NetworkPaths(codecs, peers, identified=lambda: self.identified)
        self.modem = paths.modem = Link(air=WayOut(sms, self.air))
        return paths

    # -- what a test does --------------------------------------------------------------------------------

    def turn(self, seconds: float = 0.1) -> None:
        """Let time go by: a moment is enough for a commit and for what follows it."""
        self.time.pass_(seconds)

    def days(self, number: int) -> None:
        """Let days go by: of each the last minute in turns, the rest as if the box was suspended."""
        for _ in range(number):
            self.time.clock.pass_(86_340.0)
            self.turn(60.0)

    def publish(self, topic: str, payload: bytes = b"x", **options: Any) -> Delivery:
        """Deliver a message as the broker does, and let it be committed."""
        delivery = self.session.delivery(topic, payload, **options)
        self.intake.received(delivery, self.session)
        self.turn()
        return delivery

    def command(self, topic: str, payload: bytes, **options: Any) -> Delivery:
        """Deliver a command about the bridge, and let it be committed."""
        delivery = self.control_session.delivery(topic, payload, **options)
        self.controls.received(delivery, self.control_session)
        self.turn()
        return delivery

    def write(self, operation: Callable[[], object]) -> None:
        """Run ``operation`` in a transaction."""
        self.writer.write(operation)
        self.turn()

    # -- what a test sees --------------------------------------------------------------------------------

    def reports(self) -> list[Report]:
        """Return what waits for the broker."""
        return self.outbox.reports.after(0, 10_000)

    def ended(self) -> list[dict[str, Any]]:
        """Return the results on ``hologram/result``, in their order."""
        return [json.loads(each.payload) for each in self.reports() if each.topic == "hologram/result"]

    def states(self) -> list[str]:
        """Return the states of these results."""
        return [result["state"] for result in self.ended()]

    def queued(self) -> list[str]:
        """Return the payloads of the messages in the outbox, oldest first."""
        return [each.payload.decode() for each in self.outbox.page(0, 1 << 60, 10_000)]

    def events(self) -> list[str]:
        """Return the types of the events."""
        return [event for event, _ in self.notices.events]

    def condition(self, endpoint: Endpoint) -> str:
        """Return the condition of a destination."""
        return self.uplink.conditions[endpoint].condition.value

    def close(self) -> None:
        self.journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
