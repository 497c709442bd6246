"""What the two MQTT sessions tell, handed on to those whom it concerns."""

import logging
from collections.abc import Callable

from bridge.core.delivery import Delivery
from bridge.flow.health.monitor import Monitor
from bridge.flow.message.publisher import Publisher

log = logging.getLogger("bridge")


class DataHandler:
    """The session that carries messages and reports."""

    def __init__(
        self,
        monitor: Monitor,
        publisher: Publisher,
        receive: Callable[[Delivery], None],
        *,
        whose: str,
        on_end: Callable[[], None],
    ) -> None:
        """``whose`` names client id and broker, under which a session is the same one.

        ``on_end`` is told when a connection has ended.
        """
        self._monitor = monitor
        self._whose = whose
        self._on_end = on_end
        self.mqtt_received = receive
        self.mqtt_published = publisher.published
        self._publisher = publisher

    def mqtt_up(self, *, session_present: bool) -> None:
        """The broker has us."""
        self._monitor.online(session_present=session_present, whose=self._whose)

    def mqtt_down(self, reason: str) -> None:
        """It is gone, or refuses us."""
        self._publisher.down()
        self._monitor.offline(reason)
        self._on_end()


class ControlHandler:
    """The session that carries commands about the bridge itself."""

    def __init__(
        self, monitor: Monitor, online: Callable[[bool], None], receive: Callable[[Delivery], None]
    ) -> None:
        """``online`` is told at each connection whether the broker still had the session."""
        self._monitor = monitor
        self._online = online
        self.mqtt_received = receive

    def mqtt_up(self, *, session_present: bool) -> None:
        """The broker has us."""
        log.debug("control session %s", "resumed" if session_present else "new")
        self._monitor.control_online()
        self._online(session_present)

    def mqtt_down(self, reason: str) -> None:
        """It is gone, or refused."""
        log.debug("control session: %s", reason)
        self._monitor.control_offline(reason)

    def mqtt_published(self, _mid: int, _problem: str | None) -> None:
        """Nothing is published here."""
