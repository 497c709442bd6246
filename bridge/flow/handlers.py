"""What the two MQTT sessions tell, handed on to those whom it concerns."""

import logging
from collections.abc import Callable

from bridge.core.delivery import Delivery
from bridge.flow.monitor import Monitor
from bridge.flow.publisher import Publisher

log = logging.getLogger("bridge")


class DataHandler:
    """The session that carries messages and reports."""

    def __init__(self, monitor: Monitor, publisher: Publisher, receive: Callable[[Delivery], None]) -> None:
        self._monitor = monitor
        self.mqtt_received = receive
        self.mqtt_published = publisher.published

    def mqtt_up(self, *, session_present: bool) -> None:
        """The broker has us."""
        self._monitor.online(session_present=session_present)

    def mqtt_down(self, reason: str) -> None:
        """It is gone, or refuses us."""
        self._monitor.offline(reason)


class ControlHandler:
    """The session that carries commands about the bridge itself."""

    def __init__(self, online: Callable[[bool], None], receive: Callable[[Delivery], None]) -> None:
        """``online`` is told at each connection whether the broker still had the session."""
        self._online = online
        self.mqtt_received = receive

    def mqtt_up(self, *, session_present: bool) -> None:
        """The broker has us."""
        log.debug("control session %s", "resumed" if session_present else "new")
        self._online(session_present)

    def mqtt_down(self, reason: str) -> None:
        """The other session says so, for both."""
        log.debug("control session: %s", reason)

    def mqtt_published(self, _mid: int, _problem: str | None) -> None:
        """Nothing is published here."""
