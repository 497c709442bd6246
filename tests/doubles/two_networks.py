"""A box whose messages have two networks, its own and the modem's, on a real outbox."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from bridge.core.exchange import Outcome
from bridge.core.failover import Plan
from bridge.core.messages import CLOUD, Channel, Endpoint
from bridge.core.routing import Route
from bridge.flow.link.backup import Backup, OwnNetwork
from bridge.flow.link.demand import Demand
from bridge.flow.message.paths import NetworkPaths
from tests.doubles.heart import UNREACHED, Heart, Link, Peer, answered, silent
from tests.doubles.notices import Told

AFTER, HOLD = 120.0, 300.0
PLC = Endpoint(Channel.TCP, "plc", 502)
ROUTES = [
    ("once", Route(CLOUD, max_attempts=1)),
    ("plc", Route(PLC, max_attempts=3)),
]


class _Switching(Told):
    """Has the uplink try again what waited for a network, as the daemon's monitor does."""

    def __init__(self, path_changed: Callable[[], None]) -> None:
        super().__init__()
        self._path_changed = path_changed

    def path_changed(self) -> None:
        self._path_changed()


class Modem(Link):
    """A link that comes up as soon as it is wanted, unless there is no network."""

    def __init__(self) -> None:
        super().__init__(carries=False)
        self.registered = True
        self.calls, self.ends = 0, 0
        self.needed: Callable[[], bool] = lambda: False
        self.changed: Callable[[], None] = lambda: None
        self.called: Callable[[], None] = lambda: None

    def wanted_now(self) -> None:
        if self.needed() and not self.carries and self.registered:
            self.calls += 1
            self.called()
            self.carries = True
            self.changed()

    def look(self) -> None:
        """Dial or hang up as what is needed asks for, as the link's manager does each second."""
        self.wanted_now()
        if self.carries and not self.needed():
            self.redial("nothing needs it")

    def redial(self, _reason: str) -> None:
        self.ends += self.carries
        self.carries = False
        self.changed()

    def call_off(self) -> None:
        """Nothing is being dialled here for longer than a moment."""


class Cloud(Peer):
    """A cloud that never answers a message with ``poison`` in it."""

    poison: bytes | None = None

    def goes_on(self, before: "Cloud | None") -> None:
        """Do as the cloud of an earlier run did; without one answer."""
        self.manner = before.manner if before else answered()
        self.poison = before.poison if before else None

    def start(self, job: Any, done: Callable[[Outcome], None]) -> None:
        usual = self.manner
        if self.poison and self.poison in job.request:
            self.manner = silent()
        super().start(job, done)
        self.manner = usual


class Box(Heart):
    """A heart whose messages have two networks; ``own_cloud`` and ``cloud`` are the cloud behind each."""

    def __init__(self, path: Path, before: Self | None = None) -> None:
        """``before`` is the run of the bridge before this one, whose clock and clouds go on."""
        self.path, self.closed = path, False
        super().__init__(path, routes=ROUTES, clock=before.time.clock if before else None)
        self.cloud.goes_on(before.cloud if before else None)
        self.own_cloud.goes_on(before.own_cloud if before else None)
        self.told = _Switching(self.uplink.path_changed)
        self.routed, self.cloud_there = True, True
        self.looks = 0
        own = OwnNetwork(self._look, lambda: self.routed)
        demand = Demand(self.outbox, lambda: self.uplink.paused, lambda: self.writer.committing)
        self.backup = Backup(Plan(AFTER, HOLD), own, demand, self.journal, self.told)
        uplink = self.uplink
        traffic = self.backup.traffic(lambda: uplink.in_flight_over_link, lambda: False)
        self.link = Modem()
        self.link.needed, self.link.changed = traffic.pending, self.backup.changed
        self.paths.link, self.paths.backup = self.link, self.backup
        self.backup.start(self.link)
        self.turn(0.0)

    def _paths(self) -> NetworkPaths:
        self.cloud: Cloud = Cloud(self.time)
        paths = super()._paths()
        self.own_cloud, self.own_plc = Cloud(self.time), Peer(self.time)
        own = dict.fromkeys(Channel, self.own_cloud) | {Channel.TCP: self.own_plc}
        return NetworkPaths(paths._codecs, paths._transports, identified=lambda: True, own=own)

    def _look(self, done: Callable[[bool], None]) -> None:
        self.looks += 1
        self.time.call_later(0.1, lambda: done(self.own_cloud.manner not in (None, UNREACHED)))

    def cut(self, outcome: Outcome = UNREACHED) -> None:
        """Let nothing reach the cloud over the own network any more."""
        self.own_cloud.manner = outcome

    def mend(self) -> None:
        self.own_cloud.manner = answered()

    def wait(self, seconds: float, step: float = 1.0) -> None:
        """Let time go by, second by second, or in larger steps of what the link's manager sees."""
        for _ in range(int(seconds / step)):
            self.turn(step)
            self.link.look()

    def events(self, kind: str = "network.failover") -> list[Any]:
        return [fields["path"] for event, fields in self.told.events if event == kind]

    def sent(self) -> tuple[int, int]:
        """Return how many requests each network has carried, the own one first."""
        return len(self.own_cloud.jobs), len(self.cloud.jobs)

    def close(self) -> None:
        if not self.closed:
            super().close()
        self.closed = True

    def killed(self, *, booted: bool = False) -> Self:
        """End the bridge as a kill does; return it started again, in another boot if ``booted``."""
        note: list[Any] = self.outbox.meta_json("failover", [])
        if booted and note:
            self.write(lambda: self.outbox.set_meta("failover", json.dumps([0, note[1]])))
        self.close()
        return type(self)(self.path, self)

    def fail_over(self) -> None:
        """Have the modem carry the messages, the first of which is there."""
        self.cut()
        self.publish("out/first")
        self.wait(AFTER + 5)
        assert (self.backup.path, self.states()) == ("modem", ["delivered"])
