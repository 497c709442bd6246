"""Sends an SMS: the counterpart of ``example-sms-csrpsk.py``."""

import sys

from bridge.sdk import HologramCloud

hologram = HologramCloud({"devicekey": sys.argv[1]}, enable_inbound=False, authentication_type="csrpsk")
recv = hologram.sendSMS(sys.argv[2], "Hello, Python!")
print("RESPONSE MESSAGE:", hologram.getResultString(recv))
