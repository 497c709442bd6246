"""The composition root: builds the parts, starts them, stops them.

::

    session (data) ──> Intake ──> Writer/Outbox ──> Uplink ──> TcpCarrier ──> the cloud
    session (control) ──> Controls ─┘     │
    session (data) <── Publisher <────────┘ results, events, states

One event loop in one thread owns all of it; a blocking call (a name to resolve, a broker to connect to) gets a
thread of its own. A failure in any part stops the process, in reverse order, with exit code 1.
"""

import asyncio
import json
import logging
import signal
from typing import Any

from bridge import __version__
from bridge.adapters.control import ControlServer, socket_path
from bridge.adapters.mqtt import Delivery, Session
from bridge.adapters.resolver import Resolver
from bridge.adapters.tcp import TcpCarrier
from bridge.compose import access, broker, info, limits, policy
from bridge.core.destination import Condition, Destination
from bridge.core.messages import Channel, Endpoint
from bridge.errors import ConfigError, StoreDamaged
from bridge.flow.controls import Controls
from bridge.flow.health import Health
from bridge.flow.intake import Intake
from bridge.flow.names import Names
from bridge.flow.publisher import Publisher
from bridge.flow.results import Results
from bridge.flow.speakers import CloudSpeaker, SmsSpeaker
from bridge.flow.uplink import Uplink
from bridge.protocol.reports import dumps
from bridge.settings import Settings
from bridge.store.clock import read_clock
from bridge.store.database import Lock, boot_id
from bridge.store.files import mark_suspect, open_store
from bridge.store.outbox import Outbox
from bridge.store.reserve import Reserve
from bridge.store.writer import Writer

log = logging.getLogger("bridge")

HEALTH_EVERY = 60.0
STOP_WAIT = 8.0
"""Seconds for what is under way to end when the bridge is stopped."""

SWEEP_EVERY = 30.0
"""Seconds between looks at the clock and at old ids."""

UNMANAGED: dict[str, Any] = {
    "state": "unmanaged",
    "code": 1,
    "code_name": "CLOUD_CONNECTED",
    "interface": "",
    **dict.fromkeys(
        ("modem", "device", "local_ip", "remote_ip", "operator", "technology", "registration"),
    ),
    "signal": {"rssi_dbm": None, "percent": None, "ber": None},
    **dict.fromkeys(("imei", "imsi", "iccid", "since", "error")),
}
"""Network status where nothing is managed: the machine's own network is taken to work."""


class Bridge:
    """The daemon."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        """Open the store and build the parts; raises `StoreError` or `ConfigError`."""
        if settings.network.interface:
            raise ConfigError(
                f'network.interface: "{settings.network.interface}" is not allowed; this version manages no '
                'interface: set it to "" and let the machine bring up its network'
            )
        self._settings = settings
        self._loop = loop
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._path = settings.store.path
        self._lock = Lock(self._path)
        self._database = open_store(self._path)
        self._names = Names(settings.mqtt.prefix)
        self._build()

    def _build(self) -> None:
        settings, loop, clock, names = self._settings, self._loop, read_clock, self._names
        self._outbox = outbox = Outbox(self._database, boot_id(), clock, limits(settings))
        self._writer = writer = Writer(
            self._database, outbox, Reserve(self._path),
            call_soon=loop.call_soon, call_later=loop.call_later, on_full=self._store_full,
        )  # fmt: skip
        self._publisher = publisher = Publisher(
            outbox, writer, names, clock, call_soon=loop.call_soon, call_later=loop.call_later
        )
        self._results = results = Results(outbox, publisher, names, clock)
        self._access = access(settings)
        carrier = TcpCarrier(loop, Resolver(loop))
        self._uplink = uplink = Uplink(
            outbox, writer, results,
            {Channel.CLOUD: carrier, Channel.SMS: carrier},
            {
                Channel.CLOUD: CloudSpeaker(lambda: self._access, clock),
                Channel.SMS: SmsSpeaker(lambda: self._access),
            },
            slots=settings.cloud.parallel, clock=clock, timer=loop, on_condition=self._condition_changed,
        )  # fmt: skip
        self._health = Health(outbox, writer, uplink, clock)
        self._intake = Intake(
            outbox, writer, results, names, policy(settings), clock,
            on_event=publisher.event, on_queued=uplink.wake, on_results=publisher.wake,
        )  # fmt: skip
        self._intake.session_number = outbox.meta("session") or 0
        self._controls = Controls(
            outbox, writer, results, uplink, names, clock,
            on_results=publisher.wake, on_change=self._publish_health,
        )  # fmt: skip
        self._build_sessions()
        self._control = ControlServer(socket_path(settings.control.path, self._path), self._asked)

    def _build_sessions(self) -> None:
        names = self._names
        stale = [
            topic
            for topic in json.loads(self._outbox.meta("filters") or "[]")
            if topic not in names.data_filters
        ]
        where = broker(self._settings)
        self._session = Session(
            self._loop, where, _DataHandler(self),
            subscriptions=names.data_filters, stale=stale, will=(names.state, b"offline"),
        )  # fmt: skip
        self._control_session = Session(
            self._loop, where._replace(client_id=where.client_id + "-control"), _ControlHandler(self),
            subscriptions=names.control_filters,
        )  # fmt: skip
        self._publisher.attach(self._session)

    # -- life --------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Run until stopped; return the exit code."""
        self._loop.set_exception_handler(self._failed)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        await self._control.start()
        self._publisher.state(self._names.network, dumps(UNMANAGED).encode())
        self._publisher.state(self._names.info, self._info())
        self._publish_health()
        self._uplink.start()
        self._sweep()
        self._every(HEALTH_EVERY, self._publish_health)
        tasks = [self._loop.create_task(session.run()) for session in (self._session, self._control_session)]
        for task in tasks:
            task.add_done_callback(self._task_ended)
        log.info("%s started; %d messages are queued", __version__, self._outbox.ledger.messages)
        await self._stop.wait()
        await self._shut_down(tasks)
        return 1 if self._failure else 0

    async def _shut_down(self, tasks: list[asyncio.Task[None]]) -> None:
        log.info("stopping")
        self._control.close()
        self._uplink.stop()
        if not self._failure:
            await self._settle()
        for session in (self._session, self._control_session):
            session.disconnect()
        for task in tasks:
            task.remove_done_callback(self._task_ended)
        await asyncio.wait(tasks, timeout=0.5)
        for task in tasks:
            task.cancel()  # it may be waiting for a broker that does not answer
        await asyncio.gather(*tasks, return_exceptions=True)
        self._database.close()
        self._lock.release()

    async def _settle(self) -> None:
        """Let what is under way end, tell of it, and say goodbye."""
        await self._until(
            lambda: self._uplink.under_way == 0, min(STOP_WAIT, self._settings.cloud.timeout + 1)
        )
        self._writer.commit()
        self._publisher.wake()
        await self._until(lambda: self._publisher.idle, 2.0)
        self._writer.commit()
        if self._session.connected:
            self._publisher.state(self._names.state, b"offline")
            await asyncio.sleep(0.05)  # lets the loop write; the broker has it before our DISCONNECT

    async def _until(self, condition: Any, seconds: float) -> None:
        deadline = self._loop.time() + seconds
        while not condition() and self._loop.time() < deadline:
            await asyncio.sleep(0.02)

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback or task raised: nothing goes on half-dead."""
        error = context.get("exception")
        self._fail(error or RuntimeError(context.get("message")))

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._fail(task.exception() or RuntimeError("a session ended by itself"))

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, StoreDamaged):
            mark_suspect(self._path)
        if self._failure is None:
            self._failure = error
            log.critical("stopping because of a failure: %s", error, exc_info=error)
        self._stop.set()

    def _every(self, seconds: float, call: Any) -> None:
        def again() -> None:
            call()
            self._loop.call_later(seconds, again)

        self._loop.call_later(seconds, again)

    def _sweep(self) -> None:
        def swept(step: float) -> None:
            if step:
                log.warning("the clock stepped by %.0f s; queued messages keep their age", step)
            self._loop.call_later(SWEEP_EVERY, self._sweep)

        self._writer.settle(self._outbox.sweep, swept)

    # -- what the parts tell -----------------------------------------------------------------------------

    def online(self, *, session_present: bool) -> None:
        """The broker has us."""
        number = self._intake.session_number
        if not session_present:
            if number:
                log.warning(
                    "the broker lost our session: what it had not handed over is gone; see its persistence settings"
                )
                self._health.sessions_lost += 1
                self._health.error(
                    "mqtt", "the broker lost the session and what it had queued for the bridge"
                )
            self._intake.session_number = number + 1
        log.info("connected to the broker, session %s", "resumed" if session_present else "new")
        self._writer.settle(self._remember_session)
        self._publisher.state(self._names.state, b"online")
        self._publisher.up()
        self._publish_health()

    def _remember_session(self) -> None:
        self._outbox.set_meta("session", self._intake.session_number)
        self._outbox.set_meta("filters", json.dumps(list(self._names.data_filters)))

    def offline(self, reason: str) -> None:
        """The broker is gone, or refuses us."""
        log.warning("%s", reason)
        self._health.error("mqtt", reason)

    def message(self, delivery: Delivery) -> None:
        """A message command came."""
        self._intake.received(delivery, self._session)

    def control(self, delivery: Delivery) -> None:
        """A control command came."""
        self._controls.received(delivery, self._control_session)

    def published(self, mid: int, problem: str | None) -> None:
        """The broker answered a publication."""
        self._publisher.published(mid, problem)

    def _store_full(self, full: bool) -> None:  # the writer's callback
        if full:
            log.error("the disk is full: no message is taken until there is room; sending goes on")
            self._health.error("store", "the disk is full")
        else:
            log.warning("there is room on the disk again: messages are taken")
        self._publisher.event("store.full" if full else "store.recovered", path=str(self._path))
        self._publish_health()
        self._uplink.wake()

    def _condition_changed(self, endpoint: Endpoint, destination: Destination) -> None:
        where = "the cloud" if not endpoint.host else f"{endpoint.host}:{endpoint.port}"
        if destination.condition is Condition.UP:
            log.info("%s answers", where)
        else:
            log.warning("%s: %s", where, destination.reason)
            self._health.error("uplink", f"{where}: {destination.reason}")
        if destination.condition is Condition.HELD:
            self._publisher.event("cloud.auth_failed", description=destination.reason)
        self._publish_health()

    def _publish_health(self) -> None:
        self._publisher.state(self._names.health, self._health.payload())

    def _info(self) -> bytes:
        return dumps(info(self._settings)).encode()

    # -- the control socket ------------------------------------------------------------------------------

    async def _asked(self, request: dict[str, Any]) -> dict[str, Any]:
        command = request["command"]
        if command == "stats":
            return self._health.figures()
        if command == "list":
            return {"messages": self._outbox.listing(0, int(request.get("limit", 100)))}
        if command == "retry":
            self._controls.flush()
            return {"description": "everything is tried now"}
        if command == "purge":
            purged: asyncio.Future[int] = self._loop.create_future()
            self._controls.purge(purged.set_result)
            return {"purged": await purged}
        return {"error": f"unknown command {command!r}"}


class _DataHandler:
    """The session that carries messages."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def mqtt_up(self, *, session_present: bool) -> None:
        self._bridge.online(session_present=session_present)

    def mqtt_down(self, reason: str) -> None:
        self._bridge.offline(reason)

    def mqtt_received(self, delivery: Delivery) -> None:
        self._bridge.message(delivery)

    def mqtt_published(self, mid: int, problem: str | None) -> None:
        self._bridge.published(mid, problem)


class _ControlHandler:
    """The session that carries commands about the bridge itself."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def mqtt_up(self, *, session_present: bool) -> None:
        log.debug("control session %s", "resumed" if session_present else "new")

    def mqtt_down(self, reason: str) -> None:
        log.debug("control session: %s", reason)

    def mqtt_received(self, delivery: Delivery) -> None:
        self._bridge.control(delivery)

    def mqtt_published(self, mid: int, problem: str | None) -> None:
        """Nothing is published here."""


def run(settings: Settings) -> int:
    """Run the daemon until it is told to stop; return the exit code."""

    async def main() -> int:
        return await Bridge(settings, asyncio.get_running_loop()).run()

    return asyncio.run(main())
