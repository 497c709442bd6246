"""Radios without air in the emulated machine: mac80211_hwsim, with hostapd on one of them."""

from tests.box.machine import Machine

ADDRESS = "10.9.0.1"
"""The access point's; DHCP is not needed to see Wi-Fi work, so stations have fixed addresses."""

OWN = "10.9.0.2"
"""The station's."""

AP = "02:00:00:00:01:00"
"""The second radio's address, by mac80211_hwsim's count."""

KEEPERS = ["NetworkManager", "wpa_supplicant"]
"""Who can look after ``wlan0``."""


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

    def keep(self, keeper: str, ssid: str, password: str) -> None:
        """Have one of `KEEPERS` look after ``wlan0``, knowing one network; it connects only when told."""
        (self._network_manager if keeper == "NetworkManager" else self._wpa_supplicant)(ssid, password)

    def leave_alone(self) -> None:
        """Have nobody look after ``wlan0``."""
        self.machine.run("systemctl stop NetworkManager box-wpa wpa_supplicant; ip addr flush dev wlan0")

    def _network_manager(self, ssid: str, password: str) -> None:
        machine = self.machine
        machine.must("systemctl start NetworkManager")
        machine.must(
            f"nmcli connection add type wifi ifname wlan0 con-name home ssid '{ssid}'"
            f" wifi-sec.key-mgmt wpa-psk wifi-sec.psk '{password}' ipv4.method manual"
            f" ipv4.addresses {OWN}/24 ipv6.method disabled connection.autoconnect no"
        )
        machine.wait_for("nmcli -t -f GENERAL.STATE device show wlan0 | grep -q :30")

    def _wpa_supplicant(self, ssid: str, password: str) -> None:
        machine = self.machine
        lines = [
            "ctrl_interface=DIR=/run/wpa_supplicant GROUP=netdev",
            f'network={{\nssid={ssid.encode().hex()}\npsk="{password}"\n}}\n',
        ]
        machine.put("/etc/wpa_supplicant/box.conf", "\n".join(lines), 0o600)
        machine.must(f"ip addr replace {OWN}/24 dev wlan0")
        machine.spawn("box-wpa", "wpa_supplicant -i wlan0 -c /etc/wpa_supplicant/box.conf")
        machine.wait_for("wpa_cli -i wlan0 ping")
        machine.must("wpa_cli -i wlan0 disconnect")
