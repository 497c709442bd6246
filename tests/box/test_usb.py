"""Modems on the USB: the kernel's own drivers claim them by their ids, and the bridge finds its way."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.box.gadget import Kind, UsbModem
from tests.box.machine import PYTHON, Machine
from tests.box.recipe import PROJECT
from tests.harness import eventually

pytestmark = pytest.mark.root


class Case(NamedTuple):
    """A modem, and the interfaces whose ports take AT commands and dial."""

    interface: str
    usb_id: str
    kind: Kind
    functions: int
    at: str
    dial: str


CASES = [
    Case("cellular-nova-u201", "1546:1102", "acm", 3, "00", "02"),
    Case("cellular-nova-r410", "05c6:90b2", "gser", 4, "02", "02"),
    Case("cellular-bg96", "2c7c:0296", "gser", 4, "02", "03"),
    Case("cellular-ec21", "2c7c:0121", "gser", 4, "02", "03"),
]


@pytest.fixture(scope="module")
def machine(box: Machine) -> Machine:
    """A machine with the bridge in it."""
    box.install()
    return box


@pytest.fixture(params=CASES, ids=[case.interface for case in CASES])
def case(request: pytest.FixtureRequest) -> Case:
    """Each of the modems that drivers know by their ids."""
    found: Case = request.param
    return found


@pytest.fixture
def modem(machine: Machine, case: Case) -> Iterator[UsbModem]:
    """The modem, plugged in."""
    modem = UsbModem(machine, case.usb_id, kind=case.kind, functions=case.functions)
    modem.plug()
    yield modem
    modem.remove()


def ask(machine: Machine, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        machine.must(f"cd {PROJECT} && {PYTHON} -m tests.box.usb_asker {' '.join(words)}")
    )
    return found


def the_one(machine: Machine) -> dict[str, Any]:
    """Wait for exactly one modem with its stable names, which udev gives it moments later."""

    def found() -> dict[str, Any] | None:
        modems = ask(machine, "find")
        return modems[0] if len(modems) == 1 and modems[0]["by_id"] else None

    one = eventually(found, 30, what="one modem")
    assert one
    return one


def interface_of(machine: Machine, port: str) -> str:
    """Return the number of the USB interface that a port belongs to, as udev knows it."""
    return machine.must(f"udevadm info -q property -n {port} | sed -n 's/^ID_USB_INTERFACE_NUM=//p'")


def test_finds_a_modem_and_tells_its_ports_apart(machine: Machine, case: Case, modem: UsbModem) -> None:
    """By its USB id, with the port for commands and the one that dials, and its stable names."""
    found = the_one(machine)
    assert found["profile"] == case.interface
    assert (interface_of(machine, found["at_port"]), interface_of(machine, found["dial_port"])) == (
        *(case.at, case.dial),
    )
    assert found["serial"] == "0123456789"
    links = {machine.must(f"readlink -f {link}") for link in found["by_id"]}
    assert {found["at_port"], found["dial_port"]} <= links


def test_a_modem_is_the_same_after_its_power_was_off(machine: Machine, case: Case, modem: UsbModem) -> None:
    """Switched off at its place on the bus, it goes and comes back with the same ports' stable names."""
    before = the_one(machine)
    machine.must(": >/run/udev.log")
    machine.spawn("udev-watch", "udevadm monitor --udev --subsystem-match=tty >/run/udev.log")
    machine.wait_for("grep -q UDEV /run/udev.log")
    ask(machine, "cycle", before["usb_path"])
    machine.wait_for("grep -q 'remove.*tty' /run/udev.log && grep -q 'add.*tty' /run/udev.log")
    machine.must("systemctl stop udev-watch")
    after = the_one(machine)
    assert after["by_id"] == before["by_id"]
    assert after["usb_path"] == before["usb_path"]


def test_a_modem_comes_back_under_other_names(machine: Machine, case: Case, modem: UsbModem) -> None:
    """A port that is still open keeps its name, so the modem gets others, and is found by them."""
    before = the_one(machine)
    machine.hold(before["at_port"])
    assert the_one(machine)["who"] == 1
    modem.unplug()
    eventually(lambda: ask(machine, "find") == [], 30, what="no modem")
    modem.plug()
    after = the_one(machine)
    assert after["at_port"] != before["at_port"]
    assert set(after["by_id"]) == set(before["by_id"])
    machine.must("systemctl stop holder")  # now those names are free again
