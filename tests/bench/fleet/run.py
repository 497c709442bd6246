"""The run: everything is started, boxes send, parts are killed, and one consumer checks what is there."""

import asyncio
import contextlib
import itertools
import json
import random
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import nats
from nats.js.api import ConsumerConfig

from tests.bench.fleet.boxes import GRACE, Sent, payload
from tests.bench.fleet.meter import Meter, Used
from tests.harness.collector import CollectorProcess
from tests.harness.nats import NatsServer, cluster, is_whole
from tests.harness.process import Keeper, Process, eventually, free_port

PROCESSES = 2
"""Processes that are the boxes."""

AWAY = 2.0
"""Seconds for which a killed part is away."""

READING = 120.0
"""Seconds in which the consumer has to have read the stream."""


class Plan(NamedTuple):
    """How large the run is."""

    boxes: int = 5000
    batches: int = 2
    """Of each box at least; they go on until the kills are over."""
    readings: int = 20
    """Of each batch."""
    kills: int = 20
    collectors: int = 3
    seconds: int = 240
    """Neither a batch nor a kill is begun after it."""


class Checked(NamedTuple):
    """What the consumer found of the readings that were answered 200."""

    lost: int
    """Readings that are not on the stream, or not as they were sent."""
    doubled: int
    """Readings that are on the stream more than once."""


class Outcome(NamedTuple):
    """What came of it."""

    plan: Plan
    seconds: float
    """From the first batch to the last answer."""
    sent: list[Sent]
    kills: int
    repeats: int
    """Readings that came again and were dropped, as far as killed collectors could tell."""
    checked: Checked
    used: Used

    @property
    def waits(self) -> list[float]:
        """Seconds that the answers 200 took, one for each batch that has one, the shortest first."""
        return sorted(each.seconds for each in self.sent if each.seconds is not None)


class Fleet:
    """The parts, each a process."""

    def __init__(self, keeper: Keeper, folder: Path, plan: Plan) -> None:
        self.nodes = cluster(keeper, folder / "nats")
        servers = [each.url for each in self.nodes]
        self.collectors = [
            CollectorProcess(keeper, folder / f"c{n}", nats={"servers": servers})
            for n in range(plan.collectors)
        ]
        setup = self.collectors[0]
        eventually(
            lambda: setup.run("collect", "--setup").returncode == 0, 60, what="the cluster has the stream"
        )
        self._wait_for_peers()
        for each in self.collectors:
            each.start()
        self.repeats = 0
        """Readings that collectors had counted as repeats when they were killed."""
        self.balancer = Process("balancer", folder / "balancer.log")
        keeper.keep(self.balancer)
        self.port = free_port()
        targets = [str(each.port) for each in self.collectors]
        module = "tests.bench.fleet.balancer"
        self.balancer.launch([sys.executable, "-m", module, str(self.port), *targets])
        self.boxes = self._boxes(keeper, folder, plan)

    def _boxes(self, keeper: Keeper, folder: Path, plan: Plan) -> list[Process]:
        each = plan.boxes // PROCESSES
        found = []
        for n in range(PROCESSES):
            process = Process(f"boxes {n}", folder / f"boxes{n}.log")
            keeper.keep(process)
            numbers = (self.port, 1000 + n * each, each, plan.batches, plan.readings, plan.seconds)
            process.launch(
                [sys.executable, "-m", "tests.bench.fleet.boxes", *map(str, numbers),
                 str(folder / f"answered{n}.jsonl")]
            )  # fmt: skip
            found.append(process)
        return found

    def kill_and_start(self, turn: int) -> None:
        """Kill a node or a collector, and start it again a little later."""
        victims: list[NatsServer | CollectorProcess] = [*self.nodes, *self.collectors]
        victim = victims[turn % len(victims)]
        if isinstance(victim, CollectorProcess):
            self.repeats += _repeats(victim)
        victim.kill()
        time.sleep(AWAY)
        if isinstance(victim, CollectorProcess):
            victim.start(wait=False)
        else:
            victim.start()
            self._wait_for_peers()

    def _wait_for_peers(self) -> None:
        """Wait until the stream has all its replicas: two of three away would stop it, as it should."""
        eventually(lambda: is_whole(self.nodes), 60, what="the stream has its replicas again")

    def finish_sending(self, seconds: float) -> None:
        """Have the boxes send what is left of the plan, and wait until they have, for ``seconds`` at most."""
        for each in self.boxes:
            if each.popen is not None:
                each.popen.terminate()
        for each in self.boxes:
            each.wait(seconds)


def play(keeper: Keeper, folder: Path, plan: Plan) -> Outcome:
    """Run a fleet to its end, and check."""
    random.seed(7)
    fleet = Fleet(keeper, folder, plan)
    meter = Meter(
        {
            "collectors": fleet.collectors,
            "NATS servers": fleet.nodes,
            "balancer": [fleet.balancer],
            "boxes": fleet.boxes,
        }
    )
    begun, kills = time.monotonic(), 0
    while kills < plan.kills and time.monotonic() - begun < plan.seconds:
        fleet.kill_and_start(kills)
        kills += 1
    fleet.finish_sending(plan.seconds + GRACE + 30)
    seconds, used = time.monotonic() - begun, meter.close()
    sent = _sent(folder)
    return Outcome(
        plan=plan,
        seconds=seconds,
        sent=sent,
        kills=kills,
        repeats=fleet.repeats + sum(_repeats(each) for each in fleet.collectors),
        checked=_checked(sent, plan.readings, asyncio.run(_read([each.url for each in fleet.nodes]))),
        used=used,
    )


def _sent(folder: Path) -> list[Sent]:
    lines = itertools.chain(*(path.read_text().splitlines() for path in folder.glob("answered*.jsonl")))
    return [Sent(*json.loads(line)) for line in lines]


def _checked(sent: list[Sent], readings: int, there: list[tuple[str, bytes]]) -> Checked:
    wanted = {
        (f"{each.device}-{each.batch}-{n}", payload(each.device, n))
        for each in sent
        if each.seconds is not None
        for n in range(readings)
    }
    return Checked(
        lost=len(wanted.difference(there)),
        doubled=len(there) - len({reading for reading, _ in there}),
    )


def _repeats(collector: CollectorProcess) -> int:
    """Return what a collector has counted since its last start."""
    text = collector.get("/metrics").text
    return int(text.partition("\nhologram_collect_repeats_total ")[2].split()[0])


async def _read(urls: list[str]) -> list[tuple[str, bytes]]:
    """Read the whole stream by one consumer; return the id and the payload of each message.

    The servers were killed a moment ago: the consumer may be refused, and a message may be delivered twice,
    so each counts by its place in the stream.
    """
    client = await nats.connect(urls)
    context: Any = client.jetstream(timeout=30)
    number = (await context.stream_info("FLEET")).state.messages
    # What the consumer has acknowledged needs neither a disk nor a replica.
    config = ConsumerConfig(durable_name="check", num_replicas=1, mem_storage=True)
    consumer = await context.pull_subscribe("fleet.>", durable="check", stream="FLEET", config=config)
    found: dict[int, tuple[str, bytes]] = {}
    deadline = time.monotonic() + READING
    while len(found) < number:
        assert time.monotonic() < deadline, f"{number - len(found)} messages of the stream do not come"
        with contextlib.suppress(nats.errors.Error):
            for each in await consumer.fetch(500, timeout=5):
                found[each.metadata.sequence.stream] = each.headers["Nats-Msg-Id"], each.data
                await each.ack()
    await client.close()
    return list(found.values())
