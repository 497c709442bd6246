"""The daemon on Wi-Fi: installed from its package, without root, ordered about and watched over MQTT."""

import json
import shlex
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.box.air import ADDRESS, AP, KEEPERS, OWN, Air
from tests.box.machine import Machine
from tests.box.scenario import CONFIG, build_package
from tests.harness import eventually

pytestmark = pytest.mark.root

SSID = "Café: \\ home"  # two bytes for the é, and what nmcli and iw escape
PASSWORD = "correct horse"
LOG = "/run/cloud.log"
SOON = 90.0
"""Seconds: an emulated processor, and not alone on it."""


class Station:
    """The bridge on ``wlan0``, and the cloud at the access point's."""

    def __init__(self, air: Air, keeper: str) -> None:
        self.air = air
        self.machine = machine = air.machine
        self.keeper = keeper
        machine.must("systemctl start mosquitto && systemctl stop hologram-bridge")
        machine.must("mosquitto_pub -r -n -t hologram/network/status")  # an earlier bridge's last word
        machine.run(f"systemctl stop 'listener-*' cloud; rm -f {LOG}")
        self._listener = f"listener-{uuid.uuid4().hex[:8]}"  # its journal is this station's alone
        machine.subscribe(self._listener, "hologram/event", "hologram/result", form="%t %p")
        cloud = f"/usr/local/bin/hologram-bridge simulate cloud --host 0.0.0.0 --log {LOG} --quiet"
        machine.spawn("cloud", f"ip netns exec ap {cloud}")
        machine.must("systemctl start hologram-bridge", SOON)

    def status(self) -> dict[str, Any]:
        """Return what ``hologram/network/status`` says now."""
        said = self.machine.must("mosquitto_sub -t hologram/network/status -C 1 -W 30", 40)
        found: dict[str, Any] = json.loads(said)
        return found

    def state(self, wanted: str) -> dict[str, Any]:
        """Wait until the status has this state, and return it."""

        def found() -> dict[str, Any] | None:
            status = self.status()
            return status if status["state"] == wanted else None

        try:
            status = eventually(found, SOON, what=f"the network is {wanted}")
        except AssertionError as error:
            error.add_note(self.machine.journal("hologram-bridge", 40))
            raise
        assert status
        return status

    def heard(self, topic: str) -> list[dict[str, Any]]:
        """Return what was published on a topic so far."""
        lines = self.machine.journal(self._listener, 2000).splitlines()
        return [json.loads(line.partition(" ")[2]) for line in lines if line.startswith(topic + " ")]

    def events(self) -> list[str]:
        """Return the types of the Wi-Fi events so far."""
        types = [each["event_type"] for each in self.heard("hologram/event")]
        return [each for each in types if each.startswith("wifi.")]

    def expect(self, events: list[str]) -> None:
        """Wait until these are the Wi-Fi events so far."""
        eventually(lambda: self.events() == events, SOON, what=f"{events}, not {self.events()}")

    def order(self, command: str) -> dict[str, Any]:
        """Give ``hologram/network/set`` a command, and return its result."""
        name = f"{command}-{uuid.uuid4().hex[:8]}"
        self.publish(
            "hologram/network/set", json.dumps({"command": command, "id": name, "timeout": SOON - 10})
        )

        def result() -> dict[str, Any] | None:
            return next((each for each in self.heard("hologram/result") if each["id"] == name), None)

        found = eventually(result, SOON, what=f"the result of {command}")
        assert found
        return found

    def publish(self, topic: str, payload: str) -> None:
        """Publish a message at QoS 1."""
        self.machine.must(shlex.join(["mosquitto_pub", "-q", "1", "-t", topic, "-m", payload]))

    def accepted(self) -> list[str]:
        """Return what the cloud has got."""
        lines = self.machine.run(f"cat {LOG}").out.splitlines()
        return [json.loads(line)["data"] for line in lines if line.startswith("{")]

    def arrived(self, text: str) -> None:
        """Wait until the cloud has ``text``."""
        eventually(lambda: text in self.accepted(), SOON, what=f"{text} in the cloud")


@pytest.fixture(scope="module")
def air(box: Machine, tmp_path_factory: pytest.TempPathFactory) -> Air:
    """The package on a machine with radios, and the tree, whose simulated cloud is at the access point."""
    box.install()
    box.put("/root/hologram-bridge.deb", build_package(tmp_path_factory.mktemp("package")))
    box.must("dpkg -i /root/hologram-bridge.deb", 300)
    settings = {
        "credentials": {"devicekey": "abcd1234"},
        "cloud": {"host": ADDRESS, "timeout": 3},
        "network": {"interface": "wifi", "autoconnect": False, "poll": 5},
    }
    box.put("/root/bridge.hjson", json.dumps(settings))
    box.must(f"install -m 640 -g hologram /root/bridge.hjson {CONFIG}")
    return Air(box)


@pytest.fixture(params=KEEPERS)
def station(request: pytest.FixtureRequest, air: Air) -> Iterator[Station]:
    """The bridge, disconnected, and an access point."""
    keeper: str = request.param
    air.keep(keeper, SSID, PASSWORD)
    air.access_point(SSID, PASSWORD)
    station = Station(air, keeper)
    station.state("disconnected")
    yield station
    print(air.machine.journal("hologram-bridge"))
    air.machine.run(
        "systemctl stop hologram-bridge 'listener-*' cloud; nmcli radio wifi on; rfkill unblock wifi"
    )
    air.machine.run("nmcli connection delete home")
    air.leave()
    air.leave_alone()


def test_the_daemon_lives_on_wifi(station: Station) -> None:
    """Commands, status, events and messages: connected, away, back; what waits meanwhile is delivered."""
    result = station.order("connect")
    assert result["state"] == "done", result
    status = station.state("connected")
    assert (status["interface"], status["device"], status["local_ip"]) == ("wifi", "wlan0", OWN)
    assert (status["code_name"], status["wifi"]["ssid"], status["wifi"]["ap"]) == (
        "CLOUD_CONNECTED",
        SSID,
        AP,
    )
    signal = status["wifi"]
    assert -40 <= signal["avg_signal_dbm"] <= signal["max_signal_dbm"] <= -10  # mac80211_hwsim's is -30
    assert status["imei"] is None
    station.expect(["wifi.connected"])
    station.publish("hologram/out/box", "over wifi")
    station.arrived("over wifi")

    assert station.order("disconnect")["state"] == "done"
    status = station.state("disconnected")
    assert status["wifi"] == {"ssid": None, "ap": None, "avg_signal_dbm": None, "max_signal_dbm": None}
    station.machine.must("iw dev wlan0 link | grep -q 'Not connected'")
    station.publish("hologram/out/box", "while it was away")
    assert station.order("connect")["state"] == "done"
    station.arrived("while it was away")
    assert station.order("reconnect")["state"] == "done"
    came, went = "wifi.connected", "wifi.disconnected"
    station.expect([came, went, came, went, came])

    station.air.vanish()
    station.state("error")
    station.expect([came, went, came, went, came, went])
    station.publish("hologram/out/box", "while it had vanished")
    station.air.access_point(SSID, PASSWORD)
    station.state("connected")
    station.arrived("while it had vanished")
    assert station.accepted() == ["over wifi", "while it was away", "while it had vanished"]


def test_the_daemon_switches_the_radio(station: Station) -> None:
    """NetworkManager lets it; wpa_supplicant has no say in it, and the result says who could."""
    station.order("connect")
    station.state("connected")
    result = station.order("radio_off")
    if station.keeper == "wpa_supplicant":
        assert result["state"] == "failed"
        assert "radio" in result["description"]
        return
    assert result["state"] == "done"
    station.state("disconnected")
    station.publish("hologram/out/box", "radio silence")
    refused = station.order("connect")
    assert (refused["state"], "radio" in refused["description"]) == ("failed", True)
    station.air.leave()  # NetworkManager switches all radios there are, so the access point's too
    assert station.order("radio_on")["state"] == "done"
    station.air.access_point(SSID, PASSWORD)
    assert station.order("connect")["state"] == "done"
    station.arrived("radio silence")
