"""The output of NetworkManager's ``nmcli``, wpa_supplicant's ``wpa_cli`` and ``iw`` about a Wi-Fi interface.

All three are run with LC_ALL=C. Values only; nothing here runs a program.
"""

import re
from enum import StrEnum
from typing import NamedTuple

from bridge.core.modem import Wifi


class WifiState(StrEnum):
    """The connection state of an interface."""

    UNMANAGED = "unmanaged"
    """The queried program does not manage the interface."""
    UNAVAILABLE = "unavailable"
    """The interface's radio is off, or its driver is not ready."""
    DOWN = "down"
    COMING = "coming"
    UP = "up"


class Station(NamedTuple):
    """An association with an access point; ``signal`` in dBm."""

    ssid: str | None
    ap: str | None
    signal: int | None


class Device(NamedTuple):
    """An interface by its connection manager; ``says`` is the state in the manager's own words."""

    standing: WifiState
    says: str


class Heard(NamedTuple):
    """An event of an interface: it connected (or roamed), or disconnected with a ``reason``."""

    connected: bool
    reason: str = ""


class Samples(NamedTuple):
    """The signals seen of one connection, in dBm."""

    number: int = 0
    total: int = 0
    maximum: int | None = None

    def add(self, signal: int) -> "Samples":
        """Return the samples with one more."""
        maximum = signal if self.maximum is None else max(signal, self.maximum)
        return Samples(self.number + 1, self.total + signal, maximum)

    def of(self, station: Station) -> Wifi:
        """Return the reported facts of the connection to ``station``."""
        average = round(self.total / self.number) if self.number else None
        return Wifi(station.ssid, station.ap, average, self.maximum)


# --- iw

_MAC = r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}"
_ESCAPE = re.compile(rb"\\x([0-9A-Fa-f]{2})")
_EVENT = re.compile(
    r"(?P<interface>\S+)(?: \(phy #\d+\))?: (?P<what>connected|roamed|disconnected)\b(?P<rest>.*)"
)


def station(text: str) -> Station | None:
    r"""Read ``iw dev NAME link``: the association, or None if there is none [iw(8); iw 5.19, link.c].

    The SSID's printable bytes are unchanged, the others are ``\xNN`` [iw 5.19, util.c].
    """
    found = re.search(rf"^Connected to ({_MAC})\b", text, re.MULTILINE | re.IGNORECASE)
    if not found:
        return None
    ssid = re.search(r"^\s+SSID: (.*)$", text, re.MULTILINE)
    signal = re.search(r"^\s+signal: (-?\d+) dBm", text, re.MULTILINE)
    return Station(_iw_text(ssid[1]) if ssid else None, found[1].lower(), int(signal[1]) if signal else None)


def heard(line: str, interface: str) -> Heard | None:
    """Read a line of ``iw event``; None if it is not about ``interface``'s connection [iw 5.19, event.c].

    An example is ``wlan0 (phy #0): disconnected (by AP) reason: 3: Deauthenticated because …``.
    """
    found = _EVENT.match(line.strip())
    if not found or found["interface"] != interface:
        return None
    rest = found["rest"].strip()
    if found["what"] != "disconnected":
        failed = "failed" in rest or "status" in rest
        return Heard(connected=not failed, reason=rest if failed else "")
    reason = re.fullmatch(r"\(([^)]*)\)(?: reason: \d+: (.*))?", rest)
    if not reason:
        return Heard(connected=False, reason=rest)
    return Heard(connected=False, reason=f"{reason[1]}: {reason[2]}" if reason[2] else reason[1])


def _iw_text(escaped: str) -> str:
    raw = _ESCAPE.sub(lambda hexa: bytes([int(hexa[1], 16)]), escaped.encode(errors="surrogateescape"))
    return raw.decode(errors="backslashreplace")


# --- NetworkManager

_NM_DOWN, _NM_COMING, _NM_UP, _NM_LEAVING = 30, 40, 100, 110


def terse(line: str) -> list[str]:
    r"""Split a line of ``nmcli --terse`` into its fields; ``\:`` and ``\\`` are escapes [nmcli(1)]."""
    fields = [""]
    plain = True
    for char in line:
        if plain and char == "\\":
            plain = False
        elif plain and char == ":":
            fields.append("")
        else:
            fields[-1] += char
            plain = True
    return fields


def nm_device(text: str) -> Device:
    """Read ``nmcli -t -f GENERAL.STATE,GENERAL.REASON device show NAME`` [nmcli(1)].

    The number is the NMDeviceState: 10 unmanaged, 20 unavailable, 30 disconnected, 40 to 90 on the way, 100
    activated, 110 deactivating, 120 failed [NetworkManager D-Bus reference manual, NMDeviceState].
    """
    values = {fields[0]: ":".join(fields[1:]) for fields in map(terse, text.splitlines())}
    state = re.match(r"\d+", values.get("GENERAL.STATE", ""))
    number = int(state[0]) if state else 0
    says = values.get("GENERAL.STATE", "unknown").partition(" ")[2].strip("()") or "unknown"
    reason = re.match(r"[1-9]\d* \((.*)\)$", values.get("GENERAL.REASON", ""))
    return Device(_nm_standing(number), f"{says}: {reason[1]}" if reason else says)


def _nm_standing(number: int) -> WifiState:
    if number < 20:
        return WifiState.UNMANAGED
    if number < _NM_DOWN:
        return WifiState.UNAVAILABLE
    if _NM_COMING <= number < _NM_UP:
        return WifiState.COMING
    return WifiState.UP if _NM_UP <= number < _NM_LEAVING else WifiState.DOWN


def nm_error(text: str) -> str:
    """Return the reason in nmcli's output, without its ``Error:`` and its hints."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Hint:")]
    return lines[-1].removeprefix("Error: ").rstrip(".") if lines else "no reason given"


# --- wpa_supplicant

_WPA_WORDS = {
    "DISCONNECTED": "disconnected",
    "INACTIVE": "no network that it knows is enabled",
    "INTERFACE_DISABLED": "the interface is off",
    "SCANNING": "no network that it knows is in reach",
    "4WAY_HANDSHAKE": "the access point does not take the password",
}
"""[wpa_supplicant 2.10, ``enum wpa_states``] in plain words."""


def wpa_device(text: str) -> Device:
    """Read ``wpa_cli -i NAME status``: ``key=value`` lines, ``wpa_state`` among them [wpa_cli(8)]."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    state = values.get("wpa_state", "")
    says = _WPA_WORDS.get(state, state.lower().replace("_", " ") or "unknown")
    if state == "COMPLETED":
        return Device(WifiState.UP, "connected")
    if state == "INTERFACE_DISABLED":
        return Device(WifiState.UNAVAILABLE, says)
    if state in ("", "DISCONNECTED", "INACTIVE"):
        return Device(WifiState.DOWN, says)
    return Device(WifiState.COMING, says)


def wpa_networks(text: str) -> int:
    """Count the networks in ``wpa_cli list_networks``: tab-separated lines that begin with a number."""
    return sum(bool(re.match(r"\d+\t", line)) for line in text.splitlines())
