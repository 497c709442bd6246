"""Backup: has messages take the modem while the own network does not reach the cloud.

`bridge.core.failover` decides. Here it meets the messages, the link and the clock. It learns from how
exchanges end; while something is wrong it also looks each second.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

from bridge.core.failover import OF_THE_CLOUD, Failover, Lesson, Plan, Seen, Stage, lesson
from bridge.core.messages import Queued
from bridge.core.retry import Blame, Kind, Reading
from bridge.core.silence import Silence
from bridge.flow.link.failover_note import FailoverNote
from bridge.flow.link.traffic import Traffic
from bridge.flow.notices import Notices
from bridge.store.journal import Journal

log = logging.getLogger("network")

LOOK = 1.0
"""Seconds between checks while the own network fails, or the modem is in use."""


class Link(Protocol):
    """The modem's link."""

    @property
    def carries(self) -> bool:
        """Whether messages can go over it now."""

    def wanted_now(self) -> None:
        """Note that it may be wanted now, or not any more."""

    def redial(self, reason: str) -> None:
        """Hang up; a link that is wanted whatever waits is dialled again."""

    def call_off(self) -> None:
        """Cancel the dialling of a link that is not wanted any more."""


class OwnNetwork(NamedTuple):
    """The box's own network, as far as it is looked at; both are called in the event loop's thread."""

    look: Callable[[Callable[[bool], None]], None]
    """Has one TCP handshake with the cloud; its argument gets whether that worked, in a later turn."""
    routed: Callable[[], bool]
    """Returns whether it has a route to the Internet; sends nothing."""


class Backup:
    """Decides by which network messages go; lives in the event loop's thread."""

    def __init__(
        self, plan: Plan, own: OwnNetwork, waits: Callable[[], bool], journal: Journal, notices: Notices
    ) -> None:
        """``waits`` returns whether a message waits that may be sent over the modem."""
        self._note = FailoverNote(journal)
        self._state = self._note.resumed(plan)
        self._own = own
        self._waits = waits
        self._time = journal.time
        self._notices = notices
        self._link: Link | None = None
        self._silence = Silence()
        self._ticking = False

    def start(self, link: Link) -> None:
        """Begin, with ``link`` as the backup."""
        self._link = link
        if not self._state.idle:  # before the link is dialled: what waited may be gone
            self._ticking = True
            self._time.call_soon(self._tick)

    @property
    def over_modem(self) -> bool:
        """Whether messages take the modem."""
        return self._state.over_modem

    @property
    def path(self) -> str:
        """The network that messages take, as it is published."""
        return "modem" if self.over_modem else "own"

    def traffic(self, in_flight: Callable[[], int], send_batches: Callable[[], bool]) -> Traffic:
        """Return what the link's manager sees of the messages.

        ``in_flight`` returns the number of messages in flight over the link.
        """
        return Traffic(
            pending=lambda: self._needs_link(in_flight()),
            in_flight=in_flight,
            send_batches=lambda: self._state.wants_link and send_batches(),
        )

    def _needs_link(self, in_flight: int) -> bool:
        if self._state.wants_link:
            return True
        return self._link is not None and self._link.carries and (self._state.keeps_link or in_flight > 0)

    # -- evidence ----------------------------------------------------------------------------------------

    def ended(self, queued: Queued, reading: Reading) -> Blame:
        """Learn how an exchange of ``queued`` ended.

        Returns `Blame.NETWORK` where the own network did not reach a host, and does not reach the cloud.
        """
        endpoint, kind = queued.lane.endpoint, reading.kind
        says = lesson(endpoint, kind, answered=reading.code is not None)
        if says is Lesson.REACHED:
            self._silence = self._silence.answered(queued.lane_id)
        if queued.own:
            self._learn_own(says, queued.lane_id)
        else:
            self._learn_modem(says, queued.lane_id)
        failing = self._state.failing_since is not None
        down = kind is Kind.UNREACHED and queued.own and (endpoint.channel in OF_THE_CLOUD or failing)
        return Blame.NETWORK if down else Blame.MESSAGE

    def _learn_own(self, says: Lesson, lane: int) -> None:
        state, now = self._state, self._time.now().mono
        if says is Lesson.REACHED:
            self._set(state.own_reached(now))
        elif says is Lesson.FAILED:
            self._set(state.own_failed(now))
        elif says is Lesson.DOUBTFUL:
            self._set(state.doubted(now))
        elif says is Lesson.SILENT and not state.over_modem:
            since = None if self._silence.is_vain(lane, now) else self._silent_since(lane, now)
            if since is not None:
                self._set(state.own_failed(now, mute_since=since))

    def _learn_modem(self, says: Lesson, lane: int) -> None:
        state, now = self._state, self._time.now().mono
        if says is Lesson.REACHED:
            self._set(state.modem_reached())
        elif says is Lesson.FAILED:
            self._set(state.modem_failed(now))
        elif says is Lesson.SILENT and state.over_modem:
            self._silence = self._silence.in_vain(lane, now)
            if (since := self._silent_since(lane, now)) is not None:
                self._set(state.modem_failed(since))

    def _silent_since(self, lane: int, now: float) -> float | None:
        """Return since when the present network is silent, now that ``lane`` got no answer over it."""
        self._silence = self._silence.unanswered(lane, now)
        return self._silence.since(lane, now, self._state.enough)

    # -- time --------------------------------------------------------------------------------------------

    def changed(self) -> None:
        """Note a change of the link."""
        if not self._state.idle:
            self._check()

    def _check(self) -> None:
        if self._link is None:
            return
        now = self._time.now().mono
        routed = not self._state.wants_link or self._own.routed()
        seen = Seen(self._waits(), self._link.carries, routed)
        self._set(self._state.tick(now, seen))
        if self._state.due(now):
            log.debug("the own network is looked at")
            self._set(self._state.begin_look())
            self._own.look(self._looked)

    def _looked(self, reached: bool) -> None:
        unanswered = bool(self._silence.lanes)
        self._set(self._state.looked(self._time.now().mono, reached=reached, unanswered=unanswered))

    def _tick(self) -> None:
        self._ticking = False
        self._check()
        self._schedule()

    def _schedule(self) -> None:
        if not self._ticking and not self._state.idle:
            self._ticking = True
            self._time.call_later(LOOK, self._tick)

    def _set(self, state: Failover) -> None:
        before, self._state = self._state, state
        self._note.follow(state)
        self._schedule()
        if state.stage is before.stage:
            return
        log.info("backup: %s, after %s", state.stage.name.lower(), before.stage.name.lower())
        if before.over_modem is not state.over_modem:
            self._silence = self._silence.network_changed()
            self._notices.event("network.failover", path=self.path)
            # From a turn of its own: the exchange that told may not be recorded yet.
            self._time.call_soon(self._notices.path_changed)
        if self._link is None:
            return
        if state.stage is Stage.RESTING:
            self._link.redial("the cloud was not reached over the modem")
        elif before.stage is Stage.DIALLING and not state.wants_link:
            self._link.call_off()
        self._link.wanted_now()
