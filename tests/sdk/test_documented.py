"""Everything that the documents name is here, with the documented signature."""

import inspect
from typing import Any, NamedTuple

import pytest

import bridge.sdk
from bridge.cli.tools import receive, send, sms
from bridge.sdk import legacy

REQUIRED = inspect.Parameter.empty


class Named(NamedTuple):
    """A class and the parameters of one of its functions, in order, with defaults; the constructor is ''."""

    owner: str
    function: str
    parameters: dict[str, Any]
    release: str = "0.3"


ADDRESSES = {
    "credentials": REQUIRED,
    "send_host": REQUIRED,
    "send_port": REQUIRED,
    "receive_host": REQUIRED,
    "receive_port": REQUIRED,
}

FUNCTIONS = [
    Named("Cloud", "getSDKVersion", {}),
    Named("HologramCloud", "", {"credentials": REQUIRED, "enable_inbound": True, "network": ""}),
    Named("HologramCloud", "sendMessage", {"message": REQUIRED, "topics": None, "timeout": 5}),
    Named("HologramCloud", "sendSMS", {"destination_number": REQUIRED, "message": REQUIRED}),
    Named("HologramCloud", "getSDKVersion", {}),
    Named("CustomCloud", "", {**ADDRESSES, "enable_inbound": False, "network": ""}),
    Named("CustomCloud", "sendMessage", {"message": REQUIRED, "timeout": 5}),
    Named("CustomCloud", "openReceiveSocket", {}),
    Named("CustomCloud", "closeReceiveSocket", {}),
    Named("CustomCloud", "consumeReceivedMessage", {}),
    Named("NetworkManager", "connect", {"timeout": 200}),
    Named("NetworkManager", "disconnect", {}),
    Named("NetworkManager", "reconnect", {}),
    Named("NetworkManager", "listAvailableInterfaces", {}),
    Named("Cellular", "connect", {"timeout": 200}),
    Named("Cellular", "disconnect", {}),
    Named("Cellular", "getConnectionStatus", {}),
    *(
        named
        for name, device in (
            ("Modem", "/dev/ttyUSB0"),
            ("E303", "/dev/ttyUSB0"),
            ("MS2131", "/dev/ttyUSB0"),
            ("IOTA", "/dev/ttyACM0"),
        )
        for named in (
            Named(
                name,
                "",
                {
                    "mode": "ppp",
                    "deviceName": device,
                    "baudRate": "9600",
                    "chatScriptFile": "../../example-script",
                },
            ),
            Named(name, "connect", {"timeout": 200}),
            Named(name, "disconnect", {}),
        )
    ),
    Named("Event", "subscribe", {"event": REQUIRED, "callback": REQUIRED}),
    Named("Event", "unsubscribe", {"event": REQUIRED, "callback": REQUIRED}),
    Named("Event", "broadcast", {"event": REQUIRED}, "0.1"),
    Named(
        "Credentials",
        "",
        {"cloud_id": REQUIRED, "cloud_key": REQUIRED, "device_id": REQUIRED, "private_key": REQUIRED},
        "0.1",
    ),
    Named(
        "Hologram",
        "",
        {"credentials": REQUIRED, "network": REQUIRED, "raw": REQUIRED, "authentication": REQUIRED},
        "0.1",
    ),
    Named("Hologram", "getSDKVersion", {}, "0.1"),
    *(Named("Network", name, {}, "0.1") for name in ("connect", "disconnect", "reconnect")),
    *(
        Named("Wifi", name, {}, "0.1")
        for name in (
            *("connect", "disconnect", "reconnect", "getAPAddress"),
            *("getAvgSignalStrength", "getMaxSignalStrength", "getSSID"),
        )
    ),
    Named("HologramCloud", "getResultString", {"result_code": REQUIRED}, "0.10"),
    Named("HologramCloud", "resultWasSuccess", {"result_code": REQUIRED}, "0.10"),
    Named(
        "HologramCloud",
        "setAuthenticationType",
        {"credentials": REQUIRED, "authentication_type": "csrpsk"},
        "0.10",
    ),
    *(Named("HologramCloud", name, {}, "0.10") for name in ("enableSMS", "disableSMS", "popReceivedSMS")),
    Named(
        "CustomCloud",
        "sendPeriodicMessage",
        {"interval": REQUIRED, "message": REQUIRED, "topics": None, "timeout": 5},
        "0.10",
    ),
    Named("CustomCloud", "sendMessage", {"message": REQUIRED, "timeout": 5, "close_socket": True}, "0.10"),
    *(
        Named("CustomCloud", name, {}, "0.10")
        for name in (
            *("stopPeriodicMessage", "periodicMessageRunning", "popReceivedMessage"),
            *("initializeReceiveSocket", "is_ready_to_send"),
        )
    ),
    Named("Cellular", "reconnect", {}, "0.10"),
    Named("Cellular", "is_connected", {}, "0.10"),
    *(Named("Modem", name, {}, "0.10") for name in ("enableSMS", "disableSMS", "popReceivedSMS", "reset")),
    Named("Modem", "radio_power", {"power_mode": REQUIRED}, "0.10"),
    Named("SMS", "", {"sender": REQUIRED, "timestamp": REQUIRED, "message": REQUIRED}, "0.10"),
    Named(
        "Location",
        "",
        dict.fromkeys(("date", "time", "latitude", "longitude", "altitude", "uncertainty")),
        "0.10",
    ),
]

PROPERTIES = [
    ("HologramCloud", ("credentials", "send_host", "send_port", "receive_host", "receive_port")),
    ("HologramCloud", ("network", "event", "version", "network_type", "authentication")),
    ("CustomCloud", ("credentials", "send_host", "send_port", "receive_host", "receive_port")),
    ("CustomCloud", ("network", "event")),
    ("Cellular", ("modem", "at_sockets_available")),
    ("Modem", ("mode", "localIPAddress", "remoteIPAddress", "deviceName", "baudRate", "chatScriptFile")),
    ("Modem", ("signal_strength", "imsi", "iccid", "imei", "operator", "location", "modem_id", "version")),
    ("Modem", ("description", "at_sockets_available")),
    ("E303", ("mode", "localIPAddress", "remoteIPAddress")),
    ("MS2131", ("mode", "localIPAddress", "remoteIPAddress")),
    ("IOTA", ("mode", "localIPAddress", "remoteIPAddress")),
    ("Credentials", ("cloud_id", "cloud_key", "device_id", "private_key")),
    ("Hologram", ("credentials", "network", "raw", "authentication")),
    ("Raw", ("host", "port")),
]

MADE: dict[str, tuple[Any, ...]] = {
    "HologramCloud": ({}, False),
    "CustomCloud": (None,),
    "Hologram": (None,),
}
"""What the constructors need here."""

ERRORS = {
    "ERR_OK": 0,
    "ERR_CONNCLOSED": 1,
    "ERR_MSGINVALID": 2,
    "ERR_AUTHINVALID": 3,
    "ERR_PAYLOADINVALID": 4,
    "ERR_PROTINVALID": 5,
    "ERR_INTERNAL": 6,
    "ERR_METADATA": 7,
    "ERR_TOPICINVALID": 8,
    "ERR_UNKNOWN": -1,
}

STATUS = {
    "CLOUD_DISCONNECTED": 0,
    "CLOUD_CONNECTED": 1,
    "CLOUD_ERR_SIM": 3,
    "CLOUD_ERR_SIGNAL": 5,
    "CLOUD_ERR_CONNECT": 12,
}

EXCEPTIONS = {
    "HologramError": "Exception",
    "ApiError": "HologramError",
    "AuthenticationError": "HologramError",
    "NetworkError": "HologramError",
    "ModemError": "HologramError",
    "SerialError": "HologramError",
    "PPPError": "NetworkError",
    "PPPConnectionError": "PPPError",
}

OPTIONS = [
    (send, "--cloud_id --cloud_key --devicekey --device_id --private_key --authtype", {}),
    (send, "--host --port -p --topic -t --file -f --ssid --timeout --repeat --duration -h --help", {}),
    (sms, "--cloud_id --cloud_key --devicekey --destination --file -f --ssid --host --port -h --help", {}),
    (receive, "--host --port -p --timeout -t -h --help", {"host": "0.0.0.0", "port": 4010, "timeout": -1}),
    *((each, "--via-bridge -c --config -v --verbose", {}) for each in (send, sms, receive)),
]


@pytest.mark.parametrize("named", FUNCTIONS, ids=lambda each: f"{each.release}-{each.owner}.{each.function}")
def test_a_function_has_the_documented_parameters(named: Named) -> None:
    """In the documented order, by the documented names and defaults; more of them need not be given."""
    found = getattr(bridge.sdk, named.owner)
    called = getattr(found, named.function) if named.function else found
    parameters = [each for name, each in inspect.signature(called).parameters.items() if name != "self"]
    for parameter, (name, default) in zip(parameters, named.parameters.items(), strict=False):
        assert parameter.name == name
        assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        if default is not REQUIRED:
            assert parameter.default == default
    assert len(parameters) >= len(named.parameters)
    for more in parameters[len(named.parameters) :]:
        assert more.default is not REQUIRED or more.kind is inspect.Parameter.VAR_KEYWORD
    assert inspect.getdoc(called)


@pytest.mark.parametrize(("owner", "names"), PROPERTIES)
def test_a_class_has_the_documented_properties(owner: str, names: tuple[str, ...]) -> None:
    """On the class, or on what is made of it."""
    found = getattr(bridge.sdk, owner)
    made = None if owner == "Cellular" else found(*MADE.get(owner, ()))
    for name in names:
        assert name in dir(found) or name in vars(made), f"{owner}.{name}"


def test_the_documented_defaults_of_the_hologram_cloud() -> None:
    """The cloud's address, and the port for what comes in."""
    cloud = bridge.sdk.HologramCloud({}, enable_inbound=False)
    assert (cloud.send_host, cloud.send_port) == ("cloudsocket.hologram.io", 9999)
    assert (cloud.receive_host, cloud.receive_port) == ("0.0.0.0", 4010)
    raw = legacy.Hologram({}).raw
    assert (raw.host, raw.port) == ("cloudsocket.hologram.io", "9999")


def test_the_documented_families() -> None:
    """Who is a kind of whom, in both releases."""
    sdk = bridge.sdk
    assert issubclass(sdk.HologramCloud, sdk.CustomCloud)
    assert issubclass(sdk.CustomCloud, sdk.Cloud)
    for name in ("E303", "MS2131", "IOTA", "Nova", "Nova_U201", "NovaM", "BG96", "EC21"):
        assert issubclass(getattr(sdk, name), sdk.Modem)
    assert issubclass(sdk.Cellular, sdk.Network)
    assert issubclass(sdk.Wifi, sdk.Network)
    assert issubclass(legacy.Cloud, legacy.Raw)
    assert isinstance(legacy.Hologram({}).raw, legacy.Cloud)
    assert not isinstance(legacy.Hologram({}, raw="raw").raw, legacy.Cloud)


@pytest.mark.parametrize(("name", "value"), [*ERRORS.items(), *STATUS.items()])
def test_a_constant_has_its_documented_value(name: str, value: int) -> None:
    """The cloud's codes and the connection's."""
    assert getattr(bridge.sdk, name) == value


@pytest.mark.parametrize(("name", "parent"), EXCEPTIONS.items())
def test_an_exception_is_of_its_documented_kind(name: str, parent: str) -> None:
    """As in the released SDK."""
    kind = Exception if parent == "Exception" else getattr(bridge.sdk, parent)
    assert issubclass(getattr(bridge.sdk, name), kind)


@pytest.mark.parametrize(("tool", "options", "defaults"), OPTIONS)
def test_a_tool_has_the_documented_options(tool: Any, options: str, defaults: dict[str, object]) -> None:
    """By their documented names, short ones too, with the documented defaults."""
    parser = tool.build_parser()
    found = {option for action in parser._actions for option in action.option_strings}
    assert set(options.split()) <= found
    for name, value in defaults.items():
        assert parser.get_default(name) == value
