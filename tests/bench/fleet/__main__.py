"""``make bench-fleet``: the run, and its figures as text."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.fleet.run import Outcome, Plan, play
from tests.harness.process import Keeper

FLEET = 100_000
"""Boxes of the calculation, with a batch each quarter of an hour."""


FULL = 0.85
"""The share of the machine's processor time from which on it is what limits a run."""


def told(outcome: Outcome) -> str:
    """Return the figures of a run."""
    return "\n".join([*_load(outcome), *_parts(outcome), _limit(outcome), _calculation(outcome)])


def _load(outcome: Outcome) -> Iterator[str]:
    """Yield what was sent, and what became of it."""
    plan, seconds, waits = outcome.plan, outcome.seconds, outcome.waits
    requests = sum(each.requests for each in outcome.sent)
    refused = sum(each.refused for each in outcome.sent)
    readings = len(waits) * plan.readings
    yield f"{plan.boxes} boxes, {plan.collectors} collectors, 3 servers with 3 replicas, {seconds:.0f} s"
    yield f"killed and started again: {outcome.kills} of {plan.kills} times"
    yield f"answered 200: {len(waits)} of {len(outcome.sent)} batches, {readings} readings"
    lost, doubled = outcome.checked
    yield f"lost: {lost}   doubled: {doubled}   repeats dropped: {outcome.repeats}"
    yield f"requests: {requests}, of which {refused} were sent again because they were not answered 200"
    yield (
        f"a second: {requests / seconds:.0f} requests, {len(waits) / seconds:.0f} batches, "
        f"{readings / seconds:.0f} readings"
    )
    yield f"an answer takes {waits[len(waits) // 2]:.3f} s in the median, {waits[-1]:.1f} s at most"


def _parts(outcome: Outcome) -> Iterator[str]:
    """Yield processor and memory of each part."""
    for name, used in outcome.used.processor.items():
        yield (
            f"{name:13} {used:7.1f} s of processor, {used / len(outcome.waits) * 1000:.2f} ms a batch, "
            f"{outcome.used.memory[name] / 1e6:.0f} MB at most"
        )


def _limit(outcome: Outcome) -> str:
    """Return what limits the run: the processors, or waiting for disks and for parts that are away."""
    parts, busy, cores = outcome.used.processor, outcome.used.busy, os.cpu_count() or 1
    own = sum(parts.values()) / outcome.seconds / cores
    most = max(parts, key=lambda name: parts[name])
    limit = "disks, and parts that were away"
    if busy > FULL:
        limit = "the processors" if own > busy / 2 else "the processors, which others used"
    return (
        f"what limits it: {limit}; {cores} processors, {busy:.0%} busy, {own:.0%} with these parts, "
        f"most of all the {most}"
    )


def _calculation(outcome: Outcome) -> str:
    """Return what a large fleet takes."""
    wanted = FLEET / 900
    serving = sum(outcome.used.processor[name] for name in ("collectors", "NATS servers"))
    return (
        f"{FLEET} boxes, a batch each quarter of an hour: {wanted:.0f} batches a second, "
        f"{wanted * outcome.plan.readings:.0f} readings a second, "
        f"{wanted * serving / len(outcome.waits):.1f} processors for collectors and servers"
    )


def failed(outcome: Outcome) -> list[str]:
    """Return what the run does not show; nothing where all is well."""
    found = {
        "readings are lost": outcome.checked.lost,
        "readings are doubled": outcome.checked.doubled,
        "batches have no answer": len(outcome.sent) - len(outcome.waits),
        "kills are missing": outcome.plan.kills - outcome.kills,
        "boxes sent nothing": outcome.plan.boxes - len({each.device for each in outcome.sent}),
    }
    return [f"{number} {what}" for what, number in found.items() if number > 0]


def main() -> int:
    """Run, print, and end with 1 where something was lost, doubled or left out."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fleet", description=__doc__)
    defaults = Plan()
    for name, value in defaults._asdict().items():
        parser.add_argument(f"--{name}", type=int, default=value, metavar="N", help="default: %(default)s")
    plan = Plan(**vars(parser.parse_args()))
    keeper = Keeper()
    with tempfile.TemporaryDirectory(prefix="bench-fleet-") as folder:
        try:
            outcome = play(keeper, Path(folder), plan)
        finally:
            keeper.close()
    print(told(outcome))
    for line in failed(outcome):
        print(f"FAILED: {line}")
    return 1 if failed(outcome) else 0


if __name__ == "__main__":
    sys.exit(main())
