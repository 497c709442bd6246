"""A USB modem with its real USB ids in the emulated machine, so that the kernel's own drivers claim it.

The machine is its own USB host and device: dummy_hcd is a bus without wires, and a gadget on it has serial
functions whose device ends, ``/dev/ttyGS0`` and on, are wired to the simulated modem's ports.

::

    ttyUSB0 ─ option ─┐                    ┌─ ttyGS0 ─ socat ─ the simulated modem's first link
    ttyUSB1 ─ option ─┴─ dummy_hcd, gadget ┴─ ttyGS1 ─ socat ─ its second
"""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Literal

from tests.box.machine import Machine

_GADGET = PurePosixPath("/sys/kernel/config/usb_gadget/modem")
_DEVICE = "dummy_udc.0"

Kind = Literal["acm", "gser"]
"""Functions: CDC-ACM, two interfaces each; or vendor-specific ones as most modems have, one each."""


class UsbModem:
    """A USB device that is not plugged in yet.

    Args:
        machine: where; one such device at a time.
        usb_id: as ``1546:1102``.
        kind: what its serial functions are.
        functions: how many; the emulated controller has endpoints for five or so.
        product: the names of its maker and itself, and its serial number.

    """

    def __init__(
        self,
        machine: Machine,
        usb_id: str,
        *,
        kind: Kind,
        functions: int,
        product: tuple[str, str, str] = ("maker", "modem", "0123456789"),
    ) -> None:
        self.machine = machine
        self.functions = functions
        vendor, model = usb_id.split(":")
        maker, name, serial = product
        lines = [
            "modprobe -a dummy_hcd libcomposite",
            f"mkdir -p {_GADGET} && cd {_GADGET}",
            f"echo 0x{vendor} >idVendor && echo 0x{model} >idProduct",
            "mkdir -p strings/0x409 configs/c.1",
            f"echo '{maker}' >strings/0x409/manufacturer && echo '{name}' >strings/0x409/product",
            f"echo '{serial}' >strings/0x409/serialnumber",
            *(f"mkdir functions/{kind}.{each}" for each in range(functions)),
            *(f"ln -s {_GADGET}/functions/{kind}.{each} configs/c.1/" for each in range(functions)),
        ]
        machine.must(" && ".join(lines))

    def wire(self, links: Sequence[str]) -> None:
        """Wire the first functions to the simulated modem's ports, and keep them so."""
        for number, link in enumerate(links):
            ends = f"/dev/ttyGS{number},raw,echo=0 {link},raw,echo=0"
            command = f"/bin/sh -c 'while :; do socat {ends}; sleep 0.2; done'"
            self.machine.spawn(f"usb-wire-{number}", command)

    def plug(self) -> None:
        """Plug it in."""
        self.machine.must(f"echo {_DEVICE} >{_GADGET}/UDC")

    def unplug(self) -> None:
        """Pull it out."""
        self.machine.must(f"echo '' >{_GADGET}/UDC")

    def remove(self) -> None:
        """Pull it out for good."""
        self.machine.run(f"echo '' >{_GADGET}/UDC; systemctl stop 'usb-wire-*'")
        self.machine.must(
            f"cd {_GADGET} && rm -f configs/c.1/*.* && rmdir functions/* configs/c.1 strings/0x409"
            f" && cd / && rmdir {_GADGET}"
        )
