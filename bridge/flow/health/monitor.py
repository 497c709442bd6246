"""Monitor: turns what the parts report into log lines, events and the retained health.

It also numbers the broker's sessions, because the broker tells nobody that it has lost one.
"""

import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bridge.core.destination import Condition, Destination
from bridge.core.messages import Endpoint
from bridge.flow.health.connections import Connections
from bridge.flow.health.figures import Budget, Health
from bridge.flow.message.publisher import Publisher
from bridge.flow.message.sessions import DATA, SessionNumber
from bridge.flow.message.uplink import Uplink
from bridge.flow.notices import Notices
from bridge.store.journal import Journal

log = logging.getLogger("bridge")

HEALTH_EVERY = 60.0
"""Seconds between publications of the health without a change."""

HEALTH_IDLE = 900.0
"""Seconds between healths in which only times and the memory differ."""

FULL_SAID_EVERY = 3600.0
"""Seconds between log lines while the disk is full."""

SETTLED = 1.0
"""Seconds after a change of condition by which its cause has been recorded in the figures."""

BOTH_BACK = 5.0
"""Seconds after which both sessions are back with a broker that was away: each has pauses of its own."""

SWEEP_EVERY = 30.0
"""Seconds between checks of the clock and of old ids."""

SESSION_OF = "session_of"
"""Key in the store: client id and broker of the session with our number."""

DATA_FILTERS, CONTROL_FILTERS = "filters", "control_filters"
"""Keys in the store: the subscriptions of the two sessions."""


class Monitor(Notices):
    """Observes the parts; lives in the event loop's thread."""

    def __init__(self, journal: Journal, publisher: Publisher) -> None:
        self.health = Health(journal)
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self._publisher, self.wanted = publisher, publisher.wanted
        self._names = publisher.names
        self.session = SessionNumber(journal, DATA)
        self.session_of: str | None = journal.outbox.meta(SESSION_OF)
        """Client id and broker of that session; None: an older version wrote only the number."""
        self._data, self._control = Connections(self._time), Connections(self._time)
        self.health.broker = self.broker
        self._figures, self._figures_at = dict[str, Any](), 0.0
        """The figures that last were new, and when that was (monotonic seconds)."""
        self._uplink: Uplink | None = None

    def attach(
        self,
        uplink: Uplink,
        budget: Budget | None = None,
        path: Callable[[], str | None] = lambda: None,
        inbound: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        """Show these in the health, and have ``uplink`` try again where that may go better.

        ``path`` returns the network that messages take, ``inbound`` the figures of the listener.
        """
        health = self.health
        self._uplink = health.sending = uplink
        health.budget, health.path = budget, path
        if inbound:
            health.inbound = inbound

    def start(self) -> None:
        """Start the regular checks."""
        self._sweep()
        self._beat()

    # -- the broker --------------------------------------------------------------------------------------

    def stale_filters(self, session: str, filters: Sequence[str]) -> list[str]:
        """Return subscriptions of an earlier configuration that ``session`` may still have.

        ``session`` is the key in the store under which its ``filters`` are remembered.
        """
        remembered: list[str] = self._outbox.meta_json(session, [])
        return [topic for topic in remembered if topic not in filters]

    def remember_filters(self, session: str, filters: Sequence[str]) -> None:
        """Write down the subscriptions of ``session``, for a run with another configuration."""
        self._writer.write(lambda: self._outbox.set_meta(session, json.dumps(filters)))

    def online(self, *, session_present: bool, whose: str) -> None:
        """Note a connection of the session for messages; ``whose`` names client id and broker."""
        notable = self._data.began()
        if not session_present:
            # With another client id or broker a new session is expected, and nothing is lost.
            if self.session.number and self.session_of in (None, whose):
                text = "the broker lost our session and the messages in it: check its persistence settings"
                log.log(logging.WARNING if notable else logging.DEBUG, "%s", text)
                self.health.sessions_lost += 1
                self.health.error("mqtt", text)
            self.session.renewed()
        kept = "resumed" if session_present else "new"
        level = logging.INFO if notable else logging.DEBUG
        log.log(level, "connected to the broker, session %s (%s)", kept, whose)
        self.session_of = whose
        self._writer.write(partial(self._outbox.set_meta, SESSION_OF, whose))
        self.remember_filters(DATA_FILTERS, self._names.data_filters)
        self._publisher.state(self._names.state, b"online")
        self._publisher.up()
        self.health_changed()

    def offline(self, reason: str) -> None:
        """Note that this connection has ended or failed; the log line comes seldom."""
        line = self._data.ended(reason)
        self.health.error("mqtt", reason)
        log.log(logging.WARNING if line else logging.DEBUG, "%s", line or reason)

    def control_online(self) -> None:
        """Note a connection of the session for commands."""
        self._control.began()

    def control_offline(self, reason: str) -> None:
        """Note that it has ended. It is logged later, and only if the session for messages stays up."""
        line = self._control.ended(reason)
        if line:
            self._time.call_later(BOTH_BACK, partial(self._control_alone, line))

    def _control_alone(self, line: str) -> None:
        again = self._control.figures()["ended"] > 1
        if self._data.up and not self._data.ended_as(line) and (again or not self._control.up):
            text = f"no command about the bridge arrives, because their session is down: {line}"
            log.warning("%s", text)
            self.health.error("mqtt", text)

    def broker(self) -> dict[str, Any]:
        """Return the figures of both sessions' connections."""
        return {**self._data.figures(), "commands": self._control.figures()}

    # -- the disk and the destinations -------------------------------------------------------------------

    def store_full(self, full: bool, path: str, room: Callable[[], str]) -> None:
        """Note that the disk is full, or has room again; ``room`` returns how much is needed and free."""
        if full:
            text = f"the disk is full: {room()}"
            log.error("%s; no message is taken until there is room, sending goes on", text)
            self.health.error("store", text)
            self._time.call_later(FULL_SAID_EVERY, partial(self._still_full, room))
        else:
            log.warning("there is room on the disk again: messages are taken")
        self._publisher.event("store.full" if full else "store.recovered", path=path)
        self.health_changed()

    def _still_full(self, room: Callable[[], str]) -> None:
        if self._writer.full:
            log.error("the disk is still full: %s", room())
            self._time.call_later(FULL_SAID_EVERY, partial(self._still_full, room))

    def condition_changed(self, endpoint: Endpoint, destination: Destination) -> None:
        """Note that a destination answers again, is down, or refuses the credentials."""
        where = endpoint.where or "the cloud"
        if destination.condition is Condition.UP:
            log.info("%s answers", where)
        else:
            log.warning("%s: %s", where, destination.reason)
            self.health.error("uplink", f"{where}: {destination.reason}")
        if destination.condition is Condition.HELD:
            self._publisher.event("cloud.auth_failed", description=destination.reason)
        self.health_changed()
        # The result that it was learned from is recorded a moment later; then the figures are right too.
        self._time.call_later(SETTLED, self.health_changed)

    def problem(self, component: str, text: str) -> None:
        """Note something that may need a person."""
        self.health.error(component, text)
        self.health_changed()

    def failed(self, component: str, text: str) -> None:
        """Publish a last health before the bridge ends because of a failure."""
        self.health.failed = True
        self.health.error(component, text)
        self._publisher.farewell(self._names.health, self.health.payload())

    # -- health and time ---------------------------------------------------------------------------------

    def event(self, event_type: str, **fields: Any) -> None:
        """Publish an event."""
        self._publisher.event(event_type, **fields)

    def link_up(self) -> None:
        """Have the uplink try what waited for the link."""
        if self._uplink:
            self._uplink.link_back()

    def path_changed(self) -> None:
        """Have the uplink try what waits over the other network, and tell of it."""
        if self._uplink:
            self._uplink.path_changed()
        self.health_changed()

    def reports_ready(self) -> None:
        """Have the new reports published."""
        self._publisher.wake()

    def health_changed(self) -> None:
        """Publish the health as it is now."""
        self._publisher.state(self._names.health, self.health.payload())

    def _beat(self) -> None:
        """Publish the health if a figure has changed, or after a while: each time costs the broker's card."""
        figures, now = self.health.lasting(), self._time.now().mono
        if figures != self._figures or now - self._figures_at >= HEALTH_IDLE:
            self._figures, self._figures_at = figures, now
            self.health_changed()
        self._time.call_later(HEALTH_EVERY, self._beat)

    def _sweep(self) -> None:
        def swept(step: float) -> None:
            if step:
                log.warning("the clock stepped by %.0f s; queued messages keep their age", step)
                if self._uplink:  # time-based codes that were refused may be right now
                    self._uplink.release()
            self._time.call_later(SWEEP_EVERY, self._sweep)

        self._writer.write(self._outbox.sweep, swept, frees=True)
