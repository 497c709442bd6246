"""``hologram-bridge usb-power``: the command of ``hologram-usb-power@.service``: one USB port, off and on.

It runs as root and takes nothing from the bridge but the place on the bus. It refuses a place of another
form, and a place without a known modem.
"""

import argparse
import asyncio
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "usb-power",
        help="switch a modem's USB port off and on (root; for hologram-usb-power@.service)",
        description="Switch the power of a known modem's USB port off and on. Needs root.",
    )
    parser.add_argument("place", metavar="PLACE", help="the port's place on the bus, such as 1-1.2")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Switch the port off and on; raises `OperationError`."""
    from bridge.adapters.usb.sysfs import power_cycle

    place = allowed(args.place)
    asyncio.run(power_cycle(place))
    print(f"the USB port at {place} was off and is on again")
    return 0


def allowed(place: str, sys: Path | None = None) -> str:
    """Return ``place`` if a known modem is there; raises `OperationError` otherwise."""
    from bridge.adapters.usb.power import check_place
    from bridge.adapters.usb.sysfs import SYS, find, portless
    from bridge.errors import OperationError
    from bridge.protocol.modems import PROFILES

    sys = sys or SYS
    check_place(place)
    here = {found.usb_path for found in find(PROFILES, sys)} | {at for _, at in portless(PROFILES, sys)}
    if place not in here:
        raise OperationError(f"no known modem is at {place}: hologram-bridge switches nothing else")
    return place
