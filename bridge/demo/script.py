"""The demo's own traffic: a cycle of steps, as values with times."""

import math
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

CYCLE = 40.0
"""Seconds after which the steps repeat."""

OUTAGE_AT = 14.0
OUTAGE = 8.0
"""Seconds of the simulated cloud's outage: its start in each cycle, and its length."""

EVERY = 3.0
"""Seconds between sensor readings."""

SENSORS = "sensors/"
METERS = "meters/"
"""Beginnings of topics: what is sent alone, and what is sent in batches."""

_SENSORS = ("kitchen", "cellar", "attic", "boiler")

_METERS = ("power", "water")

_GROWING = ((1.0, 2), (7.0, 4), (22.5, 8), (28.0, 16), (34.0, 32))
"""When readings of the meters begin in each cycle, and how many: each time twice as many share a batch."""

BATCH_EVERY = 5
"""Seconds that readings of the meters wait for each other; short, so that a viewer sees batches soon."""

_TOGETHER = 4.0
"""Seconds in which those of one batch are published; less than `BATCH_EVERY`."""


class Publish(NamedTuple):
    """Publish ``payload`` on ``topic`` below the bridge's prefix; ``note`` is for the viewer."""

    topic: str
    payload: str
    note: str = ""


class CloudDown(NamedTuple):
    """Stop the simulated cloud for ``seconds``."""

    seconds: float


class CloudUp(NamedTuple):
    """Start the simulated cloud again."""


Step = Publish | CloudDown | CloudUp


class Due(NamedTuple):
    """A step and its time, in seconds from the start of the traffic."""

    at: float
    step: Step


def story() -> Iterator[Due]:
    """Yield the steps in order of time, for ever."""
    for cycle in count():
        start = cycle * CYCLE
        for due in sorted(_cycle(cycle), key=lambda due: due.at):
            yield due._replace(at=start + due.at)


def _cycle(cycle: int) -> Iterator[Due]:
    for tick in range(math.ceil(CYCLE / EVERY)):
        number = cycle * 100 + tick * 2
        yield Due(tick * EVERY, _reading(number, _SENSORS[tick % 4]))
        yield Due(tick * EVERY + 0.4, _reading(number + 1, _SENSORS[(tick + 1) % 4]))
    yield Due(
        4.0,
        Publish(
            "out/kitchen sink", "21.5", "a topic with a space: the cloud would not take it, so it is refused"
        ),
    )
    yield Due(6.5, Publish("sms/15551234567", f"Cellar: water at {12 + cycle % 9} cm"))
    yield Due(10.0, Publish("out/door", "open"))
    for start, readings in _GROWING:
        for number in range(readings):
            yield Due(start + _TOGETHER * number / readings, _metered(cycle, start, number))
    yield Due(OUTAGE_AT, CloudDown(OUTAGE))
    yield Due(OUTAGE_AT + OUTAGE, CloudUp())


def _reading(number: int, sensor: str) -> Publish:
    if sensor == "boiler":
        return Publish("out/boiler/pressure", f'{{"bar":{1.6 + 0.2 * math.sin(number):.2f}}}')
    celsius = {"kitchen": 21.0, "cellar": 12.0, "attic": 25.0}[sensor] + 2 * math.sin(number)
    return Publish(f"out/{SENSORS}{sensor}", f'{{"temp":{celsius:.1f}}}')


def _metered(cycle: int, start: float, number: int) -> Publish:
    meter = _METERS[number % 2]
    count = int(cycle * CYCLE + start) * 10 + number
    return Publish(
        f"out/{METERS}{meter}",
        f'{{"litres":{count}}}' if meter == "water" else f'{{"watts":{400 + count % 97}}}',
    )
