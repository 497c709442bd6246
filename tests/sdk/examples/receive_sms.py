"""Receives an SMS: the counterpart of ``example-receive-sms.py``."""

import threading

from bridge.sdk import HologramCloud

hologram = HologramCloud(None, enable_inbound=False, network="cellular")
came = threading.Event()
hologram.event.subscribe("sms.received", came.set)
hologram.enableSMS()
print("waiting for an SMS...", flush=True)
came.wait(20)
hologram.disableSMS()
sms_obj = hologram.popReceivedSMS()
if sms_obj is None:
    print("sms_obj:", sms_obj)
else:
    print("sender:", sms_obj.sender)
    print(sms_obj.timestamp)
    print("message:", sms_obj.message)
