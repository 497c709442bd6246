"""Run the benchmark: one table on the terminal, the same in a JSON file."""

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import throughput
from tests.bench.card import card
from tests.bench.figures import Row, table
from tests.bench.latency import latency, start
from tests.bench.memory import memory
from tests.bench.official import official_sdk
from tests.bench.prices import prices
from tests.bench.wire import wire

FIGURES: dict[str, Callable[[bool], list[Row]]] = {
    "end_to_end": throughput.end_to_end,
    "sdk": official_sdk,
    "slow_link": throughput.slow_link,
    "intake": throughput.intake,
    "latency": latency,
    "memory": memory,
    "start": start,
    "bytes": wire,
    "prices": prices,
    "card": card,
}


def main() -> int:
    """Measure what is asked for; returns 0 also where an aim is missed, since the table says so."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small counts: a look, not a figure to quote")
    parser.add_argument("--only", action="append", choices=FIGURES, metavar="NAME", help=", ".join(FIGURES))
    parser.add_argument(
        "--json", type=Path, default=Path("bench.json"), metavar="FILE", help="default: %(default)s"
    )
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends as well
    rows: list[Row] = []
    for name in args.only or FIGURES:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        rows += FIGURES[name](args.quick)
    print(table(rows))
    machine = {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processors": os.cpu_count(),
    }
    report = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "quick": args.quick,
        "machine": machine,
    }
    args.json.write_text(json.dumps(report | {"rows": [row.as_json() for row in rows]}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
