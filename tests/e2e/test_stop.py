"""The end by SIGTERM, as container engines want it: soon, in order, and as the first process too."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.harness import BridgeProcess, Client, Cloud, eventually

KILLED_AFTER = 10.0
"""Seconds after which container engines kill what they told to stop [docker-stop(1), podman-stop(1)]."""

FIRST = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
"""Runs a command as the first process of a namespace of its own [pid_namespaces(7)]."""


def first_process(bridge: BridgeProcess) -> int:
    """Return the bridge's number here, where it is the first process of its namespace."""
    children = Path(f"/proc/{bridge.pid}/task/{bridge.pid}/children")
    return int(eventually(children.read_text, what="it starts").split()[0])


def handles(pid: int, number: signal.Signals) -> bool:
    """Return whether a process has a handler for a signal [proc(5), status, SigCgt]."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_the_first_process_ends_while_it_still_starts(bridge: BridgeProcess) -> None:
    """The kernel would drop the signal, so that an engine would wait in vain for its time."""
    if subprocess.run([*FIRST, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces are to be had here")
    # A list that takes a second to read.
    bridge.configure(routes=[{"match": f"a{number}/#"} for number in range(2000)])
    bridge.wrap = FIRST
    bridge.start(wait=False)
    pid = first_process(bridge)
    eventually(lambda: handles(pid, signal.SIGTERM), what="it handles the signal")
    os.kill(pid, signal.SIGTERM)
    assert bridge.wait(20) == 128 + signal.SIGTERM
    assert "started" not in bridge.said()


@pytest.mark.slow
def test_it_ends_in_time_whoever_does_not_answer(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """A cloud that is silent and a broker that hangs: it ends in order, before an engine would kill it."""
    cloud.start("--delay", "100")
    bridge.configure(cloud={"timeout": 60, "parallel": 1})
    bridge.start()
    client.publish("hologram/out/a", "x", user={"id": "x"})
    eventually(lambda: bridge.queue("list")["messages"][0]["state"] == "under way", what="it is in flight")
    client.publish("hologram/out/b", "y", user={"id": "y"})
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 2, what="the other waits")
    os.kill(bridge.broker.pid, signal.SIGSTOP)
    assert bridge.queue("purge")["purged"] >= 1
    began = time.monotonic()
    assert bridge.stop(60) == 0
    assert time.monotonic() - began < KILLED_AFTER
    os.kill(bridge.broker.pid, signal.SIGCONT)
    bridge.start()
    assert client.wait_result("y")["state"] == "dropped"
