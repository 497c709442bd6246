"""The run: everything is started, boxes send, parts are killed, and one consumer checks what is there."""

import asyncio
import contextlib
import itertools
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import nats

from tests.bench.fleet.meter import Meter
from tests.harness.collector import CollectorProcess
from tests.harness.nats import NatsServer, cluster
from tests.harness.process import Keeper, Process, eventually, free_port

PROCESSES = 2
"""Processes that are the boxes."""

AWAY = 2.0
"""Seconds for which a killed part is away."""


READING = 600.0
"""Seconds in which the consumer has to have read the stream."""


class Plan(NamedTuple):
    """How large the run is."""

    boxes: int = 5000
    batches: int = 2
    """Of each box."""
    readings: int = 20
    """Of each batch."""
    kills: int = 20
    collectors: int = 3


class Outcome(NamedTuple):
    """What came of it; seconds of processor time and bytes of memory by part."""

    plan: Plan
    seconds: float
    answered: int
    """Batches that were answered 200."""
    lost: int
    """Readings that were answered 200 and are not on the stream."""
    doubled: int
    """Readings that are on the stream more than once."""
    repeats: int
    """Readings that came again and were dropped."""
    slowest: float
    """Seconds of the slowest answer 200."""
    median: float
    kills: int
    processor: dict[str, float]
    memory: dict[str, int]


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
        for each in self.collectors:
            each.start()
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
            numbers = (self.port, 1000 + n * each, each, plan.batches, plan.readings)
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
        victim.kill()
        time.sleep(AWAY)
        if isinstance(victim, CollectorProcess):
            victim.start(wait=False)
        else:
            victim.start()
            self._wait_for_peers()

    def _wait_for_peers(self) -> None:
        """Wait until the stream has all its replicas: two of three away would stop it, as it should."""
        urls = [each.url for each in self.nodes]
        eventually(lambda: asyncio.run(_is_whole(urls)), 60, what="the stream has its replicas again")

    def sending(self) -> bool:
        """Whether boxes still send."""
        return any(each.running for each in self.boxes)


async def _is_whole(urls: list[str]) -> bool:
    try:
        client = await nats.connect(urls, connect_timeout=2, max_reconnect_attempts=2)
    except (OSError, nats.errors.Error):
        return False
    try:
        info = await client.jetstream(timeout=5).stream_info("FLEET")
        replicas = (info.cluster.replicas if info.cluster else None) or []
        return len(replicas) == 2 and all(each.current and not each.offline for each in replicas)
    except (OSError, nats.errors.Error):
        return False
    finally:
        await client.close()


def play(keeper: Keeper, folder: Path, plan: Plan) -> Outcome:
    """Run a fleet to its end, and check."""
    random.seed(7)
    begun = time.monotonic()
    fleet = Fleet(keeper, folder, plan)
    meter = Meter(
        {
            "collectors": fleet.collectors,
            "NATS servers": fleet.nodes,
            "balancer": [fleet.balancer],
            "boxes": fleet.boxes,
        }
    )
    begun = time.monotonic()
    kills = 0
    for turn in itertools.count():
        if not fleet.sending():
            break
        if kills < plan.kills:
            fleet.kill_and_start(turn)
            kills += 1
        time.sleep(0.5)
    seconds = time.monotonic() - begun
    processor = meter.close()
    for each in fleet.nodes:
        if not each.running:
            each.start()
    return _outcome(fleet, folder, plan, seconds, kills, processor, dict(meter.memory))


def _outcome(
    fleet: Fleet, folder: Path, plan: Plan, seconds: float, kills: int,
    processor: dict[str, float], memory: dict[str, int],
) -> Outcome:  # fmt: skip
    lines = itertools.chain(*(path.read_text().splitlines() for path in folder.glob("answered*.jsonl")))
    answered = [json.loads(line) for line in lines]
    there = asyncio.run(_read([each.url for each in fleet.nodes]))
    wanted = {f"{device}-{batch}-{n}" for device, batch, _ in answered for n in range(plan.readings)}
    took = sorted(each[2] for each in answered)
    return Outcome(
        plan=plan,
        seconds=seconds,
        answered=len(answered),
        lost=len(wanted - there.keys()),
        doubled=sum(number - 1 for number in there.values()),
        repeats=sum(_repeats(each) for each in fleet.collectors),
        slowest=took[-1],
        median=took[len(took) // 2],
        kills=kills,
        processor=processor,
        memory=memory,
    )


def _repeats(collector: CollectorProcess) -> int:
    """Return what a collector has counted since its last start."""
    text = collector.get("/metrics").text
    return int(text.partition("\nhologram_collect_repeats_total ")[2].split()[0])


async def _read(urls: list[str]) -> Counter[str]:
    """Read the whole stream by one consumer; return how often each id is there.

    The servers were killed a moment ago: the consumer may be refused, and a message may be delivered twice,
    so each counts by its place in the stream.
    """
    client = await nats.connect(urls)
    context: Any = client.jetstream(timeout=30)
    number = (await context.stream_info("FLEET")).state.messages
    consumer = await context.pull_subscribe("fleet.>", durable="check", stream="FLEET")
    ids: dict[int, str] = {}
    deadline = time.monotonic() + READING
    while len(ids) < number:
        assert time.monotonic() < deadline, f"{number - len(ids)} messages of the stream do not come"
        with contextlib.suppress(nats.errors.Error):
            for each in await consumer.fetch(500, timeout=5):
                ids[each.metadata.sequence.stream] = each.headers["Nats-Msg-Id"]
                await each.ack()
    await client.close()
    return Counter(ids.values())
