"""Escalation: when a message that was not delivered goes as a text, and how many texts a route may send.

Of the texts of a route at most `Escalation.limit` go in `Escalation.per` seconds. What is left out is not
lost without a word: the last text says how many messages were left out, while it still waits; once it has
gone, the newest of them goes as soon as there is room again, with the number of the others.
"""

from typing import NamedTuple

from bridge.core.messages import Priority

REFUSED, REFUSED_FOR = 20, 24 * 3600.0
"""Refused messages that a route remembers, and the seconds for which an id stands for one message."""

LEFT_OUT = " ({} left out)"
"""The end of a text that tells of others."""


class Escalation(NamedTuple):
    """The rule of a route."""

    after: float
    """Seconds that a message has to be delivered."""
    numbers: tuple[str, ...]
    """The recipients in E.164 form."""
    limit: int = 10
    """Texts that go in ``per`` seconds at most, each recipient's counted."""
    per: float = 3600.0


class Alarm(NamedTuple):
    """A message that is escalated."""

    seq: int
    """Its number in the outbox; 0: it was never stored."""
    id: str
    channel: str
    topics: tuple[str, ...]
    text: str
    """Its text, which may have to be cut."""
    priority: Priority


class Escalated(NamedTuple):
    """Texts that were made for a message."""

    alarm: Alarm
    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    """Their ids."""
    left_out: int
    """The number of messages that they say were left out."""


class Window(NamedTuple):
    """The texts that a route has sent of late, and what was left out."""

    sent: tuple[float, ...] = ()
    """When each text was made, in seconds of the running time."""
    left: int = 0
    """Messages that were left out, and that no text tells of yet."""
    newest: Alarm | None = None
    """The newest of those."""
    last: tuple[int, ...] = ()
    """The numbers of the last message's texts."""
    text: str = ""
    """What they say, without the number that was left out."""
    told: int = 0
    """The number of messages that they say were left out."""
    refused: tuple[tuple[str, float], ...] = ()
    """The ids of messages that were escalated and never stored, and when: a producer may repeat them."""

    def recent(self, rule: Escalation, now: float) -> tuple[float, ...]:
        """Return when those texts were made that still count ``now``."""
        return tuple(at for at in self.sent if now - at < rule.per)

    def has_room(self, rule: Escalation, now: float) -> bool:
        """Whether a message may go to all numbers now."""
        return len(self.recent(rule, now)) + len(rule.numbers) <= rule.limit

    def texted(self, rule: Escalation, now: float, alarm: Alarm, texts: tuple[int, ...]) -> "Window":
        """Return it with the ``texts`` of ``alarm``, which tell of all that was left out before."""
        sent = (*self.recent(rule, now), *(now for _ in texts))
        told = self.left - (self.newest == alarm)
        return Window(sent=sent, last=texts, text=alarm.text, told=told, refused=self.refused)

    def knows(self, alarm: Alarm, now: float) -> bool:
        """Whether ``alarm`` was escalated before under the same id, and refused."""
        return any(name == alarm.id and now - at < REFUSED_FOR for name, at in self.refused)

    def refuses(self, alarm: Alarm, now: float) -> "Window":
        """Return it with ``alarm`` remembered as refused."""
        return self._replace(refused=(*self.refused, (alarm.id, now))[-REFUSED:])

    def left_out(self, alarm: Alarm) -> "Window":
        """Return it with one more left out that no text tells of."""
        return self._replace(left=self.left + 1, newest=alarm)

    def without(self, seq: int) -> "Window":
        """Return it without the newest that was left out, where that is the message ``seq``."""
        if self.newest is None or self.newest.seq != seq:
            return self
        return self._replace(left=0, newest=None)


def with_left_out(number: int) -> str:
    """Return the end of a text that tells how many messages were left out."""
    return LEFT_OUT.format(number) if number else ""
