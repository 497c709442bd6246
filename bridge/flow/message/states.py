"""The retained states: the wanted payload of each topic, and the topics that are still to be published."""

import logging
from collections.abc import Callable, Iterable

log = logging.getLogger("publisher")


class States:
    """Retained states by topic. A state to be cleared is an empty payload until the broker has cleared it."""

    def __init__(self) -> None:
        self._payloads: dict[str, bytes] = {}
        self._due: dict[str, None] = {}
        self._going: dict[str, Callable[[], None]] = {}
        """Topics to be cleared, with the function to call when the broker has done so."""
        self._refused: dict[str, int | None] = {}
        """Topics whose state the broker does not take. The value is the size in bytes that the broker cut the
        connection for; None: it refused the state with a reason."""
        self.on_problem: Callable[[str], None] = lambda _: None
        """Called with one line of text, for the health."""

    def set(self, topic: str, payload: bytes, *, again: bool) -> None:
        """Set the state of ``topic``; an unchanged payload is published only if ``again``."""
        self._going.pop(topic, None)
        if again or self._payloads.get(topic) != payload:
            self._payloads[topic] = payload
            self._due[topic] = None

    def remove(self, topic: str, then: Callable[[], None]) -> None:
        """Clear the state of ``topic``; ``then`` is called when the broker has done so."""
        self._payloads[topic] = b""
        self._going[topic] = then
        self._due[topic] = None

    def repeat(self) -> None:
        """Schedule all states for publication."""
        self._due.update(dict.fromkeys(self._payloads))

    def again(self, topics: Iterable[str]) -> None:
        """Schedule ``topics`` for publication again: the broker may not have received their states."""
        self._due.update((topic, None) for topic in topics if topic in self._payloads)

    def take(self, topic: str) -> bytes | None:
        """Return the payload to publish on ``topic`` now; None.

        There is none, or the broker would not take it.
        """
        self._due.pop(topic, None)
        payload = self._payloads.get(topic)
        most = self._refused.get(topic)
        return None if payload is None or (most is not None and len(payload) >= most) else payload

    @property
    def due(self) -> list[str]:
        """The topics to be published."""
        return list(self._due)

    def published(self, topic: str, problem: str | None) -> None:
        """Take the acknowledgement of ``topic``'s state, or its refusal for the reason ``problem``."""
        if problem:
            self.refused(topic, problem)
            return
        if topic in self._due:  # its payload has changed since it was published
            return
        self._refused.pop(topic, None)
        if then := self._going.pop(topic, None):
            self._payloads.pop(topic, None)
            then()

    def refused(self, topic: str, problem: str, *, cut: bool = False) -> None:
        """Leave out the state of ``topic``, which the broker does not take; this is reported the first time.

        After a ``cut`` no payload as large is published on the topic in this run.
        """
        first = topic not in self._refused
        self._refused[topic] = len(self._payloads.get(topic, b"")) if cut else None
        if first:
            text = f"the state on {topic} is left out: {problem}"
            log.error("%s", text)
            self.on_problem(text)
