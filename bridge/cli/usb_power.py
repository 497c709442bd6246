"""``hologram-bridge usb-power``: what ``hologram-usb-power@.service`` runs as root: one port, off and on.

The place on the bus is all that it takes from the bridge. A place of another form is refused, and one where
no known modem is.
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
    """Switch it off and on; raises `OperationError`."""
    from bridge.adapters.usb.sysfs import power_cycle

    place = allowed(args.place)
    asyncio.run(power_cycle(place))
    print(f"the USB port at {place} was off and is on again")
    return 0


def allowed(place: str, sys: Path | None = None) -> str:
    """Return ``place`` where a known modem is at it; raises `OperationError`."""
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
