"""Scopes in the emulated machine: the real pppd, an Ethernet that can be cut, and the same cloud behind both.

::

    eth9 192.168.77.2 ── lan9 in the namespace "lan": a router, 198.51.100.7 and its name server .53
    ppp0 10.176.5.6   ── far0 in the namespace "far": 198.51.100.7, and the mobile network's name server
"""

import contextlib
import json
import os
import random
import shlex
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.box.conftest import MakeMachine
from tests.box.line import Lines
from tests.box.machine import PYTHON, Machine
from tests.box.ppp import BRIDGE, CONFIG, DNS, OUR_IP, Rig
from tests.harness import eventually

pytestmark = [pytest.mark.root, pytest.mark.slow]

CLOUD, NAMES = "198.51.100.7", "198.51.100.53"
LAN, FAR = "lan", "far"
"""The clouds: their namespaces, and the ports by which they tell the host what came, before they answer."""

STORE = "/var/lib/hologram-test/outbox.db"
"""An outbox that outlives a power cut."""

RESOLV = f"nameserver {NAMES}\noptions timeout:1 attempts:1\n"
DTR_DROPS = "pkill -KILL -F /run/ppp-far.pid"
"""When a port is closed DTR drops and the modem hangs up; the emulated adapter does not pass that on."""

UP = 120.0
"""Seconds within which a call comes up, and a message arrives, on an emulated processor."""

ETHERNET = f"""
ip netns add lan && ip -n lan link set lo up
ip link add eth9 type veth peer name lan9 netns lan
ip -n lan addr add 192.168.77.1/24 dev lan9 && ip -n lan link set lan9 up
ip -n lan addr add {CLOUD}/32 dev lo && ip -n lan addr add {NAMES}/32 dev lo
ip addr add 192.168.77.2/24 dev eth9 && ip link set eth9 up
ip route replace default via 192.168.77.1 dev eth9
sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1
"""

OTHERS = f"""
import socket, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    time.sleep(0.2)
    try:
        sock.sendto(b"x", ("{CLOUD}", 5000))
    except OSError:
        pass
"""
"""Another program of the box, to a port that nobody listens on."""

TURNS = (
    ("ip link set eth9 down", "ip link set eth9 up; ip route replace default via 192.168.77.1 dev eth9"),
    (f"ip -n lan addr del {CLOUD}/32 dev lo", f"ip -n lan addr add {CLOUD}/32 dev lo"),
    ("systemctl stop names-lan", ""),
)
"""How the Ethernet fails, and is mended: the cable, a blackhole, the name server."""


class Scopes(Rig):
    """The rig with an Ethernet beside the modem; ``machine`` is on, and has the ports of the clouds."""

    def __init__(self, machine: Machine) -> None:
        self._got: dict[str, list[dict[str, Any]]] = {LAN: [], FAR: []}
        self._lines = [Lines(machine.port(name), partial(self._note, name)) for name in self._got]
        super().__init__(machine, log=_port(FAR))

    def set_up(self) -> None:
        """Lay the Ethernet and what is behind it."""
        machine = self.machine
        machine.put("/etc/resolv.conf", RESOLV)
        for line in ETHERNET.strip().splitlines():
            machine.must(line)
        super().set_up()
        for address in (CLOUD, DNS):
            machine.must(f"ip -n far addr add {address}/32 dev lo")
        cloud = f"{BRIDGE} simulate cloud --host {CLOUD} --log {_port(LAN)} --quiet"
        machine.spawn("cloud-lan", f"ip netns exec lan {cloud}")
        # It listens before a test takes its address away. 9999 is 270F there [proc_net_tcp(5)].
        machine.wait_for("ip netns exec lan grep -q :270F /proc/net/tcp", UP)
        self.serve_names("lan", NAMES)
        self.serve_names("far", DNS)
        machine.put("/run/others.py", OTHERS)
        machine.spawn("others", f"{PYTHON} /run/others.py")

    def _note(self, cloud: str, line: str) -> None:
        if line.startswith("{"):
            self._got[cloud].append(json.loads(line))

    def close(self) -> None:
        """Stop listening to the clouds."""
        for each in self._lines:
            each.close()

    def serve_names(self, where: str, address: str) -> None:
        """Start the name server of one side."""
        serve = f"{PYTHON} -m tests.doubles.name_server {address} cloud.example {CLOUD}"
        command = f"ip netns exec {where} sh -c {shlex.quote(f'cd /opt/project && exec {serve}')}"
        self.machine.spawn(f"names-{where}", command)

    def scope(self, name: str, *, store: str = "/run/outbox.db", **network: Any) -> None:
        """Write the configuration for a scope."""
        self.configure(scope=name, store=store, **network)
        settings = json.loads(self.machine.get(CONFIG))
        settings["cloud"] = {"host": "cloud.example", "timeout": 3}
        self.machine.put(CONFIG, json.dumps(settings), 0o640)

    def start_bridge(self) -> None:
        """Start the bridge, as root, with pppd as its child; its subscriptions stand when this returns."""
        self.machine.spawn("bridge", f"hologram-bridge run -c {CONFIG}", properties=("KillMode=mixed",))
        self.machine.wait_for("journalctl -b -o cat -u bridge | grep -q 'connected to the broker'", UP)

    def send(self, name: str, priority: str = "normal") -> None:
        """Publish a message with an id."""
        user = f"-D PUBLISH user-property priority {priority} -D PUBLISH user-property id {name}"
        self.machine.must(f"mosquitto_pub -V 5 -q 1 -t hologram/out/{name} -m {name} {user}")

    def arrived(self, cloud: str) -> list[str]:
        """Return the payloads that a cloud accepted, over all boots."""
        return [each["data"] for each in list(self._got[cloud]) if each["accepted"]]

    def wait_arrived(self, *names: str) -> None:
        """Wait until messages have reached the cloud by either way."""

        def there() -> bool:
            return {*names} <= {*self.arrived(FAR), *self.arrived(LAN)}

        eventually(there, UP, what=f"{names} in the cloud")

    def others_over_ppp(self) -> int:
        """Return how many datagrams to a port of no program came over the link [proc(5), snmp: NoPorts]."""
        text = self.machine.must("ip netns exec far cat /proc/net/snmp")
        names, values = [line.split() for line in text.splitlines() if line.startswith("Udp:")]
        return int(values[names.index("NoPorts")])


def _port(cloud: str) -> str:
    return f"/dev/virtio-ports/{cloud}"


@pytest.fixture(scope="module")
def rig(machines: MakeMachine) -> Iterator[Scopes]:
    machine = machines(name="scopes", ports=("modem", LAN, FAR))
    machine.boot()
    made = Scopes(machine)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def ended(rig: Scopes) -> Iterator[None]:
    """End the bridge, and mend the Ethernet."""
    yield
    if rig.machine.running:  # it may be off after a failed power cut
        print(rig.machine.journal("bridge"))
        rig.machine.run("systemctl stop bridge dial results; rm -f /run/outbox.db*")


def test_messages_alone_take_ppp(rig: Scopes) -> None:
    """With the real pppd: default route and resolv.conf stay, names are asked of the mobile network."""
    rig.scope("bridge")
    rig.start_bridge()
    rig.machine.wait_for("ip rule | grep -q 10176", UP)
    for name in ("a", "b"):
        rig.send(name)
    rig.wait_arrived("a", "b")
    assert ({*rig.arrived(FAR)}, rig.arrived(LAN)) == ({"a", "b"}, [])
    assert rig.way("8.8.8.8") == "eth9"
    assert rig.machine.get("/etc/resolv.conf").decode() == RESOLV
    assert OUR_IP in rig.machine.must("ip rule")
    rig.machine.must(TURNS[0][0])
    rig.send("c")
    rig.wait_arrived("c")
    rig.machine.must(TURNS[0][1])
    assert rig.others_over_ppp() == 0
    rig.machine.must("systemctl stop bridge")
    assert "10176" not in rig.machine.must("ip rule")


def test_a_killed_call_leaves_no_rule(rig: Scopes) -> None:
    """As with the shipped unit: its ExecStopPost removes it."""
    rig.scope("bridge")
    after = f"ExecStopPost={BRIDGE} dial --tidy"
    rig.machine.spawn("dial", f"hologram-bridge dial -c {CONFIG}", properties=("KillMode=mixed", after))
    rig.machine.wait_for("ip rule | grep -q 10176", UP)
    rig.machine.must("systemctl kill --signal=KILL dial")
    rig.machine.wait_for("! ip link show ppp0 && ! ip rule | grep -q 10176", UP)
    rig.machine.run(DTR_DROPS)


def test_ten_failures_of_the_ethernet_lose_nothing(rig: Scopes) -> None:
    """Under all priorities, with kills in between; one result each, and nothing else went over the link."""
    machine = rig.machine
    rig.scope("backup", backup_after="3s", backup_hold="6s")
    machine.subscribe("results", "hologram/result")
    rig.start_bridge()
    names = []
    for turn in range(10):
        worse, better = TURNS[turn % len(TURNS)]
        machine.must(worse)
        for number, priority in enumerate(("high", "normal", "low")):
            names.append(f"t{turn}-{number}")
            rig.send(names[-1], priority)
        if turn % 4 == 1:
            machine.must("systemctl kill --signal=KILL bridge")
            machine.run(f"sleep 1; systemctl reset-failed bridge; {DTR_DROPS}")
            rig.start_bridge()
        rig.wait_arrived(*names)
        machine.run(better)
        if not better:
            rig.serve_names("lan", NAMES)
    assert rig.others_over_ppp() == 0
    eventually(lambda: {told["id"] for told in _results(rig)} >= set(names), UP, what="the results")
    # A report that a kill interrupts is published again as it was.
    told = {json.dumps(each): each for each in _results(rig)}.values()
    assert sorted(each["id"] for each in told) == sorted(names), "one result each"
    assert {each["state"] for each in told} == {"delivered"}
    machine.wait_for("! ip link show ppp0", UP)


MOMENTS = ("own", "dialling", "modem", "returning")
"""The stages of a failover in which the plug is pulled."""


def test_pull_the_plug_in_the_middle_of_a_failover(rig: Scopes) -> None:
    """In each stage of it: nothing is lost, each result counts once, and afterwards the link carries.

    The Ethernet is still down when the box has power again.
    """
    seed = int(os.environ.get("BOX_SEED", random.randrange(2**32)))
    print(f"BOX_SEED={seed}")
    draw = random.Random(seed)
    machine = rig.machine
    rig.scope("backup", store=STORE, backup_after="3s", backup_hold="6s")
    machine.must(f"mkdir -p {Path(STORE).parent} && sync")
    rig.start_bridge()
    names: list[str] = []
    for turn, moment in enumerate(MOMENTS):
        worse, better = TURNS[turn % 2]  # a name that is known would hide the loss of the name server
        taken(rig, names, f"t{turn}-own")
        rig.wait_arrived(*names)
        entered = counts(rig)
        machine.must(worse)
        taken(rig, names, *(f"t{turn}-{priority}" for priority in ("high", "normal", "low")))
        if moment != "own":
            enters(rig, "modem" if moment == "returning" else moment, entered)
        if moment == "returning":
            machine.must(better)
            enters(rig, moment, entered)
        threading.Event().wait(draw.uniform(0, 3))
        machine.kill()
        machine.boot()
        rig.set_up()
        machine.must(worse)
        rig.start_bridge()
        taken(rig, names, f"t{turn}-after")
        rig.wait_arrived(*names)
        assert names[-1] in rig.arrived(FAR), "the link carries on"
        machine.must(better)
        machine.wait_for("! ip link show ppp0", UP)
    assert eventually(lambda: settled(rig), UP, what="an empty outbox") == {"delivered": len(names)}
    results_once(rig, names)


def results_once(rig: Scopes, names: list[str]) -> None:
    """Publish all messages again: each is answered with the one result that it had, and none is sent."""
    rig.machine.subscribe("results", "hologram/result")
    before = len(rig.arrived(FAR)), len(rig.arrived(LAN))
    for name in names:
        rig.send(name)
    eventually(lambda: len(_results(rig)) >= len(names), UP, what="the results")
    assert sorted(told["id"] for told in _results(rig)) == sorted(names)
    assert settled(rig) == {"delivered": len(names)}
    assert (len(rig.arrived(FAR)), len(rig.arrived(LAN))) == before


def figures(rig: Scopes) -> Any:
    """Return the bridge's figures; None while it cannot be asked."""
    ran = rig.machine.run(f"hologram-bridge queue stats --json -c {CONFIG}", UP)
    with contextlib.suppress(json.JSONDecodeError):
        return json.loads(ran.out)
    return None


def taken(rig: Scopes, names: list[str], *more: str) -> None:
    """Publish ``more`` messages, add them to ``names``, and wait until the outbox has had all of these."""
    for name in more:
        rig.send(name, name.partition("-")[2] if name.endswith(("-high", "-low")) else "normal")
    names += more

    def had() -> bool:
        found = figures(rig)
        return found is not None and found["queue"]["messages"] + found["results"]["delivered"] == len(names)

    eventually(had, UP, what=f"{more} in the outbox")


def settled(rig: Scopes) -> dict[str, int] | None:
    """Return the results so far once the outbox is empty and all of them are published."""
    found = figures(rig)
    if found is None or found["queue"]["messages"] or found["reports"]["bytes"]:
        return None
    return {state: number for state, number in found["results"].items() if number}


def counts(rig: Scopes) -> dict[str, int]:
    """Return how often the bridge has entered each stage since the boot."""
    said = rig.machine.run("journalctl --no-pager -b -o cat -u bridge | grep -o 'backup: [a-z]*'").out
    stages = [line.rpartition(" ")[2] for line in said.splitlines()]
    return {stage: stages.count(stage) for stage in MOMENTS}


def enters(rig: Scopes, stage: str, before: dict[str, int]) -> None:
    """Wait until the bridge enters a stage once more than ``before``."""
    eventually(lambda: counts(rig)[stage] > before[stage], UP, what=f"the stage {stage}")


def _results(rig: Scopes) -> list[dict[str, Any]]:
    lines = [line for line in rig.machine.journal("results", 2000).splitlines() if '"state"' in line]
    return [json.loads(line[line.index("{") :]) for line in lines]
