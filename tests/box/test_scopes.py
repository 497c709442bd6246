"""Scopes in the emulated machine: the real pppd, an Ethernet that can be cut, and the same cloud behind both.

::

    eth9 192.168.77.2 ── lan9 in the namespace "lan": a router, 198.51.100.7 and its name server .53
    ppp0 10.176.5.6   ── far0 in the namespace "far": 198.51.100.7, and the mobile network's name server
"""

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from tests.box.conftest import MakeMachine
from tests.box.machine import PYTHON
from tests.box.ppp import BRIDGE, CONFIG, DNS, LOG, OUR_IP, Rig
from tests.harness import eventually

pytestmark = [pytest.mark.root, pytest.mark.slow]

CLOUD, NAMES = "198.51.100.7", "198.51.100.53"
LAN_LOG = "/run/lan.log"
RESOLV = f"nameserver {NAMES}\noptions timeout:1 attempts:1\n"
DTR_DROPS = "pkill -KILL -F /run/ppp-far.pid"
"""When a port is closed DTR drops and the modem hangs up; the emulated adapter does not pass that on."""

UP = 120.0
"""Seconds within which a call comes up, and a message arrives, on an emulated processor."""

LAN = f"""
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
    """The rig with an Ethernet beside the modem."""

    def __init__(self, machine_of: MakeMachine) -> None:
        machine = machine_of(name="scopes", ports=("modem",))
        machine.boot()
        machine.put("/etc/resolv.conf", RESOLV)
        for line in LAN.strip().splitlines():
            machine.must(line)
        super().__init__(machine)
        for address in (CLOUD, DNS):
            machine.must(f"ip -n far addr add {address}/32 dev lo")
        cloud = f"{BRIDGE} simulate cloud --host {CLOUD} --log {LAN_LOG} --quiet"
        machine.spawn("cloud-lan", f"ip netns exec lan {cloud}")
        self.serve_names("lan", NAMES)
        self.serve_names("far", DNS)
        machine.put("/run/others.py", OTHERS)
        machine.spawn("others", f"{PYTHON} /run/others.py")

    def serve_names(self, where: str, address: str) -> None:
        """Start the name server of one side."""
        serve = f"{PYTHON} -m tests.doubles.name_server {address} cloud.example {CLOUD}"
        command = f"ip netns exec {where} sh -c {shlex.quote(f'cd /opt/project && exec {serve}')}"
        self.machine.spawn(f"names-{where}", command)

    def scope(self, name: str, **network: Any) -> None:
        """Write the configuration for a scope."""
        self.configure(scope=name, **network)
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

    def arrived(self, log: str) -> set[str]:
        """Return the payloads that a cloud accepted."""
        return {each["data"] for each in self.accepted(log) if each["accepted"]}

    def wait_arrived(self, *names: str) -> None:
        """Wait until messages have reached the cloud by either way."""

        def there() -> bool:
            return set(names) <= self.arrived(LOG) | self.arrived(LAN_LOG)

        eventually(there, UP, what=f"{names} in the cloud")

    def others_over_ppp(self) -> int:
        """Return how many datagrams to a port of no program came over the link [proc(5), snmp: NoPorts]."""
        text = self.machine.must("ip netns exec far cat /proc/net/snmp")
        names, values = [line.split() for line in text.splitlines() if line.startswith("Udp:")]
        return int(values[names.index("NoPorts")])


@pytest.fixture(scope="module")
def rig(machines: MakeMachine) -> Scopes:
    return Scopes(machines)


@pytest.fixture(autouse=True)
def ended(rig: Scopes) -> Iterator[None]:
    """End the bridge, and mend the Ethernet."""
    yield
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
    assert (rig.arrived(LOG), rig.arrived(LAN_LOG)) == ({"a", "b"}, set())
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


def _results(rig: Scopes) -> list[dict[str, Any]]:
    lines = [line for line in rig.machine.journal("results", 2000).splitlines() if '"state"' in line]
    return [json.loads(line[line.index("{") :]) for line in lines]
