"""What nmcli, wpa_cli and iw print, as NetworkManager 1.42, wpa_supplicant 2.10 and iw 5.19 did."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.modem import Wifi
from bridge.protocol.wifi import (
    Device,
    Heard,
    Samples,
    Station,
    WifiState,
    heard,
    nm_device,
    nm_error,
    station,
    terse,
    wpa_device,
    wpa_networks,
)

LINK = """\
Connected to 02:00:00:00:01:00 (on wlan0)
\tSSID: Caf\\xc3\\xa9 \\x5c 1
\tfreq: 2412
\tRX: 707 bytes (11 packets)
\tTX: 487 bytes (5 packets)
\tsignal: -30 dBm
\trx bitrate: 1.0 MBit/s
\ttx bitrate: 6.0 MBit/s

\tbss flags:\tshort-slot-time
\tdtim period:\t2
\tbeacon int:\t100
"""

WPA_STATUS = """\
bssid=02:00:00:00:01:00
freq=2412
ssid=Caf\\xc3\\xa9
id=0
mode=station
pairwise_cipher=CCMP
key_mgmt=WPA2-PSK
wpa_state={state}
ip_address=10.9.0.2
"""


def test_reads_what_an_interface_is_connected_to() -> None:
    """The SSID's escaped bytes become text again; access point and signal are as iw says."""
    assert station(LINK) == Station("Café \\ 1", "02:00:00:00:01:00", -30)


def test_no_connection_is_no_station() -> None:
    """What iw says without a connection, or not at all, is none."""
    assert station("Not connected.\n") is None
    assert station("") is None


def test_unknown_parts_of_a_connection_stay_unknown() -> None:
    """A driver that tells neither SSID nor signal leaves them open."""
    assert station("Connected to 02:00:00:00:01:00 (on wlan0)\n") == Station(None, "02:00:00:00:01:00", None)


def test_an_ssid_that_is_no_text_is_shown_by_its_bytes() -> None:
    """SSIDs are bytes; those that are not UTF-8 are readable still."""
    text = LINK.replace("Caf\\xc3\\xa9 \\x5c 1", "a\\xffb")
    found = station(text)
    assert found
    assert found.ssid == "a\\xffb"


@given(st.binary(min_size=1, max_size=32))
def test_every_ssid_comes_back(ssid: bytes) -> None:
    """What iw escapes is unescaped, whatever bytes the SSID has."""
    escaped = "".join(
        chr(byte) if 33 <= byte <= 126 and byte != ord("\\") else f"\\x{byte:02x}" for byte in ssid
    )
    found = station(f"Connected to 02:00:00:00:01:00 (on wlan0)\n\tSSID: {escaped}\n")
    assert found
    assert found.ssid == ssid.decode(errors="backslashreplace")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("wlan0 (phy #0): connected to 02:00:00:00:01:00", Heard(connected=True)),
        ("wlan0 (phy #0): roamed to 02:00:00:00:01:00", Heard(connected=True)),
        (
            "wlan0 (phy #0): disconnected (by AP) reason: 4: Disassociated due to inactivity",
            Heard(connected=False, reason="by AP: Disassociated due to inactivity"),
        ),
        ("wlan0 (phy #0): disconnected (local request)", Heard(connected=False, reason="local request")),
        (
            "wlan0 (phy #0): failed to connect to 02:00:00:00:01:00, status: 1: Unspecified failure",
            None,
        ),
        ("wlan1 (phy #1): connected to 02:00:00:00:00:00", None),
        ("wlan0: del station 02:00:00:00:01:00", None),
        ('wlan0 (phy #0): scan finished: 2412 2417, "disconnected"', None),
        ("phy #0: regulatory domain change: set to world roaming", None),
        ("", None),
    ],
)
def test_hears_what_an_event_says_of_the_connection(line: str, expected: Heard | None) -> None:
    """Connections made and ended are told from all else, and from other interfaces' events."""
    assert heard(line, "wlan0") == expected


@given(st.text())
def test_no_event_line_breaks_the_reading(line: str) -> None:
    """Whatever a line holds, it is read or passed over."""
    heard(line, "wlan0")
    station(line)
    nm_device(line)
    wpa_device(line)
    nm_error(line)


@given(st.lists(st.text(st.characters(blacklist_characters="\n")), min_size=1))
def test_terse_fields_come_apart_as_they_were_joined(fields: list[str]) -> None:
    """Colons and backslashes in values are told from separators."""
    line = ":".join(field.replace("\\", "\\\\").replace(":", "\\:") for field in fields)
    assert terse(line) == fields


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("10 (unmanaged)", WifiState.UNMANAGED),
        ("20 (unavailable)", WifiState.UNAVAILABLE),
        ("30 (disconnected)", WifiState.DOWN),
        ("50 (connecting (configuring))", WifiState.COMING),
        ("90 (connecting (starting secondary connections))", WifiState.COMING),
        ("100 (connected)", WifiState.UP),
        ("110 (deactivating)", WifiState.DOWN),
        ("120 (connection failed)", WifiState.DOWN),
    ],
)
def test_reads_network_managers_states(state: str, expected: WifiState) -> None:
    """Each state of NetworkManager is one of ours."""
    assert nm_device(f"GENERAL.STATE:{state}\nGENERAL.REASON:0 (No reason given)\n").standing is expected


def test_a_reason_of_network_manager_is_passed_on() -> None:
    """What it says beside the state is for the user; 'no reason' is not."""
    text = "GENERAL.STATE:30 (disconnected)\nGENERAL.REASON:53 (The Wi-Fi network could not be found)\n"
    assert nm_device(text) == Device(WifiState.DOWN, "disconnected: The Wi-Fi network could not be found")
    plain = nm_device("GENERAL.STATE:100 (connected)\nGENERAL.REASON:0 (No reason given)\n")
    assert plain == Device(WifiState.UP, "connected")


def test_an_interface_that_network_manager_does_not_know_is_not_managed_by_it() -> None:
    """An error in place of values is 'unmanaged'."""
    assert nm_device("Error: Device 'wlan9' not found.\n").standing is WifiState.UNMANAGED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Error: Connection activation failed: Secrets were required, but not provided.\nHint: more.\n",
            "Connection activation failed: Secrets were required, but not provided",
        ),
        ("Error: Timeout 20 sec expired.\n", "Timeout 20 sec expired"),
        ("", "no reason given"),
    ],
)
def test_an_error_of_network_manager_is_one_line(text: str, expected: str) -> None:
    """The reason alone, without hints and decoration."""
    assert nm_error(text) == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("COMPLETED", WifiState.UP),
        ("DISCONNECTED", WifiState.DOWN),
        ("INACTIVE", WifiState.DOWN),
        ("INTERFACE_DISABLED", WifiState.UNAVAILABLE),
        *((state, WifiState.COMING) for state in ("SCANNING", "AUTHENTICATING", "4WAY_HANDSHAKE")),
    ],
)
def test_reads_wpa_supplicants_states(state: str, expected: WifiState) -> None:
    """Each state of wpa_supplicant is one of ours."""
    assert wpa_device(WPA_STATUS.format(state=state)).standing is expected


def test_counts_the_networks_that_wpa_supplicant_knows() -> None:
    """The header is no network; an SSID that looks like one is not counted either."""
    text = "network id / ssid / bssid / flags\n0\thome\tany\t[CURRENT]\n1\t2\tany\t\n"
    assert wpa_networks(text) == 2
    assert wpa_networks("network id / ssid / bssid / flags\n") == 0


@given(st.lists(st.integers(-110, -10), min_size=1))
def test_average_and_maximum_are_of_all_samples(signals: list[int]) -> None:
    """The average is rounded to a dB; the maximum is the strongest, which is the one nearest to 0."""
    samples = Samples()
    for signal in signals:
        samples = samples.add(signal)
    assert samples.of(Station("a", "b", None)) == Wifi(
        "a", "b", round(sum(signals) / len(signals)), max(signals)
    )


def test_without_samples_there_is_no_signal() -> None:
    """What was not measured is not invented."""
    assert Samples().of(Station("a", "b", None)) == Wifi("a", "b", None, None)
