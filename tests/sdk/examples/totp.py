"""Sends with a signed time: the counterpart of ``example-hologram-cloud-totp.py``."""

import sys

from bridge.sdk import HologramCloud

credentials = {"device_id": sys.argv[1], "private_key": sys.argv[2]}
hologram = HologramCloud(credentials, enable_inbound=False, authentication_type="totp")
recv = hologram.sendMessage("Hello, Python!", topics=["a", "b"])
print("RESPONSE MESSAGE:", hologram.getResultString(recv))
