"""The Prometheus endpoint."""

import contextlib
import socket
import urllib.error
import urllib.request

import pytest

from bridge.adapters.system.metrics import CONNECTIONS
from bridge.core.messages import State
from tests.harness import BridgeProcess, Client, Cloud, free_port


def get(port: int, path: str) -> str:
    """Return what ``path`` answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return str(answer.read().decode())


def samples(text: str) -> dict[str, float]:
    """Return the samples of an exposition by name and labels."""
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_metrics_show_the_figures_of_health(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Depth, results, bytes and memory are there with the values that health has."""
    cloud.start()
    port = free_port()
    bridge.configure(metrics={"port": port}, budget={"day": "1MB"})
    bridge.start()
    client.publish("hologram/out/t", "x", user={"id": "one"})
    client.publish("hologram/out/bad topic", "x", user={"id": "two"})
    sent = client.wait_result("one")
    client.wait_result("two")
    found = samples(get(port, "/metrics"))
    assert found['hologram_bridge_results_total{state="delivered"}'] == 1
    assert found['hologram_bridge_results_total{state="rejected"}'] == 1
    assert found['hologram_bridge_queue_messages{channel="cloud",priority="normal"}'] == 0
    assert found['hologram_bridge_ip_bytes_today{direction="up"}'] == sent["bytes_up"]
    assert found['hologram_bridge_destination_up{channel="cloud",to=""}'] == 1
    assert {f'hologram_bridge_results_total{{state="{state}"}}' for state in State} <= found.keys()
    used = found['hologram_bridge_budget_used{bound="day"}']
    assert (found['hologram_bridge_budget_limit{bound="day"}'], used) == (
        1e6,
        int(str(sent["bytes_up"])) + int(str(sent["bytes_down"])),
    )
    assert 20e6 < found["hologram_bridge_memory_bytes"] < 200e6


def test_other_paths_and_methods_are_refused(bridge: BridgeProcess) -> None:
    """Only GET /metrics answers."""
    port = free_port()
    bridge.configure(metrics={"port": port})
    bridge.start()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(port, "/")
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", data=b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(request, timeout=10)


def test_idle_connections_do_not_keep_the_scraper_out(bridge: BridgeProcess) -> None:
    """They are bounded, and end by themselves; one too many gets 503."""
    port = free_port()
    bridge.configure(metrics={"port": port})
    bridge.start()
    with contextlib.ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(CONNECTIONS)
        ]
        with pytest.raises(urllib.error.HTTPError, match="503"):
            get(port, "/metrics")
        assert [each.recv(1) for each in idle] == [b""] * CONNECTIONS
        assert "hologram_bridge_memory_bytes" in get(port, "/metrics")


def test_it_is_off_by_default(bridge: BridgeProcess) -> None:
    """Without ``metrics.port`` nothing listens."""
    bridge.start()
    assert bridge.settings.get("metrics") is None
    assert "metrics" not in bridge.said()
