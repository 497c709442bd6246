"""The official SDK's own loop, without MQTT and without durability, where it can be installed.

What the loop is: hologram-python 0.10.3 from PyPI on Python 3.9, in a process of its own. It makes one
`HologramCloud` with a device key and without a network, and calls `sendMessage`, one message after the other:
the SDK's own JSON, socket, answer and events. Its log is not configured, as in its examples, so its log calls
end at the level. Neither Python's start nor its imports count. The processor time is that process's, user and
system.

`official_sdk` measures what a script has beside that: the log, and the start.
"""

import json
import resource
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import NamedTuple

from tests.bench.figures import Pairs, Row, paired
from tests.bench.peers import TOPICS, plain_loop
from tests.bench.rig import KEY, PAYLOAD, Rig
from tests.sdk.official import official_python

PROGRAM = """
import json, logging, resource, sys, time
from Hologram.HologramCloud import HologramCloud

port, topics, payload = int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4]
if sys.argv[5]:
    logging.basicConfig(level=logging.INFO, filename=sys.argv[5])
cloud = HologramCloud({"devicekey": sys.argv[1]}, authentication_type="csrpsk")
cloud.send_host, cloud.send_port = "127.0.0.1", port

def spent():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

for line in sys.stdin:
    before, started, count = spent(), time.perf_counter(), int(line)
    for number in range(count):
        code = cloud.sendMessage(payload, topics=[topics[number % len(topics)]])
        assert cloud.resultWasSuccess(code), code
    took = time.perf_counter() - started
    print(json.dumps([count / took, (spent() - before) / count * 1e3]), flush=True)
"""


class Loop(NamedTuple):
    """How a loop went."""

    rate: float
    """Messages per second."""
    spent: float
    """Milliseconds of processor time a message."""


class SdkLoop:
    """A process that sends messages one after the other by the official SDK."""

    def __init__(self, python: str, port: int, log: str = "") -> None:
        """``log`` is a file that its log at level INFO goes to; empty: the log is not configured."""
        command = [python, "-c", PROGRAM, KEY, str(port), json.dumps(TOPICS), PAYLOAD.decode(), log]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, count: int) -> Loop:
        """Send ``count`` messages."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{count}\n".encode())
        self.process.stdin.flush()
        return Loop(*json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """End it."""
        self.process.communicate()


def baseline(stack: ExitStack, port: int) -> tuple[str, Callable[[int], Loop]]:
    """Return what sends messages one after the other to the cloud at ``port``, and its name."""
    python = official_python()
    if python is None:
        return "plain loop, as there is no Python 3.9 for the official SDK", lambda count: _plain(port, count)
    return "official SDK's loop", stack.enter_context(closing(SdkLoop(str(python), port))).run


def official_sdk(quick: bool) -> list[Row]:
    """What the log, and the start of the script, add to the SDK's loop; not for `end_to_end`."""
    python = official_python()
    if python is None:
        return [Row("sdk", "the official SDK's own loop", note="there is no Python 3.9 for it")]
    count, times = (1000, 2) if quick else (3000, 5)
    with Rig() as rig:
        port = rig.cloud().port
        plain = rig.enter_context(closing(SdkLoop(str(python), port)))
        logged = rig.enter_context(closing(SdkLoop(str(python), port, str(rig.folder / "sdk.log"))))
        for loop in (plain, logged):
            loop.run(300)
        ways: dict[str, Callable[[], Loop]] = {
            "with its log at INFO in a file": lambda: logged.run(count),
            f"as a script of {count} messages, start included": lambda: _script(str(python), port, count),
        }
        return [row for what, way in ways.items() for row in _beside(what, times, plain, way, count)]


def _beside(what: str, times: int, plain: SdkLoop, way: Callable[[], Loop], count: int) -> list[Row]:
    rates, work = Pairs([], []), Pairs([], [])
    for _ in range(times):
        for pairs, one, other in zip((rates, work), plain.run(count), way(), strict=True):
            pairs.baseline.append(one)
            pairs.product.append(other)
    name = "official SDK's loop"
    return [
        paired("sdk", what, "msg/s", name, rates),
        paired("sdk", f"{what}, processor time a message", "ms", name, work),
    ]


def _script(python: str, port: int, count: int) -> Loop:
    before, started = _children(), time.perf_counter()
    with closing(SdkLoop(python, port)) as loop:
        loop.run(count)
    return Loop(count / (time.perf_counter() - started), (_children() - before) / count * 1e3)


def _children() -> float:
    """Return the processor time of the processes that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _plain(port: int, count: int) -> Loop:
    before = time.process_time()
    rate = plain_loop(port, count)
    return Loop(rate, (time.process_time() - before) / count * 1e3)
