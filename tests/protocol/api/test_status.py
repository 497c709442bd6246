"""The network status as users read it."""

import json

from bridge.core.link import Code, Verdict
from bridge.core.modem import Facts, Identity, Link, Registration, Signal, Wifi
from bridge.protocol.api.status import status, unmanaged

KEYS = [
    "state", "code", "code_name", "interface", "modem", "device", "local_ip", "remote_ip", "operator",
    "technology", "registration", "signal", "imei", "imsi", "iccid", "path", "since", "error",
]  # fmt: skip

UP = Verdict("connected", Code.CLOUD_CONNECTED, None)


def test_the_fields_are_those_of_the_contract() -> None:
    """Every key is there in every state."""
    facts = Facts(
        registration=Registration.ROAMING,
        operator="Example",
        technology="LTE",
        signal=Signal(-79, 54, None),
        identity=Identity(imei="1", imsi="2", iccid="3"),
    )
    found = status(
        UP,
        interface="ppp0",
        modem="cellular-ec21",
        device="/dev/ttyUSB2",
        link=Link("ppp0", "10.176.0.5", "10.64.64.64"),
        facts=facts,
        path="modem",
        since=1_700_000_000.0,
    )
    assert list(found) == KEYS
    assert json.loads(json.dumps(found)) == {
        "state": "connected",
        "code": 1,
        "code_name": "CLOUD_CONNECTED",
        "interface": "ppp0",
        "modem": "cellular-ec21",
        "device": "/dev/ttyUSB2",
        "local_ip": "10.176.0.5",
        "remote_ip": "10.64.64.64",
        "operator": "Example",
        "technology": "LTE",
        "registration": "roaming",
        "signal": {"rssi_dbm": -79, "percent": 54, "ber": None},
        "imei": "1",
        "imsi": "2",
        "iccid": "3",
        "path": "modem",
        "since": "2023-11-14T22:13:20.000Z",
        "error": None,
    }


def test_what_is_unknown_is_null() -> None:
    """Nothing is invented."""
    found = status(Verdict("error", Code.CLOUD_ERR_SIM, "there is no SIM in the modem"), interface="ppp0")
    assert list(found) == KEYS
    assert (found["code"], found["error"]) == (3, "there is no SIM in the modem")
    assert found["signal"] == {"rssi_dbm": None, "percent": None, "ber": None}
    unknown = set(KEYS) - {"state", "code", "code_name", "interface", "signal", "error"}
    assert {key for key in KEYS if found[key] is None} == unknown


def test_wifi_has_its_own_field_only_where_it_is_managed() -> None:
    """It has the network's name and its signal."""
    assert status(UP, interface="wlan0", wifi=Wifi("home", None, -60, -55))["wifi"] == {
        "ssid": "home",
        "ap": None,
        "avg_signal_dbm": -60,
        "max_signal_dbm": -55,
    }


def test_without_a_managed_network_the_code_is_1() -> None:
    """The machine's own network is taken to work."""
    assert [unmanaged()[key] for key in ("state", "code", "interface")] == ["unmanaged", 1, ""]


def test_the_codes_are_the_sdks() -> None:
    """Scripts compare them with the SDK's."""
    assert {code.value: code.name for code in Code} == {
        0: "CLOUD_DISCONNECTED",
        1: "CLOUD_CONNECTED",
        3: "CLOUD_ERR_SIM",
        5: "CLOUD_ERR_SIGNAL",
        12: "CLOUD_ERR_CONNECT",
    }
