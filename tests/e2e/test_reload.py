"""SIGHUP: what a new configuration changes while the bridge runs."""

from tests.harness import BridgeProcess, Client, Cloud, eventually


def test_routes_limits_and_log_level_change_without_a_restart(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """A new route and a new limit hold from the reload on; the process and its session stay."""
    bridge.start()
    client.publish("hologram/out/alarms/one", "a", user={"id": "before"})
    queued = client.wait_for(lambda: client.events("message.queued"))
    assert queued[0]["priority"] == "normal"
    pid = bridge.pid
    bridge.configure(
        routes=[{"match": "alarms/#", "priority": "high"}], store={"max_messages": 2}, log={"level": "debug"}
    )
    bridge.reload()
    client.publish("hologram/out/alarms/one", "b")
    assert client.wait_for(lambda: client.events("message.queued")[1:])[0]["priority"] == "high"
    client.publish("hologram/out/alarms/one", "c", user={"id": "over"})
    assert client.wait_result("over")["state"] == "dropped"
    assert bridge.running
    assert bridge.pid == pid
    info = client.state("hologram/bridge/info")
    assert info["configuration"]["store"]["max_messages"] == 2


def test_what_needs_a_restart_is_named(bridge: BridgeProcess, client: Client) -> None:
    """A changed broker address or store path is not applied, and the log says which keys wait."""
    bridge.start()
    bridge.configure(mqtt={"keepalive": 30}, metrics={"port": 19999})
    bridge.reload()
    eventually(lambda: "wait for a restart" in bridge.said(), what="the keys that wait are named")
    line = next(line for line in bridge.said().splitlines() if "wait for a restart" in line)
    assert "mqtt.keepalive" in line
    assert "metrics.port" in line


def test_a_bad_configuration_keeps_the_old_one_and_says_why(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """A file with a mistake changes nothing; key and value are in the log, and health has it."""
    cloud.start()
    bridge.start()
    bridge.configure(cloud={"parallel": "many"})
    bridge.signal_reload()
    eventually(lambda: "not reloaded" in bridge.said(), what="the mistake is said")
    line = next(line for line in bridge.said().splitlines() if "not reloaded" in line)
    assert "cloud.parallel" in line
    assert "many" in line
    client.wait_for(lambda: "not reloaded" in str(client.health().get("last_error")))
    client.publish("hologram/out/t", "still", user={"id": "still"})
    assert client.wait_result("still")["state"] == "delivered"
