"""The two sessions with the broker, the sessions of earlier client ids, and the farewell.

One session carries messages and reports. The other carries the commands about the bridge itself, because a
session that stalls, as the first does while the disk is full, stalls all of its topics.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from bridge.adapters.mqtt.broker import Broker
from bridge.adapters.mqtt.session import Session
from bridge.assemblies.workers import Workers
from bridge.core.delivery import Delivery
from bridge.flow.health.client_id import ClientId
from bridge.flow.health.home_assistant import HomeAssistant
from bridge.flow.health.monitor import CONTROL_FILTERS, DATA_FILTERS, Monitor
from bridge.flow.message.controls import Controls
from bridge.flow.message.deliveries import Acknowledger
from bridge.flow.message.intake import Intake
from bridge.flow.message.publisher import Publisher
from bridge.flow.message.sessions import Numbered

log = logging.getLogger("bridge")

CONTROL = "-control"
"""Suffix of the client id of the commands' session."""

EARLIER_FIRST = 5.0
"""Seconds that the sessions wait for the sessions of an earlier client id."""

SHARED_EVERY = 60.0
"""Seconds between checks whether another client uses our id."""

LEAVE_WAIT = 0.5
"""Seconds for the sessions to end after `BrokerSessions.leave`."""


class Messages:
    """The session that carries messages and reports."""

    def __init__(
        self, broker: Broker, monitor: Monitor, publisher: Publisher, intake: Intake, client_id: ClientId
    ) -> None:
        self.intake = intake
        self._monitor = monitor
        self._publisher = publisher
        self._client_id = client_id
        self._whose = f"{broker.client_id} at {broker.host}"
        self.mqtt_published = publisher.published
        names = publisher.names
        self.session = Session(
            asyncio.get_running_loop(),
            broker,
            self,
            subscriptions=names.data_filters,
            stale=monitor.stale_filters(DATA_FILTERS, names.data_filters),
            will=(names.state, b"offline"),
            backpressure=intake.backpressure,
        )

    def mqtt_up(self, *, session_present: bool) -> None:
        """Handle a connection."""
        self._monitor.online(session_present=session_present, whose=self._whose)

    def mqtt_down(self, reason: str) -> None:
        """Handle the end of a connection, or a refusal."""
        self._publisher.down()
        self._monitor.offline(reason)
        self.look_at_rivals()

    def mqtt_received(self, delivery: Delivery) -> None:
        """Take a message to send."""
        self.intake.received(delivery, self.session)

    def look_at_rivals(self) -> None:
        """Note whether another client uses our id."""
        self._client_id.shared(self.session.shared)


class Commands:
    """The session that carries commands about the bridge itself."""

    def __init__(
        self, broker: Broker, monitor: Monitor, publisher: Publisher, controls: Controls, home: HomeAssistant
    ) -> None:
        self._monitor = monitor
        self._controls = controls
        self._home = home
        self._filters = (*publisher.names.control_filters, home.birth)
        self.session = Session(
            asyncio.get_running_loop(),
            broker._replace(client_id=broker.client_id + CONTROL),
            self,
            subscriptions=self._filters,
            stale=monitor.stale_filters(CONTROL_FILTERS, self._filters),
        )

    def mqtt_up(self, *, session_present: bool) -> None:
        """Handle a connection."""
        log.debug("control session %s", "resumed" if session_present else "new")
        self._monitor.control_online()
        if not session_present:
            self._controls.session.renewed()
        self._monitor.remember_filters(CONTROL_FILTERS, self._filters)

    def mqtt_down(self, reason: str) -> None:
        """Handle the end of a connection, or a refusal."""
        log.debug("control session: %s", reason)
        self._monitor.control_offline(reason)

    def mqtt_received(self, delivery: Delivery) -> None:
        """Take a command of this session."""
        self.received(delivery, self.session)

    def mqtt_published(self, _mid: int, _problem: str | None) -> None:
        """Do nothing: this session publishes nothing."""

    def received(self, delivery: Delivery, source: Acknowledger) -> None:
        """Take a command of the session ``source``."""
        if delivery.topic == self._home.birth:
            self._home.received(delivery)
            source.ack(delivery)
        else:
            self._controls.received(delivery, source)


class BrokerSessions:
    """Both sessions: entering connects them, leaving says farewell. Lives in the event loop's thread."""

    def __init__(
        self,
        messages: Messages,
        commands: Commands,
        client_id: ClientId,
        publisher: Publisher,
        make_intake: Callable[[Numbered], Intake],
        broker: Broker,
    ) -> None:
        """``make_intake`` returns the intake for the messages in an earlier client id's session."""
        self.messages, self.commands = messages, commands
        self._client_id = client_id
        self._publisher = publisher
        self._make_intake = make_intake
        self._broker = broker
        self._loop = asyncio.get_running_loop()
        self._workers = Workers()
        self._met = asyncio.Event()
        """Set once the sessions of an earlier client id were reached, or the first attempt has failed."""
        publisher.attach(messages.session, commands.session)

    @property
    def connected(self) -> bool:
        """Whether the session of messages and reports is connected."""
        return self.messages.session.connected

    async def __aenter__(self) -> Self:
        self._workers.start(self._run(self.messages.session), self._run(self.commands.session))
        if self._client_id.earlier:
            self._workers.start(self._end_earlier(), ends=True)
        self._watch_client_id()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()
        await self._workers.stop(LEAVE_WAIT)  # a session may wait for a broker that does not answer

    def leave(self) -> None:
        """Say farewell and disconnect."""
        if self.connected:  # our DISCONNECT discards the will
            self._publisher.farewell(self._publisher.names.state, b"offline")
        for each in (self.messages, self.commands):
            each.session.disconnect()

    async def _run(self, session: Session) -> None:
        """Run one of the sessions; those of an earlier client id come first, if they can be reached."""
        with suppress(TimeoutError):
            async with asyncio.timeout(EARLIER_FIRST if self._client_id.earlier else 0):
                await self._met.wait()
        await session.run()

    async def _end_earlier(self) -> None:
        """Fetch the messages that the broker holds for replaced client ids, and end those sessions."""
        from bridge.daemon.earlier_sessions import EarlierSessions, Way

        controls = Way(self.commands.session, CONTROL, self.commands.received)
        ways = []
        for earlier in self._client_id.earlier:
            intake = self._make_intake(earlier)
            messages = Way(self.messages.session, "", intake.received, intake.backpressure)
            ways.append((earlier, (messages, controls)))
        await EarlierSessions(self._loop, self._broker, self._client_id).end(ways, self._met.set)

    def _watch_client_id(self) -> None:
        """Check at intervals whether another client uses our id, because it may have stopped."""
        self.messages.look_at_rivals()
        self._loop.call_later(SHARED_EVERY, self._watch_client_id)
