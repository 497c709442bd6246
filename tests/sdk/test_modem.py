"""The modem's names, against the simulated modem."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.adapters.ppp.pppd import Pppd
from bridge.sdk import (
    BG96,
    E303,
    IOTA,
    AuthenticationError,
    CustomCloud,
    HologramCloud,
    HologramError,
    Modem,
    ModemError,
    NetworkError,
    NetworkScope,
    SerialError,
    Wifi,
)
from bridge.sim.modem.profiles import ICCID, IMSI
from tests.harness import BridgeProcess, Keeper, eventually
from tests.harness.modem import SimModem
from tests.sim.harness import Running, running

IMEI = "352255060012399"

no_ppp = pytest.mark.skipif(
    Pppd.available() is None, reason="pppd may dial here, and the simulated modem's calls end in NO CARRIER"
)


@pytest.fixture(scope="module")
def keeper_of_all() -> Iterator[Keeper]:
    """Ends what the whole module has started."""
    keeper = Keeper()
    yield keeper
    keeper.close()


@pytest.fixture(scope="module")
def cloud_of_all() -> Iterator[Running]:
    """A cloud that knows the simulated SIM."""
    with running(totp=(ICCID, IMSI)) as cloud:
        yield cloud


def started(keeper: Keeper, folder: Path, profile: str, *options: str) -> SimModem:
    modem = SimModem(keeper, folder, profile)
    modem.start("--registration", "0.1", "--sim-delay", "0.1", "--boot", "0.3", *options)
    return modem


@pytest.fixture(scope="module")
def modem_of_all(
    keeper_of_all: Keeper, cloud_of_all: Running, tmp_path_factory: pytest.TempPathFactory
) -> SimModem:
    """A simulated Nova whose sockets reach the cloud; one for the module, as its start takes a while."""
    options = ("--cloud", f"127.0.0.1:{cloud_of_all.cloud.port}", "--inbound-port", "0", "--imei", IMEI)
    return started(keeper_of_all, tmp_path_factory.mktemp("modem"), "nova-u201", *options)


@pytest.fixture
def sim(cloud_of_all: Running) -> Running:
    """The cloud, which has seen nothing yet."""
    cloud_of_all.records.clear()
    return cloud_of_all


@pytest.fixture
def nova(modem_of_all: SimModem) -> SimModem:
    """The modem, in a network with its SIM."""
    modem_of_all.tell("clear")
    modem_of_all.tell("sim", state="ready")
    modem_of_all.tell("registration", stat=5)
    return modem_of_all


Make = Callable[..., Any]


@pytest.fixture
def hologram(nova: SimModem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes a `HologramCloud` on the simulated modem; it is closed when the test ends."""
    monkeypatch.setenv("HOLOGRAM_SDK_MODEM", str(nova.at))
    made: list[HologramCloud] = []

    def make(
        credentials: object = None, network: str = "cellular-nova-u201", **options: Any
    ) -> HologramCloud:
        options = {"enable_inbound": False, "outbox": tmp_path / "outbox.db", **options}
        made.append(HologramCloud(credentials or {}, network=network, **options))
        return made[-1]

    yield make
    for cloud in made:
        cloud.close()


def heard(cloud: CustomCloud) -> list[str]:
    """Return a list that gets the name of each event."""
    told: list[str] = []
    for name in ("cellular.connected", "cellular.disconnected", "network.connected", "network.disconnected"):
        cloud.event.subscribe(name, partial(told.append, name))
    return told


def texts(sim: Running) -> list[str]:
    return [(record.request.data or b"").decode() for record in sim.records]


def test_the_modem_tells_of_itself(hologram: Make, nova: SimModem) -> None:
    """By the released SDK's properties, of the network and of its modem alike."""
    nova.tell("signal", rssi=17, ber=2)
    nova.tell("operator", name="Operator 1")
    network = hologram().network
    assert network.signal_strength == network.modem.signal_strength == "17,2"
    assert (network.imsi, network.iccid) == (IMSI, ICCID)
    assert network.operator == "Operator 1"
    assert network.modem.imei == IMEI
    assert network.modem_id == "SARA-U201"
    assert network.modem.version
    assert "Nova" in network.description
    assert network.active_modem_interface == "Nova_U201"
    assert network.at_sockets_available is True
    nova.tell("signal", rssi=99, ber=99)
    assert network.signal_strength == "99,99"
    rssi, quality = network.signal_strength.split(",")
    assert int(rssi) == int(quality) == 99


def test_a_command_is_given_and_answered(hologram: Make) -> None:
    """With its lines, or how it failed."""
    modem = hologram().network.modem
    assert modem.command("+CGMM") == ("OK", "SARA-U201")
    assert modem.command("+CSQ", expected="+CSQ")[0] == "OK"
    assert modem.command("+CSQ", expected="+CREG")[0] == "NoMatch"
    assert modem.command("+CFUN", 1)[0] == "OK"
    assert modem.command("+NOSUCH")[0] == "Error"


def test_the_place_of_the_modem(hologram: Make) -> None:
    """As the cells around it say; a modem without such means says so."""
    place = hologram().network.location
    assert float(place.latitude) == pytest.approx(41.8783)
    assert float(place.longitude) == pytest.approx(-87.6359)
    assert place.date
    assert place.time
    assert int(place.uncertainty) == 32


def test_messages_go_by_the_modems_sockets_without_connect(hologram: Make, sim: Running) -> None:
    """Under the SIM's own identity, which is all a script needs to know: as with the released SDK."""
    cloud = hologram()
    assert cloud.authenticationType == "totp"
    assert cloud.sendMessage("one two three!", topics=["TOPIC1", "TOPIC2"], timeout=3) == 0
    (record,) = sim.records
    assert (record.request.form, record.request.topics) == ("totp", ("TOPIC1", "TOPIC2"))


@no_ppp
def test_connecting_and_disconnecting(hologram: Make, sim: Running) -> None:
    """Each tells its events before it returns; status and addresses follow; what is kept goes at once."""
    cloud = hologram()
    told, network = heard(cloud), cloud.network
    assert network.getConnectionStatus() == 0
    assert network.localIPAddress is None
    assert network.connect(timeout=20) is True
    assert sorted(told) == ["cellular.connected", "network.connected"]
    assert network.getConnectionStatus() == 1
    assert network.is_connected()
    assert str(network.localIPAddress).startswith("10.")
    told.clear()
    assert network.disconnect() is True
    assert sorted(told) == ["cellular.disconnected", "network.disconnected"]
    assert network.getConnectionStatus() == 0
    assert network.localIPAddress is network.remoteIPAddress is None
    assert cloud.sendMessage("kept", topics=["a"]) == ""
    assert cloud.sendMessage("too") == ""
    assert network.connect() is True
    assert sorted(texts(sim)) == ["kept", "too"]
    assert network.reconnect() is True
    assert cloud.sendMessage("after") == 0


@no_ppp
def test_a_connection_that_is_lost_comes_back(hologram: Make, nova: SimModem, sim: Running) -> None:
    """What is sent meanwhile is kept, and goes by itself; the events tell of it."""
    cloud = hologram()
    assert cloud.network.connect(timeout=20)
    told = heard(cloud)
    nova.tell("registration", stat=3)
    nova.tell("pdp")
    eventually(lambda: "network.disconnected" in told, what="the loss is told")
    assert cloud.sendMessage("meanwhile").kept
    assert not cloud.network.is_connected()
    nova.tell("registration", stat=5)
    eventually(lambda: "network.connected" in told, 30, what="the connection is back")
    eventually(lambda: texts(sim) == ["meanwhile"], what="what was kept has gone")


@no_ppp
@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"do": "sim", "state": "absent"}, 3),
        ({"do": "sim", "state": "puk"}, 3),
        ({"do": "registration", "stat": 3}, 5),
        ({"do": "registration", "stat": 2}, 5),
    ],
)
def test_why_there_is_no_connection(
    hologram: Make, nova: SimModem, order: dict[str, Any], status: int
) -> None:
    """`connect` is False within its timeout, and the code says whether it is the SIM or the signal."""
    nova.tell(**order)
    cloud = hologram()
    assert cloud.network.connect(timeout=1.5) is False
    if order.get("stat") != 2:  # a search that goes on is no trouble afterwards
        assert cloud.network.getConnectionStatus() == status
    assert cloud.sendMessage("kept", timeout=1).kept if order.get("stat") == 3 else True


def test_what_comes_in_by_the_modems_sockets(hologram: Make, nova: SimModem) -> None:
    """Is received as ever, and the port is closed again."""
    cloud = hologram(enable_inbound=True)
    ports = eventually(lambda: re.findall(r"port 4010 of the modem is 127\.0\.0\.1:(\d+)", nova.said()))
    port = int(ports[0])
    told = threading.Event()
    cloud.event.subscribe("message.received", told.set)
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b"hello modem")
        connection.shutdown(socket.SHUT_WR)
    assert told.wait(15)
    assert cloud.popReceivedMessage() == "hello modem"
    assert cloud.popReceivedMessage() is None
    cloud.closeReceiveSocket()


def test_texts_come_one_by_one(hologram: Make, nova: SimModem) -> None:
    """Whole, the oldest first, with sender and time; taken out of the modem when they are popped."""
    cloud = hologram()
    cloud.enableSMS()
    assert cloud.popReceivedSMS() is None
    told = threading.Event()
    cloud.event.subscribe("sms.received", told.set)
    long = "é" * 200
    nova.tell("sms", from_="+15551234567", text="hello", at="2026-01-02T03:04:05Z")
    assert told.wait(10)
    nova.tell("sms", from_="+15557654321", text=long, at="2026-01-02T03:05:00Z")
    first = cloud.popReceivedSMS()
    assert (first.sender, first.message) == ("15551234567", "hello")
    assert f"{first.timestamp:%Y-%m-%d %H:%M:%S}" == "2026-01-02 03:04:05"
    assert "sender: 15551234567" in repr(first)
    second = cloud.popReceivedSMS()
    assert (second.sender, second.message) == ("15557654321", long)
    cloud.disableSMS()
    assert cloud.popReceivedSMS() is None


def test_the_radio_and_a_reset(hologram: Make, nova: SimModem) -> None:
    """The modem is told, and answers afterwards."""
    modem = hologram().network.modem
    assert modem.radio_power(False) is True
    eventually(lambda: nova.state()["registration"] == 0, what="the radio is off")
    assert modem.radio_power(True) is True
    nova.wait_registered()
    modem.reset()
    assert modem.signal_strength
    assert nova.events("restart")


def test_no_modem_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the released SDK's words; for the TOTP of its SIM too."""
    monkeypatch.setenv("HOLOGRAM_SDK_MODEM", str(tmp_path / "nothing"))
    cloud = HologramCloud({}, enable_inbound=False, network="cellular", outbox=tmp_path / "x.db")
    with pytest.raises(NetworkError, match="Modem not detected"):
        _ = cloud.network.signal_strength
    with pytest.raises(NetworkError, match="Modem not detected"):
        cloud.network.connect()
    with pytest.raises((NetworkError, AuthenticationError)):
        cloud.sendMessage("x")
    assert cloud.network.getConnectionStatus() == 12


def test_a_modem_that_hangs_is_no_error(
    keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`connect` is False within its timeout, the status says why, and the modem is recovered meanwhile."""
    modem = started(keeper, tmp_path / "modem", "nova-u201", "--inbound-port", "0", "--fault", "hang")
    monkeypatch.setenv("HOLOGRAM_SDK_MODEM", str(modem.at))
    cloud = HologramCloud(
        {"devicekey": "abcd1234"},
        enable_inbound=False,
        network="cellular-nova-u201",
        outbox=tmp_path / "x.db",
    )
    assert cloud.network.connect(timeout=0.5) is False
    eventually(lambda: cloud.network.getConnectionStatus() == 12, 40, what="it is known to be silent")
    with pytest.raises(ModemError, match="does not answer"):
        _ = cloud.network.signal_strength
    assert cloud.openReceiveSocket() is True
    assert cloud.sendMessage("kept", timeout=0.5).kept
    modem.tell("clear")
    eventually(cloud.is_ready_to_send, 40, what="the modem is back, and its sockets carry")
    assert cloud.network.getConnectionStatus() != 12
    assert "port 4010 of the modem is" in modem.said()
    cloud.close()


def test_a_modem_that_the_daemon_holds_says_so(
    bridge: BridgeProcess, keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By program and process, and what to do instead."""
    modem = started(keeper, tmp_path / "modem", "nova-u201")
    bridge.configure(network={"interface": "cellular-nova-u201", "device": str(modem.at)})
    bridge.start()
    eventually(lambda: f"the modem is at {modem.at}" in bridge.said(), what="the daemon has the modem")
    monkeypatch.setenv("HOLOGRAM_SDK_MODEM", str(modem.at))
    cloud = CustomCloud(None, network="cellular", outbox=tmp_path / "x.db")

    def refused() -> bool:
        with pytest.raises(SerialError) as error:
            cloud.network.connect()
        text = str(error.value)
        assert "hologram/out" not in text or "mqtt.prefix" in text
        return f"is held by hologram-bridge (process {bridge.pid})" in text and "hologram/out" in text

    eventually(refused, what="the error names the daemon")


def test_a_modem_of_its_own(nova: SimModem) -> None:
    """Made by a script by the documented names, and given to a cloud or used as it is."""
    modem = BG96(device_name="/dev/none", baud_rate=115200)
    assert (modem.deviceName, modem.baudRate) == ("/dev/none", "115200")
    modem = IOTA(deviceName=str(nova.at))
    assert modem.mode == "ppp"
    assert modem.signal_strength
    assert modem.localIPAddress is None
    assert modem.isConnected() is False
    cloud = CustomCloud(None, network="cellular", modem=modem)
    assert cloud.network.modem is modem
    assert cloud.network.imsi == IMSI
    cloud.network.scope = NetworkScope.HOLOGRAM
    modem.close()


@no_ppp
def test_a_modem_without_sockets_needs_ppp(keeper: Keeper, tmp_path: Path) -> None:
    """An E303 connects by pppd alone: where that cannot be had, `connect` is False."""
    sim = started(keeper, tmp_path / "modem", "e303")
    modem = E303(deviceName=str(sim.at))
    assert modem.at_sockets_available is False
    assert modem.connect(timeout=5) is False
    assert modem.disconnect() is True
    with pytest.raises(ModemError, match="place"):
        _ = modem.location
    modem.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "serial"}, "mode: 'serial'"),
        ({"baudRate": "fast"}, "baudRate: 'fast'"),
        ({"chatScriptFile": "/no/such/script"}, "/no/such/script is not there"),
    ],
)
def test_parameters_that_are_not_allowed(options: dict[str, str], says: str) -> None:
    """Are an error that names the parameter."""
    with pytest.raises(HologramError, match=says):
        Modem(**options).connect()


def test_an_interface_that_is_none() -> None:
    """Is an error that names those there are."""
    with pytest.raises(NetworkError, match=r"bluetooth.*cellular-iota.*wifi"):
        CustomCloud(None, network="bluetooth")


def test_wifi_that_is_not_there() -> None:
    """Is no connection: everything is empty, and nothing raises."""
    wifi = Wifi("wlan99")
    told: list[str] = []
    wifi.event.subscribe("wifi.connected", lambda: told.append("connected"))
    assert wifi.connect(timeout=1) is False
    found = (wifi.getSSID(), wifi.getAPAddress(), wifi.getAvgSignalStrength(), wifi.getMaxSignalStrength())
    assert found == ("", "", "", "")
    assert wifi.getConnectionStatus() == 0
    assert told == []
    wifi.close()
