"""The retained states: what each topic is to hold, and which of them the broker is still to be told."""

import logging
from collections.abc import Callable, Iterable

log = logging.getLogger("publisher")


class States:
    """Retained states by topic; one that is to go is empty until the broker has forgotten it."""

    def __init__(self) -> None:
        self._payloads: dict[str, bytes] = {}
        self._due: dict[str, None] = {}
        self._going: dict[str, Callable[[], None]] = {}
        """Topics whose state is to go, and whom to tell when it has."""
        self._refused: dict[str, int | None] = {}
        """Topics whose state the broker does not take; with the bytes of what it cut the connection for."""
        self.on_problem: Callable[[str], None] = lambda _: None
        """Gets a line for health."""

    def set(self, topic: str, payload: bytes, *, again: bool) -> None:
        """Have the broker keep ``payload``; one that it has already only if ``again``."""
        self._going.pop(topic, None)
        if again or self._payloads.get(topic) != payload:
            self._payloads[topic] = payload
            self._due[topic] = None

    def remove(self, topic: str, then: Callable[[], None]) -> None:
        """Have the broker forget the state of ``topic``; ``then`` is called when it has."""
        self._payloads[topic] = b""
        self._going[topic] = then
        self._due[topic] = None

    def repeat(self) -> None:
        """Have all of them told again."""
        self._due.update(dict.fromkeys(self._payloads))

    def again(self, topics: Iterable[str]) -> None:
        """Have these told again: whether the broker has them is not known."""
        self._due.update((topic, None) for topic in topics if topic in self._payloads)

    def take(self, topic: str) -> bytes | None:
        """Return what ``topic`` is to hold, as told now; None where it is nothing, or cannot be told."""
        self._due.pop(topic, None)
        payload = self._payloads.get(topic)
        most = self._refused.get(topic)
        return None if payload is None or (most is not None and len(payload) >= most) else payload

    @property
    def due(self) -> list[str]:
        """The topics that the broker is to be told of."""
        return list(self._due)

    def published(self, topic: str, problem: str | None) -> None:
        """The broker has what was told last of ``topic``, or refuses it."""
        if problem:
            self.refused(topic, problem)
            return
        if topic in self._due:  # something else since
            return
        self._refused.pop(topic, None)
        if then := self._going.pop(topic, None):
            self._payloads.pop(topic, None)
            then()

    def refused(self, topic: str, problem: str, *, cut: bool = False) -> None:
        """Say once that the broker does not take the state of ``topic``; it goes on without.

        What the connection was ``cut`` for is not told again in this run, nor anything as large on its topic.
        """
        first = topic not in self._refused
        self._refused[topic] = len(self._payloads.get(topic, b"")) if cut else None
        if first:
            text = f"the state on {topic} is left out: {problem}"
            log.error("%s", text)
            self.on_problem(text)
