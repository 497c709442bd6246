"""Receives messages: the counterpart of ``example-custom-receive-with-message-received.py``."""

import sys
import threading

from bridge.sdk import CustomCloud

custom_cloud = CustomCloud(None, receive_host=sys.argv[1], receive_port=sys.argv[2], enable_inbound=True)
received = threading.Event()


def say_message_received() -> None:
    print("A message has been received!")
    received.set()


custom_cloud.event.subscribe("message.received", say_message_received)
print("Send your messages now!", flush=True)
received.wait(20)
custom_cloud.closeReceiveSocket()
print("DATA RECEIVED:", custom_cloud.popReceivedMessage())
print("and then:", custom_cloud.popReceivedMessage())
