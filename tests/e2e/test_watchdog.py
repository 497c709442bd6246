"""The bridge as systemd sees it: notices on the socket where systemd would listen."""

import os
import signal
import time
from pathlib import Path

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually
from tests.harness.modem import SimModem
from tests.harness.systemd import EVERY, Systemd


def test_it_is_ready_without_a_broker_and_says_so(
    bridge: BridgeProcess, mosquitto: Mosquitto, systemd: Systemd
) -> None:
    """READY=1 comes though nobody is there; it works by then; the status tells of the broker."""
    mosquitto.stop()
    bridge.start(wait=False, env=systemd.environment)
    eventually(lambda: systemd.lines("READY") == ["1"], 15, what="it is ready")
    assert bridge.queue("stats")["queue"]["messages"] == 0
    assert systemd.wait(f"no broker at 127.0.0.1:{mosquitto.port}") == (
        f"no broker at 127.0.0.1:{mosquitto.port}; 0 queued"
    )
    fed = systemd.meals
    eventually(lambda: systemd.meals >= fed + 3, what="it is fed without a broker")
    mosquitto.start()
    assert systemd.wait("online") == "online; 0 queued"
    assert bridge.stop() == 0
    eventually(lambda: systemd.lines("STOPPING") == ["1"], what="it said that it stops")


def test_the_status_follows_what_happens_once_a_second_at_most(
    bridge: BridgeProcess, cloud: Cloud, client: Client, systemd: Systemd
) -> None:
    """Cloud, queue and pause stand in one line; a hundred changes in a moment are not a hundred notices."""
    bridge.start(env=systemd.environment)
    for number in range(100):
        client.publish("hologram/out/a", str(number), wait=False)
    systemd.wait("online; cloud down (cannot connect to ", "100 queued")
    client.publish("hologram/queue/set", "pause")
    systemd.wait("100 queued; paused")
    cloud.start()
    client.publish("hologram/queue/set", "resume")
    client.publish("hologram/queue/set", "flush")
    systemd.wait("online; cloud up; 0 queued")
    told = [notice for notice in systemd.notices if notice.lines[0].startswith("STATUS=")]
    assert len({tuple(each.lines) for each in told}) > 2
    assert len(told) <= told[-1].at - told[0].at + 2
    assert all(len(each.lines) == 1 for each in told)


def test_the_status_tells_of_the_link(
    keeper: Keeper, tmp_path: Path, bridge: BridgeProcess, systemd: Systemd
) -> None:
    """With a modem the link stands in it, its technology and signal, or what is wrong with it."""
    modem = SimModem(keeper, tmp_path / "modem")
    network = {"interface": "cellular-nova-u201", "device": [str(modem.at), str(modem.dial)], "poll": 1}
    bridge.configure(network=network)
    modem.start("--registration", "0.3", "--boot", "0.3")
    bridge.start(env=systemd.environment)
    systemd.wait("link connected (", " dBm)", timeout=40)
    fed = systemd.meals
    modem.kill()
    systemd.wait("link error (")
    eventually(lambda: systemd.meals >= fed + 3, what="a modem that is gone is no reason")


def test_a_reload_is_announced_and_ended(bridge: BridgeProcess, systemd: Systemd) -> None:
    """RELOADING=1 with the time, then READY=1; a configuration that is refused leaves it ready as well."""
    bridge.start(env=systemd.environment)
    bridge.configure(cloud={"parallel": 2})
    bridge.reload()
    eventually(lambda: len(systemd.lines("READY")) == 2, what="it is ready again")
    bridge.configure(cloud={"parallel": "many"})
    bridge.signal_reload()
    eventually(lambda: len(systemd.lines("READY")) == 3, what="it is ready all the same")
    assert "not reloaded" in bridge.said()
    reloads = [notice.lines for notice in systemd.notices if notice.lines[0] == "RELOADING=1"]
    assert len(reloads) == 2
    assert all(lines[1].startswith("MONOTONIC_USEC=") for lines in reloads)
    order = [
        line for notice in systemd.notices for line in notice.lines if line in ("RELOADING=1", "READY=1")
    ]
    assert order == ["READY=1", *("RELOADING=1", "READY=1") * 2]


def test_a_bridge_that_stands_still_is_not_fed(
    bridge: BridgeProcess, cloud: Cloud, client: Client, systemd: Systemd
) -> None:
    """Stopped with SIGSTOP it gives no sign of life; let go on it feeds again and has lost nothing."""
    cloud.start()
    bridge.start(env=systemd.environment)
    eventually(lambda: systemd.meals >= 3, what="it is fed")
    os.kill(bridge.pid, signal.SIGSTOP)
    eventually(lambda: _state(bridge.pid) == "T", what="it stands still")
    fed, since = systemd.meals, time.monotonic()
    client.publish("hologram/out/a", "meanwhile", user={"id": "m"})
    eventually(lambda: time.monotonic() > since + 4 * EVERY, what="twice the time that systemd gives is over")
    assert systemd.meals == fed
    os.kill(bridge.pid, signal.SIGCONT)
    assert client.wait_result("m")["state"] == "delivered"
    eventually(lambda: systemd.meals >= fed + 3, what="it is fed again")


def test_the_watchdog_of_another_process_is_left_alone(bridge: BridgeProcess, systemd: Systemd) -> None:
    """WATCHDOG_PID that is not ours: the bridge tells how it is, and feeds nothing."""
    bridge.start(env={**systemd.environment, "WATCHDOG_PID": "1"})
    systemd.wait("online")
    since = time.monotonic()
    eventually(lambda: time.monotonic() > since + 4 * EVERY, what="some meals' time is over")
    assert systemd.meals == 0


def _state(pid: int) -> str:
    """Return the state of a process [proc(5), stat]."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
