"""Resident memory: idle, with a full outbox, and while that drains."""

import subprocess
import sys
import time

from tests.bench.figures import Row
from tests.bench.latency import IMPORTS
from tests.bench.outboxes import filled
from tests.bench.rig import Child, Mosquitto, Rig, resident

SETTLE = 3.0
"""Seconds after `online` at which memory is read: an observation time, nothing is waited for."""

DRAIN = 10.0
"""Seconds of sending after which memory is read again."""


def memory(quick: bool) -> list[Row]:
    """Megabytes of 10^6 bytes [proc(5), VmRSS]."""
    many, kinds = (50_000, (16, 5_000)) if quick else (1_000_000, (16, 100_000))
    with Rig() as rig:
        broker = rig.broker("max_queued_messages 0")
        bare = _bare()
        bridge = rig.bridge(broker, rig.dead_cloud()).wait_online()
        time.sleep(SETTLE)
        idle = resident(bridge.pid)
        bridge.stop()
        rows = [
            Row("memory", "idle", idle, "MB", bare, "python, imports alone", aim="< 48 MB", met=idle < 48)
        ]
        for topics in kinds:
            rows += _growth(rig, broker, many, topics, idle)
    return rows


def _bare() -> float:
    program = f"{IMPORTS}\nprint(flush=True)\ninput()"
    command = [sys.executable, "-c", program]
    with Child(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)) as bare:
        assert bare.process.stdout is not None
        bare.process.stdout.readline()
        return resident(bare.pid)


def _growth(rig: Rig, broker: Mosquitto, messages: int, topics: int, idle: float) -> list[Row]:
    outbox = filled(rig.folder, messages, topics)
    what = f"{messages:,} queued on {topics:,} topics"
    bridge = rig.bridge(broker, rig.dead_cloud(), outbox).wait_online()
    time.sleep(SETTLE)
    held = resident(bridge.pid)
    bridge.stop()
    bridge = rig.bridge(broker, rig.cloud().port, outbox).wait_online()
    before, begun = bridge.queued(), time.monotonic()
    time.sleep(DRAIN)
    rate = (before - bridge.queued()) / (time.monotonic() - begun)
    sending = resident(bridge.pid)
    bridge.stop()
    return [
        Row("memory", what, held, "MB", idle, "idle", aim="<= 10 MB more", met=held - idle <= 10),
        Row("memory", f"{what}, sending", sending, "MB", idle, "idle", aim="<= 10 MB more",
            met=sending - idle <= 10, note=f"after {DRAIN:g} s at {rate:,.0f} messages a second"),
    ]  # fmt: skip
