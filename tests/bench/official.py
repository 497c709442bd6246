"""The official SDK's own loop, without MQTT and without durability, where it can be installed."""

import json
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import NamedTuple

from tests.bench.peers import TOPICS, plain_loop
from tests.bench.rig import KEY, PAYLOAD
from tests.sdk.official import official_python

PROGRAM = """
import json, resource, sys, time
from Hologram.HologramCloud import HologramCloud

port, topics, payload = int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4]
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

    def __init__(self, python: str, port: int) -> None:
        command = [python, "-c", PROGRAM, KEY, str(port), json.dumps(TOPICS), PAYLOAD.decode()]
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


def _plain(port: int, count: int) -> Loop:
    before = time.process_time()
    rate = plain_loop(port, count)
    return Loop(rate, (time.process_time() - before) / count * 1e3)
