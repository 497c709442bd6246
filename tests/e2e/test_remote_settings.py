"""Settings changed from afar, in a real daemon: its starts, its restart in the same process, its commands."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.settings.override_file import OverrideFile, moment
from bridge.settings.overrides import Overrides, Trial
from tests.e2e.test_remote import Rig
from tests.harness import BridgeProcess, Client, Cloud, Keeper, eventually
from tests.harness.systemd import Systemd


def trial(bridge: BridgeProcess, values: dict[str, str], left: float = 500.0, **about: Any) -> None:
    """Leave a trial as a daemon that was ended has left it, with so many seconds to go."""
    bridge.store.parent.mkdir(exist_ok=True)
    boot, mono = moment()
    overrides = Overrides(
        {"sms.max_segments": "2"}, Trial(values, about.pop("boot", boot), mono + left, **about)
    )
    OverrideFile(bridge.store).write(overrides)


def configuration(bridge: BridgeProcess) -> tuple[Any, str]:
    """Return what ``check-config`` prints, and what it says about it."""
    done = bridge.run("check-config")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def findings(bridge: BridgeProcess) -> dict[str, str]:
    found = json.loads(bridge.run("doctor", "--json").stdout)["findings"]
    return {each["name"]: each["finding"] for each in found}


def test_a_person_at_the_box_sees_and_removes_what_was_changed(
    bridge: BridgeProcess, cloud: Cloud, client: Client, systemd: Systemd
) -> None:
    """By one command; what needs a restart has it in the same process, of which systemd hears no stop."""
    trial(bridge, {"network.apn": "wrong", "sms.max_segments": "2"})
    # Without the watchdog: its meals would fill the socket while nobody reads it.
    bridge.start(env={"NOTIFY_SOCKET": systemd.environment["NOTIFY_SOCKET"]})
    pid = bridge.pid
    info = client.wait_for(lambda: client.state("hologram/bridge/info"))
    assert info["changed_from_afar"] == {
        "keys": ["network.apn", "sms.max_segments"],
        "unconfirmed": ["network.apn"],
    }
    assert info["configuration"]["network"]["apn"] == "wrong"
    assert bridge.store.with_name("outbox.db.apn").read_text() == "wrong"
    values, said = configuration(bridge)
    assert values["network"]["apn"] == "wrong"
    assert "changed from afar: sms.max_segments; unconfirmed, undone in " in said
    assert "unconfirmed" in findings(bridge)["from afar"]
    client.publish("hologram/out/a", "kept", user={"id": "kept"})
    done = bridge.run("remote", "clear")
    assert (done.returncode, done.stdout) == (0, "what was changed from afar is removed\n")
    eventually(lambda: systemd.lines("READY") == ["1", "1"], 60, what="it is ready again")
    assert bridge.running
    assert bridge.pid == pid
    assert (systemd.lines("RELOADING"), systemd.lines("STOPPING")) == (["1"], [])
    cloud.start()
    assert client.wait_result("kept", 60)["state"] == "delivered"
    assert client.state("hologram/bridge/info")["changed_from_afar"]["keys"] == []
    assert list(bridge.store.parent.glob("*.overrides*")) == list(bridge.store.parent.glob("*.apn")) == []
    assert bridge.stop() == 0
    trial(bridge, {"cloud.timeout": "9"})
    assert bridge.run("remote", "clear").stdout == "what was changed from afar is removed\n"
    assert bridge.run("remote", "clear").stdout == "nothing was changed from afar\n"


def test_the_third_start_that_no_command_asked_for_undoes(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """The one that a command asked for does not count. The heartbeat is a message as any."""
    trial(bridge, {"cloud.timeout": "9"}, starts=2, asked=True)
    bridge.configure(heartbeat={"every": 1, "topic": "beat"})
    cloud.start()
    bridge.start()
    info = client.wait_for(lambda: client.state("hologram/bridge/info"))
    assert info["configuration"]["cloud"]["timeout"] == 9
    beats = client.wait_for(lambda: [each for each in client.results() if each["topics"] == ["beat"]], 30)
    assert beats[0]["state"] == "delivered"
    bridge.kill()
    bridge.start()
    client.wait_for(lambda: client.state("hologram/bridge/info")["configuration"]["cloud"]["timeout"] == 2)
    told = "not confirmed, and undone by this start: sms.max_segments, cloud.timeout"
    client.wait_for(lambda: client.health()["last_error"]["description"] == told)


def test_overrides_that_the_file_makes_invalid_are_set_aside(bridge: BridgeProcess, client: Client) -> None:
    """They never stop a start; the key is named, in the log, the health and the doctor."""
    bridge.store.parent.mkdir(exist_ok=True)
    OverrideFile(bridge.store).write(Overrides({"inbound.timeout": "9000", "cloud.parallel": "2"}))
    _, said = configuration(bridge)
    assert "WARNING:config:inbound.timeout: 9000 is not allowed; allowed is 0.1 to 3600 seconds" in said
    bridge.start()
    values, said = configuration(bridge)
    assert values["cloud"]["parallel"] == 4
    client.wait_for(lambda: "inbound.timeout: 9000 is not" in client.health()["last_error"]["description"])
    assert f"{bridge.store}.overrides.aside" in findings(bridge)["from afar"]


@pytest.mark.slow
@pytest.mark.parametrize("file", ["valid", "half a file"])
def test_the_time_goes_on_over_a_start_and_the_end_undoes(
    bridge: BridgeProcess, client: Client, file: str
) -> None:
    """What needs a restart has it then, whatever somebody has made of the file meanwhile."""
    trial(bridge, {"network.poll": "5"}, left=20)
    bridge.start()
    pid = bridge.pid
    client.wait_for(lambda: client.state("hologram/bridge/info")["configuration"]["network"]["poll"] == 5)
    if file != "valid":
        bridge.config.write_text("{ network: {")
    client.wait_for(
        lambda: client.state("hologram/bridge/info")["configuration"]["network"]["poll"] == 60, 60
    )
    eventually(lambda: bridge.said().count(" started; ") == 2, 30, what="it has started anew")
    bridge.reload()
    assert (bridge.pid, bridge.running, bridge.stop()) == (pid, True, 0)


def shorten(bridge: BridgeProcess, left: float) -> None:
    """Leave a trial so many seconds, as if the rest of them had passed; the daemon is down."""
    file = OverrideFile(bridge.store)
    there = file.read()
    assert there.trial
    file.write(replace(there, trial=replace(there.trial, until=moment().mono + left)))


@pytest.mark.slow
def test_a_wrong_apn_cuts_the_box_off_and_takes_itself_back(
    keeper: Keeper, tmp_path: Path, bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """Over a modem whose network refuses it: by the end of the time, and by a boot before that."""
    rig = Rig(keeper, tmp_path, bridge, cloud, client)
    rig.start()
    rig.modem.tell("fault", name="other-apn")

    def cut_off() -> None:
        answer = rig.by_modem("set network.apn=wrong")
        assert answer == (
            "ok set: network.apn is changed; the bridge restarts; undone in 10 min unless confirmed"
        )
        client.wait_for(
            lambda: client.state("hologram/network/status").get("state") == "error",
            60,
            what="the link does not come up",
        )
        bridge.kill()

    def is_back() -> None:
        client.wait_for(
            lambda: client.state("hologram/network/status").get("state") == "connected",
            120,
            what="the link is back",
        )
        assert rig.by_modem("get network.apn") == "ok get: network.apn=hologram"

    for key, value in (("cloud.parallel", "3"), ("budget.day", "50MB"), ("network.poll", "2")):
        assert (rig.by_modem(f"set {key}={value}") or "").startswith(f"ok set: {key} is changed")
    eventually(lambda: "the link is up" in rig.since_restart(), 60, what="the last of them has restarted it")
    assert rig.by_modem("confirm") == "ok confirm: confirmed: cloud.parallel, budget.day, network.poll"
    cut_off()
    shorten(bridge, 20)
    bridge.start()
    is_back()
    assert "not confirmed in time, and undone: network.apn" in bridge.said()
    cut_off()
    file = OverrideFile(bridge.store)
    there = file.read()
    assert there.trial
    file.write(replace(there, trial=replace(there.trial, boot="another")))
    bridge.start()
    is_back()
    assert "not confirmed, and undone by this start: network.apn" in bridge.said()
    assert (rig.by_modem("get cloud.parallel"), rig.by_modem("get network.poll")) == (
        "ok get: cloud.parallel=3",
        "ok get: network.poll=2",
    )
