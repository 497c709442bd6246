"""A system with Wi-Fi, as its programs show it: nmcli, wpa_cli and iw that speak from files.

The interface is ``lo``, dressed up as Wi-Fi in a sysfs of our own, since it has an address everywhere.
"""

from pathlib import Path

ADDRESS = "127.0.0.1"
AP = "02:00:00:00:01:00"
OTHER_AP = "02:00:00:00:02:00"

_NMCLI = """\
case "$*" in
*RUNNING*) cat {state}/running ;;
*"device show"*) cat {state}/device ;;
*"connection show"*) cat {state}/saved ;;
*"device wifi list"*) echo scan >>{state}/orders ;;
*"radio wifi"*) echo "radio $*" >>{state}/orders ;;
*"device connect"*)
    echo connect >>{state}/orders
    [ -e {state}/hangs ] && {{ echo $$ >{state}/hanging; exec sleep 60; }}
    if [ -s {state}/refusal ]; then
        cat {state}/refusal >&2
        [ -e {state}/once ] && : >{state}/refusal
        exit 4
    fi
    cp {state}/connected.link {state}/link
    printf 'GENERAL.STATE:100 (connected)\\nGENERAL.REASON:0 (No reason given)\\n' >{state}/device ;;
*"device disconnect"*)
    echo disconnect >>{state}/orders
    echo 'Not connected.' >{state}/link
    printf 'GENERAL.STATE:30 (disconnected)\\nGENERAL.REASON:39 (by user)\\n' >{state}/device ;;
esac
"""

_WPA_CLI = """\
[ -e {state}/wpa ] || {{ echo "Failed to connect to non-global ctrl_ifname: lo" >&2; exit 255; }}
case "$3" in
ping) echo PONG ;;
status) cat {state}/wpa ;;
list_networks) cat {state}/networks ;;
reconnect) echo connect >>{state}/orders; echo wpa_state=COMPLETED >{state}/wpa
    cp {state}/connected.link {state}/link; echo OK ;;
disconnect) echo disconnect >>{state}/orders; echo wpa_state=DISCONNECTED >{state}/wpa
    echo 'Not connected.' >{state}/link; echo OK ;;
esac
"""

_IW = """\
case "$*" in
event) echo $$ >{state}/listener; exec tail -n +1 -f {state}/events ;;
*link) cat {state}/link ;;
esac
"""


class System:
    """The programs, and what they say; ``keeper`` looks after the interface."""

    def __init__(self, folder: Path, keeper: str = "NetworkManager") -> None:
        self.state = folder / "state"
        self.sys = folder / "sys"
        self.programs = folder / "programs"
        for each in (self.state, self.programs):
            each.mkdir(parents=True)
        self.path = f"{self.programs}:/usr/bin:/bin"
        for name, text in {"nmcli": _NMCLI, "wpa_cli": _WPA_CLI, "iw": _IW}.items():
            program = self.programs / name
            program.write_text("#!/bin/sh\n" + text.format(state=self.state))
            program.chmod(0o755)
        self.interface("lo", 1)
        manager = keeper == "NetworkManager"
        self.says("running", "running\n" if manager else "not running\n")
        self.says("device", "GENERAL.STATE:30 (disconnected)\nGENERAL.REASON:0 (No reason given)\n")
        self.says("saved", "802-11-wireless\nloopback\n")
        self.says("networks", "network id / ssid / bssid / flags\n0\thome\tany\t\n")
        if keeper == "wpa_supplicant":
            self.says("wpa", "wpa_state=DISCONNECTED\n")
        self.says("events", "")
        self.says("orders", "")
        self.says("link", "Not connected.\n")
        self.air()

    def interface(self, name: str, index: int) -> None:
        """Have a Wi-Fi interface."""
        folder = self.sys / "class/net" / name
        (folder / "phy80211").mkdir(parents=True)
        (folder / "ifindex").write_text(f"{index}\n")

    def says(self, name: str, text: str) -> None:
        """Have a program say ``text`` from now on."""
        (self.state / name).write_text(text)

    def air(self, *, ap: str = AP, signal: int = -50, ssid: str = "home", now: bool = False) -> None:
        """Say what the access point is like that is connected to, the next time or ``now``."""
        text = f"Connected to {ap} (on lo)\n\tSSID: {ssid}\n\tsignal: {signal} dBm\n"
        self.says("connected.link", text)
        if now:
            self.says("link", text)

    def event(self, line: str) -> None:
        """Have ``iw event`` say a line."""
        with (self.state / "events").open("a") as events:
            events.write(line + "\n")

    @property
    def orders(self) -> list[str]:
        """What was ordered so far."""
        return (self.state / "orders").read_text().splitlines()
