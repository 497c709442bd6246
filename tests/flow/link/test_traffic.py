"""When a link on demand has nothing to carry."""

from bridge.flow.link.traffic import IDLE, Idleness, Traffic
from tests.doubles.time import Clock


class Messages:
    """What goes over the link."""

    def __init__(self) -> None:
        self.pending = False
        self.sent = 0
        self.clock = Clock()
        self.idleness = Idleness(Traffic(lambda: self.pending, lambda: self.sent), self.clock)
        self.idleness.came_up()

    def after(self, seconds: float) -> bool:
        self.clock.pass_(seconds)
        return self.idleness.look()


def test_a_link_without_messages_is_hung_up() -> None:
    """It is kept until its time is over."""
    messages = Messages()
    assert not messages.after(IDLE - 1.0)
    assert messages.after(1.0)


def test_a_message_that_waits_keeps_it() -> None:
    """The time counts from the end of the message."""
    messages = Messages()
    messages.pending = True
    assert not messages.after(10 * IDLE)
    messages.pending = False
    assert not messages.after(IDLE - 1.0)
    assert messages.after(1.0)


def test_a_message_between_two_looks_keeps_it_too() -> None:
    """The count of sent messages shows it."""
    messages = Messages()
    messages.sent = 1
    assert not messages.after(IDLE)
    assert messages.after(IDLE)


def test_a_new_link_has_its_time() -> None:
    """The time before it does not count."""
    messages = Messages()
    messages.clock.pass_(IDLE)
    messages.idleness.came_up()
    assert not messages.after(IDLE - 1.0)
