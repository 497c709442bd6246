"""Publishes in the emulated machine, and tells the host what was acknowledged while it is still true.

::

    p 5f3a-17      mosquitto acknowledged the message 17 of the boot 5f3a
    q 5f3a-17      the bridge told that it is queued, so it is on the bridge's own disk

Even numbers have an id of their own and share a few lanes; odd ones have no id, and each a topic for itself.
"""

import json
import sys
import threading
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

LANES = 3


class Sensors:
    """One MQTT session and the line to the host.

    paho's own thread calls `_event`; all else is the main thread's.
    """

    def __init__(self, line: str) -> None:
        self._line = Path(line).open("wb", buffering=0)  # noqa: SIM115 it is open as long as we are
        self._name = Path("/proc/sys/kernel/random/boot_id").read_text()[:4]
        self._lock = threading.Lock()  # guards whole lines
        self._waiting: list[tuple[mqtt.MQTTMessageInfo, str]] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="sensors", protocol=mqtt.MQTTv5)
        self._client.reconnect_delay_set(1, 2)
        self._client.on_connect = lambda client, *_: client.subscribe("hologram/event")
        self._client.on_message = self._event

    def run(self, pause: float) -> None:
        """Publish for ever."""
        # Numbers never come again, even where this is started again in the same boot.
        number = int(float(Path("/proc/uptime").read_text().split()[0]) * 100)
        self._client.connect_async("127.0.0.1", 1883, keepalive=30)
        self._client.loop_start()
        while True:
            threading.Event().wait(pause)
            if self._client.is_connected():
                number += 1
                self._publish(number)
            self._acknowledged()

    def _publish(self, number: int) -> None:
        text = f"{self._name}-{number}"
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho's
        topic = f"one/{text}"
        if number % 2 == 0:
            topic = f"lane/{number // 2 % LANES}"
            properties.UserProperty = [("id", text)]
        sent = self._client.publish(f"hologram/out/{topic}", text, qos=1, properties=properties)
        self._waiting.append((sent, text))

    def _acknowledged(self) -> None:
        waiting, self._waiting = self._waiting, []
        for sent, text in waiting:
            if sent.is_published():
                self._tell("p", text)
            else:
                self._waiting.append((sent, text))

    def _event(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        event = json.loads(message.payload)
        if event["event_type"] != "message.queued":
            return
        topic = (event["topics"] or [""])[0]
        if topic.startswith("one/"):
            self._tell("q", topic.removeprefix("one/"))
        elif topic.startswith("lane/"):
            self._tell("q", event["id"])

    def _tell(self, what: str, text: str) -> None:
        with self._lock:
            self._line.write(f"{what} {text}\n".encode())


if __name__ == "__main__":
    Sensors(sys.argv[1]).run(float(sys.argv[2]))
