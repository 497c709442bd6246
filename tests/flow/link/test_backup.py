"""The modem as the backup of the own network: messages of a real outbox between two networks of a test's."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.core.budget import Bounds, Way
from bridge.core.exchange import Outcome
from bridge.core.failover import TRIAL, Plan
from bridge.core.messages import CLOUD, Channel, Endpoint
from bridge.core.routing import Route
from bridge.flow.link.backup import Backup, OwnNetwork
from bridge.flow.link.demand import Demand
from bridge.flow.message.budget import Budget, Source
from bridge.flow.message.budget import Plan as BudgetPlan
from bridge.flow.message.paths import NetworkPaths
from tests.doubles.heart import SPENT, UNREACHED, Heart, Link, Peer, answered, silent
from tests.doubles.notices import Told
from tests.doubles.time import Clock

AFTER, HOLD = 120.0, 300.0
COST = sum(SPENT)
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


class _Modem(Link):
    """A link that comes up as soon as it is wanted, unless there is no network."""

    def __init__(self) -> None:
        super().__init__(carries=False)
        self.registered = True
        self.calls, self.ends = 0, 0
        self.needed: Callable[[], bool] = lambda: False
        self.changed: Callable[[], None] = lambda: None

    def wanted_now(self) -> None:
        if self.needed() and not self.carries and self.registered:
            self.calls += 1
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


class _Cloud(Peer):
    """A cloud that never answers a message with ``poison`` in it."""

    poison: bytes | None = None

    def start(self, job: Any, done: Callable[[Outcome], None]) -> None:
        usual = self.manner
        if self.poison and self.poison in job.request:
            self.manner = silent()
        super().start(job, done)
        self.manner = usual


class Box(Heart):
    """A heart whose messages have two networks; ``own_cloud`` and ``cloud`` are the cloud behind each."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self.path, self.closed = path, False
        super().__init__(path, routes=ROUTES, clock=clock)
        self.told = _Switching(self.uplink.path_changed)
        self.routed, self.cloud_there = True, True
        self.looks = 0
        own = OwnNetwork(self._look, lambda: self.routed)
        demand = Demand(self.outbox, lambda: self.uplink.paused, lambda: self.writer.committing)
        self.backup = Backup(Plan(AFTER, HOLD), own, demand, self.journal, self.told)
        uplink = self.uplink
        traffic = self.backup.traffic(lambda: uplink.in_flight_over_link, lambda: False)
        self.link = _Modem()
        self.link.needed, self.link.changed = traffic.pending, self.backup.changed
        self.paths.link, self.paths.backup = self.link, self.backup
        self.backup.start(self.link)
        self.turn(0.0)
        self.cloud.manner = self.own_cloud.manner = answered()

    def _paths(self) -> NetworkPaths:
        self.cloud: _Cloud = _Cloud(self.time)
        paths = super()._paths()
        self.own_cloud, self.own_plc = _Cloud(self.time), Peer(self.time)
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

    def wait(self, seconds: float) -> None:
        """Let time go by, second by second."""
        for _ in range(int(seconds)):
            self.turn(1.0)
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

    def fail_over(self) -> None:
        """Have the modem carry the messages, the first of which is there."""
        self.cut()
        self.publish("out/first")
        self.wait(AFTER + 5)
        assert (self.backup.path, self.states()) == ("modem", ["delivered"])


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path / "outbox.db") as made:
        yield made


def test_messages_take_the_own_network_while_it_reaches_the_cloud(box: Box) -> None:
    """Nothing is dialled, and nothing is looked at."""
    for number in range(5):
        box.publish(f"out/{number}")
        box.wait(60)
    assert box.states() == ["delivered"] * 5
    assert (box.sent(), box.looks, box.link.calls) == ((5, 0), 0, 0)
    assert box.time.pending == 1, "the uplink's own check"


def test_they_take_the_modem_once_it_has_failed_for_long_enough(box: Box) -> None:
    """All of them, each with one result and the attempt that arrived; nothing is dialled before."""
    box.cut()
    for number in range(6):
        box.publish(f"out/{number}")
    box.wait(AFTER - 5)
    assert (box.link.calls, box.states()) == (0, [])
    box.wait(10)
    assert (box.link.calls, box.looks, box.events()) == (1, 1, ["modem"])
    assert [(each["state"], each["attempts"]) for each in box.ended()] == [("delivered", 1)] * 6


def test_nothing_is_dialled_for_nothing(box: Box) -> None:
    """The message that failed is gone; the next one finds the modem at once, if the network is still away."""
    box.cut()
    box.publish("out/a", expires="30s")
    box.wait(3600)
    assert (box.states(), box.link.calls) == (["expired"], 0)
    box.publish("out/b")
    box.wait(3)
    assert (box.states(), box.link.calls) == (["expired", "delivered"], 1)


def test_a_network_that_came_back_unnoticed_is_found_before_the_modem_is_dialled(box: Box) -> None:
    """By one look at it."""
    box.cut()
    box.publish("out/a", expires="30s")
    box.wait(3600)
    box.mend()
    box.uplink.release()
    box.cut()
    box.publish("out/b")
    box.mend()
    box.wait(3)
    assert (box.looks, box.link.calls) == (1, 0)
    box.wait(300)
    assert box.states() == ["expired", "delivered"]


def test_attempts_over_a_network_that_is_down_are_not_counted(box: Box) -> None:
    """A message that has one attempt has it over the modem."""
    box.cut()
    box.publish("out/once")
    box.wait(AFTER + 5)
    assert [(each["state"], each["attempts"]) for each in box.ended()] == [("delivered", 1)]


def test_what_is_in_flight_on_a_dying_network_goes_on_over_the_modem(box: Box) -> None:
    """Its exchange ends when it ends; then it is tried over the modem at once, and counts as one attempt."""
    box.fail_over()
    box.mend()
    box.wait(HOLD + 2)
    assert box.events() == ["modem", "own"]
    box.own_cloud.manner = None
    for number in range(4):
        box.publish(f"out/{number}")
    assert box.own_cloud.in_progress == 4
    box.own_cloud.end(UNREACHED)
    box.wait(1)
    assert (box.events(), len(box.ended())) == (["modem", "own", "modem"], 2)
    for _ in range(3):
        box.own_cloud.end(UNREACHED)
        box.wait(1)
    assert [(each["state"], each["attempts"]) for each in box.ended()[1:]] == [("delivered", 1)] * 4
    assert box.condition(CLOUD) == "up", "what ends over the other network says nothing of this one"
    assert box.link.calls == 1


def test_the_own_network_carries_again_at_once_and_the_modem_is_hung_up_later(box: Box) -> None:
    """When it has reached the cloud for `backup_hold`; messages prove it as well as a look."""
    box.fail_over()
    box.wait(HOLD - 10)
    assert box.looks == 1
    box.mend()
    box.wait(10)
    assert (box.looks, box.events(), box.link.ends) == (2, ["modem", "own"], 0)
    box.publish("out/b")
    assert box.sent()[1] == 1, "the modem carried the first message alone"
    box.wait(HOLD - 10)
    assert box.link.ends == 0
    box.wait(15)
    assert (box.link.ends, box.looks) == (1, 2)


def test_a_network_that_has_a_route_again_is_looked_at_at_once(box: Box) -> None:
    """A cable that is put back saves the rest of the hold."""
    box.routed = False
    box.fail_over()
    box.routed = True
    box.mend()
    box.wait(3)
    assert box.events() == ["modem", "own"]


def test_a_relapse_does_not_flap(box: Box) -> None:
    """The messages come back to the modem at once, and stay for a hold."""
    box.fail_over()
    box.mend()
    box.wait(HOLD + 2)
    box.cut()
    box.publish("out/b")
    box.wait(1)
    assert (box.events(), box.states()) == (["modem", "own", "modem"], ["delivered"] * 2)
    box.mend()
    box.wait(HOLD - 10)
    assert box.events() == ["modem", "own", "modem"]
    box.wait(20)
    assert box.events() == ["modem", "own", "modem", "own"]
    assert box.link.calls == 1


def test_a_message_in_flight_keeps_the_link(box: Box) -> None:
    """It is not cut, however long it takes."""
    box.fail_over()
    box.cloud.manner = None
    box.publish("out/large")
    box.mend()
    box.wait(3 * HOLD)
    assert (box.backup.path, box.link.ends) == ("own", 0)
    box.cloud.end(answered())
    box.wait(1)
    assert (box.states(), box.link.ends) == (["delivered"] * 2, 1)


def test_a_modem_that_reaches_nothing_either_is_hung_up_and_rests(box: Box) -> None:
    """For 5 minutes, then 10; meanwhile the own network is tried."""
    box.cloud.manner = UNREACHED
    box.cut()
    for number in range(4):
        box.publish(f"out/{number}")
    box.wait(AFTER + TRIAL + 45)
    assert (box.link.calls, box.link.ends, box.events()) == (1, 1, ["modem", "own"])
    box.wait(200)
    assert box.link.calls == 1
    box.wait(250)
    assert (box.link.calls, box.link.ends) == (2, 2)
    box.wait(400)
    assert box.link.calls == 2
    box.cloud.manner = answered()
    box.wait(250)
    assert (box.link.calls, box.states()) == (3, ["delivered"] * 4)


def test_a_modem_by_which_nothing_is_answered_is_hung_up_too(box: Box) -> None:
    """For as long as one that connects nowhere."""
    box.cloud.manner = silent()
    box.cut()
    for number in range(4):
        box.publish(f"out/{number}")
    box.wait(AFTER + TRIAL + 30)
    assert box.events()[:2] == ["modem", "own"]
    assert box.link.ends >= 1


def test_a_cloud_that_connects_and_never_answers_is_not_reached(box: Box) -> None:
    """Three lanes say so at once."""
    box.cut(silent())
    for number in range(3):
        box.publish(f"out/{number}")
    box.wait(AFTER - 5)
    assert box.link.calls == 0
    box.wait(20)
    assert box.states() == ["delivered"] * 3
    assert box.link.calls == 1


def test_one_alarm_that_is_never_answered_takes_the_modem(box: Box) -> None:
    """Tried again and again for `backup_after`: the network lets it connect, and swallows what it says."""
    box.cut(silent())
    box.publish("out/alarm")
    box.wait(AFTER - 5)
    assert box.link.calls == 0
    box.wait(10)
    assert (box.states(), box.link.calls, box.looks) == (["delivered"], 1, 0)


def test_a_network_that_still_swallows_is_found_out_by_the_first_message(box: Box) -> None:
    """A handshake with it works, so messages return; the first that has no answer brings them back."""
    box.cut(silent())
    box.publish("out/a")
    box.wait(AFTER + HOLD + 10)
    assert box.events() == ["modem", "own"]
    box.publish("out/b")
    box.wait(2)
    assert (box.events(), box.states()) == (["modem", "own", "modem"], ["delivered"] * 2)
    assert box.link.calls == 1


def test_a_lane_that_neither_network_helps_costs_one_call_an_hour(box: Box) -> None:
    """Its message is never answered; the others, which are, stay on the own network."""
    box.own_cloud.poison = box.cloud.poison = b"poison"
    box.publish("out/poison", b"poison")
    for _ in range(36):
        box.wait(300)
        box.publish("out/well")
    box.wait(1)
    assert box.states() == ["delivered"] * 36
    assert 1 <= box.link.calls <= 4
    assert box.sent()[1] < 60


def test_a_code_for_another_try_is_no_silence(box: Box) -> None:
    """The cloud is there, and the network that reaches it."""
    box.own_cloud.manner = answered(b"[1,0]")
    for number in range(4):
        box.publish(f"out/{number}")
    box.wait(AFTER + 600)
    assert box.link.calls == 0


def test_a_cloud_that_is_down_behind_both_networks_is_tried_less_and_less(box: Box) -> None:
    """It connects and does not answer: one alarm makes the modem dial after 5, 10, … 60 minutes."""
    box.cut(silent())
    box.cloud.manner = silent()
    box.publish("out/alarm")
    box.wait(3 * 3600)
    assert 4 <= box.link.calls <= 6
    assert box.link.ends >= box.link.calls - 1
    box.mend()
    box.wait(600)
    assert box.states() == ["delivered"]


def test_another_host_that_is_down_is_its_own_fault(box: Box) -> None:
    """A look finds the cloud, so its messages use up their attempts, and nothing is dialled."""
    box.own_plc.manner = UNREACHED
    box.publish("out/plc")
    box.wait(60)
    assert (box.states(), box.looks, box.link.calls) == (["failed"], 1, 0)


def test_another_host_is_reached_by_the_modem_where_the_network_is_down(box: Box) -> None:
    """The look finds that out, and its attempts are not used up."""
    box.cut()
    box.own_plc.manner = UNREACHED
    box.tcp.manner = Outcome(True, True, True, b"", True, None, SPENT)
    box.publish("out/plc")
    box.wait(AFTER + 60)
    assert (box.states(), box.link.calls) == (["delivered"], 1)


def test_dialling_that_takes_long_leaves_the_own_network_its_chance(box: Box) -> None:
    """Without a mobile network either, messages wait, and go by whichever comes first."""
    box.link.registered = False
    box.cut()
    box.publish("out/a")
    box.wait(3600)
    assert (box.states(), box.link.calls, box.events()) == ([], 0, [])
    box.mend()
    box.wait(300)
    assert (box.states(), box.link.calls, box.events()) == (["delivered"], 0, [])


# -- restarts --------------------------------------------------------------------------------------------


def _killed(box: Box, *, booted: bool = False) -> Box:
    """End the bridge as a kill does, and start it again, where it is ``booted`` after another boot."""
    if booted:
        _, mute = json.loads(box.outbox.meta("failover"))
        box.write(lambda: box.outbox.set_meta("failover", json.dumps([0, mute])))
    box.close()
    again = Box(box.path, clock=box.time.clock)
    again.own_cloud.manner = box.own_cloud.manner
    return again


@pytest.mark.parametrize("booted", [False, True])
@pytest.mark.parametrize("stage", ["dialling", "modem"])
def test_a_restart_in_the_middle_of_a_failover_does_not_begin_again(
    box: Box, stage: str, *, booted: bool
) -> None:
    """What waits goes within seconds; in another boot, and for new messages, after one look."""
    box.link.registered = stage == "modem"
    box.cut()
    box.publish("out/a")
    box.wait(AFTER + 5)
    assert box.backup.path == ("modem" if stage == "modem" else "own")
    for number in range(2):
        with _killed(box, booted=booted and not number) as box:
            box.publish("out/b")
            box.wait(3)
            assert (box.backup.path, box.link.calls) == ("modem", 1)
            assert box.looks <= 1
            assert set(box.states()) == {"delivered"}


def test_what_a_restart_remembers_is_not_believed_when_the_network_works(box: Box) -> None:
    """The box may be in another place: the first answer counts more, and then nothing is remembered."""
    box.fail_over()
    box.mend()
    with _killed(box, booted=True) as moved:
        moved.publish("out/b")
        moved.wait(3)
        assert (moved.backup.path, moved.link.calls) == ("own", 0)
        with _killed(moved) as again:
            again.cut()
            again.publish("out/c")
            again.wait(AFTER - 5)
            assert again.link.calls == 0


def test_a_silence_is_remembered_within_the_boot_alone(box: Box) -> None:
    """In another boot no look could tell whether it is still so: the own network has its time again."""
    box.cut(silent())
    for number in range(3):
        box.publish(f"out/{number}")
    box.wait(AFTER + 5)
    with _killed(box) as same:
        same.publish("out/b")
        same.wait(2)
        assert same.backup.path == "modem"
        with _killed(same, booted=True) as other:
            other.publish("out/c")
            other.wait(AFTER - 5)
            assert (other.backup.path, other.link.calls) == ("own", 0)


def test_nothing_is_remembered_of_a_modem_that_did_not_help(box: Box) -> None:
    """A bridge that is killed again and again would dial each time."""
    box.cloud.manner = UNREACHED
    box.cut()
    box.publish("out/a")
    box.wait(AFTER + TRIAL + 45)
    with _killed(box) as again:
        again.wait(AFTER - 5)
        assert again.link.calls == 0


@pytest.mark.parametrize("note", ["", "[", "[1]", '["1", false]', "[1, 1]", "[null, true]", "{}"])
def test_a_damaged_note_is_none(box: Box, note: str) -> None:
    """The bridge starts, and learns by itself."""
    box.write(lambda: box.outbox.set_meta("failover", note))
    box.close()
    with Box(box.path) as again:
        again.publish("out/a")
        again.wait(2)
        assert (again.states(), again.link.calls) == (["delivered"], 0)


# -- money -----------------------------------------------------------------------------------------------


def _bounded(box: Box, **bounds: Any) -> Budget:
    source = Source(lambda: Way.APART, spared=lambda: not box.backup.over_modem)
    budget = Budget(box.journal, box.notices, BudgetPlan(Bounds(**bounds)), box.uplink, source)
    budget.start()
    return budget


def test_only_what_takes_the_sim_is_counted(box: Box) -> None:
    """Whenever its result is recorded; the own network's bytes are the bridge's, and no bound's."""
    budget = _bounded(box, day=100 * COST)
    for number in range(3):
        box.publish(f"out/{number}")
        box.wait(1)
    assert budget.spent().day == 0
    box.cut()
    box.publish("out/first")
    box.wait(AFTER + 5)
    assert budget.spent().day == COST
    box.cloud.manner = None
    box.publish("out/slow")
    assert budget.spent().day > COST, "it is in flight over the SIM"
    box.mend()
    box.wait(HOLD + 2)
    assert box.backup.path == "own"
    box.cloud.end(answered())
    box.wait(1)
    assert budget.spent().day == 2 * COST
    today, _ = box.outbox.ledger.spent()
    assert box.outbox.ledger.over_sim() == (2 * COST, 2 * COST)
    failed = sum(UNREACHED.traffic) * (len(box.own_cloud.jobs) - 3)
    assert sum(today) == 5 * COST + failed


def test_what_the_budget_holds_dials_nothing_and_takes_the_own_network(box: Box) -> None:
    """Only over the SIM it would wait."""
    _bounded(box, day=COST)
    box.outbox.ledger.spend(SPENT)
    box.publish("out/a")
    box.wait(1)
    assert box.states() == ["delivered"]
    box.cut()
    box.publish("out/b")
    box.wait(AFTER + 600)
    assert (box.link.calls, box.states()) == (0, ["delivered"])
    box.mend()
    box.wait(301)
    assert box.states() == ["delivered"] * 2
