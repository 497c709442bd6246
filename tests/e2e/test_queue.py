"""Ids, priorities, lanes, deadlines, bounds: what the outbox promises about order and about endings."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually


def pause(client: Client, name: str = "pause") -> None:
    """Pause sending and wait until it is so."""
    client.publish("hologram/queue/set", f'{{"command": "pause", "id": "{name}"}}')
    assert client.wait_result(name)["state"] == "done"


def queued(client: Client, number: int) -> None:
    """Wait until the bridge has told of ``number`` messages in all that it took in."""
    client.wait_for(lambda: len(client.events("message.queued")) >= number, what=f"{number} are queued")


def test_a_chosen_id_is_sent_once_across_a_restart(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """The same id again, whatever its payload, is not sent; its final result is reported again."""
    bridge.start()
    client.send({"data": "first", "topics": ["a"], "id": "one"})
    client.publish("hologram/out/b", b"while it waits", user={"id": "one"})
    queued(client, 1)
    bridge.kill()
    bridge.start()
    client.send({"data": "after the crash", "id": "one"})
    cloud.start()
    first = client.wait_result("one", 20)
    bridge.stop()
    bridge.start()
    client.publish("hologram/out/c", b"after it was sent", user={"id": "one"})
    client.wait_for(lambda: len(client.results("one")) == 2, what="the result again")
    assert client.results("one") == [first, first]
    assert cloud.payloads() == [b"first"]


def test_a_rejected_id_reports_its_result_again(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """An id whose message was rejected at the cloud stays rejected."""
    cloud.start("--fault", "code8:1")
    bridge.start()
    for number in (1, 2):
        client.send({"data": "x", "id": "one"})
        client.wait_results(number)
    assert [(each["state"], each["code"]) for each in client.results("one")] == [("rejected", 8)] * 2
    assert len(cloud.arrived) == 1


def test_high_goes_before_normal_before_low(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Queued while paused in the worst order, they leave by priority, and in order within each."""
    cloud.start()
    bridge.configure(cloud={"parallel": 1}, routes=[{"match": "alarms/#", "priority": "high"}])
    bridge.start()
    pause(client)
    for number in range(3):
        client.publish(f"hologram/out/l{number}", b"low", user={"priority": "low"})
    for number in range(3):
        client.publish(f"hologram/out/n{number}", b"normal")
    client.publish("hologram/out/alarms/fire", b"high")
    client.publish("hologram/out/l0", b"high", user={"priority": "high"})
    queued(client, 8)
    assert client.wait_health("paused")["queue"]["paused"] is True
    client.publish("hologram/queue/set", b"resume")
    client.wait_for(lambda: len(client.events("message.sent")) == 8)
    assert cloud.payloads() == [b"high"] * 2 + [b"normal"] * 3 + [b"low"] * 3
    assert [each.topics[0] for each in cloud.arrived] == [
        "alarms/fire", "l0", "n0", "n1", "n2", "l0", "l1", "l2",
    ]  # fmt: skip


def test_the_pause_holds_across_a_restart(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Paused, stopped and started: still paused, until it is resumed."""
    cloud.start()
    bridge.start()
    pause(client)
    client.publish("hologram/out/a", b"x")
    queued(client, 1)
    bridge.stop()
    bridge.start()
    assert bridge.queue("stats")["queue"]["paused"] is True
    assert cloud.arrived == []
    client.publish("hologram/queue/set", b'{"command": "resume", "id": "go"}')
    assert client.wait_result("go")["state"] == "done"
    client.wait_for(lambda: client.events("message.sent"))


def test_order_within_a_lane_holds_under_faults(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Internal errors at every 7th request: each topic's messages are still accepted in their order."""
    cloud.start("--fault", "code6:7")
    bridge.start()
    topics = [f"t{number}" for number in range(8)]
    client.flood((f"hologram/out/{topic}", f"{number}") for number in range(12) for topic in topics)
    client.wait_for(lambda: len(client.results()) == 96, 60)
    assert {each["state"] for each in client.results()} == {"delivered"}
    assert max(each["attempts"] for each in client.results()) > 1
    for topic in topics:
        payloads = [int(each.payload) for each in cloud.accepted if each.topics == (topic,)]
        assert payloads == list(range(12))


class Closing:
    """A peer that takes connections and closes them without a word, counting how many live at once."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.opened: list[float] = []
        self.at_once: list[int] = []
        self._open = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with self._lock:
                    self._open += 1
                    self.opened.append(time.monotonic())
                    self.at_once.append(self._open)
                threading.Timer(0.1, self._close, (connection,)).start()

    def _close(self, connection: socket.socket) -> None:
        with self._lock:
            self._open -= 1
        with contextlib.suppress(OSError):
            connection.recv(65536, socket.MSG_DONTWAIT)
        connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def closing(cloud: Cloud, keeper: Keeper) -> Iterator[Closing]:
    """Stands where the cloud should be."""
    peer = Closing(cloud.port)
    yield peer
    peer.close()


def test_one_message_probes_a_destination_that_is_down(
    bridge: BridgeProcess, closing: Closing, client: Client
) -> None:
    """100 lanes wait: after the first few failures one connection at a time is tried, ever more rarely."""
    bridge.start()
    client.flood((f"hologram/out/t{number}", b"x") for number in range(100))
    client.wait_health("degraded")
    eventually(lambda: len(closing.opened) >= 7, 30)
    assert max(closing.at_once[8:], default=1) == 1
    since = time.monotonic() - closing.opened[0]
    assert len(closing.opened) < 8 + 12 + since, "not each of them probes"
    assert client.health()["destinations"][0]["condition"] == "down"
    assert bridge.queue("stats")["queue"]["messages"] == 100


def test_a_deadline_passes_while_the_cloud_is_down(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """What is past its deadline ends as ``expired`` and is never sent, what has none waits on."""
    bridge.start()
    for number in range(5):
        client.send({"data": "late", "topics": ["a"], "id": f"e{number}", "expires": "1s"})
    client.send({"data": "kept", "topics": ["a"], "id": "kept", "expires": "1h"})
    for number in range(5):
        result = client.wait_result(f"e{number}", 8)
        assert (result["state"], result["code"]) == ("expired", None)
    cloud.start()
    assert client.wait_result("kept", 20)["state"] == "delivered"
    assert cloud.payloads() == [b"kept"]


def test_a_deadline_that_passes_while_the_bridge_is_down_counts(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """Time goes on without the bridge."""
    bridge.start()
    client.send({"data": "late", "id": "late", "expires": "1s"})
    queued(client, 1)
    bridge.kill()
    since = time.monotonic()
    eventually(lambda: time.monotonic() - since > 1.2, 3)
    cloud.start()
    bridge.start()
    assert client.wait_result("late")["state"] == "expired"
    assert cloud.arrived == []


def test_attempts_run_out_where_a_route_bounds_them(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """``max_attempts: 2``: two requests, then ``failed``; the next message of the lane has its own two."""
    cloud.start("--fault", "code6:1")
    bridge.configure(routes=[{"match": "few/#", "max_attempts": 2}])
    bridge.start()
    for name in ("one", "two"):
        client.publish("hologram/out/few/a", name, user={"id": name})
    for name in ("one", "two"):
        result = client.wait_result(name, 40)
        assert (result["state"], result["code"], result["attempts"]) == ("failed", 6, 2)
        assert result["bytes_up"] > 400, "both attempts count"
    assert [each.payload for each in cloud.arrived] == [b"one"] * 2 + [b"two"] * 2
    assert [each["id"] for each in client.events("message.failed")] == ["one", "two"]


def test_a_full_outbox_rejects_the_new(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """``when_full: reject``: what does not fit is ``dropped`` with its result, what is in stays."""
    cloud.start()
    bridge.configure(store={"max_messages": 5})
    bridge.start()
    pause(client)
    for number in range(8):
        client.send({"data": str(number), "topics": ["a"], "id": f"m{number}"})
    for number in (5, 6, 7):
        assert client.wait_result(f"m{number}")["state"] == "dropped"
    client.publish("hologram/queue/set", b"resume")
    client.wait_result("m4")
    assert cloud.payloads() == [b"0", b"1", b"2", b"3", b"4"]
    client.send({"data": "again", "topics": ["a"], "id": "m5"})
    client.wait_for(lambda: len(client.results("m5")) == 2)
    assert client.results("m5")[1]["state"] == "delivered", "nothing was taken, so its id is free"


def test_a_full_outbox_drops_the_oldest_of_the_lowest_priority(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """``when_full: drop_oldest``: low goes first, oldest first, and a low one never displaces a high one."""
    cloud.start()
    bridge.configure(store={"max_messages": 4, "when_full": "drop_oldest"}, cloud={"parallel": 1})
    bridge.start()
    pause(client)
    for name, priority in (
        ("h0", "high"), ("l0", "low"), ("n0", "normal"), ("l1", "low"),
        ("h1", "high"), ("h2", "high"), ("h3", "high"), ("l2", "low"),
    ):  # fmt: skip
        client.send({"data": name, "topics": [name], "id": name, "priority": priority})
    client.wait_for(lambda: len(client.events("message.dropped")) == 4)
    assert [each["id"] for each in client.events("message.dropped")] == ["l0", "l1", "n0", "l2"]
    assert {client.wait_result(name)["state"] for name in ("l0", "l1", "n0", "l2")} == {"dropped"}
    client.publish("hologram/queue/set", b"resume")
    client.wait_result("h3")
    assert cloud.payloads() == [b"h0", b"h1", b"h2", b"h3"]


def test_bytes_bound_the_outbox_too(bridge: BridgeProcess, client: Client) -> None:
    """``max_bytes``: the message that would exceed it is dropped, a smaller one fits."""
    bridge.configure(store={"max_bytes": 10_000})
    bridge.start()
    for name, size in (("a", 6000), ("b", 6000), ("c", 4000), ("d", 20_000)):
        client.publish(f"hologram/out/{name}", b"x" * size, user={"id": name})
    assert client.wait_result("b")["state"] == "dropped"
    assert client.wait_result("d")["state"] == "rejected", "it would not fit into an empty one either"
    assert {each["id"] for each in bridge.queue("list")["messages"]} == {"a", "c"}


def test_purge_gives_every_message_its_result(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """1,200 queued messages, purged by JSON with an id: each is ``dropped``, the command is ``done``."""
    bridge.start()
    pause(client)
    client.flood((f"hologram/out/t{number % 7}", str(number)) for number in range(1200))
    queued(client, 1200)
    client.publish("hologram/queue/set", b'{"command": "purge", "id": "sweep"}')
    result = client.wait_result("sweep")
    assert (result["channel"], result["state"]) == ("queue", "done")
    assert "1200" in result["description"]
    client.wait_for(lambda: len(client.results()) == 1202)
    dropped = [each["id"] for each in client.results() if each["state"] == "dropped"]
    assert sorted(dropped) == sorted(each["id"] for each in client.events("message.queued"))
    assert bridge.queue("stats")["queue"] | {"paused": None} == {
        "messages": 0, "bytes": 0, "by_channel": {"cloud": {"high": 0, "normal": 0, "low": 0}},
        "oldest_age": None, "under_way": 0, "paused": None, "held": {},
    }  # fmt: skip
    cloud.start()
    client.publish("hologram/queue/set", b"resume")
    client.publish("hologram/out/t", b"next", user={"id": "next"})
    assert client.wait_result("next")["state"] == "delivered"
    assert cloud.payloads() == [b"next"]


def test_flush_tries_everything_now(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """A channel that waits 5 minutes for its credentials tries at once when it is told to."""
    cloud.start("--devicekey", "otherkey")
    bridge.start()
    client.publish("hologram/out/a", b"x", user={"id": "m"})
    client.wait_for(lambda: client.events("cloud.auth_failed"))
    cloud.stop()
    cloud.start()
    client.publish("hologram/queue/set", b'{"command": "flush", "id": "flush"}')
    assert client.wait_result("flush")["state"] == "done"
    assert client.wait_result("m", 5)["state"] == "delivered"
    client.wait_health("ok")


def test_wrong_credentials_hold_the_channel_and_lose_nothing(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """Code 3: one request, no result, an event and health say it; with the right key all is delivered."""
    cloud.start()
    bridge.configure(credentials={"devicekey": "wrongkey"}, cloud={"parallel": 1})
    bridge.start()
    for number in range(6):
        client.publish(f"hologram/out/t{number}", str(number), user={"id": f"m{number}"})
    queued(client, 6)
    client.wait_for(lambda: client.events("cloud.auth_failed"))
    health = client.wait_health("auth_failed")
    assert "credentials" in health["last_error"]["description"]
    assert health["destinations"][0]["condition"] == "held"
    assert bridge.queue("stats")["queue"]["messages"] == 6
    assert client.results() == []
    assert len(cloud.arrived) == 1
    assert "wrongkey" not in bridge.said()
    bridge.stop()
    bridge.configure(credentials={"devicekey": "abcd1234"})
    bridge.start()
    for number in range(6):
        result = client.wait_result(f"m{number}")
        assert (result["state"], result["attempts"]) == ("delivered", 1), "a hold uses up no attempts"
    assert sorted(cloud.payloads()) == [b"0", b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize("command", ["connect", "disconnect", "reconnect", "reset", "radio_on", "radio_off"])
def test_a_network_command_fails_where_nothing_is_managed(
    bridge: BridgeProcess, client: Client, command: str
) -> None:
    """Plain and as JSON with an id: ``failed`` on the channel ``network``, with a reason."""
    bridge.start()
    client.publish("hologram/network/set", command)
    client.publish("hologram/network/set", f'{{"command": "{command}", "timeout": 5, "id": "net"}}')
    client.wait_result("net")
    assert [(each["channel"], each["state"]) for each in client.results()] == [("network", "failed")] * 2
    assert "network.interface" in client.results()[0]["description"]


# -- the command line ------------------------------------------------------------------------------------


@pytest.mark.parametrize("running", [True, False])
def test_the_queue_commands(bridge: BridgeProcess, cloud: Cloud, client: Client, running: bool) -> None:
    """``stats``, ``list``, ``retry`` and ``purge`` do the same through the daemon and on the file."""
    bridge.start()
    pause(client)
    for number in range(3):
        client.send({"data": "abc", "topics": ["a", "b"], "id": f"m{number}", "priority": "low"})
    queued(client, 3)
    if not running:
        bridge.stop()
    stats = bridge.queue("stats")
    assert (stats["queue"]["messages"], stats["queue"]["bytes"], stats["queue"]["paused"]) == (3, 9, True)
    assert stats["queue"]["by_channel"]["cloud"] == {"high": 0, "normal": 0, "low": 3}
    listed = bridge.queue("list", "--limit", "2")["messages"]
    assert [(each["id"], each["topics"], each["priority"], each["bytes"]) for each in listed] == [
        ("m0", ["a", "b"], "low", 3),
        ("m1", ["a", "b"], "low", 3),
    ]
    shown = bridge.run("queue", "list")
    assert (shown.returncode, shown.stderr, shown.stdout.count("\n")) == (0, "", 3)
    assert "abc" not in shown.stdout, "payloads are nobody's business"
    assert bridge.run("queue", "retry").returncode == 1, "sending is paused"
    assert bridge.queue("purge") == {"purged": 3}
    assert bridge.queue("stats")["queue"]["messages"] == 0
    assert bridge.run("queue", "list").stdout == "nothing is queued\n"
    if not running:
        bridge.start()
    for number in range(3):
        assert client.wait_result(f"m{number}")["state"] == "dropped"


def test_a_paused_queue_names_the_topic_that_resumes_it(bridge: BridgeProcess, client: Client) -> None:
    """The one that this bridge listens to, whatever its prefix is."""
    bridge.configure(mqtt={"prefix": "site/box"})
    bridge.start()
    client.publish("site/box/queue/set", "pause")
    eventually(lambda: bridge.queue("stats")["queue"]["paused"], what="sending is paused")
    shown = bridge.run("queue", "stats")
    assert "sending is paused (site/box/queue/set resume)" in shown.stdout.splitlines()


@pytest.mark.parametrize("limit", ["0", "-1", "many", "9223372036854775808", "9" * 5000])
def test_a_limit_that_is_none_is_refused_with_what_is_allowed(bridge: BridgeProcess, limit: str) -> None:
    """One line, before anything is asked; exit code 2."""
    done = bridge.run("queue", "list", f"--limit={limit}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.rstrip().endswith(
        f"argument --limit: '{limit}' is not allowed; allowed is a whole number from 1 to 1000000000"
    )


def test_a_store_that_is_a_folder_is_said(bridge: BridgeProcess) -> None:
    """By the daemon and on the file: which key it is, and what to put there."""
    bridge.store.mkdir(parents=True)
    said = f"store.path: {bridge.store} is a folder; name a file, as {bridge.store}/outbox.db"
    for command in (["run"], ["queue", "list"]):
        done = bridge.run(*command)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"hologram-bridge: {said}\n")


def test_retry_of_the_command_line_tries_at_once(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """A held channel tries again when ``queue retry`` says so."""
    cloud.start("--devicekey", "otherkey")
    bridge.start()
    client.publish("hologram/out/a", b"x", user={"id": "m"})
    client.wait_for(lambda: client.events("cloud.auth_failed"))
    cloud.stop()
    cloud.start()
    assert bridge.run("queue", "retry").returncode == 0
    assert client.wait_result("m", 5)["state"] == "delivered"


def test_a_second_daemon_on_the_same_store_is_refused(
    keeper: Keeper, bridge: BridgeProcess, mosquitto: Mosquitto, cloud: Cloud, client: Client, tmp_path: Path
) -> None:
    """It ends with 1 and one line that says so, and the first one goes on."""
    cloud.start()
    bridge.start()
    second = BridgeProcess(keeper, tmp_path / "second", mosquitto, cloud.port)
    second.configure(store={"path": str(bridge.store)}, mqtt={"client_id": "second"})
    second.start(wait=False)
    assert second.wait() == 1
    lines = second.said().splitlines()
    assert len(lines) == 1, lines
    assert str(bridge.store) in lines[0]
    assert "another" in lines[0]
    client.publish("hologram/out/a", b"x", user={"id": "m"})
    assert client.wait_result("m")["state"] == "delivered"
    assert bridge.queue("stats")["results"]["delivered"] == 1


def test_the_queue_commands_say_what_is_wrong(bridge: BridgeProcess) -> None:
    """Where there is no outbox yet: exit 1 and one line, no traceback."""
    done = bridge.run("queue", "stats")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert str(bridge.store) in done.stderr


@pytest.mark.root
def test_root_follows_no_link_that_the_bridges_user_has_put_there(bridge: BridgeProcess) -> None:
    """Without a daemon `queue` acts as the owner of the outbox's folder: root's files stay out of reach."""
    elsewhere = bridge.store.parent.parent / "roots"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / "file").write_text("root's")
    (elsewhere / "file").chmod(0o600)
    folder = bridge.store.parent
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, target in (("", "file"), (".lock", "made"), (".reserve", "file")):
        bridge.store.with_name(f"{bridge.store.name}{suffix}").symlink_to(elsewhere / target)
    os.chown(folder, 12345, 12345)
    done = bridge.run("queue", "stats")
    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    assert [each.name for each in elsewhere.iterdir()] == ["file"]
    assert (elsewhere / "file").read_text() == "root's"
    assert (elsewhere / "file").stat().st_mode & 0o777 == 0o600
