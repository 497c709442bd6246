"""The client id: made once, whatever changes later, and nothing is left behind under an earlier one."""

import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually
from tests.harness.doorman import Doorman


def named(hostname: str) -> list[str]:
    """Return a command that runs another on a machine of this name, by itself in its UTS namespace."""
    unshare = ["unshare", "--uts"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--uts"]
    return [*unshare, "sh", "-c", 'hostname "$0" && exec "$@"', hostname]


def present(port: int, client_id: str) -> bool:
    """Return whether the broker has a session for ``client_id``; none is left behind by asking."""
    name = client_id.encode()
    rest = b"\0\4MQTT\5\0\0\x1e\5\x11\xff\xff\xff\xff" + len(name).to_bytes(2, "big") + name
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(bytes([0x10, len(rest)]) + rest)
        found = connection.recv(3)[2] & 1  # Session Present [MQTT 5.0, section 3.2.2.1.1]
        keep = b"\xff\xff\xff\xff" if found else b"\0\0\0\0"
        connection.sendall(b"\xe0\7\0\5\x11" + keep)
        while connection.recv(4096):
            pass
    return bool(found)


def waits(client: Client, *names: str) -> None:
    """Publish messages that nobody takes now."""
    for name in names:
        client.publish("hologram/out/a", name, user={"id": name})


def ended(bridge: BridgeProcess, client_id: str) -> None:
    """Wait until the bridge has ended the sessions of ``client_id``."""
    for name in (client_id, client_id + "-control"):
        eventually(lambda name=name: f'the session of "{name}" is ended' in bridge.said(), 40, what=name)  # type: ignore[misc]


def restart(bridge: BridgeProcess, **mqtt: object) -> None:
    bridge.configure(mqtt=mqtt)
    bridge.start()


def test_the_id_outlives_the_hosts_name(bridge: BridgeProcess, client: Client, cloud: Cloud) -> None:
    """A renamed box fetches what waited, messages and texts, and has the session that it had."""
    bridge.wrap = named("barn")
    bridge.start()
    bridge.stop()
    waits(client, "m1", "m2")
    client.publish("hologram/sms/15551234567", "hello", user={"id": "text"})
    cloud.start()
    bridge.wrap = named("cellar")
    bridge.start()
    for name in ("m1", "m2", "text"):
        assert client.wait_result(name, 20)["state"] == "delivered"
    assert "session resumed (hologram-bridge-barn at" in bridge.said()
    assert "lost our session" not in bridge.said()


def test_an_upgrade_keeps_the_id_in_use(bridge: BridgeProcess, client: Client, cloud: Cloud) -> None:
    """A store that has no id yet: the session is the one of the present name, from then on whatever it is."""
    bridge.wrap = named("barn")
    bridge.start()
    bridge.stop()
    with closing(sqlite3.connect(bridge.store)) as store, store:
        keys = ("client_id", "client_id_made", "earlier_ids", "machine", "shared_id", "session_of")
        store.executemany("DELETE FROM meta WHERE key = ?", [(key,) for key in keys])
    waits(client, "m")
    cloud.start()
    bridge.start()
    assert client.wait_result("m", 20)["state"] == "delivered"
    bridge.stop()
    waits(client, "later")
    bridge.wrap = named("cellar")
    bridge.start()
    assert client.wait_result("later", 20)["state"] == "delivered"
    assert bridge.said().count("session new") == 1
    assert "lost our session" not in bridge.said()


@pytest.mark.parametrize("protocol", [5, "3.1.1"])
def test_what_waits_for_an_earlier_id_is_fetched_and_its_session_ended(
    bridge: BridgeProcess, mosquitto: Mosquitto, client: Client, cloud: Cloud, protocol: object
) -> None:
    """Set, changed, and removed again: each message once, and no session is left to collect for ever."""
    cloud.start()
    bridge.wrap = named("barn")
    bridge.configure(mqtt={"protocol": protocol})
    bridge.start()
    before = "hologram-bridge-barn"
    ids = []
    for number, name in enumerate(("first", "second", None)):
        bridge.stop()
        assert present(mosquitto.port, before)
        for each in range(30):
            ids.append(f"{number}-{each}")
            waits(client, ids[-1])
        client.publish("hologram/queue/set", f'{{"command": "flush", "id": "flush-{number}"}}')
        restart(bridge, client_id=name)
        assert client.wait_result(f"flush-{number}", 20)["state"] == "done"
        ended(bridge, before)
        before = name or "hologram-bridge-barn"
        ids.append(f"{number}-after")
        waits(client, ids[-1])
        eventually(lambda: ids[-1].encode() in cloud.payloads(), 20, what="the session in use carries")
        said = bridge.said()
        bridge.log.write_text("")
        assert "lost our session" not in said
    assert sorted(cloud.payloads()) == sorted(each.encode() for each in ids)
    bridge.stop()
    for gone in ("first", "second"):
        assert not present(mosquitto.port, gone)
        assert not present(mosquitto.port, gone + "-control")
    assert present(mosquitto.port, "hologram-bridge-barn")


def test_nothing_is_lost_or_doubled_while_messages_flow(
    bridge: BridgeProcess, mosquitto: Mosquitto, client: Client, cloud: Cloud
) -> None:
    """The one session gives way to the other within a moment: only what comes in it can come twice."""
    cloud.start()
    bridge.configure(mqtt={"client_id": "first"})
    bridge.start()
    sent = 0
    for name in ("second", "third"):
        bridge.stop()
        bridge.configure(mqtt={"client_id": name})
        bridge.start(wait=False)
        until = time.monotonic() + 3
        while time.monotonic() < until:
            client.publish("hologram/out/a", str(sent))
            sent += 1
            time.sleep(0.05)
    eventually(lambda: len(set(cloud.payloads())) == sent, 20, what="all are sent")
    assert len(cloud.payloads()) - sent <= 2  # at least once, in the moment of each change


def test_a_kill_while_an_earlier_session_is_fetched_loses_and_doubles_nothing(
    bridge: BridgeProcess, client: Client, cloud: Cloud, mosquitto: Mosquitto
) -> None:
    """It is remembered until it is done, over starts without a hand."""
    bridge.configure(mqtt={"client_id": "first"})
    bridge.start()
    bridge.stop()
    wanted = [f"m{number}" for number in range(400)]
    waits(client, *wanted)
    bridge.configure(mqtt={"client_id": "second"})
    for _ in range(3):
        bridge.start(wait=False)
        eventually(lambda: "is fetched" in bridge.said(since_start=True), what="it begins")
        bridge.kill()
    cloud.start()
    bridge.start()
    ended(bridge, "first")
    eventually(lambda: len(cloud.accepted) >= len(wanted), 30, what="all are sent")
    assert sorted(cloud.payloads()) == sorted(name.encode() for name in wanted)
    bridge.stop()
    assert not present(mosquitto.port, "first")


@pytest.fixture
def door(mosquitto: Mosquitto) -> Iterator[Doorman]:
    """A door before the broker that lets everybody in."""
    with closing(Doorman(mosquitto.port, lambda _hello: None)) as door:
        yield door


def test_an_earlier_id_that_the_broker_refuses_is_given_up(
    bridge: BridgeProcess, door: Doorman, client: Client, cloud: Cloud
) -> None:
    """After a few tries, with a line; messages flow meanwhile, and a later start does not try again."""
    cloud.start()
    bridge.configure(mqtt={"client_id": "first", "port": door.port})
    bridge.start()
    bridge.stop()
    door.rule = lambda hello: hello.connack(0x85) if hello.client_id.startswith("first") else None
    door.came.clear()
    restart(bridge, client_id="second")
    waits(client, "m")
    assert client.wait_result("m")["state"] == "delivered"
    eventually(lambda: 'the session of "first" is given up' in bridge.said(), 60, what="it is given up")
    eventually(lambda: 'the session of "first-control" is given up' in bridge.said(), 60, what="both")
    assert "mqtt.client_id" in next(line for line in bridge.said().splitlines() if '"first" is given' in line)
    assert door.came["first"] <= 10
    bridge.stop()
    door.came.clear()
    bridge.start()
    assert door.came["first"] == 0


@pytest.mark.slow
def test_a_broker_that_is_away_costs_no_tries(
    bridge: BridgeProcess, mosquitto: Mosquitto, client: Client, cloud: Cloud
) -> None:
    """What waits for the earlier id is fetched when it is back, however long that takes."""
    cloud.start()
    bridge.configure(mqtt={"client_id": "first"})
    bridge.start()
    bridge.stop()
    waits(client, "m")
    mosquitto.stop()
    bridge.configure(log={"level": "debug"}, mqtt={"client_id": "second"})
    bridge.start(wait=False)
    eventually(lambda: bridge.said().count("earlier session: ") >= 12, 60, what="it is tried often")
    mosquitto.start()
    client.wait_connected()
    assert client.wait_result("m", 30)["state"] == "delivered"
    ended(bridge, "first")


@pytest.mark.parametrize("protocol", [5, "3.1.1"])
def test_another_boxs_session_is_left_alone(
    keeper: Keeper, tmp_path: Path, mosquitto: Mosquitto, client: Client, cloud: Cloud, protocol: object
) -> None:
    """Two boxes had one id; the one that gets its own takes nothing of the other's with it.

    It had the session to itself when it was stopped: the other was off by then.
    """
    cloud.start()
    one, two = (BridgeProcess(keeper, tmp_path / name, mosquitto, cloud.port) for name in ("one", "two"))
    for box in (one, two):
        box.configure(mqtt={"client_id": "the-same", "protocol": protocol})
        box.start(wait=False)
    named = 'another client uses the client id "the-same"'
    eventually(lambda: named in two.said(), 60, what="the log names the cause")
    one.stop()
    eventually(lambda: two.queue("stats")["broker"]["connected"], 60, what="the other has the session")
    two.stop()
    waits(client, "for-one")
    restart(two, client_id="its-own")
    eventually(lambda: 'session of the client id "the-same" is left' in two.said(), what="it is left")
    assert present(mosquitto.port, "the-same")


def moved(bridge: BridgeProcess) -> None:
    """Make the outbox one that came from another machine."""
    with closing(sqlite3.connect(bridge.store)) as store, store:
        assert store.execute("UPDATE meta SET value = 'elsewhere' WHERE key = 'machine'").rowcount == 1


def test_a_store_from_another_machine_is_noticed(bridge: BridgeProcess) -> None:
    """Said once, with the key; the id stays, as the machine may have been replaced."""
    bridge.start()
    bridge.stop()
    moved(bridge)
    for _ in range(2):
        bridge.start()
        bridge.stop()
    assert bridge.said().count("the outbox was made on another machine") == 1
    assert "mqtt.client_id" in bridge.said()
    assert bridge.said().count("session resumed") == 2


def test_a_copied_box_that_gets_its_own_id_leaves_the_others_session(
    bridge: BridgeProcess, mosquitto: Mosquitto
) -> None:
    """Set before the first start on the second box: nothing of the first one's is taken."""
    bridge.configure(mqtt={"client_id": "the-same"})
    bridge.start()
    bridge.stop()
    moved(bridge)
    restart(bridge, client_id="its-own")
    assert 'session of the client id "the-same" is left' in bridge.said()
    assert present(mosquitto.port, "the-same")


def test_another_broker_is_no_lost_session(
    bridge: BridgeProcess, keeper: Keeper, tmp_path: Path, cloud: Cloud
) -> None:
    """A broker elsewhere never had the session; nothing is said to be lost."""
    bridge.start()
    bridge.stop()
    other = Mosquitto(keeper, tmp_path / "other")
    other.lines = (f"listener {other.port} 127.0.0.2",)
    other.start()
    bridge.broker = other
    restart(bridge, host="127.0.0.2", port=other.port)
    assert "lost our session" not in bridge.said()
