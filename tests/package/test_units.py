"""The files of the system: what the units promise, and that they agree with the program."""

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bridge.adapters.ppp.unit import UNIT as PPP_UNIT
from bridge.adapters.system.box_restart import UNIT as BOX_UNIT
from bridge.adapters.system.control_socket import INSTALLED, INSTALLED_STORE
from bridge.adapters.usb.power import UNIT as POWER_UNIT
from bridge.adapters.usb.power import check_place
from bridge.errors import OperationError
from bridge.protocol.modems import PROFILES, by_interface
from bridge.settings import DEFAULT_PATH
from bridge.settings.models import Store
from tests.doubles.namespace import namespaces
from tests.harness.process import ROOT

UNITS = ROOT / "systemd"
ROOT_UNITS = sorted(
    path
    for path in UNITS.glob("*.service")
    if path.name not in ("hologram-bridge.service", "hologram-collect.service")
)
POLKIT = (ROOT / "config/polkit/50-hologram-bridge.rules").read_text()
USB_IDS = {usb_id for profile in PROFILES for usb_id in profile.usb_ids}


def directives(name: str) -> dict[str, list[str]]:
    """Return what a unit says, each value of each key."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_the_bridges_unit_keeps_its_promises() -> None:
    """It tells when it is ready, is watched, comes back from anything but a wrong configuration."""
    unit = directives("hologram-bridge.service")
    promised = {
        "Type": "notify",
        "StartLimitIntervalSec": "0",
        "Restart": "on-failure",
        "RestartPreventExitStatus": "78",
        "ExecReload": "/bin/kill -HUP $MAINPID",
        "User": "hologram",
        "StateDirectory": INSTALLED_STORE.parent.name,
        "RuntimeDirectory": INSTALLED.parent.name,
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
    }
    assert {key: unit[key] for key in promised} == {key: [value] for key, value in promised.items()}
    assert "mosquitto.service" in unit["After"][0].split()
    assert not {"Requires", "BindsTo", "PartOf", "Requisite"} & set(unit)
    assert int(unit["WatchdogSec"][0]) > 0
    assert unit["MemoryMax"] == ["256M"]


def test_the_installed_places_are_those_of_the_defaults() -> None:
    """State and configuration are where the program looks without being told."""
    assert Store().path == INSTALLED_STORE
    assert Path("/etc/hologram-bridge/bridge.hjson") == DEFAULT_PATH


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("hologram-bridge.service", 1.5),
        ("hologram-collect.service", 1.2),
        ("hologram-ppp.service", 3.0),
        ("hologram-timestamps.service", 2.0),
        ("hologram-usb-bind.service", 1.0),
        ("hologram-usb-power@.service", 1.0),
        ("hologram-restart-box.service", 1.0),
    ],
)
def test_the_exposure_is_low(name: str, most: float) -> None:
    """The score that systemd gives a unit; a plain one has 9.2 to 9.6."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNITS / name)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    print(found[0])
    assert float(found[1]) <= most


def test_the_bridge_has_nothing_to_do_with_the_clock() -> None:
    """Neither to set it nor to ask the kernel for it; others may be asked."""
    unit = directives("hologram-bridge.service")
    assert unit["ProtectClock"] == ["yes"]
    assert not any("adjtime" in line or "@clock" in line for line in unit["SystemCallFilter"])


@pytest.mark.parametrize("path", ROOT_UNITS, ids=lambda path: path.name)
def test_a_root_unit_reads_nothing_that_the_bridge_can_write(path: Path) -> None:
    """Neither its folders nor anybody's are named, and only root's file sets its environment."""
    unit = directives(path.name)
    text = "\n".join(value for values in unit.values() for value in values)
    for place in (INSTALLED.parent, INSTALLED_STORE.parent, "/tmp", "/var/tmp", "/home"):
        assert str(place) not in text
    assert unit.get("EnvironmentFile", ["-/etc/default/hologram-bridge"]) == ["-/etc/default/hologram-bridge"]
    assert "User" not in unit
    assert unit["NoNewPrivileges"] == ["yes"]


def test_no_file_is_for_sysctl() -> None:
    """Debian applies those as soon as they are there, in chroots and containers too."""
    assert "sysctl.d" not in (ROOT / "config/debian/stage").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
@pytest.mark.parametrize("before", [True, False])
def test_timestamps_are_switched_off_and_put_back(before: bool, tmp_path: Path) -> None:
    """The unit's own commands, in a network namespace: what was there before comes back."""
    unit = directives("hologram-timestamps.service")

    def run(key: str) -> str:
        [command] = unit[key]
        words = shlex.split(command.replace("/run/hologram-timestamps", str(tmp_path)))
        subprocess.run(words, check=True, timeout=30)
        return Path("/proc/sys/net/ipv4/tcp_timestamps").read_text().strip()

    with namespaces(before) as (namespace,):
        assert namespace.do(partial(run, "ExecStart")) == "0"
        assert namespace.do(partial(run, "ExecStop")) == str(int(before))


def test_every_root_unit_that_the_bridge_starts_is_one_that_it_may() -> None:
    """The polkit rule names the very units that the program starts."""
    assert f'"{PPP_UNIT}"' in POLKIT
    prefix, _, suffix = POWER_UNIT.partition("{}")
    assert f"/^{prefix}" in POLKIT
    assert f'"{BOX_UNIT}"' in POLKIT
    assert {PPP_UNIT, BOX_UNIT, prefix + suffix} < {path.name for path in ROOT_UNITS}


def _rule() -> re.Pattern[str]:
    found = re.search(r"/\^(hologram-usb-power@.*?)\$/\.test\(unit\)", POLKIT)
    assert found
    return re.compile(found[1])


_ASK = """\
let rule;
const Result = { YES: "yes", NO: "no", NOT_HANDLED: "as without it" };
globalThis.polkit = { Result, addRule: (given) => { rule = given; } };
(0, eval)(require("fs").readFileSync(process.argv[1], "utf8"));
const said = JSON.parse(process.argv[2]).map(([user, id, details]) =>
    rule({ id, lookup: (key) => details[key] }, { user }));
console.log(JSON.stringify(said));
"""


def _polkit(asked: list[tuple[str, str, dict[str, str]]]) -> list[str]:
    """Return what the rule says to each (user, action, details)."""
    rules = str(ROOT / "config/polkit/50-hologram-bridge.rules")
    command = ["node", "-e", _ASK, rules, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    answers: list[str] = json.loads(done.stdout)
    return answers


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no JavaScript engine here")
def test_polkit_lets_the_bridge_do_this_and_no_more() -> None:
    """Three units and the Wi-Fi's switch, for the user hologram alone; not what its groups may be given."""
    units, network = "org.freedesktop.systemd1.manage-units", "org.freedesktop.NetworkManager."
    ppp, power = "hologram-ppp.service", "hologram-usb-power@1-1.2.service"
    may = [
        *((units, {"unit": ppp, "verb": verb}) for verb in ("start", "stop")),
        (units, {"unit": power, "verb": "start"}),
        (units, {"unit": BOX_UNIT, "verb": "start"}),
        *((f"{network}{each}", {}) for each in ("network-control", "wifi.scan", "enable-disable-wifi")),
    ]
    may_not: list[tuple[str, dict[str, str]]] = [
        (units, {}),
        *((units, {"unit": ppp, "verb": verb}) for verb in ("restart", "kill", "set-property", "")),
        (units, {"unit": power, "verb": "stop"}),
        (units, {"unit": BOX_UNIT, "verb": "restart"}),
        (units, {"unit": "reboot.target", "verb": "start"}),
        *(
            (units, {"unit": unit, "verb": "start"})
            for unit in (
                f"{power}\n",
                f"x\n{power}",
                "hologram-usb-power@.service",
                "ssh.service",
                f"{ppp}.service",
            )
        ),
        *((f"org.freedesktop.systemd1.{each}", {}) for each in ("manage-unit-files", "set-environment")),
        *((f"{network}{each}", {}) for each in ("settings.modify.system", "settings.modify.own", "reload")),
    ]
    assert _polkit([("hologram", *each) for each in may]) == ["yes"] * len(may)
    assert _polkit([("hologram", *each) for each in may_not]) == ["no"] * len(may_not)
    others = [(user, *each) for user in ("root", "pi", "") for each in (*may, *may_not)]
    assert set(_polkit(others)) == {"as without it"}


def _program_takes(place: str) -> bool:
    try:
        check_place(place)
    except OperationError:
        return False
    return True


@given(st.text(alphabet="0123456789-.@/\\x\n ", max_size=20) | st.from_regex(r"\d+-\d+(\.\d+)*\Z"))
def test_the_rule_and_the_program_take_the_same_places(place: str) -> None:
    """What is let through to root is what root's program takes: a bus, a port, and hubs on the way."""
    allowed = _rule().fullmatch(POWER_UNIT.format(place)) is not None
    assert allowed == _program_takes(place)


@pytest.mark.parametrize("place", ["1-1", "1-1.2", "12-3.4.5.6"])
def test_real_places_are_taken(place: str) -> None:
    """Ports behind hubs too."""
    assert _program_takes(place)


def test_udev_knows_exactly_the_modems_that_the_program_knows() -> None:
    """Each USB id is kept from ModemManager, and has its stable names."""
    text = (ROOT / "config/udev/77-hologram-bridge.rules").read_text()
    for attribute in ("ATTR", "ATTRS"):
        pattern = rf'(?m)^{attribute}{{idVendor}}=="(\w+)", {attribute}{{idProduct}}=="(\w+)"'
        assert {":".join(pair) for pair in re.findall(pattern, text)} == USB_IDS


def test_the_id_that_the_option_driver_is_told_is_the_modems() -> None:
    """The unit's and the profile's are the same."""
    wanted = by_interface("cellular-nova-r410").driver_id
    assert f"echo {wanted} >" in directives("hologram-usb-bind.service")["ExecStart"][0]


def test_the_drivers_of_the_allowed_devices_are_loaded_first() -> None:
    """A kind of device that the kernel does not know yet would be left out."""
    modules = (ROOT / "config/modules-load/hologram-bridge.conf").read_text().splitlines()
    assert {"usbserial", "option", "cdc_acm"} <= set(modules)
    assert "systemd-modules-load.service" in directives("hologram-bridge.service")["After"][0].split()


def test_what_may_wait_in_the_broker_fits_into_a_small_box() -> None:
    """A third of 512 MB is for all else: a Mosquitto that is killed for memory would load all of it again."""
    text = (ROOT / "config/mosquitto/hologram-bridge.conf").read_text()
    limits = {name: int(value) for name, value in re.findall(r"(?m)^(max_queued_\w+) (\d+)$", text)}
    each = 400  # bytes beside the payload, with Mosquitto 2.0.11 on a 64-bit machine
    most = limits["max_queued_messages"] * each + limits["max_queued_bytes"]
    assert 0 < most <= 512 * 2**20 * 2 / 3


def test_the_packages_dependencies_are_pinned_with_hashes() -> None:
    """All that the program asks for is there, in a version that suits it, and nothing without a hash."""
    text = (ROOT / "config/debian/requirements.txt").read_text().replace("\\\n", " ")
    pins: dict[str, str] = {}
    for line in filter(None, text.splitlines()):
        if line.startswith("#"):
            continue
        name, _, rest = line.partition("==")
        pins[canonicalize_name(name)] = rest.split()[0]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", line), name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for needed in map(Requirement, project["dependencies"]):
        assert needed.specifier.contains(pins[canonicalize_name(needed.name)]), needed
