"""Sends a message to the Hologram cloud: as ``example-hologram-cloud-csrpsk.py`` does."""

import sys

from bridge.sdk import HologramCloud

hologram = HologramCloud({"devicekey": sys.argv[1]}, enable_inbound=False, authentication_type="csrpsk")
print("Hologram SDK version:", hologram.version)
print("Cloud type:", hologram)
print("Network type:", hologram.network_type)
recv = hologram.sendMessage("Hello, Python!", topics=["TWO-MORE-TIMES", "TOPIC-TOPIC"], timeout=3)
print("RESPONSE CODE FROM CLOUD:", int(recv))
print("RESPONSE MESSAGE:", hologram.getResultString(recv))
