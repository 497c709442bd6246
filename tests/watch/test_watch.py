"""``hologram-bridge watch``: a real broker, daemon and terminal; the cloud is simulated."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, Process, eventually, free_port
from tests.harness.process import ROOT
from tests.harness.terminal import Terminal

WATCH = [sys.executable, "-m", "bridge", "watch"]
RESULT: dict[str, Any] = {
    "id": "a", "channel": "cloud", "to": None, "topics": ["t"], "state": "delivered", "code": 0,
    "description": "", "attempts": 1, "queued_at": "2026-01-01T00:00:00.000Z",
    "finished_at": "2026-01-01T00:00:01.500Z", "bytes_up": 10, "bytes_down": 20,
}  # fmt: skip
HEALTH: dict[str, Any] = {
    "state": "ok", "at": "2026-01-01T00:00:02.000Z",
    "queue": {"messages": 3, "oldest_age": 12.0},
    "bytes": {"today": {"up": 5000, "down": 2500}}, "uptime": 90.0, "memory": 50_000_000,
    "destinations": [{"channel": "cloud", "to": None, "condition": "up", "reason": None}],
}  # fmt: skip


class Lines(Process):
    """A watch without a terminal; its lines are in the log."""

    def __init__(self, keeper: Keeper, folder: Path, *options: str) -> None:
        super().__init__("watch", folder / "watch.log")
        keeper.keep(self)
        self.launch([*WATCH, *options])

    def until(self, pattern: str, *, after: int = 0) -> int:
        """Wait for a line that matches, from ``after`` on; return where it ends."""

        def found() -> re.Match[str] | None:
            assert self.running or re.search(pattern, self.said(), re.MULTILINE), self.said()
            return re.compile(pattern, re.MULTILINE).search(self.said(), after)

        match = eventually(found, 30, what=f"{pattern!r} in {self.said()}")
        assert match
        return match.end()


def watch_lines(keeper: Keeper, folder: Path, broker: Mosquitto, *options: str) -> Lines:
    """Start a watch and wait until it is connected."""
    lines = Lines(keeper, folder, "-p", str(broker.port), *options)
    lines.until(r" broker +connected to ")
    return lines


def once(*options: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a watch that ends by itself."""
    return subprocess.run(
        [*WATCH, *options], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False, **more
    )


# -- lines -----------------------------------------------------------------------------------------------


def test_a_messages_life_is_told_without_the_event_of_its_queueing(
    keeper: Keeper, tmp_path: Path, mosquitto: Mosquitto, bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """With the events as installed: how many wait is in the health, the rest in the result."""
    del bridge.settings["mqtt"]["events"]
    bridge.start()
    watch = watch_lines(keeper, tmp_path, mosquitto)
    watch.until(r" bridge +online")
    client.publish("hologram/out/sensors/kitchen", "21.5")
    watch.until(r" health +degraded, cloud is down; 1 queued")
    cloud.start()
    client.publish("hologram/queue/set", "flush")
    watch.until(r" delivered +sensors/kitchen; \d+ attempts?, \d+\.\d\d s, \d+ B up, \d+ B down \(")
    client.publish("hologram/out/kitchen sink", "21.5")
    watch.until(r" rejected +topic: 'kitchen sink' is not allowed")
    assert " queued " not in watch.said()
    os.kill(watch.pid, signal.SIGINT)
    assert watch.wait() == 0
    assert "Traceback" not in watch.said()


def test_a_batch_is_told_with_the_bytes_of_its_one_exchange(
    keeper: Keeper, tmp_path: Path, mosquitto: Mosquitto, bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """As a line and as a row; the shares that the bridge gives its messages add up."""
    bridge.configure(routes=[{"match": "sensors/#", "batch": {"every": "1h", "messages": 5}}])
    cloud.start()
    bridge.start()
    watch = watch_lines(keeper, tmp_path, mosquitto)
    terminal = Terminal(keeper, [*WATCH, "-p", str(mosquitto.port)])
    terminal.shows("● online")
    watch.until(r" bridge +online")
    for number in range(5):
        client.publish(f"hologram/out/sensors/s{number % 2}", f"{number}")
    told = r" batch +sensors/s0, sensors/s1: batch of 5, ([\d.]+) B each, (\d+) B up, (\d+) B down \((.*)\)"
    watch.until(told)
    terminal.shows("sensors/s0, ", "5 at ", " B", "delivered 5")
    client.wait_for(lambda: len(client.results()) == 5, 30, what="5 results")
    results = client.results()
    up, down = (sum(each[way] for each in results) for way in ("bytes_up", "bytes_down"))
    (line,) = re.findall(told, watch.said())
    assert line == (f"{(up + down) / 5:.1f}", str(up), str(down), results[0]["batch"]["id"])
    assert watch.said().count(f" in batch {line[3]}\n") == 5


def test_with_payloads_the_commands_are_shown_and_what_is_in_the_messages(
    keeper: Keeper, tmp_path: Path, mosquitto: Mosquitto, bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """Those that send nothing too, which are no messages; without the option none is read."""
    cloud.start()
    bridge.start()
    watch = watch_lines(keeper, tmp_path, mosquitto, "--payloads")
    second = tmp_path / "second"
    second.mkdir()
    without = watch_lines(keeper, second, mosquitto)
    watch.until(r" bridge +online")
    client.publish("hologram/out/a", "21.5")
    watch.until(r" in +hologram/out/a 21\.5$")
    watch.until(r" delivered +a 21\.5; 1 attempt")
    for topic, payload in [("budget/set", "reset"), ("quote", '{"data":"1"}'), ("queue/set", "flush")]:
        client.publish(f"hologram/{topic}", payload)
        watch.until(rf" in +hologram/{topic} {re.escape(payload)}$")
    watch.until(r" done +quote: ")
    without.until(r" done +quote: ")
    without.until(r" delivered +a; 1 attempt")
    assert " in " not in without.said()


def test_it_leaves_no_trace_at_the_broker_and_does_not_disturb_the_bridge(
    keeper: Keeper, tmp_path: Path, bridge: BridgeProcess, cloud: Cloud, mosquitto: Mosquitto, client: Client
) -> None:
    """A client id of its own even with the bridge's configuration; a clean session; nothing is published."""
    bridge.configure(mqtt={"client_id": "the-box"})
    cloud.start()
    bridge.start()
    watch = Lines(keeper, tmp_path, "-c", str(bridge.config))
    watch.until(r" bridge +online")
    client.publish("hologram/out/a", "1")
    watch.until(r" delivered +a;")
    watch.stop()
    said = mosquitto.said()
    (mine,) = re.findall(r"as (hologram-watch-\w{8}) \((.*?)\)", said)
    assert mine[1].startswith("p5, c1, ")  # clean start
    assert re.search(f"Client {mine[0]} .*disconnected", said)
    assert "already connected" not in said  # nobody was thrown out
    assert said.count("as the-box (") == 1


def test_a_broker_that_goes_and_comes_back_is_survived(
    keeper: Keeper, tmp_path: Path, mosquitto: Mosquitto, bridge: BridgeProcess, cloud: Cloud
) -> None:
    """With a word each; the bridge's state is told anew."""
    cloud.start()
    bridge.start()
    watch = watch_lines(keeper, tmp_path, mosquitto)
    seen = watch.until(r" bridge +online")
    mosquitto.kill()
    seen = watch.until(r" broker +.*; it is tried again$", after=seen)
    mosquitto.start()
    seen = watch.until(r" broker +connected to ", after=seen)
    watch.until(r" bridge +online", after=seen)
    assert watch.running


def test_a_bridge_that_is_offline_is_said_so(
    keeper: Keeper, tmp_path: Path, mosquitto: Mosquitto, bridge: BridgeProcess
) -> None:
    """By its retained state, and when it stops or is killed."""
    bridge.start()
    watch = watch_lines(keeper, tmp_path, mosquitto)
    seen = watch.until(r" bridge +online")
    bridge.stop()
    seen = watch.until(r" bridge +offline", after=seen)
    bridge.start()
    seen = watch.until(r" bridge +online", after=seen)
    bridge.kill()
    watch.until(r" bridge +offline", after=seen)
    second = tmp_path / "second"
    second.mkdir()
    watch_lines(keeper, second, mosquitto).until(r" bridge +offline")


def test_where_no_bridge_is_heard_it_says_what_may_be_the_reason(
    keeper: Keeper, tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """A wrong prefix looks the same as a user who may not read."""
    watch = watch_lines(keeper, tmp_path, mosquitto, "--prefix", "hologran")
    watch.until(r" bridge +the broker has no hologran/bridge/state for us: is the prefix right")


def test_another_prefix_and_mqtt_311(
    keeper: Keeper, tmp_path: Path, mosquitto: Mosquitto, bridge: BridgeProcess
) -> None:
    """Both work as options, and the prefix from the configuration too."""
    bridge.configure(mqtt={"prefix": "box/7"})
    bridge.start()
    watch_lines(keeper, tmp_path, mosquitto, "--prefix", "box/7", "-V", "311").until(r" bridge +online")
    assert re.search(r"as hologram-watch-\w{8} \(p2, c1, ", mosquitto.said())
    second = tmp_path / "second"
    second.mkdir()
    Lines(keeper, second, "-c", str(bridge.config)).until(r" bridge +online")


@pytest.mark.parametrize("version", ["5", "311"])
def test_a_wrong_password_is_one_line(keeper: Keeper, tmp_path: Path, version: str) -> None:
    """It names the options, and ends with 1; the right one works."""
    broker = Mosquitto(keeper, tmp_path / "mosquitto", users={"viewer": "right"})
    broker.start()
    options = ["-p", str(broker.port), "-V", version, "-u", "viewer"]
    done = once(*options, "-P", "wrong")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "the broker refused the connection: Not authorized; check -u and -P" in done.stderr
    assert "wrong" not in done.stderr
    watch_lines(keeper, tmp_path, broker, *options[2:], "-P", "right")


def test_an_unreachable_broker_is_one_line(tmp_path: Path) -> None:
    """Nobody listens, the name does not exist, or what listens is no broker."""
    port = free_port()
    done = once("-h", "127.0.0.1", "-p", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"hologram-bridge: no broker at 127.0.0.1:{port}: Connection refused\n"
    done = once("-h", "no.such.host.invalid")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no broker at no.such.host.invalid:1883: " in done.stderr


def test_a_server_that_is_no_broker_is_one_line(keeper: Keeper, tmp_path: Path) -> None:
    """What it says is no MQTT."""
    port = free_port()
    other = Process("other", tmp_path / "other.log")
    keeper.keep(other)
    other.launch([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"])
    eventually(lambda: "Serving" in other.said() or _listens(port), 20)
    done = once("-h", "127.0.0.1", "-p", str(port))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "Traceback" not in done.stderr


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-p", "0"], "argument -p/--port: '0' is not allowed; 1 to 65535"),
        (["-P", "secret"], "-P needs a user: give -u too"),
        (["--prefix", "a/#"], "--prefix: 'a/#' is not allowed"),
        (["--cert", "x"], "--cert and --key belong together"),
        (["--cafile", "/nowhere"], '--cafile: "/nowhere" is not allowed (No such file or directory)'),
        (["-V", "4"], "invalid choice: '4'"),
    ],
)
def test_wrong_options_are_usage_errors(options: list[str], said: str) -> None:
    """Each names the option, the value and what is allowed; exit code 2."""
    done = once(*options)
    assert done.returncode == 2
    assert said in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_configuration_is_said_as_by_the_other_commands(tmp_path: Path) -> None:
    """One line with the key, exit code 78; a file that is not there."""
    (tmp_path / "bridge.hjson").write_text('{ mqtt: { port: "x" } }')
    done = once("-c", str(tmp_path / "bridge.hjson"))
    assert done.returncode == 78
    assert "mqtt.port" in done.stderr
    assert once("-c", str(tmp_path / "none.hjson")).returncode == 78


def test_a_configuration_that_may_not_be_read_is_one_line(tmp_path: Path) -> None:
    """It says who may read it, for a person who forgot `sudo`; a folder is none."""
    config = tmp_path / "bridge.hjson"
    config.write_text("{}")
    config.chmod(0)
    others = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*others, *WATCH, "-c", str(config)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (78, "", 1)
    assert f"{config}: cannot be read (Permission denied); " in done.stderr
    done = once("-c", str(tmp_path))
    assert (done.returncode, done.stderr) == (
        78, f"hologram-bridge: {tmp_path}: is a directory; name the HJSON file in it\n"
    )  # fmt: skip


def test_a_reader_that_has_enough_ends_it_quietly(mosquitto: Mosquitto, bridge: BridgeProcess) -> None:
    """`hologram-bridge watch | head -1` is no error."""
    bridge.start()
    pipe = f"{sys.executable} -m bridge watch -p {mosquitto.port} | head -1"
    done = subprocess.run(["sh", "-c", pipe], capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_without_rich_it_says_what_to_install(keeper: Keeper, tmp_path: Path, mosquitto: Mosquitto) -> None:
    """One line on a terminal; lines need no rich."""
    (tmp_path / "rich.py").write_text("raise ModuleNotFoundError(\"No module named 'rich'\", name='rich')\n")
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [*WATCH, "-p", str(mosquitto.port)]
    terminal = Terminal(keeper, command, env=env)
    assert terminal.end() == 1
    line = "hologram-bridge: rich is missing; run: pip install 'rich>=13' (or use --plain)"
    assert terminal.text.strip() == line
    lines = Terminal(keeper, [*command, "--plain"], env=env)
    lines.shows("broker    connected to")
    lines.press(b"\x03")
    assert lines.end() == 0


# -- the screen ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (160, 40)])
def test_the_screen_fits_and_ctrl_c_gives_the_terminal_back(
    keeper: Keeper,
    mosquitto: Mosquitto,
    bridge: BridgeProcess,
    cloud: Cloud,
    client: Client,
    size: tuple[int, int],
) -> None:
    """Nothing wraps or scrolls; exit code 0 and no traceback."""
    cloud.start()
    bridge.start()
    terminal = Terminal(keeper, [*WATCH, "-p", str(mosquitto.port)], size)
    terminal.shows("hologram-bridge", "● online")
    for number in range(30):
        client.publish(f"hologram/out/sensors/s{number}", f"{number}")
    terminal.shows("delivered 30", "sensors/s29", "what became of each message")
    lines = terminal.screen
    assert lines[0].startswith(" hologram-bridge")  # the top is still there
    assert len(lines) <= size[1]
    assert all(len(line) <= size[0] for line in lines)
    terminal.press(b"\x03")
    assert terminal.end() == 0
    assert b"\x1b[?1049l" in terminal.raw.partition(b"\x1b[?1049h")[2]
    assert "Traceback" not in terminal.text


def test_a_window_that_changes_its_size_is_drawn_anew(
    keeper: Keeper, mosquitto: Mosquitto, bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """Smaller, larger, and so small that nothing fits; then back."""
    cloud.start()
    bridge.start()
    terminal = Terminal(keeper, [*WATCH, "-p", str(mosquitto.port)], (80, 24))
    terminal.shows("● online")
    client.publish("hologram/out/sensors/kitchen", "21.5")
    terminal.shows("sensors/kitchen", "queued → delivered", "what else happened")
    for width, height in [(40, 12), (100, 30), (12, 3), (80, 24)]:
        terminal.resize(width, height)
        terminal.shows(" hologram-b")
        assert len(terminal.screen) <= height
        assert all(len(line) <= width for line in terminal.screen)
    terminal.shows("sensors/kitchen", "queued → delivered", "what else happened")
    terminal.press(b"\x03")
    assert terminal.end() == 0


def test_the_screen_says_that_the_broker_is_gone_and_that_the_bridge_is_offline(
    keeper: Keeper, mosquitto: Mosquitto, bridge: BridgeProcess
) -> None:
    """In the first line, for as long as it is so."""
    bridge.start()
    terminal = Terminal(keeper, [*WATCH, "-p", str(mosquitto.port)])
    terminal.shows("● online")
    bridge.stop()
    terminal.shows("○ offline")
    mosquitto.stop()
    terminal.shows("○ gone", "○ unknown")
    mosquitto.start()
    terminal.shows("○ offline", f"● 127.0.0.1:{mosquitto.port}")


def test_odd_payloads_neither_end_it_nor_reach_the_terminal(
    keeper: Keeper, tmp_path: Path, mosquitto: Mosquitto, client: Client
) -> None:
    """Odd JSON, escape sequences in every field, figures that are none, bytes that are no text."""
    terminal = Terminal(keeper, [*WATCH, "-p", str(mosquitto.port)], (120, 40))
    terminal.shows("● 127.0.0.1")
    evil = "\x1b]0;evil\x07\x1b[2J\u202e"
    odd: list[tuple[str, Any]] = [
        ("result", {**RESULT, "id": evil, "topics": [evil], "state": evil, "description": evil}),
        ("result", {**RESULT, "id": "big", "bytes_up": 10**400, "attempts": float("inf")}),
        ("result", {**RESULT, "id": "b", "batch": {"id": evil, "messages": float("nan")}}),
        ("result", {**RESULT, "id": "c", "batch": [1]}),
        ("result", {**RESULT, "id": "d", "queued_at": "9999-12-31T23:59:59-23:59"}),
        ("bridge/health", {**HEALTH, "uptime": float("inf"), "memory": float("nan")}),
        ("bridge/health", {**HEALTH, "state": evil, "budget": {evil: {"limit": 1, "left": 1, "holds": 1}}}),
        ("bridge/health", {**HEALTH, "budget": 5, "cost": {"today": float("inf")}}),
        ("network/status", {"state": evil, "operator": evil, "technology": None, "local_ip": None,
                            "error": evil, "signal": {"rssi_dbm": evil}}),
        ("network/status", {"state": "connected", "operator": evil, "technology": [], "local_ip": 1,
                            "error": None, "signal": 5}),
        ("bridge/info", {"version": evil}),
        ("event", {"event_type": evil, "at": evil}),
        ("event", {"event_type": "message.queued", "id": evil, "at": RESULT["queued_at"], "channel": evil}),
    ]  # fmt: skip
    for topic, value in odd:
        client.publish(f"hologram/{topic}", json.dumps(value))
    for payload in (b"\xff\xfe", b"", b"[" * 50_000, b"\x1b[2J", b"{" * 3):
        for topic in {topic for topic, _ in odd} | {"bridge/state", "in", "in/sms"}:
            client.publish(f"hologram/{topic}", payload)
    client.publish("hologram/result", json.dumps({**RESULT, "id": "last", "topics": ["the-end"]}))
    terminal.shows("the-end")
    terminal.press(b"\x03")
    assert terminal.end() == 0
    assert b"\x1b]" not in terminal.raw
    assert b"\x07" not in terminal.raw
    assert "\u202e" not in terminal.raw.decode(errors="replace")


def test_what_came_in_one_batch_is_shown_together(
    keeper: Keeper, tmp_path: Path, mosquitto: Mosquitto, client: Client
) -> None:
    """On the screen one row with bytes a reading; as lines each message, then the batch."""
    terminal = Terminal(keeper, [*WATCH, "-p", str(mosquitto.port)], (120, 30))
    terminal.shows("● 127.0.0.1")
    lines = watch_lines(keeper, tmp_path, mosquitto)
    for number in range(10):
        batch = {"id": "b-1", "messages": 10}
        up = 40 if number else 47
        told = {**RESULT, "id": f"m{number}", "bytes_up": up, "bytes_down": 10, "batch": batch}
        told["topics"] = [("a", "b")[number % 2]]
        client.publish("hologram/result", json.dumps(told))
    lines.until(r" delivered +a; 1 attempt, 1\.50 s, 47 B up, 10 B down \(m0\) in batch b-1$")
    lines.until(r" batch +a, b: batch of 10, 50\.7 B each, 407 B up, 100 B down \(b-1\)$")
    text = terminal.shows("10 at 50.7 B each in", "407/100", "delivered 10", "a, b")
    assert text.count("queued → delivered") == 1


@pytest.mark.parametrize(
    ("up", "down", "each", "both"),
    [(90, 10, "10 at 100.0 B", "900/100"), (4112, 231, "10 at 4343.0 B", " 41k/2310"),
     (100_000, 5000, "10 at 105000.", "1M/50k")],
)  # fmt: skip
def test_at_80_columns_the_figures_of_a_batch_are_whole(
    keeper: Keeper, mosquitto: Mosquitto, client: Client, up: int, down: int, each: str, both: str
) -> None:
    """Bytes a reading before the words, and both ways in the room that there is, in one line."""
    terminal = Terminal(keeper, [*WATCH, "-p", str(mosquitto.port)], (80, 24))
    terminal.shows("● 127.0.0.1")
    for number in range(10):
        told = {**RESULT, "id": f"m{number}", "bytes_up": up, "bytes_down": down, "topics": ["sensors/s"]}
        client.publish("hologram/result", json.dumps({**told, "batch": {"id": "b-1", "messages": 10}}))
    text = terminal.shows("delivered 10", each)
    (row,) = (line for line in text.splitlines() if "sensors/s" in line)
    assert each in row
    assert row.endswith(both)


def test_data_left_and_cost_are_shown_where_the_bridge_tells_them(
    keeper: Keeper, mosquitto: Mosquitto, client: Client
) -> None:
    """And nothing is shown where it does not."""
    terminal = Terminal(keeper, [*WATCH, "-p", str(mosquitto.port)], (90, 24))
    client.publish("hologram/bridge/health", json.dumps(HEALTH), retain=True)
    client.publish("hologram/bridge/state", "online", retain=True)
    text = terminal.shows("queued 3", "↑5.0 ↓2.5 kB today", "cloud ● up")
    assert "left" not in text
    assert "cost" not in text
    told = {
        **HEALTH,
        "budget": {
            "day": {"limit": 20_000, "use": 12_000, "left": 8000, "percent": 60, "holds": False},
            "sms_day": {"limit": 5, "use": 5, "left": 0, "percent": 100, "holds": True},
        },
        "cost": {"today": 0.012, "month": 1.5, "currency": "EUR"},
    }
    client.publish("hologram/bridge/health", json.dumps(told), retain=True)
    terminal.shows("day 8.0 of 20.0 kB left · 0.0120 EUR today, 1.50 this month · SMS day 0 of 5 left, held")


# -- a broker that does not behave -----------------------------------------------------------------------


def _answering(*answers: bytes) -> tuple[int, socket.socket]:
    """Listen as a broker that says each of ``answers`` to one connection, the last to all others."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        said = list(answers)
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(1000)
                    connection.sendall(said.pop(0) if len(said) > 1 else said[0])
                    while answers[-1] == b"" and connection.recv(1000):
                        pass

    threading.Thread(target=serve, daemon=True).start()
    return server.getsockname()[1], server


@pytest.mark.parametrize(
    "garbage",
    [b"\x30\x05\x00\xffabc", b"\x30\x02\xff\xff", b"\x90\x01\x00", b"\xf0\x00", b"\x30\xff\xff\xff\xff\x7f"],
    ids=["topic", "length", "suback", "auth", "size"],
)
def test_packets_that_cannot_be_read_end_the_connection_and_not_the_watch(
    keeper: Keeper, tmp_path: Path, garbage: bytes
) -> None:
    """It says so, and connects again, at a pace."""
    port, server = _answering(b"\x20\x03\x00\x00\x00" + garbage)
    watch = Lines(keeper, tmp_path, "-h", "127.0.0.1", "-p", str(port))
    seen = watch.until(r" broker +the broker at 127\.0\.0\.1:\d+ .*; it is tried again$")
    watch.until(r" broker +connected to ", after=seen)
    assert watch.running
    assert "Traceback" not in watch.said()
    server.close()


def test_a_server_that_never_answers_is_one_line() -> None:
    """After the time that a broker may take."""
    port, server = _answering(b"")
    done = once("-h", "127.0.0.1", "-p", str(port))
    assert (done.returncode, done.stderr) == (
        1,
        f"hologram-bridge: the broker at 127.0.0.1:{port} did not answer within 10 s\n",
    )
    server.close()


def test_a_person_who_stops_the_output_does_not_fill_the_memory(mosquitto: Mosquitto, client: Client) -> None:
    """As Ctrl-S does: it reads on, keeps a bounded part, and says afterwards what is missing."""
    command = [*WATCH, "-p", str(mosquitto.port), "--plain"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as watch:
        assert watch.stdout
        assert "connected to" in watch.stdout.readline()
        for _ in range(2500):
            client.publish("hologram/in", b"x" * 40_000, qos=0, wait=False)
        client.publish("hologram/in", b"last", timeout=120)
        held = int(Path(f"/proc/{watch.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        assert held < 120_000_000
        missed = next(line for line in watch.stdout if "came too fast" in line)
        assert int(re.findall(r"odd +(\d+) messages", missed)[0]) > 100
        watch.send_signal(signal.SIGINT)
        watch.stdout.read()
    assert watch.returncode == 0
