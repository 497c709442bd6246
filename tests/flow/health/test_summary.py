"""How the box is, in a few words."""

import json
from typing import Any

from bridge.flow.health.summary import Summary, summarize
from bridge.protocol.api.status import unmanaged


def of(network: dict[str, Any] | None = None, age: float | None = None) -> Summary:
    queue = {"messages": 0 if age is None else 3, "oldest_age": age}
    return summarize(
        state="ok", network=network or unmanaged(), queue=queue, month=1_234_567, version="1.4.0"
    )


def test_it_fits_a_text_and_is_compact_json() -> None:
    """Both say the same; the line has less than the 160 characters of an SMS."""
    summary = of({"state": "connected", "signal": {"rssi_dbm": -79, "percent": 55, "ber": None}}, 340.4)
    line = "state=ok link=connected signal=-79 queue=3 oldest=340 month=1234567 version=1.4.0"
    assert summary.line() == line
    assert summary.payload() == (
        b'{"state":"ok","link":"connected","signal":-79,"queue":3,"oldest":340,"month":1234567,"version":"1.4.0"}'
    )


def test_what_is_not_known_is_not_invented() -> None:
    """Without a modem there is no signal, and with an empty outbox no oldest message."""
    summary = of()
    assert summary.line().startswith("state=ok link=unmanaged signal=- queue=0 oldest=- ")
    assert json.loads(summary.payload())["oldest"] is None


def test_wifi_has_a_signal_too() -> None:
    """It is its average."""
    wifi = {"ssid": "farm", "ap": None, "avg_signal_dbm": -60, "max_signal_dbm": -50}
    assert of({"state": "connected", "signal": {"rssi_dbm": None}, "wifi": wifi}).signal == -60
