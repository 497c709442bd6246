"""Old import lines, and what an import costs."""

import importlib
import subprocess
import sys

import pytest

import bridge.sdk
from bridge.sdk import mirror

LINES = [
    # The import lines of the documents and of the published examples, with their new beginning.
    "from bridge.sdk import HologramCloud, CustomCloud, Credentials, Hologram",
    "from bridge.sdk.Hologram import Hologram",
    "from bridge.sdk.Hologram.Hologram import Hologram",
    "from bridge.sdk.Hologram.HologramCloud import HologramCloud",
    "from bridge.sdk.Hologram.CustomCloud import CustomCloud",
    "from bridge.sdk.Hologram.Cloud import Cloud",
    "from bridge.sdk.Hologram.Credentials import Credentials",
    "from bridge.sdk.Hologram.Raw import Raw",
    "from bridge.sdk.Hologram.Event import Event",
    "from bridge.sdk.Hologram.Event.Event import Event",
    "from bridge.sdk.Hologram.Network import Network, NetworkManager, NetworkScope, Cellular, Wifi",
    "from bridge.sdk.Hologram.Network.Cellular import Cellular, CLOUD_CONNECTED",
    "from bridge.sdk.Hologram.Network.Modem import E303, MS2131, IOTA, Nova, Nova_U201, NovaM, BG96, EC21",
    "from bridge.sdk.Hologram.Network.Modem.E303 import E303",
    "from bridge.sdk.Exceptions.HologramError import HologramError, AuthenticationError, NetworkError",
    "from bridge.sdk.UtilClasses.UtilClasses import Location, SMS",
    "from bridge.sdk.UtilClasses import Location, ModemResult, SMS",
    "from bridge.sdk.Hologram.Network import Network, Cellular",
    "from bridge.sdk.Exceptions.HologramError import NetworkError, PPPError, SerialError, HologramError",
    "from bridge.sdk.Hologram.Network.Modem.Modem import Modem",
    "from bridge.sdk.Hologram.Network.Modem.MS2131 import MS2131",
    "from bridge.sdk.Hologram.Network.Modem.Nova_U201 import Nova_U201",
    "from bridge.sdk.Hologram.Network.Modem.Quectel import Quectel",
    "from bridge.sdk.Hologram.Network.Modem.EC25 import EC25",
    "import bridge.sdk.Hologram.HologramCloud",
]


@pytest.mark.parametrize("line", LINES)
def test_an_old_import_line_needs_a_new_beginning_only(line: str) -> None:
    """Each name is the very class of this package."""
    found: dict[str, object] = {}
    exec(line, found)  # the line is the test
    for name in line.partition(" import ")[2].split(", "):
        if name:
            assert found[name] is getattr(bridge.sdk, name)


def test_every_module_of_old_has_all_its_names() -> None:
    """Nothing in the table of old names leads nowhere."""
    for name in mirror.MODULES:
        module = importlib.import_module(f"bridge.sdk.{name}")
        for each in module.__all__:
            assert getattr(module, each) is not None
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            module.nothing  # noqa: B018  # it is asked for


def test_the_class_may_be_made_by_its_modules_name() -> None:
    """As the documents of release 0.1 do: ``Credentials.Credentials`` and ``Credentials`` alike."""
    code = (
        "from bridge.sdk.Hologram import Credentials\nprint(Credentials.Credentials('xxxx', 'xxxx').cloud_id)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "xxxx\n"


def test_importing_takes_no_mqtt_and_no_modem() -> None:
    """A script that only sends has neither in its memory."""
    code = "import sys, bridge.sdk; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    heavy = {
        "paho",
        "serial",
        "pydantic",
        "bridge.adapters.mqtt.session",
        "bridge.adapters.modem.modem",
        "bridge.settings",
    }
    assert "bridge.flow.message.uplink" in loaded
    assert not loaded & heavy
