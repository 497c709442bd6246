"""Failover: whether messages take the box's own network or the modem, with ``network.scope: "backup"``.

What counts is the cloud: a message that reaches it, or fails to. A look is one TCP handshake with it over the
own network, for moments in which no message tells::

    stage      messages  link is    leaves it
               take      wanted
    ------------------------------------------------------------------------------------------------------
    OWN        own       no         the own network has failed for `after`, and a message waits: a look, and
                                    if that fails too -> DIALLING; without a look where it connects and does
                                    not answer
    DIALLING   own       yes        the link is up -> MODEM; the cloud is reached, or nothing waits -> OWN
    MODEM      modem     yes        a look reaches the cloud (each `hold`, and when the own network first has
                                    a route again) -> RETURNING, or RESTING where the modem has no answers;
                                    the link is lost -> DIALLING; nothing is reached over the modem for
                                    `TRIAL` seconds -> RESTING
    RETURNING  own       if it is   the own network fails once -> MODEM; it has reached the cloud for `hold`,
                         up         at last by a message within it or a look at its end -> OWN
    RESTING    own       no         the cloud is reached, or 5, 10, 20, 40, 60 minutes are over -> OWN, which
                                    dials again if a message waits

So messages change their network twice in `hold` at most. A value; the time is monotonic seconds.
"""

from enum import Enum, auto
from typing import NamedTuple

from bridge.core.messages import Channel, Endpoint
from bridge.core.retry import Kind
from bridge.core.silence import SUSPECTS

TRIAL = 60.0
"""Seconds for which nothing may be reached over the modem, from the first failure on, until it is hung up."""

FIRST_REST, LONGEST_REST = 300.0, 3600.0
"""Seconds until the modem is tried again where it did not reach the cloud; doubled each time."""

OF_THE_CLOUD = (Channel.CLOUD, Channel.SMS)


class Plan(NamedTuple):
    """``network.backup_after`` and ``network.backup_hold``, in seconds."""

    after: float = 120.0
    hold: float = 300.0


class Stage(Enum):
    """The stages of the table above."""

    OWN = auto()
    DIALLING = auto()
    MODEM = auto()
    RETURNING = auto()
    RESTING = auto()


class Seen(NamedTuple):
    """What is looked at regularly."""

    waits: bool
    """Whether a message waits that may be sent over the modem."""
    link_up: bool
    """Whether the modem carries messages."""
    routed: bool
    """Whether the own network has a route to the cloud."""


class Failover(NamedTuple):
    """The present stage and the evidence; each method returns the next value."""

    plan: Plan = Plan()
    stage: Stage = Stage.OWN
    since: float = 0.0
    """When the stage began."""
    failing_since: float | None = None
    """When the own network failed first, since it last reached the cloud."""
    mute: bool = False
    """Whether the own network connects and nothing answers, which a handshake does not show."""
    proved: bool = False
    """Whether the own network has reached the cloud since it is tried again."""
    look_at: float | None = None
    """When the own network is looked at next; None: not before something happens."""
    looking: bool = False
    looked_at: float = float("-inf")
    """When it was last looked at."""
    routed: bool = True
    relapses: int = 0
    """How often the own network came back and failed again."""
    lost_since: float | None = None
    """When a message first failed over the modem, since one last reached the cloud over it."""
    rests: int = 0
    """How often in a row the modem did not reach the cloud."""

    @property
    def over_modem(self) -> bool:
        """Whether messages take the modem."""
        return self.stage is Stage.MODEM

    @property
    def wants_link(self) -> bool:
        """Whether the modem is to be dialled, and its link kept."""
        return self.stage in (Stage.DIALLING, Stage.MODEM)

    @property
    def keeps_link(self) -> bool:
        """Whether a link that is up stays up."""
        return self.wants_link or self.stage is Stage.RETURNING

    @property
    def idle(self) -> bool:
        """Whether nothing happens by itself."""
        return self.stage is Stage.OWN and self.failing_since is None and self.look_at is None

    def resumed(self, now: float, *, same_boot: bool, mute: bool) -> "Failover":
        """Return the value of a run whose predecessor ended in the middle of a failover.

        ``mute`` says that the own network connected and did not answer.
        """
        known = self._replace(failing_since=now - self.plan.after, mute=mute)
        if same_boot:
            return known.entered(Stage.DIALLING, now)
        return self if mute else known

    def entered(self, stage: Stage, now: float) -> "Failover":
        """Return the value at the beginning of ``stage``."""
        return self._replace(stage=stage, since=now, look_at=None, proved=False, lost_since=None)

    # -- evidence ----------------------------------------------------------------------------------------

    def own_reached(self, now: float) -> "Failover":
        """Learn that the cloud was reached over the own network."""
        well = self._replace(failing_since=None, mute=False)
        match self.stage:
            case Stage.MODEM:  # an exchange that had begun before
                return self if self.relapses else self._replace(look_at=now)
            case Stage.RETURNING:
                return well._replace(proved=True)
            case Stage.OWN if self.idle:  # as with nearly every message
                return self
            case _:
                return well.entered(Stage.OWN, now)._replace(relapses=0, rests=0)

    def own_failed(self, now: float, *, mute_since: float | None = None) -> "Failover":
        """Learn that the cloud was not reached over the own network.

        ``mute_since`` says since when it connects and does not answer.
        """
        mute = mute_since is not None
        since = self.failing_since
        if since is None:
            since = now if mute_since is None else mute_since
        failing = self._replace(failing_since=since, mute=mute)
        if self.stage is Stage.RETURNING:
            back = failing.entered(Stage.MODEM, now)
            return back._replace(look_at=now + self.plan.hold, relapses=self.relapses + 1)
        return failing

    def doubted(self, now: float) -> "Failover":
        """Learn that another host was not reached over the own network, which may be the host's fault."""
        if self.stage is Stage.OWN and self.failing_since is None and self.look_at is None:
            return self._replace(look_at=max(now, self.looked_at + self.plan.after))
        return self

    def modem_reached(self) -> "Failover":
        """Learn that the cloud was reached over the modem."""
        return self._replace(lost_since=None, rests=0)

    def modem_failed(self, since: float) -> "Failover":
        """Learn that the cloud was not reached over the modem, first at ``since``."""
        return self._replace(lost_since=since if self.lost_since is None else self.lost_since)

    # -- time --------------------------------------------------------------------------------------------

    def begin_look(self) -> "Failover":
        """Note that the own network is looked at."""
        return self._replace(looking=True, look_at=None)

    def looked(self, now: float, *, reached: bool, unanswered: bool = False) -> "Failover":
        """Learn whether the look reached the cloud.

        ``unanswered`` says that the last message over the modem had no answer.
        """
        done = self._replace(looking=False, looked_at=now)
        if reached and self.stage is Stage.MODEM:
            if unanswered:  # neither network is better, and the own one costs nothing
                return done.rested(now)
            return done._replace(failing_since=None, mute=False).entered(Stage.RETURNING, now)
        if reached:
            return done.own_reached(now)
        failed = done.own_failed(now)
        if failed.stage is Stage.OWN and failed.has_failed(now):
            return failed.entered(Stage.DIALLING, now)
        return failed._replace(look_at=now + self.plan.hold) if failed.stage is Stage.MODEM else failed

    def due(self, now: float) -> bool:
        """Whether to look at the own network now."""
        return not self.looking and self.look_at is not None and now >= self.look_at

    def tick(self, now: float, seen: Seen) -> "Failover":
        """Return the value at ``now``."""
        match self.stage:
            case Stage.OWN:
                return self._own(now, seen)
            case Stage.DIALLING:
                return self._dialling(now, seen)
            case Stage.MODEM:
                return self._modem(now, seen)
            case Stage.RETURNING:
                return self._returning(now)
        return self.entered(Stage.OWN, now) if now - self.since >= rest(self.rests) else self

    @property
    def enough(self) -> int:
        """The number of lanes, or of attempts of one, without an answer that are evidence."""
        return 1 if self.stage is Stage.RETURNING else SUSPECTS  # the first failure brings all back

    def _own(self, now: float, seen: Seen) -> "Failover":
        if self.mute and not seen.waits:  # the next message tells whether it is still so
            return self._replace(failing_since=None, mute=False)
        if not self.has_failed(now) or not seen.waits or self.looking:
            return self
        # The last message that failed may have done so long ago; one without an answer waits still.
        return self.entered(Stage.DIALLING, now) if self.mute else self._replace(look_at=now)

    def _dialling(self, now: float, seen: Seen) -> "Failover":
        if seen.link_up:
            first = now + self.plan.hold
            return self.entered(Stage.MODEM, now)._replace(look_at=first, routed=seen.routed)
        return self if seen.waits else self.entered(Stage.OWN, now)

    def _returning(self, now: float) -> "Failover":
        if now - self.since < self.plan.hold or self.looking:
            return self
        if not self.proved:
            return self._replace(look_at=now)
        return self.entered(Stage.OWN, now)._replace(relapses=0, rests=0)

    def rested(self, now: float) -> "Failover":
        """Return the value once the modem was of no help."""
        return self.entered(Stage.RESTING, now)._replace(rests=self.rests + 1)

    def has_failed(self, now: float) -> bool:
        """Whether the own network has failed for long enough."""
        return self.failing_since is not None and now - self.failing_since >= self.plan.after

    def _modem(self, now: float, seen: Seen) -> "Failover":
        if not seen.link_up:
            return self.entered(Stage.DIALLING, now)
        if self.lost_since is not None and now - self.lost_since >= TRIAL:
            return self.rested(now)
        back = seen.routed and not self.routed and not self.relapses
        return self._replace(routed=seen.routed, look_at=now if back else self.look_at)


def rest(times: int) -> float:
    """Return the seconds of the rest after the modem did not reach the cloud ``times`` in a row."""
    return min(LONGEST_REST, FIRST_REST * 2.0 ** min(times - 1, 10))


class Lesson(Enum):
    """What the end of an exchange says of the network that carried it."""

    REACHED = auto()
    FAILED = auto()
    DOUBTFUL = auto()
    """The peer may be to blame."""
    SILENT = auto()
    """It connected, and the cloud did not answer."""
    NONE = auto()


def lesson(endpoint: Endpoint, kind: Kind, *, answered: bool = False) -> Lesson:
    """Return what an exchange with ``endpoint`` that ended as ``kind`` says of the network.

    ``answered`` says that a code came: one that asks for another try comes from the cloud too.
    """
    if endpoint.over_air:
        return Lesson.NONE
    if endpoint.channel not in OF_THE_CLOUD:
        return Lesson.DOUBTFUL if kind is Kind.UNREACHED else Lesson.NONE
    if kind is Kind.UNREACHED:
        return Lesson.FAILED
    silent = kind in (Kind.UNANSWERED, Kind.DOUBTFUL) and not answered
    return Lesson.SILENT if silent else Lesson.REACHED
