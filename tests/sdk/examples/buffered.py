"""Keeps messages while the network is down: as ``example-hologram-cloud-buffered-messages.py``."""

import sys

from bridge.sdk import HologramCloud

hologram = HologramCloud({"devicekey": sys.argv[1]}, enable_inbound=False)
hologram.event.broadcast("network.disconnected")
for text in ("one!", "two!", "three!"):
    recv = hologram.sendMessage(text, topics=["TWO-MORE-TIMES", "TOPIC-TOPIC"])
    print("DATA RECEIVED:", recv)
hologram.event.broadcast("network.connected")
print("Testing complete.")
