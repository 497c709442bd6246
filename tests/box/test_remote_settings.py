"""Settings changed from afar in the field: a mistake cuts the box off, and it comes back by itself.

The box is installed from its package: the bridge runs as its own user and dials through the root unit. The
network refuses every APN but one.
"""

import json
import shlex
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.box.conftest import MakeMachine
from tests.box.ppp import BRIDGE, CONTROL, OUR_IP
from tests.box.scenario import CONFIG, UP, Appliance, Far, build_package
from tests.harness import eventually

pytestmark = [pytest.mark.root, pytest.mark.slow]

KEY = "a-key-of-this-box-alone-1234"
UNDONE = 12 * 60.0
"""Seconds within which a box that was cut off is back: 10 minutes of trial, a restart and a call."""

PERMIT = f"""\
import json, pathlib
path = pathlib.Path("{CONFIG}")
settings = json.loads(path.read_text())
settings["remote"] = {{"key": "{KEY}", "allow": ["set", "unset", "get", "confirm", "status"]}}
path.write_text(json.dumps(settings))
"""


@pytest.fixture(scope="module")
def box(machines: MakeMachine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """The box, which takes commands; the network behind its modem refuses other APNs."""
    package = build_package(tmp_path_factory.mktemp("package"))
    far = Far(machines(name="far", ports=("modem",)))
    far.machine.put("/run/key", KEY, 0o600)
    box = Appliance(machines(name="box", ports=("told",)), far, package)
    box.machine.put("/root/permit.py", PERMIT)
    box.machine.must("python3 /root/permit.py && systemctl restart hologram-bridge", 120)
    refuse_others(box)
    box.connected()
    yield box
    print(box.said())
    box.told.close()


def refuse_others(box: Appliance) -> None:
    """Have the network refuse other APNs; the modem forgets that when it is switched on."""
    box.far.machine.must(f"{BRIDGE} simulate tell {CONTROL} fault name=other-apn")


def command(box: Appliance, *words: str) -> str:
    """Send a command over the link, again while the bridge restarts for an earlier one; return its answer."""
    line = [BRIDGE, "remote", "send", "--host", OUR_IP, "--key-file", "/run/key", *words]

    def answer() -> str | None:
        said = box.far.machine.run(shlex.join(line), 120).out.strip()
        return said if said.startswith(("ok ", "error ")) else None

    return str(eventually(answer, UP, what=f"an answer to {words}"))


def configuration(box: Appliance) -> Any:
    return json.loads(box.machine.must("hologram-bridge check-config 2>/dev/null", 60))


def cut_off(box: Appliance) -> None:
    """Set an APN that the network refuses, and wait until that has had its effect."""
    answer = command(box, "set", "network.apn=wrong")
    assert answer.startswith("ok set: network.apn is changed; the bridge restarts"), answer
    # What it is refused for is the unit's to say; its state is told again by the bridge that has restarted.
    eventually(
        lambda: box.status().get("state") not in (None, "connected", "disconnecting"),
        UP,
        what="the link goes down",
    )
    box.machine.must('test "$(cat /var/lib/hologram-bridge/outbox.db.apn)" = wrong')
    assert box.status()["state"] != "connected"


def test_a_wrong_apn_takes_itself_back(box: Appliance) -> None:
    """Within twelve minutes, in which nobody can reach the box."""
    process = box.machine.must("systemctl show -p MainPID --value hologram-bridge")
    started = time.monotonic()
    cut_off(box)
    box.publish("hologram/out/a", "while it was cut off")
    box.connected(UNDONE)
    print(f"back after {time.monotonic() - started:.0f} s")
    assert time.monotonic() - started < UNDONE
    box.arrived("while it was cut off")
    assert configuration(box)["network"]["apn"] == "hologram"
    assert command(box, "get", "network.apn") == "ok get: network.apn=hologram"
    assert box.machine.must("systemctl show -p MainPID --value hologram-bridge") == process


def test_a_boot_takes_back_what_is_not_confirmed_and_nothing_else(box: Appliance) -> None:
    """Five changes before one confirmation stay, over the plug and an upgrade; the sixth is gone at once."""
    changes = {
        "cloud.parallel": "3",
        "sms.max_segments": "2",
        "budget.day": "50MB",
        "inbound.timeout": "6",
        "network.poll": "30",
    }
    for key, value in changes.items():
        assert command(box, "set", f"{key}={value}").startswith("ok set: "), key
        box.connected()  # the last of them restarts the bridge
    assert command(box, "confirm") == f"ok confirm: confirmed: {', '.join(changes)}"
    cut_off(box)
    box.cut()
    box.boot()
    refuse_others(box)
    box.connected()
    assert "undone by this start: network.apn" in box.machine.journal("hologram-bridge")
    box.machine.must("dpkg -i /root/hologram-bridge.deb", 300)
    box.connected()
    found = configuration(box)
    assert (found["network"]["apn"], found["network"]["poll"]) == ("hologram", 30)
    assert (found["cloud"]["parallel"], found["sms"]["max_segments"]) == (3, 2)
    assert (found["budget"]["day"], found["inbound"]["timeout"]) == (50_000_000, 6)
