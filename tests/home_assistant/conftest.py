"""Fixtures: Home Assistant, broker, bridge, modem and cloud, shared by the tests of a module."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import _KEEPER as KEEPER
from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually, free_port
from tests.harness.modem import SimModem
from tests.home_assistant.home_assistant import HomeAssistant, install

OPERATOR = {"name": "Operator", "to": "+15551234567"}
INTERFACE = "cellular-nova-u201"
DAY = 1_000_000
"""The budget's bound of a day, in bytes."""


class Lab:
    """The parts, and what tests do with them."""

    def __init__(self, keeper: Keeper, folder: Path) -> None:
        self.keeper = keeper
        self.mosquitto = Mosquitto(keeper, folder / "mosquitto")
        self.mosquitto.start()
        self.cloud = Cloud(keeper, folder / "cloud")
        self.cloud.start()
        self.modem = SimModem(keeper, folder / "modem", INTERFACE.removeprefix("cellular-"))
        self.modem.start("--registration", "0.3", "--boot", "0.3")
        self.modem.tell("signal", rssi=17)  # -79 dBm, and no more change of itself
        self.inbound = free_port()
        self.bridge = BridgeProcess(keeper, folder / "bridge", self.mosquitto, self.cloud.port)
        self.bridge.configure(
            home_assistant={"enabled": True, "notify": [OPERATOR]},
            budget={"day": DAY, "month": "10MB", "sms_day": 20, "sms_month": 90},
            prices={"mb": 1000, "sms": 0.19, "currency": "EUR"},
            network={
                "interface": INTERFACE,
                "device": [str(self.modem.at), str(self.modem.dial)],
                "poll": 1,
            },
            inbound={"enabled": True, "host": "127.0.0.1", "port": self.inbound},
        )
        self.home = HomeAssistant(keeper, folder / "home-assistant", self.mosquitto.port)
        self.client = Client(self.mosquitto.port, "#").connect()
        keeper.finally_(self.client.close)

    def start(self) -> None:
        """Start the bridge and Home Assistant; wait until the one shows what the other says."""
        self.bridge.start()
        self.home.start()
        self.home.wait_state("binary_sensor.cellular_bridge_cellular", "on", 60)

    def health(self) -> None:
        """Have the bridge publish its health now; it would within a minute."""
        self.client.publish("hologram/queue/set", "resume")

    def texts(self, number: str) -> list[str]:
        """Return the SMS that the cloud accepted for ``number``."""
        return [each.payload.decode() for each in self.cloud.accepted if each.to == number]

    def wait_event(self, event_type: str, **fields: Any) -> dict[str, Any]:
        """Wait until the event entity tells ``event_type`` with ``fields``; return its attributes."""
        wanted = {"event_type": event_type, **fields}

        def told() -> dict[str, Any] | None:
            attributes = self.home.entity("event.cellular_bridge_messages").get("attributes", {})
            return attributes if wanted.items() <= attributes.items() else None

        found = eventually(told, 20, what=f"Home Assistant tells {wanted}")
        assert found is not None
        return found


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    """Home Assistant; where no Python can run it the tests are skipped and say so."""
    reason = install()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def fresh_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """All the parts; the bridge and Home Assistant not started yet."""
    keeper = Keeper()
    try:
        yield Lab(keeper, tmp_path_factory.mktemp("home-assistant"))
    finally:
        keeper.close()


@pytest.fixture(scope="module")
def started(fresh_lab: Lab) -> Lab:
    """All the parts, running."""
    fresh_lab.start()
    return fresh_lab


@pytest.fixture
def lab(request: pytest.FixtureRequest, started: Lab) -> Iterator[Lab]:
    """All the parts, running; what Home Assistant complains of during the test fails it."""
    request.node.stash[KEEPER] = started.keeper
    marker = request.node.get_closest_marker("complains")
    before = len(started.home.problems())
    yield started
    passed = marker.args if marker else ()
    found = started.home.problems()[before:]
    assert [line for line in found if not any(text in line for text in passed)] == []
