"""A host's USB as a container is given it: its ``/dev``, and what its ``/sys`` tells of the bus.

The ports are a simulated modem's ptys. They get the owner that Debian's udev gives serial ports.
"""

import os
import shutil
import stat
from pathlib import Path

from bridge.protocol.modems.bg96 import PROFILE
from tests.harness import Keeper, eventually
from tests.harness.modem import SimModem

PLACE = "1-1.2"
"""The modem's place on the bus."""

BY_ID = "usb-Quectel_BG96_0123456789-if{:02d}-port0"
"""The stable name of a port, by the number of its interface."""

DIALOUT = 20
"""Debian's group of the serial ports [base-passwd]."""

MEMORY_DEVICES = {"null": 3, "zero": 5, "random": 8, "urandom": 9}
"""Minor numbers of what programs expect in any ``/dev`` [Linux, Documentation/admin-guide/devices.txt]."""


class Host:
    """A host with a BG96, which is plugged in by `plug` and comes back under another name by `replug`."""

    def __init__(self, keeper: Keeper, folder: Path) -> None:
        self.dev, self.sys = folder / "dev", folder / "sys"
        self._bus = self.sys / "bus/usb/devices"
        self._by_id = self.dev / "serial/by-id"
        for path in (self.dev / "pts", self._by_id, self._bus, self.sys / "fs/cgroup"):
            path.mkdir(parents=True)
        for name, minor in MEMORY_DEVICES.items():
            os.mknod(self.dev / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
            (self.dev / name).chmod(0o666)
        self.modem = SimModem(keeper, folder / "modem", PROFILE.label.split()[-1].lower())
        self.modem.links = self._ports("ttyUSB")

    @property
    def options(self) -> tuple[str, ...]:
        """The container's options, with this host's folders for the real ones."""
        return (f"--volume={self.dev}:/dev", "--volume=/dev/pts:/dev/pts", f"--volume={self.sys}:/sys")

    def plug(self) -> None:
        """Plug the modem in."""
        self.modem.start("--registration", "0.3", "--boot", "0.3")
        self._appear(self.modem.links)

    def replug(self) -> None:
        """Have the modem vanish, and come back with other ports."""
        shutil.rmtree(self._bus)
        self._bus.mkdir()
        self.modem.tell("vanish", seconds=0.5, link=str(self.dev / "ttyUSB1"))
        self._appear(self._ports("ttyUSB1"))

    def _ports(self, name: str) -> list[Path]:
        """Return the two ports of a modem whose ports' names begin with ``name``."""
        return [self.dev / f"{name}{number}" for number in range(2)]

    def _appear(self, ports: list[Path]) -> None:
        """Do what the kernel and udev do for a device's ports."""
        device = self._bus / PLACE
        device.mkdir()
        vendor, product = PROFILE.usb_ids[0].split(":")
        for name, text in (("idVendor", vendor), ("idProduct", product), ("serial", "0123456789")):
            (device / name).write_text(f"{text}\n")
        for port, number in zip(ports, (PROFILE.at_interface, PROFILE.dial_interface), strict=True):
            eventually(port.exists, what=f"{port} is there")
            os.chown(port, 0, DIALOUT)
            port.chmod(0o660)
            interface = self._bus / f"{PLACE}:1.{number}"
            (interface / port.name).mkdir(parents=True)
            (interface / "bInterfaceNumber").write_text(f"{number:02x}\n")
            (self._by_id / BY_ID.format(number)).unlink(missing_ok=True)
            (self._by_id / BY_ID.format(number)).symlink_to(f"../../{port.name}")
