"""The line for ``systemctl status``."""

from typing import Any

from bridge.core.destination import Destination
from bridge.core.messages import CLOUD, Channel, Endpoint
from bridge.core.retry import Kind
from bridge.flow.health.status_line import EVERY, StatusLine, describe
from bridge.protocol.api.status import unmanaged
from tests.doubles.time import MovableTime

LTE: dict[str, Any] = {"state": "connected", "technology": "LTE", "signal": {"rssi_dbm": -79}, "error": None}


def destination(kind: Kind = Kind.ACCEPTED, reason: str = "") -> Destination:
    found = Destination(4)
    found.learn(kind, 1, 0.0, reason)
    return found


def line(**more: Any) -> str:
    given: dict[str, Any] = {"broker": None, "conditions": {}, "network": unmanaged(), "queued": 0, **more}
    return describe(**given)


def test_a_box_that_is_well_says_so_in_short() -> None:
    """The line names the cloud only after something was sent there."""
    assert line() == "online; 0 queued"
    assert line(conditions={CLOUD: destination()}, network=LTE, queued=12) == (
        "online; cloud up; link connected (LTE, -79 dBm); 12 queued"
    )


def test_what_is_not_well_says_why() -> None:
    """The line names the broker, the destinations, the link and the notes."""
    scada = Endpoint(Channel.TCP, "scada", 5020)
    conditions = {
        CLOUD: destination(Kind.HELD, "ERR_AUTHINVALID"),
        scada: destination(Kind.UNREACHED, "Connection refused"),
        Endpoint(Channel.TCP, "other", 1): destination(),
    }
    network = LTE | {"state": "error", "error": "no SIM"}
    found = line(broker="127.0.0.1:1883", conditions=conditions, network=network, notes=[None, "paused"])
    assert found == (
        "no broker at 127.0.0.1:1883; cloud refuses us (ERR_AUTHINVALID); "
        "scada:5020 down (Connection refused); link error (no SIM); 0 queued; paused"
    )


def test_what_is_unknown_of_the_link_is_left_out() -> None:
    """The line invents neither a technology nor a signal."""
    assert line(network={"state": "connecting", "technology": None, "signal": None, "error": None}) == (
        "online; link connecting; 0 queued"
    )


def test_only_a_change_is_told() -> None:
    """The line is sent once a second at most, and a fault comes first."""
    said: list[str] = []
    time, text = MovableTime(), "online"
    status = StatusLine(lambda: text, said.append, time)
    status.start()
    time.pass_(10 * EVERY)
    assert said == ["online"]
    text = "offline"
    time.pass_(EVERY)
    status.fault = "no progress"
    time.pass_(EVERY)
    assert said == ["online", "offline", "no progress; offline"]
