"""What the collector passes on: one message of a device, and what keeps it from being passed on."""

from typing import NamedTuple, Protocol

from bridge.errors import BridgeError


class Unavailable(BridgeError):
    """Broker or stream has not acknowledged; the text says why. The sender has to repeat its request."""


class SetAside(NamedTuple):
    """What was left out of a request, because no repeat would mend it."""

    kind: str
    """One of a few words, under which it is counted."""
    reason: str
    """One line for a person."""


class Message(NamedTuple):
    """One message of a device."""

    device: str
    """Letters, digits and underscores."""
    topics: tuple[str, ...]
    """The device's own topics, at least one; the first is the place in the tree."""
    payload: bytes
    at: int | None
    """The time of the message in Unix seconds; None where the box did not know it."""
    received_at: str
    """When the cloud received it, as the cloud says it."""
    batch: str | None = None
    """The id of the batch that it came in."""
    number: int = 0
    """Its number in that batch, from 0."""

    @property
    def id(self) -> str | None:
        """The id that is the same in each repeat; None for a message that came alone."""
        return None if self.batch is None else f"{self.batch}-{self.number}"

    @property
    def properties(self) -> tuple[tuple[str, str], ...]:
        """What goes with it, as user properties of MQTT 5 or headers of NATS."""
        known = {
            "device": self.device,
            "received_at": self.received_at,
            "at": None if self.at is None else str(self.at),
            "id": self.id,
            "topics": ",".join(self.topics[1:]) or None,
        }
        return tuple((name, value) for name, value in known.items() if value is not None)


class Sink(Protocol):
    """Where messages go."""

    async def publish(self, messages: tuple[Message, ...]) -> int:
        """Publish all; return how many of them were there before, once all are acknowledged.

        Raises `Unavailable` where they are not within 8 seconds, or at once where nobody is there to ask.
        """

    @property
    def problem(self) -> str | None:
        """Why nothing can be published now; None where it can."""
