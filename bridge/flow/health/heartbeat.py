"""Heartbeat: a message from time to time that says how the box is.

It takes the way of any message of its topic, with low priority: its route may put it into a batch, and a
pause or the budget holds it. No link is dialled for it [`bridge.store.outbox.Outbox.ready_within`].
"""

from collections.abc import Callable
from math import inf

from bridge.core.delivery import Delivery, Properties
from bridge.core.messages import Priority
from bridge.core.time import Timer
from bridge.flow.health.summary import Summary
from bridge.flow.message.intake import Intake
from bridge.store.journal import Journal

SENT_AT = "heartbeat_at"
"""Key in the store: when the last was sent, in Unix seconds. A restart sends no other before its time."""

SETTLED = 30.0
"""Seconds after the start before which none is sent: a link comes up and a modem is asked meanwhile."""

LOW = Properties(user=(("priority", Priority.LOW.label),))


class Heartbeat:
    """Sends the heartbeat; lives in the event loop's thread."""

    def __init__(self, journal: Journal, intake: Intake, prefix: str, summary: Callable[[], Summary]) -> None:
        """``prefix`` is that of the bridge's topics."""
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self._intake = intake
        self._prefix = prefix
        self._summary = summary
        self._every: float | None = None
        self._topic = ""
        self._sent_at = self._earlier()
        self._timer: Timer | None = None

    def apply(self, every: float | None, topic: str) -> None:
        """Send one on ``topic`` ``every`` so many seconds from now on; None: send none."""
        self._every, self._topic = every, topic
        self._outbox.heartbeat = None if every is None else topic
        self._plan()

    def stop(self) -> None:
        """Send no more."""
        if self._timer:
            self._timer.cancel()
        self._timer = None

    def ack(self, _delivery: Delivery) -> None:
        """Do nothing: nobody repeats it."""

    def _earlier(self) -> float:
        """Return when the last run sent one, in seconds of this boot's clock: not after now."""
        now, wall = self._time.now(), self._outbox.meta(SENT_AT)
        return now.mono - max(0.0, now.wall - wall) if isinstance(wall, int) else -inf

    def _plan(self) -> None:
        self.stop()
        if self._every is not None:
            left = self._sent_at + self._every - self._time.now().mono
            self._timer = self._time.call_later(max(left, min(SETTLED, self._every)), self._beat)

    def _beat(self) -> None:
        now = self._time.now()
        self._sent_at = now.mono
        self._writer.write(lambda: self._outbox.set_meta(SENT_AT, int(now.wall)))
        topic, payload = f"{self._prefix}/out/{self._topic}", self._summary().payload()
        # At QoS 0: a full disk keeps messages of others, and the next heartbeat says more.
        beat = Delivery(topic, payload, qos=0, retain=False, dup=False, mid=0, epoch=0, properties=LOW)
        self._intake.received(beat, self)
        self._plan()
