"""``make bench-fleet``: the run, and its figures as text."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.bench.fleet.run import Outcome, Plan, play
from tests.harness.process import Keeper

FLEET = 100_000
"""Boxes of the calculation, with a batch each quarter of an hour."""


def told(outcome: Outcome) -> str:
    """Return the figures of a run."""
    plan, seconds = outcome.plan, outcome.seconds
    readings = outcome.answered * plan.readings
    wanted = FLEET / 900
    lines = [
        f"{plan.boxes} boxes, {plan.batches} batches each, {plan.readings} readings a batch",
        f"{plan.collectors} collectors, 3 servers with 3 replicas; {outcome.kills} kills in {seconds:.0f} s",
        f"answered 200: {outcome.answered} batches, {readings} readings",
        f"lost: {outcome.lost}   doubled: {outcome.doubled}   repeats dropped: {outcome.repeats}",
        f"{outcome.answered / seconds:.0f} batches a second, {readings / seconds:.0f} readings a second",
        f"an answer takes {outcome.median:.3f} s in the median, {outcome.slowest:.1f} s at most",
    ]
    for name, used in outcome.processor.items():
        each = used / outcome.answered * 1000
        lines.append(
            f"{name:13} {used:7.1f} s of processor, {each:.2f} ms a batch, "
            f"{outcome.memory[name] / 1e6:.0f} MB at most"
        )
    serving = sum(outcome.processor[name] for name in ("collectors", "NATS servers"))
    cores = wanted * serving / outcome.answered
    lines.append(
        f"{FLEET} boxes, a batch each quarter of an hour: {wanted:.0f} batches a second, "
        f"{wanted * plan.readings:.0f} readings a second, {cores:.1f} processors for collectors and servers"
    )
    return "\n".join(lines)


def main() -> int:
    """Run, print, and end with 1 where something was lost or doubled."""
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
    return 1 if outcome.lost or outcome.doubled else 0


if __name__ == "__main__":
    sys.exit(main())
