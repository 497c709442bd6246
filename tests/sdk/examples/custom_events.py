"""Sends to a host of one's own, with handlers: the counterpart of ``example-custom-cloud-events.py``."""

import sys

from bridge.sdk import CustomCloud


def say_hello() -> None:
    print("Hello, it's me")


def say_hello_2() -> None:
    print("Hello, it's me 2")


custom_cloud = CustomCloud(None, send_host=sys.argv[1], send_port=int(sys.argv[2]))
custom_cloud.event.subscribe("message.sent", say_hello)
custom_cloud.event.subscribe("message.sent", say_hello_2)
custom_cloud.event.unsubscribe("message.sent", say_hello)
recv = custom_cloud.sendMessage("Hello, Python!", timeout=2)
print("DATA RECEIVED:", recv)
