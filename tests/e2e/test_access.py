"""The access list that is shipped, in force in a real Mosquitto: who is let through, and who is refused."""

import json
import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, Process, eventually, free_port
from tests.harness.bridge import PROGRAM
from tests.harness.mosquitto import SHIPPED, program
from tests.harness.process import ROOT

ACL = ROOT / "config" / "mosquitto" / "hologram-bridge.acl"
USERS = ("viewer", "operator", "homeassistant", "nodered", "sensor")

MAY_PUBLISH = {
    "hologram/out/kitchen": {"operator", "homeassistant", "nodered", "sensor"},
    "hologram/out": {"operator", "homeassistant", "nodered", "sensor"},
    "hologram/send": {"operator", "nodered"},
    "hologram/quote": {"operator", "nodered"},
    "hologram/sms": {"operator", "nodered"},
    "hologram/sms/15551234567": {"operator", "homeassistant", "nodered"},
    "hologram/network/set": {"operator", "homeassistant"},
    "hologram/queue/set": {"operator", "homeassistant"},
    "hologram/budget/set": {"operator"},
    "sensors/kitchen": {"nodered", "sensor"},
    "alarms/door": {"nodered", "sensor"},
    "alarms-told/door": {"nodered"},
    "actuators/pump/set": {"nodered"},
    "commands/refused": {"nodered"},
    # What only the bridge says: nobody else can pretend to be it.
    "hologram/in": set(),
    "hologram/in/sms": set(),
    "hologram/result": set(),
    "hologram/network/status": set(),
    "hologram/bridge/state": set(),
    "reply/sensor/1": set(),
    "homeassistant/status": {"homeassistant"},
    "homeassistant/device/x/config": {"homeassistant"},
}
"""For each topic who may publish to it, beside the bridge."""


class Pair:
    """A certificate and its key, made in ``folder`` by the command that the shipped list gives."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = (str(folder / f"hologram-bridge.{kind}") for kind in ("crt", "key"))
        (command,) = re.findall(
            r"^#   sudo (openssl .*)$", ACL.read_text().replace("\\\n#", ""), re.MULTILINE
        )
        folder.mkdir(exist_ok=True)
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)

    def trust(self, *, shows: "Pair | None" = None) -> ssl.SSLContext:
        """Return what a client needs that trusts this certificate."""
        context = ssl.create_default_context(cafile=self.certificate)
        if shows:
            context.load_cert_chain(shows.certificate, shows.key)
        return context


class Guarded(Mosquitto):
    """A broker with the shipped settings, the lines about listeners in force, and the shipped access list."""

    own = 0
    """The port of the bridge's listener; `port` is everybody else's."""
    pair: Pair
    """The bridge's certificate."""

    def _config(self) -> str:
        block = SHIPPED.read_text().split("#   allow_anonymous", 1)[1].split("\n\n", 1)[0]
        shipped = "\n".join(line.removeprefix("#").strip() for line in f"allow_anonymous{block}".splitlines())
        for given, ours in (
            ("listener 1884", f"listener {self.own}"),
            ("listener 1883", f"listener {self.port}"),
            ("/etc/mosquitto/hologram-bridge.acl", str(_own_copy(self.folder))),
            ("/etc/mosquitto/hologram-clients.passwd", self._passwords()),
            ("/etc/mosquitto/hologram-bridge.crt", self.pair.certificate),
            ("/etc/mosquitto/hologram-bridge.key", self.pair.key),
        ):
            assert given in shipped
            shipped = shipped.replace(given, ours)
        user = "user root\n" if os.geteuid() == 0 else ""
        rest = "".join(line + "\n" for line in SHIPPED.read_text().splitlines() if line[:1] not in ("#", ""))
        return (
            f"{shipped}\n{user}persistence true\npersistence_location {self.folder}/\nlog_dest stderr\n{rest}"
        )

    def _passwords(self) -> str:
        file = self.folder / "passwords"
        file.write_text("".join(f"{name}:{word}\n" for name, word in self.users.items()))
        file.chmod(0o600)
        subprocess.run([program("mosquitto_passwd"), "-U", str(file)], check=True)
        return str(file)


@pytest.fixture
def guarded(keeper: Keeper, tmp_path: Path) -> Guarded:
    """The broker, running."""
    broker = Guarded(keeper, tmp_path / "mosquitto", users={name: f"word-of-{name}" for name in USERS})
    broker.own = free_port()
    broker.pair = Pair(broker.folder)
    broker.start()
    return broker


@pytest.fixture
def clients(guarded: Guarded) -> Iterator[dict[str, Client]]:
    """A client for each name, subscribed to all there is."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                Client(guarded.port, "hologram/#", "reply/#", "homeassistant/#", user=(name, word))
            )
            for name, word in guarded.users.items()
        }


@pytest.fixture
def bridge(keeper: Keeper, tmp_path: Path, guarded: Guarded, cloud: Cloud) -> BridgeProcess:
    """A bridge that shows its certificate, and runs."""
    cloud.start()
    bridge = BridgeProcess(keeper, tmp_path / "bridge", guarded, cloud.port)
    pair = guarded.pair
    tls = {"ca": pair.certificate, "cert": pair.certificate, "key": pair.key}
    bridge.configure(mqtt={"port": guarded.own, "tls": tls})
    bridge.configure(home_assistant={"enabled": True})
    bridge.start()
    return bridge


def _own_copy(folder: Path) -> Path:
    copy = folder / "access"
    copy.write_text(ACL.read_text())
    copy.chmod(0o600)
    return copy


def test_each_name_publishes_what_it_may_and_nothing_else(clients: dict[str, Client]) -> None:
    """Every command, report and name: the broker accepts it, or refuses it as not authorized."""
    found: dict[str, set[str]] = {}
    for topic in MAY_PUBLISH:
        accepted = set()
        for name, client in clients.items():
            before = len(client.refused)
            client.publish(topic, "x")
            if len(client.refused) == before:
                accepted.add(name)
            else:
                assert client.refused[-1][1] == "Not authorized"
        found[topic] = accepted
    assert found == MAY_PUBLISH


def test_refused_commands_never_reach_the_bridge(
    bridge: BridgeProcess, clients: dict[str, Client], cloud: Cloud
) -> None:
    """A sensor's SMS, reset and purge leave no trace; its message does arrive."""
    sensor, operator = clients["sensor"], clients["operator"]
    for topic, payload in (
        ("hologram/sms/15551234567", "costs money"),
        ("hologram/network/set", "reset"),
        ("hologram/queue/set", "purge"),
        ("hologram/send", '{"data": "x"}'),
    ):
        sensor.publish(topic, payload)
    sensor.publish("hologram/out/kitchen", "21.5", user={"id": "allowed"})
    assert operator.wait_result("allowed")["state"] == "delivered"
    assert [each["id"] for each in operator.results()] == ["allowed"]
    assert [each.payload for each in cloud.accepted] == [b"21.5"]


def test_all_commands_work_for_the_operator(bridge: BridgeProcess, clients: dict[str, Client]) -> None:
    """Both sessions of the bridge, the second with its own client id, get what they need under one name."""
    operator = clients["operator"]
    operator.publish("hologram/sms/15551234567", "hello", user={"id": "text"})
    operator.publish("hologram/queue/set", '{"command": "flush", "id": "flush"}')
    operator.send({"data": "x", "id": "send"})
    assert operator.wait_result("text")["state"] == "delivered"
    assert operator.wait_result("send")["state"] == "delivered"
    assert operator.wait_result("flush")["state"] == "done"
    assert operator.wait_last("hologram/bridge/state").payload == b"online"
    assert "Not authorized" not in bridge.said()


def test_home_assistant_gets_its_device(bridge: BridgeProcess, clients: dict[str, Client]) -> None:
    """Discovery is published where Home Assistant looks, and nobody else sees it."""
    home = clients["homeassistant"]

    def config() -> str | None:
        return next(
            (one for one in home.topics() if re.fullmatch("homeassistant/device/.+/config", one)), None
        )

    home.wait_for(config)
    assert not [topic for topic in clients["viewer"].topics() if topic.startswith("homeassistant")]


def test_nobody_reads_what_is_not_for_him(bridge: BridgeProcess, clients: dict[str, Client]) -> None:
    """A sensor sees neither results nor texts of others; a viewer sees them."""
    clients["operator"].publish("hologram/out/a", "x", user={"id": "one"})
    assert clients["viewer"].wait_result("one")
    assert set(clients["sensor"].topics()) == {"hologram/bridge/state"}


def test_a_response_topic_is_answered_where_the_list_allows(
    bridge: BridgeProcess, clients: dict[str, Client]
) -> None:
    """In the asker's own corner; elsewhere the broker refuses it, and the result is told as always."""
    sensor, operator = clients["sensor"], clients["operator"]
    for number, topic in enumerate(
        ("homeassistant/status", "other/place", "reply/viewer/1", "reply/sensor/1")
    ):
        options = {"ResponseTopic": topic}
        sensor.publish("hologram/out/a", "x", properties=options, user={"id": f"ask-{number}"})
    assert sensor.wait_last("reply/sensor/1").json()["id"] == "ask-3"
    for number in range(4):
        assert operator.wait_result(f"ask-{number}")["state"] == "delivered"
    assert "reply/viewer/1" not in sensor.topics()
    assert "homeassistant/status" not in clients["homeassistant"].topics()


def test_the_flows_get_their_results_and_their_topics(
    bridge: BridgeProcess, guarded: Guarded, clients: dict[str, Client]
) -> None:
    """What the shipped flows ask for comes, where they ask for it."""
    flows = json.loads((ROOT / "node-red-flows" / "flows.json").read_text())
    replies = next(
        each["value"] for flow in flows for each in flow.get("env", []) if each["name"] == "HOLOGRAM_REPLIES"
    )
    listens = {flow["topic"] for flow in flows if flow["type"] == "mqtt in" and "$" not in flow["topic"]}
    user = ("nodered", guarded.users["nodered"])
    clients["nodered"].close()  # one name is one client
    with Client(guarded.port, replies, *listens, user=user) as node_red:
        node_red.publish("hologram/out/a", "x", properties={"ResponseTopic": replies}, user={"id": "mine"})
        assert node_red.wait_last(replies).json()["id"] == "mine"
        for number, topic in enumerate(sorted(listens)):
            node_red.publish(topic.replace("#", "one"), str(number))
        told = {topic.replace("#", "one") for topic in listens}
        node_red.wait_for(lambda: told <= set(node_red.topics()))
    assert "sensors/#" in listens
    assert clients["viewer"].wait_result("mine")


@pytest.mark.parametrize("name", ["bridge", "operator"])
def test_a_tool_sees_its_result(name: str, bridge: BridgeProcess, guarded: Guarded, cloud: Cloud) -> None:
    """An SMS that has been sent is not told as waiting, which would have it sent again."""
    if name != "bridge":
        login = {"username": name, "password": guarded.users[name]}
        bridge.configure(mqtt={**login, "port": guarded.port, "tls": None})
        bridge.write_config()
    command = [sys.executable, "-m", "bridge.cli.tools.sms", "--via-bridge", "-c", str(bridge.config)]
    command += ["--destination", "+15551234567", "Hello"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(cloud.accepted) == 1


def test_without_a_password_nobody_gets_in(guarded: Guarded, bridge: BridgeProcess) -> None:
    """Neither anonymously nor with another's word, nor with the bridge's name."""
    for user in (None, ("operator", "word-of-sensor"), ("nobody", ""), ("bridge", ""), ("bridge", "x")):
        with pytest.raises(AssertionError, match="did not take"):
            Client(guarded.port, user=user).connect(timeout=1.0)


def test_without_its_certificate_nobody_is_the_bridge(
    guarded: Guarded, bridge: BridgeProcess, tmp_path: Path
) -> None:
    """Neither by a password, with TLS or without, nor by a certificate that another made for that name."""
    copy = Pair(tmp_path / "copy")
    sensor = ("sensor", "word-of-sensor")
    for tls in (None, guarded.pair.trust(), guarded.pair.trust(shows=copy)):
        for user in (sensor, ("bridge", "x"), None):
            with pytest.raises((AssertionError, OSError)):
                Client(guarded.own, user=user, tls=tls).connect(timeout=1.0)
    with Client(guarded.own, tls=guarded.pair.trust(shows=guarded.pair)):
        pass


BRIDGE_MAY_WRITE = {
    "hologram/result": True,
    "hologram/in/sms/last": True,
    "homeassistant/device/x/config": True,
    "reply/operator/1": True,
    "homeassistant/status": False,
    "homeassistant/switch/x/config": False,
    "actuators/pump/set": False,
    "sensors/kitchen": False,
    "reply": True,
    "other": False,
}
"""Where a result can be written at the wish of whoever may send."""


def test_what_the_bridge_may_write_is_bounded(guarded: Guarded) -> None:
    """Its own topics, discovery and replies; nothing that another acts on."""
    with Client(guarded.own, tls=guarded.pair.trust(shows=guarded.pair)) as bridge:
        found = {}
        for topic in BRIDGE_MAY_WRITE:
            before = len(bridge.refused)
            bridge.publish(topic, "x")
            found[topic] = len(bridge.refused) == before
    assert found == BRIDGE_MAY_WRITE


def test_nobody_takes_the_bridges_session(
    bridge: BridgeProcess, guarded: Guarded, clients: dict[str, Client], cloud: Cloud
) -> None:
    """A sensor that connects with its client ids gets neither session; none of 100 messages is lost."""
    operator = clients["operator"]
    ids = [f"hologram-bridge-{socket.gethostname()}{suffix}" for suffix in ("", "-control")]
    assert f"({ids[0]} at" in bridge.said()
    clients["sensor"].close()
    said = bridge.said()
    for number in range(100):
        operator.publish("hologram/out/a", str(number))
        if number % 10 == 0:
            with Client(
                guarded.port,
                "hologram/out/#",
                user=("sensor", "word-of-sensor"),
                client_id=ids[number // 10 % 2],
            ):
                pass
    eventually(lambda: len(cloud.accepted) == 100, 20, what="all are sent")
    assert bridge.said() == said


def test_what_a_sensor_sends_waits_for_an_absent_bridge_over_a_restart_of_the_broker(
    bridge: BridgeProcess, guarded: Guarded, clients: dict[str, Client], cloud: Cloud
) -> None:
    """The session that the broker loads knows the bridge's rights, though it has not come back yet."""
    sensor, operator = clients["sensor"], clients["operator"]
    bridge.stop()
    sensor.publish("hologram/out/kitchen", "1", user={"id": "before"})
    guarded.stop()
    guarded.start()
    sensor.wait_connected()
    sensor.publish("hologram/out/kitchen", "2", user={"id": "after"})
    operator.wait_connected()
    bridge.start(wait=False)
    assert operator.wait_result("before", 30)["state"] == "delivered"
    assert operator.wait_result("after")["state"] == "delivered"


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_shipped_settings_leave_another_s_rules_alone(place: str, keeper: Keeper, tmp_path: Path) -> None:
    """Beside a listener with passwords, whichever is read first: it listens on, and asks for them."""
    broker = Mosquitto(keeper, tmp_path / "broker", users={"zigbee": "word"}, include=(SHIPPED, place))
    broker.start()
    with Client(broker.port, user=("zigbee", "word")):
        pass
    with pytest.raises(AssertionError, match="did not take"):
        Client(broker.port).connect(timeout=1.0)


def test_with_the_shipped_settings_alone_this_machine_gets_in(keeper: Keeper, tmp_path: Path) -> None:
    """Where nobody has named a listener there is one on loopback alone."""
    broker = Mosquitto(keeper, tmp_path / "broker", include=(SHIPPED, "alone"))
    broker.start()
    with Client(broker.port):
        pass
    assert "local only mode" in broker.said()


@pytest.mark.parametrize("name", ["operator", "viewer", "homeassistant", "nodered", "bridge"])
def test_who_may_read_the_bridge_may_watch_it(
    keeper: Keeper, tmp_path: Path, guarded: Guarded, bridge: BridgeProcess, name: str
) -> None:
    """It gets state, results and health; with the bridge's certificate it takes nothing from the bridge."""
    options = ["-p", str(guarded.port), "-u", name, "-P", f"word-of-{name}"]
    watch = Process("watch", tmp_path / "watch.log")
    keeper.keep(watch)
    watch.launch([*PROGRAM, "watch", *(["-c", str(bridge.config)] if name == "bridge" else options)])
    eventually(lambda: " bridge    online" in watch.said(), 30, what="the state")
    user = ("sensor", "word-of-sensor")
    with Client(guarded.port, "hologram/bridge/state", user=user) as sensor:
        sensor.publish("hologram/out/kitchen", "21.5")
    eventually(lambda: " delivered kitchen; 1 attempt" in watch.said(), 30, what="the result")
    assert " health    ok; " in watch.said()
    assert watch.stop() == 0
    assert "already connected" not in guarded.said()


def test_a_sensor_is_told_what_it_may_not_read(
    keeper: Keeper, tmp_path: Path, guarded: Guarded, bridge: BridgeProcess
) -> None:
    """It sees the bridge's state and nothing else; a wrong password is one line."""
    options = ["-p", str(guarded.port), "-u", "sensor", "-P"]
    watch = Process("watch", tmp_path / "watch.log")
    keeper.keep(watch)
    watch.launch([*PROGRAM, "watch", *options, "word-of-sensor"])
    eventually(lambda: " bridge    online" in watch.said(), 30, what="the state")
    bridge.stop()
    eventually(lambda: " bridge    offline" in watch.said(), 30, what="the end")
    assert len(watch.said().splitlines()) == 3, watch.said()
    done = subprocess.run(
        [*PROGRAM, "watch", *options, "wrong"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "the broker refused the connection: Not authorized; check -u and -P" in done.stderr
