"""Radios without air in the emulated machine: mac80211_hwsim, with hostapd on one of them."""

from tests.box.machine import Machine

ADDRESS = "10.9.0.1"
"""The access point's; DHCP is not needed to see Wi-Fi work, so stations have fixed addresses."""


class Air:
    """Two radios: the machine's own ``wlan0``, and one in the namespace ``ap`` for the access point."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        machine.must("modprobe mac80211_hwsim radios=2")
        machine.wait_for("test -e /sys/class/net/wlan1/phy80211/name")
        machine.must(
            "ip netns add ap && iw phy $(cat /sys/class/net/wlan1/phy80211/name) set netns name ap"
            f" && ip -n ap addr add {ADDRESS}/24 dev wlan1"
        )

    def access_point(self, ssid: str, password: str, *, channel: int = 1, bssid: str = "") -> None:
        """Have an access point on the air."""
        lines = [
            *("interface=wlan1", f"ssid2={ssid.encode().hex()}", "hw_mode=g", f"channel={channel}"),
            *("wpa=2", "wpa_key_mgmt=WPA-PSK", "rsn_pairwise=CCMP", f"wpa_passphrase={password}"),
            *([f"bssid={bssid}"] if bssid else []),
            "ctrl_interface=/run/hostapd\n",
        ]
        self.machine.put("/etc/hostapd/box.conf", "\n".join(lines))
        self.machine.spawn("ap", "ip netns exec ap hostapd /etc/hostapd/box.conf")
        self.machine.wait_for("ip netns exec ap hostapd_cli -i wlan1 status | grep -q state=ENABLED")

    def leave(self) -> None:
        """Take it off the air as its own shutdown does, with a goodbye to its stations; fine when it is."""
        self.machine.run("systemctl stop ap")

    def vanish(self) -> None:
        """Take it off the air without a word."""
        self.machine.must("systemctl kill --signal=KILL ap; ip -n ap link set wlan1 down")
        self.machine.run("systemctl reset-failed ap")
