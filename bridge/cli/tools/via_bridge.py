"""The path through a running bridge: a command by MQTT, and its result.

With MQTT 5 the result comes back by Response Topic and Correlation Data. With 3.1.1 it is recognized by its
id on the bridge's result topic.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from bridge.adapters.mqtt.reasons import explain
from bridge.cli.screen import say
from bridge.errors import OperationError

RESULT_WAIT = 30.0
"""Seconds to wait for a result without ``--timeout``."""

BROKER_WAIT = 10.0
"""Seconds to wait for the broker's answer."""


def _reply_level(username: str | None) -> str:
    """Return the topic level of this user's results, which the shipped access list grants to the user.

    A Response Topic may hold no wildcard [MQTT 5.0, section 3.3.2.3.5].
    """
    return "tools" if not username or set(username) & set("+#\0") else username


class Bridge:
    """A connection to the broker of a running bridge, for one tool's run."""

    def __init__(self, config: Path | None) -> None:
        """Read the bridge's configuration at ``config``; raises `ConfigError`."""
        from bridge.daemon.configure import broker
        from bridge.settings import load

        settings = load(config).settings
        self._me = secrets.token_hex(6)
        self._broker = broker(settings, f"hologram-tools-{self._me}")
        self._prefix = settings.mqtt.prefix
        self._reply = f"reply/{_reply_level(self._broker.username)}/{self._me}"
        self._ready = threading.Event()
        self._problem = ""
        self._lock = threading.Condition()
        self._results: dict[str, dict[str, Any]] = {}
        self._state = ""
        self._filters = [f"{self._prefix}/bridge/state"]
        self._inbound: SimpleQueue[str] = SimpleQueue()
        """Received messages that are not printed yet."""
        self._client = self._new_client()

    def _new_client(self) -> paho.Client:
        version5 = self._broker.version5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._broker.client_id,
            protocol=paho.MQTTv5 if version5 else paho.MQTTv311,
        )
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._broker.password)
        if self._broker.tls is not None:
            client.tls_set_context(self._broker.tls)
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _connect(self, *filters: str) -> None:
        self._filters += filters
        where = f"{self._broker.host}:{self._broker.port}"
        try:
            self._client.connect(self._broker.host, self._broker.port, self._broker.keepalive)
            self._client.loop_start()
        except (OSError, MQTTException, ValueError) as exc:
            raise OperationError(f"cannot reach the broker at {where}: {exc}; is it running?") from exc
        if not self._ready.wait(BROKER_WAIT):
            raise OperationError(f"the broker at {where} does not answer")
        if self._problem:
            raise OperationError(f"the broker at {where} refuses us: {self._problem}")

    # -- paho's thread -----------------------------------------------------------------------------------

    def _connected(
        self, client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            self._problem = "; ".join(explain(reason, properties, self._broker))
            self._ready.set()
            return
        client.subscribe([(topic, 1) for topic in self._filters])

    def _subscribed(
        self, _client: paho.Client, _data: Any, _mid: int, reasons: list[ReasonCode], _props: Any
    ) -> None:
        if any(reason.is_failure for reason in reasons[1:]):
            self._problem = "it does not let us subscribe to " + ", ".join(self._filters[1:])
        self._ready.set()

    def _received(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        with self._lock:
            if message.topic == f"{self._prefix}/bridge/state":
                self._state = message.payload.decode(errors="replace")
            elif message.topic in (self._reply, f"{self._prefix}/result"):
                self._take_result(message)
            else:
                self._inbound.put(message.payload.decode(errors="backslashreplace"))
            self._lock.notify_all()

    def _take_result(self, message: paho.MQTTMessage) -> None:
        try:
            result = json.loads(message.payload)
            correlation = getattr(message.properties, "CorrelationData", None)
            name = correlation.decode() if correlation else result["id"]
        except (ValueError, KeyError, TypeError):
            return  # another client published this
        self._results[name] = result

    # -- for the tools -----------------------------------------------------------------------------------

    def ask(self, command: str, request: dict[str, Any], timeout: float | None) -> bool:
        """Send a `request` and print the result; return whether it was delivered."""
        return self._show(self.request(command, request, timeout))

    def request(self, command: str, request: dict[str, Any], timeout: float | None) -> dict[str, Any]:
        """Publish ``request`` for the bridge and return its result.

        Raises `OperationError` if the broker refuses it, or if no result comes in ``timeout`` seconds.
        """
        version5 = self._broker.version5
        if not self._ready.is_set():
            self._connect(self._reply if version5 else f"{self._prefix}/result")
        name = f"tool-{secrets.token_hex(8)}"
        properties = None
        if version5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho ships it untyped
            properties.ResponseTopic = self._reply
            properties.CorrelationData = name.encode()
        payload = json.dumps({**request, "id": name})
        sent = self._client.publish(f"{self._prefix}/{command}", payload, qos=1, properties=properties)
        try:
            sent.wait_for_publish(BROKER_WAIT)
        except (RuntimeError, ValueError) as exc:
            raise OperationError(f"the broker did not take the message: {exc}") from exc
        if not sent.is_published():
            raise OperationError("the broker did not take the message in time")
        return self._wait(name, RESULT_WAIT if timeout is None else timeout)

    def _wait(self, name: str, seconds: float) -> dict[str, Any]:
        with self._lock:
            if self._lock.wait_for(lambda: name in self._results, None if seconds == -1 else seconds):
                return self._results.pop(name)
        if self._state == "online":
            raise OperationError(
                f"no result within {seconds:g} s: the bridge keeps the message and delivers it when it can"
            )
        raise OperationError(
            f"no result within {seconds:g} s: the bridge is not running; the broker keeps the message for it"
        )

    def _show(self, result: dict[str, Any]) -> bool:
        from bridge.sdk.engine.response import DESCRIPTIONS

        good = bool(result["state"] == "delivered")
        code = result.get("code")
        text = (
            DESCRIPTIONS.get(code) if isinstance(code, int) else None
        ) or f"{result['state']}: {result['description']}"
        if good or code is not None:
            say(f"RESPONSE MESSAGE: {text}")
        else:
            say(f"hologram-bridge: {text}", error=True)
        return good

    def listen(
        self, timeout: float | None, show: Callable[[str], None], topic: str = "in", what: str = "data"
    ) -> None:
        """Pass every message on ``topic`` to ``show``, for ``timeout`` seconds or until Ctrl-C."""
        self._connect(f"{self._prefix}/{topic}")
        print(f"Ready to receive {what} from {self._prefix}/{topic}", flush=True)
        until = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                show(self._inbound.get(timeout=None if until is None else max(0.0, until - time.monotonic())))
        except (Empty, KeyboardInterrupt):
            return  # Ctrl-C is the documented end
