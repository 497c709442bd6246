"""Messages per second: end to end, over a slow link, and into the outbox."""

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.bench.figures import Pairs, Row, in_pairs, paired
from tests.bench.official import baseline
from tests.bench.peers import TOPICS, Counter, Publishers, Results, plain_loop
from tests.bench.rig import FAST_BROKER, PAYLOAD, Bridge, Mosquitto, Rig, cpu_seconds

SHIPPED = Path(__file__).parents[2] / "config" / "mosquitto" / "hologram-bridge.conf"

WINDOW = 100
"""Messages under way at most: stock mosquitto drops some of them at 400 already, online subscriber or not."""

_names = (f"run{number}" for number in count(1))


def through(rig: Rig, broker: Mosquitto, messages: int) -> float:
    """Send messages through the bridge; return messages per second, first publish to last result."""
    name = next(_names)
    results = rig.enter_context(Results(broker, rig.folder, f"{name}-results", messages))
    publishers = Publishers(broker, name, [f"hologram/out/{topic}" for topic in TOPICS])
    started = time.perf_counter()
    publishers.feed(messages, PAYLOAD)
    results.wait()
    rate = messages / (time.perf_counter() - started)
    publishers.finish()
    return rate


def end_to_end(quick: bool) -> list[Row]:
    """Durable, results included, against a loop without MQTT and without any durability."""
    return [row for parallel, aim in ((16, 1.0), (4, 0.8)) for row in _end_to_end(quick, parallel, aim)]


def _end_to_end(quick: bool, parallel: int, aim: float) -> list[Row]:
    messages, times = (1600, 2) if quick else (6400, 5)
    with Rig() as rig:
        broker, cloud = rig.broker(*FAST_BROKER), rig.cloud()
        bridge = rig.bridge(broker, cloud.port, parallel=parallel).wait_online()
        name, loop = baseline(rig, cloud.port)
        through(rig, broker, 320)
        loop(320)
        spent, beside = [], []

        def product() -> float:
            before = cpu_seconds(bridge.pid)
            rate = through(rig, broker, messages)
            spent.append((cpu_seconds(bridge.pid) - before) / messages * 1e3)
            return rate

        def other() -> float:
            rate, processor = loop(messages)
            beside.append(processor)
            return rate

        pairs = in_pairs(times, other, product)
    ratio, work = pairs.ratio.median, Pairs(beside, spent)
    what = f"parallel {parallel}"
    note = f"{messages} messages, {len(TOPICS)} topics, mosquitto with {', '.join(FAST_BROKER)}"
    return [
        paired("end_to_end", what, "msg/s", name, pairs, aim=f">= {aim} of it", met=ratio >= aim, note=note),
        paired(
            "end_to_end",
            f"{what}, processor time a message",
            "ms",
            name,
            work,
            aim="<= 2 times its",
            met=work.ratio.median <= 2,
        ),
    ]


def slow_link(quick: bool) -> list[Row]:
    """300 ms for each exchange."""
    messages, loop_messages, times = (64, 2, 1) if quick else (208, 5, 3)
    with Rig() as rig:
        broker, cloud = rig.broker(*FAST_BROKER), rig.cloud(delay=0.3)
        rig.bridge(broker, cloud.port).wait_online()
        through(rig, broker, 16)
        pairs = in_pairs(
            times, lambda: plain_loop(cloud.port, loop_messages), lambda: through(rig, broker, messages)
        )
    met = pairs.ratio.median >= 12
    return [
        paired(
            "slow_link",
            "300 ms an exchange, parallel 16",
            "msg/s",
            "plain loop",
            pairs,
            aim=">= 12 x the loop",
            met=met,
            note=f"{messages} messages over {len(TOPICS)} topics",
        )
    ]


def intake(quick: bool) -> list[Row]:
    """Into the outbox while the cloud refuses connections, on two configurations of mosquitto."""
    messages, times = (5000, 2) if quick else (30_000, 3)
    stock = _intake(messages, times, ())
    rows = [
        paired(
            "intake",
            "durable, mosquitto as it comes",
            "msg/s",
            "mosquitto_sub -q 1",
            stock,
            aim=">= 5,000 msg/s",
            met=sorted(stock.product)[len(stock.product) // 2] >= 5000,
            note=f"{messages} messages, the publishers keeping at most {WINDOW} under way",
        )
    ]
    if not SHIPPED.exists():
        return [*rows, Row("intake", "durable, mosquitto as shipped", note="not there yet: config/mosquitto")]
    shipped = _intake(messages // 2, times, shipped_settings())
    note = f"settings of {SHIPPED.relative_to(SHIPPED.parents[2])}"
    return [
        *rows,
        paired("intake", "durable, mosquitto as shipped", "msg/s", "mosquitto_sub -q 1", shipped, note=note),
    ]


def shipped_settings() -> tuple[str, ...]:
    """Return the lines of the shipped configuration, without those that say where things are."""
    places = (
        "listener",
        "port",
        "bind_address",
        "persistence_location",
        "persistence_file",
        "log_",
        "user",
        "allow_anonymous",
        "password_file",
        "acl_file",
        "include_dir",
        "pid_file",
    )
    lines = (line.strip() for line in SHIPPED.read_text().splitlines())
    return tuple(line for line in lines if line and not line.startswith(("#", *places)))


def _intake(messages: int, times: int, settings: tuple[str, ...]) -> Pairs:
    with Rig() as rig:
        broker = rig.broker(*settings, f"persistence_location {rig.folder}/")
        bridge = rig.bridge(broker, rig.dead_cloud()).wait_online()

        def baseline() -> float:
            with Counter(broker, f"{next(_names)}-counter", "base/#") as counter:
                return windowed(broker, "base", messages, lambda: counter.count)

        return in_pairs(times, baseline, lambda: _queue(broker, bridge, messages))


def _queue(broker: Mosquitto, bridge: Bridge, messages: int) -> float:
    before = bridge.queued()
    rate = windowed(broker, "hologram/out/bench", messages, lambda: bridge.queued() - before)
    if (found := bridge.queued() - before) != messages:
        raise RuntimeError(f"{found} of {messages} messages are in the outbox")
    return rate


def windowed(broker: Mosquitto, topic: str, messages: int, arrived: Callable[[], int]) -> float:
    """Publish with at most `WINDOW` under way; return messages per second until all have arrived."""
    publishers = Publishers(broker, next(_names), [f"{topic}/{number}" for number in range(4)])
    sent = there = 0
    deadline = time.monotonic() + 600
    started = time.perf_counter()
    while there < messages:
        there = arrived()
        if (more := min(messages - sent, WINDOW - (sent - there))) > 0:
            publishers.feed(more, PAYLOAD)
            sent += more
        if time.monotonic() > deadline:
            raise TimeoutError(f"{there} of {messages} messages arrived")
        time.sleep(0.005)
    rate = messages / (time.perf_counter() - started)
    publishers.finish()
    return rate
