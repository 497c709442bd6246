"""Wi-Fi on radios without air: the bridge's Wi-Fi against NetworkManager, wpa_supplicant and hostapd."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.box.air import ADDRESS, AP, KEEPERS, OWN, Air
from tests.box.machine import PYTHON, Machine
from tests.box.recipe import PROJECT
from tests.harness import eventually

pytestmark = pytest.mark.root

SSID = "Café: \\ home"  # two bytes for the é, and what nmcli and iw escape
PASSWORD = "correct horse"


class Driver:
    """The bridge's Wi-Fi in the guest, driven line by line."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._seen = 0
        machine.run("systemctl stop wifi")
        machine.must("rm -f /run/wifi.*; mkfifo /run/wifi.in; touch /run/wifi.out /run/wifi.err")
        command = f"{PYTHON} -m tests.box.wifi_driver <>/run/wifi.in >>/run/wifi.out 2>>/run/wifi.err"
        machine.spawn("wifi", command, properties=[f"WorkingDirectory={PROJECT}"])
        self.next("ready")

    def lines(self) -> list[dict[str, Any]]:
        """Return what it said since `next` last found something."""
        text = self._machine.get("/run/wifi.out").decode()
        return [json.loads(line) for line in text.splitlines()][self._seen :]

    def next(self, what: str, timeout: float = 60.0) -> dict[str, Any]:
        """Wait for a line of the kind ``what`` and return it; what came before it is passed over."""

        def found() -> dict[str, Any] | None:
            for number, line in enumerate(self.lines()):
                if line["what"] in (what, "error"):
                    self._seen += number + 1
                    return line
            return None

        try:
            line = eventually(found, timeout, what=f"{what}; it said {self.lines()}")
        except AssertionError as error:
            error.add_note(f"{self.lines()}\n{self._machine.get('/run/wifi.err').decode()[-2000:]}")
            raise
        assert line
        assert line["what"] == what, line
        return line

    def say(self, command: str) -> None:
        """Give it a command."""
        self._machine.must(f"echo {command} >/run/wifi.in")

    def ask(self, command: str, timeout: float = 60.0) -> dict[str, Any]:
        """Give it a command and return what comes of it."""
        self.say(command)
        return self.next(command.split(maxsplit=1)[0], timeout)

    def end(self) -> None:
        """End it."""
        self._machine.run("systemctl stop wifi")


@pytest.fixture(scope="module")
def air(box: Machine) -> Air:
    """The bridge in the machine, and radios."""
    box.install()
    return Air(box)


@pytest.fixture(scope="module", params=KEEPERS)
def keeper(request: pytest.FixtureRequest, air: Air) -> Iterator[str]:
    """Who looks after wlan0, knowing one network."""
    name: str = request.param
    air.keep(name, SSID, PASSWORD)
    yield name
    air.leave_alone()


@pytest.fixture
def driver(air: Air, keeper: str) -> Iterator[Driver]:
    """The bridge's Wi-Fi, disconnected."""
    driver = Driver(air.machine)
    yield driver
    driver.say("disconnect")
    air.machine.wait_for("iw dev wlan0 link | grep -q 'Not connected'")
    driver.end()
    air.leave()


def test_connects_reports_and_disconnects(air: Air, driver: Driver) -> None:
    """The saved network is connected to and reported with its access point and signal; and left again."""
    air.access_point(SSID, PASSWORD)
    connected = driver.ask("connect")
    assert connected["link"] == {"interface": "wlan0", "local_ip": OWN, "remote_ip": None}
    wifi = driver.ask("sample")["wifi"]
    assert (wifi["ssid"], wifi["ap"]) == (SSID, AP)
    assert -40 <= wifi["avg_signal_dbm"] <= wifi["max_signal_dbm"] <= -10  # mac80211_hwsim's is -30
    air.machine.must(f"ping -c 1 -W 5 {ADDRESS}")
    assert driver.ask("disconnect")["link"] is None
    assert "Not connected" in air.machine.must("iw dev wlan0 link")
    assert driver.ask("sample")["wifi"]["ssid"] is None
    assert driver.lines() == [], "what was asked for is not reported as an accident"


def test_reconnects(air: Air, driver: Driver) -> None:
    """A reconnect ends the connection and makes it anew; connect and disconnect twice do no harm."""
    air.access_point(SSID, PASSWORD)
    driver.ask("disconnect")
    first = driver.ask("connect")["link"]
    assert driver.ask("connect")["link"] == first
    assert driver.ask("reconnect")["link"] == first
    driver.ask("disconnect")
    driver.ask("disconnect")


def test_tells_that_the_access_point_left(air: Air, driver: Driver) -> None:
    """An access point that says goodbye is missed within seconds; when it is back, it is used."""
    air.access_point(SSID, PASSWORD)
    driver.ask("connect")
    air.leave()
    assert driver.next("down", 5)["reason"]
    assert driver.ask("sample")["wifi"]["ssid"] is None
    air.access_point(SSID, PASSWORD)
    assert driver.ask("connect")["link"]["local_ip"] == OWN


def test_tells_that_the_access_point_vanished(air: Air, driver: Driver) -> None:
    """An access point that falls silent is missed within seconds."""
    air.access_point(SSID, PASSWORD)
    driver.ask("connect")
    air.vanish()
    assert driver.next("down", 30)["reason"]


def test_says_why_it_does_not_connect(air: Air, driver: Driver, keeper: str) -> None:
    """Without an access point in reach, connect fails in the time that it was given, and says why."""
    driver.say("connect 8")
    error = driver.next("error", 60)
    assert error["text"]
    assert "\n" not in error["text"]
    air.access_point(SSID, PASSWORD)
    assert driver.ask("connect")["link"]["local_ip"] == OWN


def test_switches_the_radio(air: Air, driver: Driver) -> None:
    """The radio goes off, which ends the connection, and on again; a reset is both."""
    air.access_point(SSID, PASSWORD)
    driver.ask("connect")
    driver.ask("radio_off")
    air.machine.wait_for("iw dev wlan0 link | grep -q 'Not connected'")
    driver.say("connect 5")
    assert "radio" in driver.next("error", 30)["text"]
    air.leave()  # NetworkManager switches all radios there are, so the access point's too
    driver.ask("radio_on")
    air.access_point(SSID, PASSWORD)
    assert driver.ask("connect")["link"]["local_ip"] == OWN
    assert "off and on" in driver.ask("reset")["done"]
    air.leave()
    air.access_point(SSID, PASSWORD)
    assert driver.ask("connect")["link"]["local_ip"] == OWN
