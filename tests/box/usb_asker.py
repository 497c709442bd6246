"""Asks the bridge's USB code in the emulated machine: ``find``, or ``cycle PLACE``; answers in JSON."""

import asyncio
import json
import sys

from bridge.adapters.usb import sysfs as usb
from bridge.protocol.modems import PROFILES

if __name__ == "__main__":
    if sys.argv[1] == "cycle":
        asyncio.run(usb.power_cycle(sys.argv[2], pause=1.0))
    found = usb.find(PROFILES)
    print(
        json.dumps(
            [
                {**each._asdict(), "profile": each.profile.interface, "who": len(usb.who_holds(each.at_port))}
                for each in found
            ]
        )
    )
