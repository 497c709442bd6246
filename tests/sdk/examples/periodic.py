"""Sends a message at an interval: the counterpart of ``example-hologram-cloud-periodic-send.py``."""

import sys
import time

from bridge.sdk import HologramCloud

hologram = HologramCloud({"devicekey": sys.argv[1]}, enable_inbound=False, authentication_type="csrpsk")
print("Sending a periodic message every second...")
hologram.sendPeriodicMessage(1, "This is a periodic message", topics=["PERIODIC-MESSAGES"], timeout=6)
time.sleep(1.5)
print("running:", hologram.periodicMessageRunning())
hologram.stopPeriodicMessage()
print("running:", hologram.periodicMessageRunning())
