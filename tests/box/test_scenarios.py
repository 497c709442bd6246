"""The appliance in the field: installed from its package, its modem plugged in, and everything goes wrong.

Each scenario runs under load, and ends with everything that the bridge had acknowledged in the cloud. How
often the plug is pulled is in ``BOX_CUTS`` (default 5).
"""

import contextlib
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.conftest import MakeMachine
from tests.box.machine import Machine
from tests.box.scenario import PARALLEL, UP, Appliance, Far, Figures, build_package
from tests.harness import eventually

pytestmark = [pytest.mark.root, pytest.mark.slow]

FIRST = """\
#!/bin/sh
exec mosquitto_pub -q 1 -t hologram/out/first -m first-$(cat /proc/sys/kernel/random/boot_id)
"""

FILL = """\
n=0
while free=$(df --output=avail -B1 / | tail -1) && [ "$free" -gt 0 ] && [ $n -lt 50 ]; do
    n=$((n + 1)); fallocate -l "$free" /fill.$n || break
done
df /
"""
"""Root's own share of the file system stays free, as it does when a user's program fills a disk."""

LARGE = """\
head -c 20000 /dev/zero | tr '\\0' x >/run/large
for each in $(seq 100); do mosquitto_pub -q 1 -t hologram/out/large -f /run/large; done
"""
"""More than fits into what the outbox has of the disk already."""

YOUNG = "$(($(cut -d. -f1 /proc/uptime) + 60))"
"""As early as a clock can be: Linux takes none that puts its boot before the epoch [clock_settime(2)]."""

STATUS = "systemctl show --property=StatusText hologram-bridge"

RATE = 10
"""More, and a call on an emulated processor takes longer than the bridge's patience."""

HASTENED = f"""\
[Service]
Environment=LD_PRELOAD=/opt/libfaketimeMT.so.1 "FAKETIME=+0 x{RATE}" FAKETIME_DISABLE_SHM=1
Environment=HOLOGRAM_BRIDGE__CLOUD__TIMEOUT=100
"""
"""What the far side answers takes as long as ever."""

CUTS = int(os.environ.get("BOX_CUTS", "5"))


@pytest.fixture(scope="module")
def site(machines: MakeMachine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """The box, and the far side that it calls."""
    package = build_package(tmp_path_factory.mktemp("package"))
    far = Far(machines(name="far", ports=("modem",)))
    appliance = Appliance(machines(name="box", ports=("told",)), far, package)
    yield appliance
    appliance.told.close()


@pytest.fixture
def box(site: Appliance) -> Iterator[Appliance]:
    """The box, connected and under load."""
    site.connected()
    site.load()
    yield site
    site.machine.run("systemctl stop sensors", 120)
    site.far.start_cloud()


def nothing_lost(box: Appliance) -> Figures:
    """Everything that was acknowledged arrives, by the bridge and by a broker that never lost its power."""
    found = box.settle()
    assert found.acknowledged == found.delivered
    assert found.lost == 0
    return found


def goes_on(box: Appliance) -> None:
    """Messages are taken, now."""
    before = len(box.told.bridge)
    eventually(lambda: len(box.told.bridge) > before + 5, UP, what="messages are taken again")


def pause(seconds: float) -> None:
    """Let things go on as they are: what is tested is what happens meanwhile."""
    threading.Event().wait(seconds)


@contextlib.contextmanager
def hastened(box: Appliance) -> Iterator[None]:
    """Have `RATE` seconds pass for the bridge in each second, while the sensors publish.

    Its monotonic clock leaps by half a century then, so nothing may wait in the outbox, here nor in the end.
    """
    machine = box.machine
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    machine.put("/opt/libfaketimeMT.so.1", library)
    drop_in = "/run/systemd/system/hologram-bridge.service.d/hastened.conf"
    machine.put(drop_in, HASTENED)
    restart = "systemctl daemon-reload && systemctl restart hologram-bridge"
    machine.must("systemctl stop sensors", UP)
    box.emptied()
    machine.must(restart, UP)
    box.connected()
    machine.must("systemctl start sensors")
    try:
        yield
    finally:
        machine.must(f"rm {drop_in} && {restart}", UP)


def figure(machine: Machine, name: str) -> float:
    """Return one of the bridge's figures."""
    return float(json.loads(machine.must("hologram-bridge queue stats --json"))[name])


def test_from_power_to_the_first_message(site: Appliance) -> None:
    """Switched on, and left alone: what a sensor says at boot is in the cloud, over PPP."""
    machine = site.machine
    site.connected()
    machine.put("/opt/first", FIRST, 0o755)
    unit = "[Unit]\nAfter=mosquitto.service\n[Service]\nType=oneshot\nExecStart=/opt/first\n"
    machine.put("/etc/systemd/system/first.service", unit + "[Install]\nWantedBy=multi-user.target\n")
    machine.must("systemctl daemon-reload && systemctl enable first && sync")
    machine.stop()
    started = time.monotonic()
    answers = site.boot(settled=False)
    text = "first-" + machine.must("cat /proc/sys/kernel/random/boot_id")
    site.arrived(text)
    print(f"from power on: {answers:.0f} s to a prompt, {time.monotonic() - started:.0f} s to the cloud")
    assert machine.must("ip -o -4 route get 10.176.0.1").split()[2] == "ppp0"
    machine.must("systemctl disable first")


def test_pull_the_plug(site: Appliance) -> None:
    """Power goes at random moments: what the bridge acknowledged is not lost, and its outbox is whole.

    The messages of one topic go in batches.
    """
    machine = site.machine
    site.connected()
    site.load()
    machine.must("systemctl enable sensors && sync")
    seed = int(os.environ.get("BOX_SEED", random.randrange(2**32)))
    print(f"{CUTS} cuts, BOX_SEED={seed}")
    rng = random.Random(seed)
    boots = 0
    try:
        for number in range(CUTS):
            before = len(site.told.bridge)
            if number % 4 != 3:  # one in four at any moment of the boot, the others once messages flow
                eventually(lambda seen=before: len(site.told.bridge) > seen, UP, what="acknowledged messages")  # type: ignore[misc] # mypy cannot infer it
            pause(rng.uniform(0, 25))
            site.cut()
            done = len(site.told.bridge)
            site.boot(settled=False)
            boots += 1
            site.whole()
            arrived = len(site.far.accepted())
            print(f"cut {number + 1}: {done - before} acknowledged before it, {arrived} in the cloud")
    finally:
        if machine.running:
            machine.run("systemctl disable sensors", 120)
    found = nothing_lost(site)
    print(f"{CUTS} cuts, {boots} boots: {found}")
    assert found.duplicated <= CUTS * 2 * PARALLEL


def test_modem_pulled_out_and_back_under_another_name(box: Appliance) -> None:
    """It is found under its new name, dialled, and what waited goes out."""
    machine = box.machine
    first = machine.must(f"readlink -f {box.device}")
    machine.hold(first)  # somebody who keeps the old name from being given again
    machine.unplug("modem")
    eventually(lambda: box.status().get("state") != "connected", UP, what="the lost link in the status")
    waiting = box.queued()
    pause(5)
    assert box.queued() > waiting, "messages go on being taken"
    started = time.monotonic()
    box.plug()
    second = machine.wait_for(f"readlink -e {box.device}")
    assert first != second
    box.connected()
    print(f"{first} came back as {second}; connected after {time.monotonic() - started:.0f} s")
    machine.must("systemctl stop holder")
    nothing_lost(box)


def test_mosquitto_restarted(box: Appliance) -> None:
    """The broker goes and comes; nothing that anybody acknowledged is lost."""
    for _ in range(2):
        box.machine.must("systemctl restart mosquitto", 120)
        pause(3)
    goes_on(box)
    assert nothing_lost(box).broker_lost == 0


def test_bridge_killed(box: Appliance) -> None:
    """Killed at any moment, it is started again and finds its link and its outbox."""
    count = "systemctl show -p NRestarts --value hologram-bridge"
    restarts = int(box.machine.must(count))
    for number in range(restarts + 1, restarts + 4):
        pause(random.uniform(0, 3))
        box.machine.must("systemctl kill --signal=KILL hologram-bridge")
        box.machine.wait_for(f"test $({count}) -ge {number}", UP)
        goes_on(box)
    found = nothing_lost(box)
    assert found.broker_lost == 0
    assert found.duplicated <= 3 * 2 * PARALLEL


def test_pppd_killed(box: Appliance) -> None:
    """The link is dialled again."""
    box.machine.must("pkill -KILL -F /run/ppp-hologram-bridge.pid")
    box.far.hang_up()
    started = time.monotonic()
    eventually(lambda: box.status().get("state") != "connected", UP, what="the lost link in the status")
    box.connected()
    print(f"connected again after {time.monotonic() - started:.0f} s")
    nothing_lost(box)


def test_disk_filled_and_freed(box: Appliance) -> None:
    """While the disk is full messages wait in the broker, and the bridge says so; nothing is lost."""
    machine = box.machine
    box.far.stop_cloud()  # so that the outbox has to grow
    print(machine.run(FILL, 300).out)
    machine.run(LARGE, 300)
    try:
        machine.wait_for(f"{STATUS} | grep -q 'disk is full'", UP)
        box.far.start_cloud()
        pause(10)
    finally:
        machine.must("rm -f /fill.*", 120)
    machine.wait_for(f"! {STATUS} | grep -q 'disk is full'", UP)
    goes_on(box)
    assert nothing_lost(box).broker_lost == 0


def test_clock_set_to_1970_and_back(box: Appliance) -> None:
    """Deadlines count what really passed, whatever the clock says; messages flow on."""
    machine = box.machine
    box.far.stop_cloud()
    box.publish("hologram/out/deadline", "long-deadline", "-D", "publish", "user-property", "expires", "30m")
    box.publish(
        "hologram/out/deadline2", "short-deadline", "-D", "publish", "user-property", "expires", "15s"
    )
    real = int(machine.must("date +%s"))
    uptime = float(machine.must("cut -d' ' -f1 /proc/uptime"))
    machine.must(f"date -s @{YOUNG}")
    pause(8)
    machine.must(f"date -s @$(({YOUNG} + 40 * 365 * 86400))")
    pause(8)
    machine.must(f"date -s @{YOUNG}")
    box.far.start_cloud()
    box.publish("hologram/out/1970", "said-in-1970")
    box.arrived("said-in-1970")
    box.arrived("long-deadline")
    passed = float(machine.must("cut -d' ' -f1 /proc/uptime")) - uptime
    machine.must(f"date -s @{real + int(passed)}")
    box.publish("hologram/out/back", "said-back-in-time")
    box.arrived("said-back-in-time")
    nothing_lost(box)
    assert "short-deadline" not in box.far.accepted()


def test_cloud_gone_for_an_hour(box: Appliance) -> None:
    """One message probes it now and then, all others wait; when it is back everything goes out."""
    machine = box.machine
    with hastened(box):
        goes_on(box)
        box.far.stop_cloud()
        began = figure(machine, "uptime")
        eventually(lambda: figure(machine, "uptime") > began + 3600, 2 * 3600 / RATE, what="an hour")
        waiting = box.queued()
        listed = json.loads(machine.must("hologram-bridge queue list --json --limit 10000"))["messages"]
        attempts = [each["attempts"] for each in listed]
        assert waiting > 100
        box.far.start_cloud()
        started = time.monotonic()
        nothing_lost(box)
        seconds = time.monotonic() - started
    print(
        f"{waiting} waited, {sum(attempts)} attempts in an hour; all there {seconds:.0f} s after it was back"
    )
    # Drawn from 0 to 300 s each, after the first ones: 24 in an hour, and as many messages as were under way.
    assert 10 < sum(attempts) < 80


def test_watchdog(box: Appliance) -> None:
    """A bridge that stands still is restarted by systemd, and goes on."""
    machine = box.machine
    pid = machine.must("systemctl show -p MainPID --value hologram-bridge")
    started = time.monotonic()
    machine.must(f"kill -STOP {pid}")
    machine.wait_for(f"! kill -0 {pid}", 240)
    goes_on(box)
    print(f"messages are taken again {time.monotonic() - started:.0f} s after it stood still")
    assert "watchdog" in machine.journal("hologram-bridge").lower()
    assert nothing_lost(box).broker_lost == 0
