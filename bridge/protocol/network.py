"""The network status, as published; the codes are the SDK's connection status codes [hologram-python 0.3]."""

from typing import Any

CODES = {
    0: "CLOUD_DISCONNECTED",
    1: "CLOUD_CONNECTED",
    3: "CLOUD_ERR_SIM",
    5: "CLOUD_ERR_SIGNAL",
    12: "CLOUD_ERR_CONNECT",
}

_UNKNOWN = ("modem", "device", "local_ip", "remote_ip", "operator", "technology", "registration")


def unmanaged() -> dict[str, Any]:
    """Return the status where nothing is managed: the machine's own network is taken to work."""
    return {
        "state": "unmanaged",
        "code": 1,
        "code_name": CODES[1],
        "interface": "",
        **dict.fromkeys(_UNKNOWN),
        "signal": {"rssi_dbm": None, "percent": None, "ber": None},
        **dict.fromkeys(("imei", "imsi", "iccid", "since", "error")),
    }
