"""Modems on a USB that a test lays out as sysfs does."""

import asyncio
import os
import pty
import subprocess
import sys
import tty
from pathlib import Path

import pytest

from bridge.adapters.usb import sysfs as usb
from bridge.errors import OperationError
from bridge.protocol.modems import PROFILES, by_interface
from tests.harness import eventually

BG96 = by_interface("cellular-bg96")
U201 = by_interface("cellular-nova-u201")


class Machine:
    """A ``/sys`` and a ``/dev`` of one's own."""

    def __init__(self, folder: Path) -> None:
        self.sys = folder / "sys"
        self.dev = folder / "dev"
        self.devices = self.sys / "bus/usb/devices"
        self.by_id = self.dev / "serial/by-id"
        for path in (self.devices, self.by_id):
            path.mkdir(parents=True)

    def plug(self, place: str, usb_id: str, *, serial: str = "") -> Path:
        """Put a device without interfaces on the bus."""
        folder = self.devices / place
        folder.mkdir()
        vendor, product = usb_id.split(":")
        for name, text in (("idVendor", vendor), ("idProduct", product), ("authorized", "1")):
            (folder / name).write_text(f"{text}\n")
        if serial:
            (folder / "serial").write_text(f"{serial}\n")
        return folder

    def port(
        self, place: str, number: int, name: str, *, link: str = "", kind: tuple[int, int, int] = (255, 0, 0)
    ) -> str:
        """Give a device an interface with a serial port; ttyACM stands in a folder ``tty``."""
        interface = self.devices / f"{place}:1.{number}"
        interface.mkdir()
        (interface / "bInterfaceNumber").write_text(f"{number:02x}\n")
        for part, value in zip(("Class", "SubClass", "Protocol"), kind, strict=True):
            (interface / f"bInterface{part}").write_text(f"{value:02x}\n")
        (interface / "tty" / name if "ACM" in name else interface / name).mkdir(parents=True)
        path = self.dev / name
        path.write_text("")
        if link:
            (self.by_id / link).symlink_to(path)
        return str(path)

    def bg96(self, place: str = "1-1.2", first: int = 0, *, serial: str = "", link: str = "") -> list[str]:
        """Plug a BG96 in."""
        self.plug(place, "2c7c:0296", serial=serial)
        return [
            self.port(place, number, f"ttyUSB{first + number}", link=f"{link}{number}" if link else "")
            for number in range(4)
        ]

    def unplug(self, place: str) -> None:
        """Take a device away, ports and all."""
        for folder in sorted(self.devices.glob(f"{place}*")):
            for entry in sorted(folder.rglob("*"), key=lambda path: -len(path.parts)):
                if entry.name.startswith("ttyUSB"):
                    (self.dev / entry.name).unlink()
                entry.rmdir() if entry.is_dir() else entry.unlink()
            folder.rmdir()

    def find(self) -> list[usb.Found]:
        """Look for every modem."""
        return usb.find(PROFILES, self.sys, self.dev)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_modem_is_found_by_its_usb_id(machine: Machine) -> None:
    """Its AT and dial ports are those of the documented interfaces, whatever their names; a mouse is none."""
    machine.plug("1-1", "046d:c077")
    ports = machine.bg96(first=3, serial="abc", link="usb-Quectel_BG96-if0")
    [found] = machine.find()
    assert found.profile is BG96
    assert (found.at_port, found.dial_port) == (ports[2], ports[3])
    assert (found.usb_path, found.serial) == ("1-1.2", "abc")
    assert [Path(link).name for link in found.by_id] == [f"usb-Quectel_BG96-if0{n}" for n in range(4)]


def test_cdc_acm_ports_are_found(machine: Machine) -> None:
    """A SARA-U201 has two interfaces a port: the first takes AT commands, the second dials."""
    machine.plug("1-1", "1546:1102")
    ports = [machine.port("1-1", 2 * number, f"ttyACM{number}") for number in range(3)]
    [found] = machine.find()
    assert found.profile is U201, "the iota, of the same id, is only meant where it is asked for"
    assert (found.at_port, found.dial_port) == (ports[0], ports[1])
    [iota] = usb.find([by_interface("cellular-iota")], machine.sys, machine.dev)
    assert iota.profile.interface == "cellular-iota"


def test_what_an_interface_says_of_itself_beats_its_number(machine: Machine) -> None:
    """Huawei's sticks number their ports by mode, and mark what they are."""
    machine.plug("1-1", "12d1:1506")
    dial = machine.port("1-1", 1, "ttyUSB0", kind=(255, 2, 1))
    machine.port("1-1", 2, "ttyUSB1", kind=(255, 2, 3))
    at = machine.port("1-1", 3, "ttyUSB2", kind=(255, 2, 2))
    [found] = machine.find()
    assert (found.at_port, found.dial_port) == (at, dial)


def test_one_port_does_both(machine: Machine) -> None:
    """A SARA-R4 dials on the port that takes AT commands."""
    machine.plug("1-1", "05c6:90b2")
    machine.port("1-1", 0, "ttyUSB0")
    port = machine.port("1-1", 2, "ttyUSB1")
    [found] = machine.find()
    assert (found.at_port, found.dial_port) == (port, port)


def test_a_modem_without_a_driver_is_told(machine: Machine) -> None:
    """It is on the bus and has no port: not found, but known to be there."""
    machine.plug("1-1", "05c6:90b2")
    assert machine.find() == []
    [(profile, place)] = usb.portless(PROFILES, machine.sys, machine.dev)
    assert (profile.interface, place) == ("cellular-nova-r410", "1-1")


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    """A machine without USB, and one without sysfs, has no modem."""
    assert usb.find(PROFILES, tmp_path / "nothing", tmp_path) == []


def test_a_given_device_has_its_siblings(machine: Machine) -> None:
    """The dial port of a given AT port is found; a stable name stays the name that is used."""
    ports = machine.bg96(link="quectel")
    link = str(machine.by_id / "quectel2")
    found = usb.at_device(BG96, link, machine.sys, machine.dev)
    assert (found.at_port, found.dial_port, found.usb_path) == (link, ports[3], "1-1.2")


def test_a_given_device_of_another_kind_is_taken_as_it_is(machine: Machine) -> None:
    """An adapter's port is both; so is what is no USB port at all."""
    machine.plug("1-3", "0403:6001", serial="FT1")
    port = machine.port("1-3", 0, "ttyUSB9", link="usb-FTDI")
    found = usb.at_device(BG96, port, machine.sys, machine.dev)
    assert (found.at_port, found.dial_port, found.usb_path, found.serial) == (port, port, "1-3", "FT1")
    other = usb.at_device(BG96, "/dev/ttyS0", machine.sys, machine.dev)
    assert (other.at_port, other.dial_port, other.usb_path) == ("/dev/ttyS0", "/dev/ttyS0", None)


@pytest.mark.parametrize(("serial", "link"), [("abc", ""), ("", "quectel"), ("abc", "quectel"), ("", "")])
def test_a_modem_that_comes_back_is_found_again(machine: Machine, serial: str, link: str) -> None:
    """Under other names, and by its serial number or stable name at another place on the bus."""
    machine.bg96(serial=serial, link=link)
    [before] = machine.find()
    machine.unplug("1-1.2")
    for stale in machine.by_id.iterdir():
        stale.unlink()
    assert usb.again(before, machine.sys, machine.dev) is None
    ports = machine.bg96("1-1.4", first=4, serial=serial, link=link)
    now = usb.again(before, machine.sys, machine.dev)
    assert now is not None
    assert (now.at_port, now.dial_port, now.usb_path) == (ports[2], ports[3], "1-1.4")


def test_of_two_modems_the_same_one_is_found_again(machine: Machine) -> None:
    """The serial number tells them apart, and without one their place."""
    machine.bg96("1-1.1", serial="one")
    machine.bg96("1-1.2", first=4, serial="two")
    before = machine.find()[1]
    machine.unplug("1-1.2")
    assert usb.again(before, machine.sys, machine.dev) == machine.find()[0], "the only one there may be it"
    machine.bg96("1-1.3", first=8, serial="two")
    now = usb.again(before, machine.sys, machine.dev)
    assert now is not None
    assert now.usb_path == "1-1.3"


def test_a_given_port_is_found_again(machine: Machine) -> None:
    """An adapter by its stable name under another number; what has no name by its path."""
    machine.plug("1-3", "0403:6001")
    machine.port("1-3", 0, "ttyUSB0", link="usb-FTDI")
    before = usb.at_device(BG96, str(machine.dev / "ttyUSB0"), machine.sys, machine.dev)
    machine.unplug("1-3")
    assert usb.again(before, machine.sys, machine.dev) is None
    (machine.by_id / "usb-FTDI").unlink()
    machine.plug("1-3", "0403:6001")
    port = machine.port("1-3", 0, "ttyUSB1", link="usb-FTDI")
    now = usb.again(before, machine.sys, machine.dev)
    assert now is not None
    assert (now.at_port, now.dial_port) == (port, port)


# -- power -----------------------------------------------------------------------------------------------


class NetworkPaths:
    """Remembers what is written to a file, by being the FIFO in its place."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        self._reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def written(self) -> str:
        try:
            return os.read(self._reader, 100).decode()
        except BlockingIOError:
            return ""


def test_power_goes_off_and_on(machine: Machine) -> None:
    """Through ``authorized`` where the hub's port has no switch."""
    machine.bg96()
    paths = NetworkPaths(machine.devices / "1-1.2/authorized")
    assert usb.can_power_cycle("1-1.2", machine.sys)
    asyncio.run(usb.power_cycle("1-1.2", machine.sys, pause=0))
    assert paths.written() == "01"


def test_the_hubs_port_is_the_better_switch(machine: Machine) -> None:
    """It cuts the power; it stays where it is when the device goes."""
    machine.bg96()
    port = machine.sys / "devices/1-1-port2"
    port.mkdir(parents=True)
    (machine.devices / "1-1.2/port").symlink_to(port)
    paths = NetworkPaths(port / "disable")
    asyncio.run(usb.power_cycle("1-1.2", machine.sys, pause=0))
    assert paths.written() == "10"
    assert (machine.devices / "1-1.2/authorized").read_text() == "1\n"


def test_power_comes_back_when_the_wait_is_broken_off(machine: Machine) -> None:
    """Whoever gives up in between does not leave a modem without power."""
    machine.bg96()
    paths = NetworkPaths(machine.devices / "1-1.2/authorized")

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await usb.power_cycle("1-1.2", machine.sys, pause=60)

    asyncio.run(give_up())
    assert paths.written() == "01"


def test_power_that_cannot_be_switched_is_told(machine: Machine) -> None:
    """A device that is not there has no switch, and one without a switch says so."""
    with pytest.raises(OperationError, match="no USB device at 9-9"):
        asyncio.run(usb.power_cycle("9-9", machine.sys))
    assert not usb.can_power_cycle("9-9", machine.sys)
    assert not usb.can_power_cycle(None, machine.sys)
    machine.bg96()
    authorized = machine.devices / "1-1.2/authorized"
    authorized.unlink()
    authorized.mkdir()
    with pytest.raises(OperationError, match=r"cannot switch the USB device at 1-1\.2 off"):
        asyncio.run(usb.power_cycle("1-1.2", machine.sys))


# -- who has a port --------------------------------------------------------------------------------------


def test_the_holder_of_a_port_is_named() -> None:
    """A process that has it open is found by number and name, through a link too; we are not told of us."""
    ours, port = pty.openpty()
    tty.setraw(port)
    path = os.ttyname(port)
    script = "import os, sys; os.open(sys.argv[1], os.O_NOCTTY); print('open', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        [found] = usb.who_holds(path)
        assert found.pid == holder.pid
        assert found.name.startswith("python")
    finally:
        holder.communicate()
    eventually(lambda: usb.who_holds(path) == [])
    os.close(ours)
    os.close(port)


def test_a_lock_file_names_a_holder_too(tmp_path: Path) -> None:
    """Programs lock ports by ``LCK..name``; a lock that a dead process left counts for nothing."""
    proc, locks = tmp_path / "proc", tmp_path / "lock"
    (proc / "77").mkdir(parents=True)
    (proc / "77/comm").write_text("minicom\n")
    locks.mkdir()
    (locks / "LCK..ttyUSB2").write_text("        77\n")
    assert usb.who_holds("/dev/ttyUSB2", proc, locks) == [usb.Holder(77, "minicom")]
    (locks / "LCK..ttyUSB2").write_text("        78\n")
    assert usb.who_holds("/dev/ttyUSB2", proc, locks) == []
    (locks / "LCK..ttyUSB2").write_text("garbage")
    assert usb.who_holds("/dev/ttyUSB2", proc, locks) == []
