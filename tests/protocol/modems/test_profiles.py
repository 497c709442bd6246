"""The modems that are known."""

from typing import get_args

import pytest

from bridge.protocol.modems import PROFILES, Profile, by_interface
from bridge.settings.models import Interface

KNOWN = [interface for interface in get_args(Interface) if interface.startswith("cellular")]


def test_every_interface_of_the_settings_has_its_profile() -> None:
    """What ``network.interface`` allows is what can be managed, and nothing else."""
    assert sorted(profile.interface for profile in PROFILES) == sorted(KNOWN)
    for interface in KNOWN:
        assert by_interface(interface).interface == interface
    with pytest.raises(KeyError):
        by_interface("cellular-none")


@pytest.mark.parametrize(
    ("usb_id", "interface"),
    [
        ("12d1:1001", "cellular-e303"),
        ("12d1:1506", "cellular-ms2131"),
        ("1546:1102", "cellular-nova-u201"),
        ("1546:1104", "cellular-nova-u201"),
        ("05c6:90b2", "cellular-nova-r410"),
        ("2c7c:0296", "cellular-bg96"),
        ("2c7c:0121", "cellular-ec21"),
    ],
)
def test_usb_ids_tell_the_modem(usb_id: str, interface: str) -> None:
    """Each id stands for one profile; of two modems that share one, one claims it."""
    claimed = [each.interface for each in PROFILES if each.claims_usb_ids and usb_id in each.usb_ids]
    assert claimed == [interface]


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.interface)
def test_a_profile_is_consistent(profile: Profile) -> None:
    """Commands are AT commands, ids well formed, and roles name ports."""
    commands = (
        profile.model_command,
        profile.firmware_command,
        profile.iccid_command,
        profile.pin_tries_command,
        profile.reset_command,
        *profile.setup,
    )
    assert all(command.startswith("AT") for command in commands)
    assert profile.dial.startswith("ATD")
    assert all(len(usb_id) == 9 and usb_id == usb_id.lower() for usb_id in profile.usb_ids)
    assert set(profile.registration) <= {"CREG", "CGREG", "CEREG"}
    assert profile.registration


def test_technologies_have_the_names_that_users_know() -> None:
    """The same AcT is LTE on one modem and LTE-M on another; an unknown one has no name."""
    assert by_interface("cellular-ec21").technology(7) == "LTE"
    assert by_interface("cellular-nova-r410").technology(7) == "LTE-M"
    assert by_interface("cellular-bg96").technology(8) == "LTE-M"
    assert by_interface("cellular-bg96").technology(9) == "NB-IoT"
    assert by_interface("cellular-e303").technology(6) == "3G"
    assert by_interface("cellular").technology(0) == "2G"
    assert by_interface("cellular").technology(99) is None
    assert by_interface("cellular").technology(None) is None
