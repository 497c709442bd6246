"""The watchdog over real parts, in time that the tests let go by."""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.adapters.mqtt.broker import Broker
from bridge.adapters.mqtt.session import Session
from bridge.core.delivery import NO_PROPERTIES, Delivery
from bridge.core.exchange import Job, Outcome
from bridge.core.messages import Channel, Traffic
from bridge.core.modem import Place
from bridge.core.progress import Part, Progress
from bridge.core.routing import Router
from bridge.errors import LinkError
from bridge.flow.health.client_id import Earlier
from bridge.flow.health.watchdog import PATIENCE, Watchdog
from bridge.flow.link.hardware import Hardware
from bridge.flow.link.manager import DIAL_TIMEOUT
from bridge.flow.link.sampler import Sampler
from bridge.flow.link.supervisor import ModemSupervisor
from bridge.flow.message.codecs import CloudAccess, CloudCodec
from bridge.flow.message.filtering import Filtering
from bridge.flow.message.intake import Intake
from bridge.flow.message.paths import NetworkPaths
from bridge.flow.message.reader import Policy
from bridge.flow.message.results import Results
from bridge.flow.message.topics import Names
from bridge.flow.message.uplink import Uplink
from bridge.flow.notices import SILENT
from bridge.protocol.cloud import DeviceKey
from bridge.store.database import Lock
from bridge.store.journal import Journal
from bridge.store.reserve import Reserve
from bridge.store.writer import CommitWorker, Writer
from tests.doubles.time import MovableTime
from tests.flow.link.test_manager import Rig as NetworkRig
from tests.flow.link.test_manager import Wire
from tests.flow.sms.test_inbox import PATIENT
from tests.flow.sms.test_inbox import Rig as TextsRig
from tests.flow.sms.test_inbox import parts as pdus
from tests.harness import eventually
from tests.store.box import Box, Clock

TIMEOUT = 2.0
"""`cloud.timeout` of these tests; a whole exchange takes at most six times that."""

HOURS = 3 * 3600.0
NOTHING = Traffic(0, 0)


class Peer:
    """What carries to the cloud: it answers, is not there, or never ends, as a test says."""

    def __init__(self, time: MovableTime) -> None:
        self.time = time
        self.manner = "answers"
        self.started = 0

    def start(self, job: Job, done: Callable[[Outcome], None]) -> None:
        self.started += 1
        if self.manner == "hangs":
            return
        there = self.manner == "answers"
        answer = b"[0,0]" if there else b""
        error = None if there else "Connection refused"
        outcome = Outcome(there, there, there, answer, there, error, NOTHING)
        self.time.call_later(0.05, done, outcome)


class Rig:
    """Intake, writer and uplink on a real store, watched."""

    def __init__(self, path: Path, worker: CommitWorker | None = None, reserve: int = 4096) -> None:
        self.box = box = Box(path)
        self.time = time = MovableTime(box.clock)
        self.full: list[bool] = []
        self.fed: list[float] = []
        self.stuck: list[str] = []
        self.acknowledged: list[int] = []
        self.mids = itertools.count(1)
        held = Reserve(path, reserve)
        self.writer = Writer(
            box.database,
            box.outbox,
            held,
            time,
            worker=worker,
        )
        self.writer.on_full = self.full.append
        journal = Journal(Lock(path), held, box.database, box.outbox, self.writer, time)
        names = Names("hologram")
        results = Results(journal, names, SILENT)
        self.peer = Peer(time)
        access = CloudAccess("cloud", 9999, TIMEOUT, DeviceKey("abcd1234"))
        codec = CloudCodec(lambda: access, box.clock)
        paths = NetworkPaths({Channel.CLOUD: codec}, {Channel.CLOUD: self.peer}, identified=lambda: True)
        self.uplink = Uplink(
            journal,
            results,
            paths,
            SILENT,
            slots=4,
        )
        self.intake = Intake(
            journal,
            results,
            Policy(Router([])),
            Filtering(journal, results),
            Earlier("", 1, ()),
            self.uplink.wake,
            SILENT,
        )
        self.watchdog = self.watch(self.intake, self.writer, self.uplink)
        self.uplink.start()
        self.watchdog.start()

    def watch(self, *parts: Part) -> Watchdog:
        return Watchdog(
            parts,
            lambda: self.fed.append(self.box.clock.mono),
            within=60.0,
            call_later=self.time.call_later,
            time=lambda: self.box.clock.mono,
            on_stuck=self.stuck.append,
        )

    def ack(self, delivery: Delivery) -> None:
        self.acknowledged.append(delivery.mid)

    def publish(self, topic: str = "a", payload: bytes = b"x") -> None:
        mid = next(self.mids)
        delivery = Delivery(f"hologram/out/{topic}", payload, 1, False, False, mid, 1, NO_PROPERTIES)
        self.intake.received(delivery, self)

    def meals(self, seconds: float) -> int:
        """Let time go by; return how often the watchdog was fed in it."""
        before = len(self.fed)
        self.time.pass_(seconds)
        return len(self.fed) - before

    def set_room(self, pages: int) -> None:
        """Let the file grow by so many pages and then say SQLITE_FULL."""
        run = self.box.database._run
        now = run("PRAGMA page_count").fetchone()[0]
        run(f"PRAGMA max_page_count = {now + pages}").fetchone()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    found = Rig(tmp_path / "o.db")
    yield found
    found.box.database.close()


# -- feeding ---------------------------------------------------------------------------------------------


def test_what_rests_is_fed_at_half_of_the_time(rig: Rig) -> None:
    """Nothing to do for hours: fed every 30 s where systemd waits 60."""
    assert rig.meals(HOURS) == HOURS / 30
    assert rig.stuck == []


def test_what_works_is_fed(rig: Rig) -> None:
    """Messages all the time, each delivered: no meal is left out."""
    for number in range(900):
        rig.publish(str(number % 7))
        rig.time.pass_(1.0)
    assert len(rig.fed) == 1 + 900 / 30
    assert rig.peer.started == 900
    assert len(rig.acknowledged) == 900


def test_a_part_that_comes_back_is_fed_again(rig: Rig) -> None:
    """Not fed while a part is stuck; said once; fed again as soon as it moves."""

    class Sleeper:
        steps = 0

        def progress(self) -> tuple[Progress, ...]:
            return (Progress("writer", self.steps, busy=True),)

    sleeper, fed = Sleeper(), []
    watchdog = Watchdog(
        [rig.intake, sleeper],
        lambda: fed.append(rig.box.clock.mono),
        within=20.0,
        call_later=rig.time.call_later,
        time=lambda: rig.box.clock.mono,
        on_stuck=rig.stuck.append,
    )
    watchdog.start()
    rig.time.pass_(PATIENCE["writer"])
    before = len(fed)
    rig.time.pass_(100.0)
    assert (len(fed), len(rig.stuck)) == (before, 1)
    assert "writer" in rig.stuck[0]
    assert "intake" not in rig.stuck[0]
    sleeper.steps += 1
    rig.time.pass_(10.0)
    assert len(fed) == before + 1


def test_every_part_has_its_patience() -> None:
    """The table names what the parts call themselves, and nothing else."""
    named = {"broker", "intake", "writer", "looks", "uplink", "modem", "network", "texts", "wifi"}
    assert set(PATIENCE) == named


# -- the disk --------------------------------------------------------------------------------------------


def test_a_commit_that_never_ends_is_stuck(tmp_path: Path) -> None:
    """A disk that hangs in the middle of a commit, in its thread: fed no more; fed again when it goes on."""
    hold, gone = threading.Event(), threading.Event()
    ended: list[Callable[[], None]] = []

    def worker(call: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        def commit() -> None:
            hold.wait()
            call()
            ended.append(lambda: done(None))
            gone.set()

        threading.Thread(target=commit, daemon=True).start()

    rig = Rig(tmp_path / "o.db", worker)
    rig.publish()
    assert rig.meals(PATIENCE["writer"]) >= 3
    assert rig.meals(600.0) == 0
    assert rig.acknowledged == []
    assert "writer" in rig.stuck[0]
    hold.set()
    eventually(gone.is_set, what="the commit ends")
    for done in ended:
        done()
    assert rig.acknowledged == [1]
    assert rig.watchdog.look() == ()
    eventually(lambda: rig.meals(1.0) or rig.watchdog.look() == (), what="it is well again")
    rig.writer.close()


def test_a_full_disk_is_no_reason(tmp_path: Path) -> None:
    """For hours there is no room: messages wait, nothing hangs, and the watchdog is fed all along."""
    rig = Rig(tmp_path / "o.db")
    rig.set_room(0)  # SQLite has no room whatever the disk says, as under a quota
    for _ in range(20):
        rig.publish(payload=b"x" * 20_000)
    rig.time.pass_(60.0)
    assert rig.full == [True]
    assert rig.acknowledged == []
    assert rig.meals(HOURS) == HOURS / 30
    assert rig.writer.waiting == 20


# -- the uplink ------------------------------------------------------------------------------------------


def test_exchanges_that_all_hang_are_stuck(rig: Rig) -> None:
    """Beyond their own limit and some patience nothing has ended: fed no more."""
    rig.peer.manner = "hangs"
    for number in range(10):
        rig.publish(str(number))
    limit = 6 * TIMEOUT + PATIENCE["uplink"]
    assert rig.meals(limit) == int(limit / 30)
    assert rig.peer.started == 4
    rig.time.pass_(60.0)
    assert rig.meals(600.0) == 0
    assert rig.stuck == [rig.stuck[0]]
    assert "uplink cloud" in rig.stuck[0]


def test_a_cloud_that_is_not_there_is_no_reason(rig: Rig) -> None:
    """For hours every try is refused: each is progress, the pauses between them are rest."""
    rig.peer.manner = "refuses"
    for number in range(10):
        rig.publish(str(number))
    assert rig.meals(HOURS) == HOURS / 30
    assert rig.peer.started > 20


def test_an_uplink_that_is_never_woken_is_stuck(rig: Rig) -> None:
    """A message could go, the way is free, and nothing begins: that is no rest."""
    rig.uplink.paused = True
    rig.publish()
    rig.time.pass_(300.0)
    assert rig.watchdog.look() == ()
    rig.uplink.paused = False  # and nobody wakes it
    rig.time.pass_(PATIENCE["uplink"] + 60.0)
    assert rig.watchdog.look() == ("uplink cloud",)


def test_a_pause_that_was_asked_for_is_rest(rig: Rig) -> None:
    """Paused for hours with messages waiting: fed."""
    rig.uplink.paused = True
    rig.publish()
    assert rig.meals(HOURS) == HOURS / 30


# -- the broker ------------------------------------------------------------------------------------------


class _Nobody:
    def mqtt_up(self, *, session_present: bool) -> None: ...
    def mqtt_down(self, reason: str) -> None: ...
    def mqtt_received(self, delivery: Delivery) -> None: ...
    def mqtt_published(self, mid: int, problem: str | None) -> None: ...


def test_a_broker_that_is_away_is_tried_again_which_is_progress() -> None:
    """Each try to connect is a turn of the session."""

    async def scenario() -> None:
        where = Broker("127.0.0.1", 1, "watched")
        session = Session(asyncio.get_running_loop(), where, _Nobody(), subscriptions=())
        task = asyncio.create_task(session.run())
        (first,) = session.progress()
        async with asyncio.timeout(20):
            while session.progress()[0].steps < first.steps + 3:
                await asyncio.sleep(0.05)
        assert session.progress()[0].busy
        session.disconnect()
        assert not session.progress()[0].busy
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


# -- the modem -------------------------------------------------------------------------------------------


class _HangingModem:
    """A modem whose start never ends."""

    facts = None
    sim_problem = None

    async def start(self, path: str, *, radio: bool = True) -> None:
        await asyncio.Event().wait()

    def close(self) -> None: ...


def supervisor(place: Place | None, clock: Clock) -> ModemSupervisor:
    async def power(_: Place) -> None: ...

    return ModemSupervisor(
        Hardware(
            find=lambda: place,
            missing="no modem",
            make=lambda *_: _HangingModem(),  # type: ignore[arg-type]  # it never gets further
            power=power,
            can_power=lambda _: False,
        ),
        MovableTime(clock),
        SILENT,
        on_change=lambda: None,
        link_up=lambda: False,
    )


@contextlib.asynccontextmanager
async def running(coroutine: Any, ready: Callable[[], object] = lambda: True) -> Any:
    task = asyncio.create_task(coroutine)
    async with asyncio.timeout(60):
        await asyncio.sleep(0.01)
        while not ready():
            await asyncio.sleep(0.001)
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("there", [True, False])
def test_a_modem_that_never_starts_is_stuck_and_one_that_is_not_there_is_not(there: bool, rig: Rig) -> None:
    """A keeper whose task hangs gets no further; one without a modem waits for it."""
    clock = rig.box.clock
    place = Place("cellular", "/dev/ttyUSB0", "/dev/ttyUSB0", None) if there else None

    async def scenario() -> None:
        kept = supervisor(place, clock)
        async with running(kept.run()):
            watchdog = rig.watch(kept)
            assert watchdog.look() == ()
            clock.pass_(PATIENCE["modem"] - 1.0)
            assert watchdog.look() == ()
            clock.pass_(10.0)
            assert watchdog.look() == (("modem",) if there else ())

    asyncio.run(scenario())


def test_a_dialler_that_outlives_its_limit_is_stuck(rig: Rig) -> None:
    """An attempt has its time, 122 seconds and more for some modems; then the driver must be free again."""

    async def scenario() -> None:
        wire = Wire()
        wire.hangs = True
        network = NetworkRig(wire, autoconnect=True).network
        async with running(network.run(), lambda: wire.attempts):
            watchdog = rig.watch(network)
            assert watchdog.look() == ()
            rig.box.clock.pass_(DIAL_TIMEOUT + PATIENCE["network"])
            assert watchdog.look() == ()
            rig.box.clock.pass_(1.0)
            assert watchdog.look() == ("network",)

    asyncio.run(scenario())


def test_a_link_that_stands_and_one_that_nobody_wants_rest(rig: Rig) -> None:
    """Between dialling and hanging up the driver waits for something to happen."""

    async def scenario() -> None:
        for wanted in (True, False):
            network = NetworkRig(Wire(), autoconnect=wanted).network
            async with running(network.run(), lambda: network.up is wanted):  # noqa: B023 awaited here
                watchdog = rig.watch(network)
                watchdog.look()
                rig.box.clock.pass_(86400.0)
                assert watchdog.look() == ()

    asyncio.run(scenario())


# -- texts, and the signal -------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["list", "delete"])
def test_texts_that_are_never_taken_out_are_stuck(where: str, rig: Rig, box: Box) -> None:
    """A question to the modem that is never answered is seen; a store without texts is rest."""

    async def scenario() -> None:
        texts = TextsRig(box, PATIENT)
        texts.store.put(*pdus("one"))
        watchdog = rig.watch(texts.receiver)
        async with running(texts.receiver.run()):
            await texts.rests()
            watchdog.look()
            rig.box.clock.pass_(86400.0)
            assert watchdog.look() == ()
            hang = Hang()
            setattr(texts.store, where, hang)
            texts.store.put(*pdus("two"))
            texts.receiver.wake()
            await hang.begun.wait()
            assert watchdog.look() == ()
            rig.box.clock.pass_(PATIENCE["texts"])
            assert watchdog.look() == ()
            rig.box.clock.pass_(1.0)
            assert watchdog.look() == ("texts",)
        texts.writer.close()

    asyncio.run(scenario())


def test_texts_that_wait_for_room_on_the_disk_are_not_stuck(rig: Rig, box: Box) -> None:
    """They stay on the modem while the disk is full, however long."""

    async def scenario() -> None:
        texts = TextsRig(box, PATIENT)
        texts.set_room(0)
        texts.store.put(*(pdu for number in range(200) for pdu in pdus(f"text {number}")))
        watchdog = rig.watch(texts.receiver)
        async with running(texts.receiver.run()):
            while not texts.writer.full:
                await asyncio.sleep(0.01)
            watchdog.look()
            rig.box.clock.pass_(86400.0)
            assert watchdog.look() == ()
        texts.writer.close()

    asyncio.run(scenario())


class Hang:
    """A call that never ends; ``begun`` is set once it is made."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def __call__(self, *_: object) -> None:
        self.begun.set()
        await asyncio.Event().wait()


def test_a_look_at_the_signal_that_never_ends_is_stuck(rig: Rig) -> None:
    """One that fails is left out, one that hangs is seen."""
    seen: list[None] = []

    async def sample() -> None:
        seen.append(None)
        if len(seen) < 3:
            raise LinkError("nobody knows")
        await Hang()()

    async def scenario() -> None:
        sampler = Sampler("wifi", sample, 0.01)
        watchdog = rig.watch(sampler)
        assert watchdog.look() == ()
        async with running(sampler.run()):
            async with asyncio.timeout(60):
                while len(seen) < 3:
                    await asyncio.sleep(0.01)
            assert watchdog.look() == ()
            rig.box.clock.pass_(PATIENCE["wifi"] + 1.0)
            assert watchdog.look() == ("wifi",)

    asyncio.run(scenario())
