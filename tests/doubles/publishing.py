"""A broker as the publisher sees it: a session that a test acknowledges, cuts and connects again."""

from collections.abc import Callable

from bridge.core.delivery import Properties
from bridge.flow.message.publisher import Publisher


class Broker:
    """Takes what is published; tells in ``acknowledges`` which payloads it acknowledges."""

    def __init__(self, window: int, acknowledges: Callable[[bytes], bool]) -> None:
        self.window = window
        self.acknowledges = acknowledges
        self.connected = True
        self.cut = False
        self.connection: int | None = 1
        self.publisher: Publisher
        self.payloads: list[bytes] = []
        """What it has acknowledged."""
        self.retained: dict[str, bytes] = {}
        """The newest state that it was given of each topic; an empty one clears it."""
        self.events: list[bytes] = []
        self.in_flight: dict[int, bytes] = {}
        self.most = 0
        self._mids = 0
        self._echoes: list[Callable[[int], None]] = []

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> int | None:
        self._mids += 1
        self.in_flight[self._mids] = payload
        if retain:
            self.retained[topic] = payload
        self.most = max(self.most, len(self.in_flight))
        return self._mids

    def publish_event(self, topic: str, payload: bytes) -> bool:
        self.events.append(payload)
        return True

    def explained(self) -> None:
        """Nothing waits for it here."""

    def echo(self, then: Callable[[int], None]) -> None:
        self._echoes.append(then)

    def reconnect(self, reason: str) -> None:
        self.in_flight.clear()
        self._echoes.clear()
        self.publisher.down()
        self.connection = (self.connection or 0) + 1
        self.publisher.up()

    def turn(self) -> None:
        """Acknowledge, and answer."""
        for mid, payload in list(self.in_flight.items()):
            if self.acknowledges(payload):
                del self.in_flight[mid]
                self.payloads.append(payload)
                self.publisher.published(mid, None)
        echoes, self._echoes = self._echoes, []
        for then in echoes:
            then(self.connection or 0)
