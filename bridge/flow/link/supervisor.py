"""Modem supervisor: finds the modem, keeps it answering, and recovers it by the recovery ladder.

One task (`run`) does everything to the modem that takes time. Its turn is: find and start the modem if there
is none, check whether it answers, get the next step from the ladder (`bridge.flow.link.escalation`), carry
it out, wait. The modem's announcements wake the task. While a dialler has the port the modem is not queried.
"""

import contextlib
import logging
import math
from collections.abc import Callable

from bridge.core import link, recovery
from bridge.core.modem import Facts, Place, Registration, Signal
from bridge.core.progress import Progress
from bridge.core.recovery import Rung
from bridge.core.time import Time
from bridge.errors import BridgeError, ModemError, ModemGone, OperationError
from bridge.flow.link.box_restart import BoxRestart
from bridge.flow.link.escalation import Escalation
from bridge.flow.link.hardware import Hardware, Modem
from bridge.flow.link.waiting import Waiters
from bridge.flow.notices import Notices

log = logging.getLogger("modem")

PROBE = 3.0
"""Seconds that a probe waits for its answer."""

RESTARTING = 3.0
"""Seconds after a reset in which the modem is left alone, because it may answer until its port goes."""

LOOKING = "the modem is being looked for"

ORDER_WAIT = 60.0
"""Seconds that a command waits for a modem that is being started."""


class ModemSupervisor:
    """Owns the modem; lives in the event loop's thread."""

    def __init__(
        self,
        hardware: Hardware,
        time: Time,
        notices: Notices,
        *,
        on_change: Callable[[], None],
        link_up: Callable[[], bool],
        limits: recovery.Limits | None = None,
        box: BoxRestart | None = None,
    ) -> None:
        """``on_change`` is called when facts or state changed; ``link_up`` returns whether a link is up.

        ``box`` restarts the box where nothing else helps; None: it is never restarted.
        """
        self._box = box
        self.place: Place | None = None
        self.modem: Modem | None = None
        """The modem while it is started and the supervisor has its port."""
        self.facts = Facts()
        self.radio = True
        self._hardware = hardware
        self._poll = hardware.poll
        self._time = time
        self._on_change = on_change
        self._escalation = Escalation(
            can_power=hardware.can_power, link_up=link_up, time=time, notices=notices, limits=limits
        )
        self._absent: str | None = LOOKING
        """Why there is no modem; None while there is one."""
        self._answers: bool | None = None
        self._link_failures = 0
        self._last: Modem | None = None
        """The modem that was started last: a reset may reach a modem that does not answer."""
        self._released = False
        self._starting = False
        self._woken = False
        self._polled = 0.0
        self._not_before = 0.0
        """Monotonic seconds from which a modem that was reset may be started."""
        self._steps = 0
        self._resting = True
        """Whether the task waits for an event or for the next poll."""
        self._waiters = Waiters()

    # -- for the network manager -------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether the modem is in a network and the supervisor has its port."""
        return self.usable and self.facts.registration.registered

    @property
    def usable(self) -> bool:
        """Whether there is a modem that answers."""
        return self.modem is not None and self._answers is not False

    def fault(self) -> link.Fault | None:
        """Return the fault that rules a link out for now."""
        if self._released:
            return None
        if self._absent is not None:
            begins = self._absent == LOOKING
            code = link.Code.CLOUD_DISCONNECTED if begins else link.Code.CLOUD_ERR_CONNECT
            return link.Fault(code, self._absent)
        if self._answers is False:
            return link.Fault(link.Code.CLOUD_ERR_CONNECT, "the modem does not answer; it is being recovered")
        found = link.fault(self.facts) if self.radio else None
        if found and found.code is link.Code.CLOUD_ERR_SIM and self.modem and self.modem.sim_problem:
            return found._replace(text=self.modem.sim_problem)
        return found

    def link_failed(self, failures: int) -> None:
        """Record that the link failed ``failures`` times in a row; 0: it came up."""
        self._link_failures = failures
        if self._released and not failures:
            # No turn is taken while a dialler has the port, which may be for weeks.
            self._escalation.look(self._evidence(), self.place)
        self._wake()

    def release_port(self) -> None:
        """Release the port to a dialler; the modem is not queried until `reclaim_port`."""
        self._released = True
        if self.modem:
            self.modem.close()
        self.modem = None
        # The signal is unknown while it cannot be queried.
        self.facts = self.facts._replace(signal=Signal())
        self._changed()

    def reclaim_port(self) -> None:
        """Take the port back from the dialler."""
        if self._released:
            self._released = False
            self._wake()

    async def order(self, command: str) -> str:
        """Carry out ``reset``, ``radio_on`` or ``radio_off``; raises `ModemError` or `OperationError`."""
        # A port that was just reclaimed is opened first.
        await self._waiters.until(lambda: self.modem is not None or self._is_hopeless(), ORDER_WAIT)
        modem = self.modem
        if modem is None:
            found = self.fault()
            raise OperationError(f"{command}: {found.text if found else 'the modem is not ready'}")
        try:
            return await self._carry_out(modem, command)
        except BaseException:
            self.doubt()  # a cancelled command may have left the port closed
            raise

    async def _carry_out(self, modem: Modem, command: str) -> str:
        if command == "reset":
            await modem.reset()
            self.radio = True  # the restart switches it on
            self._restarts("the modem restarts")
            self._wake()
            await self._waiters.until(lambda: self.usable, None)
            return "the modem restarted and answers"
        on = command == "radio_on"
        await modem.radio(on)
        self.radio = on
        self._changed()
        self._wake()
        return f"the radio is {'on' if on else 'off'}"

    def doubt(self) -> None:
        """Check the modem now, because a command to it failed."""
        self._polled = -math.inf
        self._wake()

    def _is_hopeless(self) -> bool:
        """Whether there is no modem that could take a command."""
        return not (self._released or self._starting) and (self._absent is not None or self._answers is False)

    def progress(self) -> tuple[Progress, ...]:
        """Return the task's progress, for the watchdog."""
        return (Progress("modem", self._steps, busy=not self._resting),)

    # -- the task ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Supervise the modem until cancelled."""
        try:
            while True:
                await self._rest(lambda: not self._released, None)
                await self._look()
                await self._turn()
        finally:
            if self.modem:
                self.modem.close()

    async def _rest(self, condition: Callable[[], bool], seconds: float | None) -> None:
        self._resting = True
        await self._waiters.until(condition, seconds)
        self._resting = False
        self._steps += 1

    async def _look(self) -> None:
        """Start a modem that is there, or query the one that runs; sets the evidence."""
        if self.modem is None:
            if self._time.now().mono >= self._not_before:
                await self._start()
        elif self._time.now().mono >= self._polled + self._poll or self._answers is False:
            await self._ask(self.modem)

    async def _start(self) -> None:
        place = self._hardware.find()
        if place is None:
            self._gone(self._hardware.missing)
            return
        if place != self.place:
            log.info("the modem is at %s", place.at)
        self.place = place
        modem = self._last = self._made(place)
        problem: ModemError | None = None
        self._starting = True
        try:
            await modem.start(place.at, radio=self.radio)
            if not self.radio:  # a restart has switched it on
                await modem.radio(False)
        except ModemError as exc:
            modem.close()
            problem = exc
        finally:
            self._starting = False
        if isinstance(problem, ModemGone):
            self._gone(str(problem))
        elif problem:
            self._silent(str(problem))
        else:
            self.modem, self._absent, self._answers = modem, None, True
            self._polled = self._time.now().mono
            self._took_facts(modem.facts)
            self._changed()

    def _made(self, place: Place) -> Modem:
        """Return the modem at ``place``; late callbacks of an earlier modem are ignored."""

        def took_facts(facts: Facts) -> None:
            if self._last is modem:
                if self._starting:  # it answers, though it is not set up yet
                    self._absent, self._answers = None, True
                self._took_facts(facts)

        def lost(reason: str) -> None:
            if self._last is modem:
                self._lost(reason)

        modem = self._hardware.make(place, took_facts, lost)
        return modem

    async def _ask(self, modem: Modem) -> None:
        self._polled = self._time.now().mono
        try:
            await modem.poll()
        except ModemError as exc:
            if self.modem is not modem:  # it was released or dropped meanwhile
                return
            if isinstance(exc, ModemGone):
                self._lost(str(exc))
            else:
                self._silent(str(exc))
        else:
            if self.modem is modem:
                self._answers = True
                self._changed()

    async def _turn(self) -> None:
        if self._released:
            return
        self._woken = False
        step = self._escalation.look(self._evidence(), self.place)
        if step.rung:
            await self._climb(step.rung)
            return
        if self._box and self._box.due(step.diagnosis, exhausted=self._escalation.exhausted):
            await self._restart_box(self._box)
        due = step.until
        if self.modem is not None and step.diagnosis is recovery.Diagnosis.NONE:
            due = self._polled + self._poll
        await self._rest(lambda: self._woken or self._released, max(due - self._time.now().mono, 0.05))

    def _evidence(self) -> recovery.Evidence:
        registration = self.facts.registration if self.radio else Registration.HOME
        return recovery.Evidence(
            self._absent is None, self._answers, self.facts.sim, registration, self._link_failures
        )

    async def _climb(self, rung: Rung) -> None:
        self._escalation.begins(rung)
        try:
            await self._do(rung)
        except BridgeError as exc:
            log.warning("%s: %s", rung, exc)
            self._escalation.gave_up()

    async def _restart_box(self, box: BoxRestart) -> None:
        self._escalation.begins(Rung.RESTART_BOX)
        try:
            await box.carry_out()
        except OperationError as exc:
            log.warning("%s: %s", Rung.RESTART_BOX, exc)
            self._escalation.refused(Rung.RESTART_BOX)

    async def _do(self, rung: Rung) -> None:
        modem, place = self.modem, self.place
        if rung is Rung.PROBE:
            answers = await modem.probe(PROBE) if modem else False
            if self.modem is modem and not self._released:
                self._answers = answers
            return
        if rung is Rung.SOFT_RESET and modem:
            await modem.soft_reset()
            if not self.radio:
                await modem.radio(False)
            return
        if rung is Rung.RESET and (resettable := modem or self._last):
            await resettable.reset()
            resettable.close()
            self._restarts("the modem is being restarted")
        else:
            self._drop("the modem is being recovered")
        if rung is Rung.POWER and place:
            await self._hardware.power(place)

    # -- events ------------------------------------------------------------------------------------------

    def _took_facts(self, facts: Facts) -> None:
        if facts != self.facts:
            self.facts = facts
            self._changed()
            self._wake()

    def _lost(self, reason: str) -> None:
        """Handle a broken port."""
        if self.modem:
            log.warning("the modem is gone: %s", reason)
        self._drop(reason)
        self._wake()

    def _restarts(self, reason: str) -> None:
        self._not_before = self._time.now().mono + RESTARTING
        self._drop(reason)

    def _drop(self, reason: str) -> None:
        modem, self.modem = self.modem, None
        if modem:
            with contextlib.suppress(ModemError):
                modem.close()
        self._answers = None
        self._gone(reason)

    def _gone(self, reason: str) -> None:
        self._answers = None
        if reason != self._absent:
            self._absent = reason
            log.info("waiting for the modem: %s", reason)
        self.facts = Facts(identity=self.facts.identity)
        self._changed()

    def _silent(self, reason: str) -> None:
        self._absent = None
        if self._answers is not False:
            log.warning("the modem does not answer: %s", reason)
        self._answers = False
        self._changed()

    def _changed(self) -> None:
        self._on_change()
        self._waiters.notify()

    def _wake(self) -> None:
        self._woken = True
        self._waiters.notify()

    async def settled(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until ``condition`` holds; return whether it did within ``seconds``."""
        return await self._waiters.until(condition, seconds)

    @property
    def shown_place(self) -> Place | None:
        """The modem's place for the status; None while the modem is gone."""
        return self.place if self._absent is None or self._released else None
