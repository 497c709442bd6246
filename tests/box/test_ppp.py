"""PPP in the emulated machine: the real pppd dials over a real USB serial driver to another pppd."""

import errno
import json
import time
from collections.abc import Callable, Iterator

import pytest

from tests.box.conftest import MakeMachine
from tests.box.machine import PYTHON
from tests.box.ppp import CONFIG, DNS, FAR_IP, OUR_IP, Rig
from tests.harness import eventually

pytestmark = pytest.mark.root

DTR_DROPS = "pkill -KILL -F /run/ppp-far.pid"
"""When a port is closed DTR drops and the modem hangs up; the emulated adapter does not pass that on."""

UP = 90.0
"""Seconds within which a call comes up on an emulated processor."""


@pytest.fixture(scope="module")
def rig(machines: MakeMachine) -> Rig:
    """A machine with the modem plugged in, and a resolv.conf and a way out of its own."""
    machine = machines(name="ppp", ports=("modem",))
    machine.boot()
    machine.put("/etc/resolv.conf", "nameserver 192.168.77.1\nsearch lan\n")
    machine.must("ip link add eth9 type dummy && ip addr add 192.168.77.2/24 dev eth9 && ip link set eth9 up")
    machine.must("ip route add default via 192.168.77.1 dev eth9")
    return Rig(machine)


@pytest.fixture
def bridge(rig: Rig) -> Iterator[Rig]:
    """A bridge that runs as root with pppd as its child, connected."""
    rig.configure()
    rig.machine.must("mosquitto_pub -r -n -t hologram/network/status")  # an earlier bridge's last word
    rig.machine.spawn("bridge", f"hologram-bridge run -c {CONFIG}", properties=("KillMode=mixed",))
    try:
        wait_for_state(rig, "connected")
        yield rig
    finally:
        print(rig.machine.journal("bridge"))
        rig.machine.run("systemctl stop bridge")
        if rig.machine.run(f"test -e {rig.device}").code:
            rig.plug()
    assert rig.machine.run("pgrep -f '[p]ppd /dev/ttyUSB'").code == 1


def wait_for_state(rig: Rig, state: str) -> dict[str, object]:
    def found() -> dict[str, object] | None:
        status = rig.status()
        return status if status["state"] == state else None

    status = eventually(found, UP, what=f"the network is {state}")
    assert status is not None
    return status


def nothing_is_left(rig: Rig) -> None:
    """The machine is as it was before the link."""
    rig.machine.wait_for("! ip link show ppp0")
    assert rig.way("8.8.8.8") == "eth9"
    names = b"nameserver 192.168.77.1\nsearch lan\n"
    eventually(lambda: rig.machine.get("/etc/resolv.conf") == names, UP, what="the old name servers")


def sent(rig: Rig, text: str) -> None:
    """Send a message and wait until the cloud has it."""
    rig.publish("hologram/out/box", text)
    eventually(lambda: text in json.dumps(rig.accepted()), UP, what=f"{text} in the cloud")


def test_messages_flow_over_ppp(bridge: Rig) -> None:
    """The link comes up, messages go out and come in over it, and the status tells it."""
    status = wait_for_state(bridge, "connected")
    assert (status["interface"], status["local_ip"], status["remote_ip"]) == (
        *("cellular-nova-u201", OUR_IP, FAR_IP),
    )
    assert bridge.way("8.8.8.8") == bridge.way(FAR_IP) == bridge.way("200.1.1.1") == "ppp0"
    assert bridge.way("192.168.77.9") == "eth9"
    assert f"nameserver {DNS}" in bridge.machine.get("/etc/resolv.conf").decode()
    sent(bridge, "over the air")
    push = f"ip netns exec far {PYTHON} -m bridge simulate push --host {OUR_IP} inbound-1"
    bridge.machine.subscribe("listener", "hologram/in")
    bridge.machine.must(push)
    eventually(lambda: "inbound-1" in bridge.machine.journal("listener"), UP, what="the inbound message")


@pytest.mark.parametrize(
    ("how", "word"),
    [
        (f"pkill -KILL -F /run/ppp-hologram-bridge.pid; {DTR_DROPS}", "signal 9"),
        ("pkill -TERM -F /run/ppp-far.pid", "the other end hung up"),
    ],
    ids=["pppd killed", "far end hangs up"],
)
def test_a_link_that_ends_comes_back(bridge: Rig, how: str, word: str) -> None:
    """It is told with the reason within a second or two, dialled again, and messages flow."""
    bridge.machine.run("systemctl stop events")
    bridge.machine.subscribe("events", "hologram/event")
    bridge.machine.must(how)
    eventually(lambda: word in bridge.machine.journal("events"), UP, what="the event")
    eventually(lambda: "network.connected" in bridge.machine.journal("events"), UP, what="connected again")
    sent(bridge, f"after {word}")


def test_a_modem_that_is_pulled_out_and_put_back_is_dialled_again(bridge: Rig) -> None:
    """The line is cut at the USB port: what was there before carries until the modem is back."""
    bridge.unplug()
    nothing_is_left(bridge)
    eventually(lambda: bridge.status()["state"] != "connected", 10, what="the lost link in the status")
    bridge.publish("hologram/out/box", "while it was out")
    bridge.start_modem()
    bridge.plug()
    wait_for_state(bridge, "connected")
    eventually(lambda: "while it was out" in json.dumps(bridge.accepted()), UP, what="the message")


def test_disconnect_leaves_the_machine_as_it_was(bridge: Rig) -> None:
    """Routes and name servers are those of before; connect brings the link back."""
    bridge.publish("hologram/network/set", "disconnect")
    wait_for_state(bridge, "disconnected")
    nothing_is_left(bridge)
    bridge.publish("hologram/network/set", "connect")
    wait_for_state(bridge, "connected")


@pytest.fixture
def bounded(rig: Rig) -> Iterator[Rig]:
    """A bridge as `bridge`, with a bound of the day and a store of its own, connected."""
    rig.machine.must("rm -f /run/outbox.db*")
    rig.configure(budget={"day": "1MB"})
    rig.machine.must("mosquitto_pub -r -n -t hologram/network/status")
    start(rig)
    yield rig
    print(rig.machine.journal("bridge"))
    rig.machine.run("systemctl stop bridge events")


def start(rig: Rig) -> None:
    rig.machine.spawn("bridge", f"hologram-bridge run -c {CONFIG}", properties=("KillMode=mixed",))
    wait_for_state(rig, "connected")


PINGED = 3 * 2 * 528
"""Bytes of three echoes with 500 bytes, their answers, and their headers [RFC 791, RFC 792]."""

ELSEWHERE = f"ping -q -c 3 -s 500 -W 20 {FAR_IP}"
"""Another program of the box, which goes over the SIM."""


def follows(rig: Rig, *, after: int = 0) -> int:
    """Wait until the budget's use is ``after`` and all that the interface carried; return it."""

    def reached() -> int | None:
        used = int(rig.bound()["use"])
        return used if used == after + rig.carried() else None

    found = eventually(reached, UP, what="the use follows the interface's counters")
    assert found is not None
    return found


def test_the_budget_follows_the_interface_whoever_uses_it(bounded: Rig) -> None:
    """The bridge's messages, another program's packets and what comes in, over a link that is dialled again.

    The new interface counts from zero, and what the one before it carried stays counted.
    """
    machine = bounded.machine
    sent(bounded, "counted")
    alone = follows(bounded)
    assert alone > 300
    machine.must(ELSEWHERE, 90)
    with_others = follows(bounded)
    assert with_others - alone >= PINGED
    machine.must(f"ip netns exec far {PYTHON} -m bridge simulate push --host {OUR_IP} {'x' * 500}", UP)
    machine.must(f"ip netns exec far ping -q -c 3 -s 500 -W 20 {OUR_IP}", 90)
    with_inbound = follows(bounded)
    assert with_inbound - with_others >= PINGED + 500
    machine.subscribe("events", "hologram/event")
    machine.must("pkill -TERM -F /run/ppp-far.pid")
    eventually(lambda: "network.connected" in machine.journal("events"), UP, what="it is dialled again")
    assert bounded.carried() < with_inbound, "it counts from zero"
    sent(bounded, "counted on")
    assert follows(bounded, after=with_inbound) > with_inbound


def test_a_killed_bridge_counts_on(bounded: Rig) -> None:
    """What an interface carried is written within a minute, and no kill takes it back."""
    machine = bounded.machine
    sent(bounded, "before")
    machine.must(ELSEWHERE, 90)
    before = follows(bounded)
    machine.must("sleep 70", 90)  # the note of a link on which nothing more happens
    before = follows(bounded)
    machine.must("systemctl kill --signal=KILL bridge; mosquitto_pub -r -n -t hologram/network/status")
    machine.wait_for("! systemctl is-active bridge && ! ip link show ppp0", UP)
    machine.run(f"systemctl reset-failed bridge; {DTR_DROPS}")
    start(bounded)
    sent(bounded, "after")
    assert follows(bounded, after=before) > before


def test_what_others_use_up_holds_messages_and_no_alarm(bounded: Rig) -> None:
    """The bound is reached by another program's bytes; with a larger one what waited goes."""
    machine = bounded.machine
    machine.subscribe("events", "hologram/event")
    sent(bounded, "first")
    near = follows(bounded) + 2000
    bounded.publish("hologram/budget/set", json.dumps({"day": near}))
    eventually(lambda: bounded.bound()["limit"] == near, UP, what="the bound is changed")
    machine.must(ELSEWHERE, 90)
    eventually(lambda: bounded.bound()["use"] > near, UP, what="the bound is passed")
    bounded.publish("hologram/out/box", "has to wait")
    eventually(lambda: '"budget.held"' in machine.journal("events"), UP, what="it is held")
    machine.must(
        "mosquitto_pub -V 5 -q 1 -t hologram/out/alarm -m fire -D PUBLISH user-property priority high"
    )
    eventually(lambda: "fire" in json.dumps(bounded.accepted()), UP, what="the alarm in the cloud")
    assert "has to wait" not in json.dumps(bounded.accepted())
    bounded.publish("hologram/budget/set", json.dumps({"day": 10 * near}))
    eventually(lambda: "has to wait" in json.dumps(bounded.accepted()), UP, what="what waited")
    assert '"budget.released"' in machine.journal("events")


def test_the_command_hologram_keeps_a_connection(rig: Rig) -> None:
    """Without a bridge: it ends once the link stands, which comes back when lost, and goes when told."""
    machine = rig.machine
    rig.configure()
    network = f"{PYTHON} -m bridge.cli.tools.hologram network"
    try:
        assert machine.must(f"{network} connect -c {CONFIG}", 2 * UP) == "PPP session started"
        assert rig.way("8.8.8.8") == "ppp0"
        assert machine.must(f"{network} connect -c {CONFIG}", UP) == "PPP session started"
        first = machine.must("cat /run/ppp-hologram-bridge.pid")
        machine.must("sleep 1; pkill -TERM -F /run/ppp-far.pid")
        again = f"ip addr show ppp0 | grep -q inet && ! grep -q {first} /run/ppp-hologram-bridge.pid"
        machine.wait_for(again, UP)
    finally:
        said = machine.must(f"{network} disconnect -c {CONFIG}", UP)
    assert "Killing pid" in said
    nothing_is_left(rig)
    assert machine.must(f"{network} disconnect -c {CONFIG}") == "Checking for existing PPP sessions"


@pytest.fixture
def dialling(rig: Rig) -> Iterator[Callable[[str], None]]:
    """Run a command as the unit ``dial``."""
    yield lambda command: rig.machine.spawn("dial", command, properties=("KillMode=mixed",))
    print(rig.machine.journal("dial"))
    rig.machine.run("systemctl stop dial")


def test_scope_hologram_takes_only_the_tunnels(rig: Rig, dialling: Callable[[str], None]) -> None:
    """The machine's own traffic and names stay off the SIM, and the tunnels' networks are on it."""
    rig.configure(scope="hologram")
    dialling(f"hologram-bridge dial -c {CONFIG}")
    rig.machine.wait_for("ip route show 10.254.0.0/16 | grep -q ppp0", UP)
    assert rig.way("8.8.8.8") == "eth9"
    assert rig.way("10.176.99.9") == rig.way("10.254.1.1") == "ppp0"
    assert rig.machine.get("/etc/resolv.conf") == b"nameserver 192.168.77.1\nsearch lan\n"
    rig.machine.must("systemctl stop dial")
    nothing_is_left(rig)


def test_a_modem_that_no_longer_answers_is_found_by_its_echo(
    rig: Rig, dialling: Callable[[str], None]
) -> None:
    """The far end is there but silent: LCP echoes go unanswered, and the reason says so.

    How often they are sent is in options of one's own, which go before those that are shipped. An echo is no
    IP packet, and the interface does not count it.
    """
    machine, own = rig.machine, "/etc/hologram-bridge/ppp"
    rig.configure()
    shipped = "/usr/share/hologram-bridge/ppp/options"
    machine.must(f"mkdir -p {own} && sed 's/interval 30/interval 3/' {shipped} >{own}/options")
    dialling(f"hologram-bridge dial -c {CONFIG}")
    machine.wait_for("ip addr show ppp0 | grep -q inet", UP)
    counters = "cat /sys/class/net/ppp0/statistics/*_bytes"
    before = machine.must(counters)
    assert machine.must(f"sleep 10; {counters}") == before  # three echoes
    machine.must("pkill -STOP -F /run/ppp-far.pid")
    eventually(lambda: "LCP echo" in machine.journal("dial"), UP, what="the reason")
    machine.must(f"rm -r {own} && pkill -KILL -F /run/ppp-far.pid")
    nothing_is_left(rig)


@pytest.fixture
def unit(rig: Rig) -> Iterator[Rig]:
    """The root unit as it is shipped."""
    machine = rig.machine
    rig.configure()
    machine.must("ln -sf /usr/local/bin/hologram-bridge /usr/bin/hologram-bridge")
    machine.must("cp /opt/project/systemd/hologram-ppp.service /etc/systemd/system/")
    machine.must("systemctl daemon-reload")
    yield rig
    print(machine.journal("hologram-ppp"))
    machine.must("systemctl stop hologram-ppp")


def shown(rig: Rig, name: str) -> str:
    return rig.machine.must(f"systemctl show -p {name} --value hologram-ppp")


def test_the_unit_dials_and_tells_systemd_its_link(unit: Rig) -> None:
    """Hardened as shipped: up when systemd says so, with routes and names; stopped, nothing is left."""
    machine = unit.machine
    machine.must("systemctl start hologram-ppp", UP)
    assert shown(unit, "ActiveState") == "active"
    assert shown(unit, "StatusText") == f"up on ppp0, local {OUR_IP}, remote {FAR_IP}"
    assert unit.way("8.8.8.8") == "ppp0"
    assert f"nameserver {DNS}" in machine.get("/etc/resolv.conf").decode()
    machine.must(f"ping -c 1 -W 10 {FAR_IP}", 30)
    machine.must("systemctl stop hologram-ppp", UP)
    nothing_is_left(unit)
    assert shown(unit, "ActiveState") == "inactive"


def test_the_unit_of_a_killed_dial_leaves_nothing(unit: Rig) -> None:
    """The keeper of the link is killed, and its pppd with it; the next call fetches the modem back."""
    machine = unit.machine
    machine.must("systemctl start hologram-ppp", UP)
    machine.must("systemctl kill --kill-whom=main -s KILL hologram-ppp")
    machine.wait_for("! pgrep -F /run/ppp-hologram-bridge.pid")
    machine.wait_for("! ip link show ppp0")
    machine.must("systemctl start hologram-ppp", UP)
    assert unit.way("8.8.8.8") == "ppp0"
    machine.must("systemctl stop hologram-ppp", UP)
    nothing_is_left(unit)


def test_the_unit_that_fails_says_why(unit: Rig) -> None:
    """The modem's NO CARRIER is what the unit's status says, and what the bridge reads there."""
    unit.order("fault", "name=no-carrier", "number=1")
    assert unit.machine.run("systemctl start hologram-ppp", UP).code != 0
    assert shown(unit, "StatusText").startswith("NO CARRIER")
    assert shown(unit, "ActiveState") == "failed"
    unit.machine.must("systemctl start hologram-ppp", UP)


def test_the_unit_tells_that_another_program_has_the_port(unit: Rig) -> None:
    """It may not look into other processes, but finds the port closed to it: no fault of the modem's."""
    machine = unit.machine
    machine.hold(unit.device, alone=True)
    try:
        assert machine.run("systemctl start hologram-ppp", UP).code != 0
        assert "is held by another program" in shown(unit, "StatusText")
        assert shown(unit, "StatusErrno") == str(errno.EBUSY)
    finally:
        machine.must("systemctl stop holder")
    machine.must("systemctl start hologram-ppp", UP)


def test_a_bridge_without_root_dials_through_the_unit(unit: Rig) -> None:
    """It starts the unit with the right that polkit gives it, and finds its own link again when restarted."""
    machine = unit.machine
    machine.run("useradd --system --no-create-home hologram-test")
    machine.must(f"chown root:hologram-test {CONFIG} && mkdir -p /run/own && chown hologram-test /run/own")
    machine.put(
        "/etc/polkit-1/rules.d/50-test.rules",
        "polkit.addRule(function (action, subject) {\n"
        '  if (action.id == "org.freedesktop.systemd1.manage-units" && subject.user == "hologram-test"\n'
        '      && action.lookup("unit") == "hologram-ppp.service") return polkit.Result.YES;\n'
        "});\n",
    )
    machine.must("systemctl restart polkit")
    own = ("User=hologram-test", "NoNewPrivileges=yes", "SupplementaryGroups=dialout")
    start = {"HOLOGRAM_BRIDGE__STORE__PATH": "/run/own/outbox.db"}
    for ending in ("systemctl stop bridge", "systemctl kill --signal=KILL bridge", "systemctl stop bridge"):
        machine.must("mosquitto_pub -r -n -t hologram/network/status")  # an earlier bridge's last word
        machine.spawn("bridge", f"hologram-bridge run -c {CONFIG}", env=start, properties=own)
        try:
            wait_for_state(unit, "connected")
            sent(unit, f"through the unit, before {ending} {time.monotonic()}")
        finally:
            print(machine.journal("bridge"))
        machine.must(ending)
        machine.wait_for("! systemctl is-active bridge")
        machine.run("systemctl reset-failed bridge")
