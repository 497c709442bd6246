"""The package for the other end of a fleet, loaded by Home Assistant, fed by a collector."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Keeper, Mosquitto, eventually
from tests.harness.collector import CollectorProcess, webhook
from tests.harness.process import ROOT
from tests.home_assistant.home_assistant import HomeAssistant

pytestmark = pytest.mark.slow

PACKAGE = ROOT / "config" / "home-assistant" / "hologram_fleet.yaml"
READING, SILENT = "sensor.pump_house_temperature", "hologram_fleet_silent"
LONG_AGO, TAKEN = 1790000000, "2026-09-21T14:13:20+00:00"


class OtherEnd:
    """Home Assistant with the package, and a collector on its broker."""

    def __init__(self, keeper: Keeper, folder: Path) -> None:
        broker = Mosquitto(keeper, folder / "mosquitto", lines=("log_type all",))
        broker.start()
        self.collector = CollectorProcess(keeper, folder / "collector", mqtt={"port": broker.port})
        self.collector.start()
        self.home = HomeAssistant(keeper, folder / "home-assistant", broker.port)
        (self.home.packages / PACKAGE.name).write_text(PACKAGE.read_text())
        self.home.start()
        eventually(lambda: "fleet/5678/sensors/kitchen (QoS 1)" in broker.said(), 60, what="it subscribes")

    def post(self, temperature: float, at: int | None) -> None:
        """Be the cloud with a reading that has its time in its payload."""
        body = json.dumps({"temperature": temperature, "at": at}).encode()
        assert self.collector.post(webhook(body, "sensors/kitchen")).status == 200

    def wait_shown(self, temperature: str, taken: str | None) -> None:
        """Wait until the entity shows a reading with its time."""
        shown = self.home.wait_state(READING, temperature)
        assert shown["attributes"]["taken"] == taken

    def history(self) -> list[str]:
        """Return the temperatures that were shown, in order."""
        (states,) = self.home.get(f"/api/history/period?filter_entity_id={READING}&minimal_response")
        return [each["state"] for each in states if each["state"] not in ("unknown", "unavailable")]

    def told(self) -> list[str]:
        """Return what is notified of silent boxes."""
        found = self.home.ask("persistent_notification/get")
        return [each["message"] for each in found if each["notification_id"] == SILENT]


@pytest.fixture
def other_end(tmp_path: Path) -> Iterator[OtherEnd]:
    """The parts, running."""
    keeper = Keeper()
    try:
        yield OtherEnd(keeper, tmp_path)
    finally:
        keeper.close()


def test_a_reading_shows_its_own_time_and_a_silent_box_is_told(other_end: OtherEnd) -> None:
    """An old reading is a box that was silent; a new one ends the notification; late ones change nothing."""
    other_end.post(21.5, LONG_AGO)
    other_end.wait_shown("21.5", TAKEN)
    eventually(other_end.told, 90, what="the notification")
    assert other_end.told() == [f"The newest reading was taken {TAKEN}."]
    now = int(time.time())
    other_end.post(22.5, now)
    other_end.post(20.5, LONG_AGO + 60)
    other_end.post(23.5, now + 1)
    eventually(lambda: not other_end.told(), 30, what="the notification is gone")
    other_end.home.wait_state(READING, "23.5", 30)
    other_end.post(19.5, now)
    other_end.post(24.5, None)
    other_end.wait_shown("24.5", None)
    eventually(lambda: "24.5" in other_end.history(), 30, what="the recorder has written it")
    assert other_end.history() == ["21.5", "22.5", "23.5", "24.5"]
    assert other_end.home.problems() == []
