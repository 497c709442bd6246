"""When a link on demand has nothing to carry."""

from bridge.flow.link.traffic import IDLE, LAST_CALL, Idleness, Traffic
from tests.doubles.time import Clock


class Messages:
    """What goes over the link."""

    def __init__(self) -> None:
        self.pending = False
        self.sent = 0
        self.clock = Clock()
        self.batched = False
        """Whether messages wait for their batch."""
        self.calls = 0
        traffic = Traffic(lambda: self.pending, lambda: self.sent, send_batches=self.send_batches)
        self.idleness = Idleness(traffic, self.clock)
        self.idleness.came_up()

    def send_batches(self) -> bool:
        self.calls += 1
        return self.batched

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


def test_what_waits_for_its_batch_is_sent_once_before_the_end() -> None:
    """What comes in the meantime does not keep the link up, however often it comes."""
    messages = Messages()
    messages.batched = True
    assert not messages.after(IDLE)
    assert messages.calls == 1
    assert not messages.after(IDLE - 1.0)
    assert messages.after(1.0)
    assert messages.calls == 1


def test_a_link_that_went_on_carrying_messages_calls_again() -> None:
    """Its end is another one."""
    messages = Messages()
    messages.batched = True
    assert not messages.after(IDLE)
    messages.pending = True
    assert not messages.after(LAST_CALL)
    messages.pending = False
    assert not messages.after(IDLE)
    assert messages.calls == 2


def test_a_new_link_calls_anew() -> None:
    """However soon it ends."""
    messages = Messages()
    messages.batched = True
    assert not messages.after(IDLE)
    assert messages.after(IDLE)
    messages.idleness.came_up()
    assert not messages.after(IDLE)
    assert messages.calls == 2
