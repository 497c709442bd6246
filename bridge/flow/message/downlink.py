"""Downlink: durable delivery of inbound TCP and UDP messages to the broker.

A message is received whole and written as a report in the writer's transaction. After the commit its sender's
connection is closed, the publisher sends it at QoS 1, and an event is published. The broker's acknowledgement
removes it from the disk. Waiting reports may hold as many bytes as the outbox; then nothing more is received,
so that a broker that is away for long does not fill the disk.
"""

import logging
from collections.abc import Callable
from functools import partial

from bridge.core.delivery import Properties
from bridge.core.inbound import Received
from bridge.core.messages import Traffic
from bridge.flow.message.ids import id_source
from bridge.flow.message.publisher import write_properties
from bridge.flow.message.topics import Names
from bridge.flow.notices import Notices
from bridge.protocol.api.reports import timestamp
from bridge.store.journal import Journal

log = logging.getLogger("downlink")

SPEND_EVERY = 1.0
"""Seconds over which the overhead of connections without a message is added up, so that a port scan causes
few commits."""


class Downlink:
    """Stores inbound messages; lives in the event loop's thread."""

    def __init__(self, journal: Journal, names: Names, notices: Notices) -> None:
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self._names = names
        self._notices = notices
        self._backpressure = False
        self._new_id = id_source()
        self._overhead = {False: Traffic(), True: Traffic()}
        """By whether it came over a modem's own sockets."""

    @property
    def taking(self) -> bool:
        """Whether inbound messages are accepted: there is room on the disk and among the reports."""
        return not self._writer.full and not self.backpressure

    @property
    def backpressure(self) -> bool:
        """Whether the reports that wait for the broker have reached their limit."""
        return self._outbox.reports_full

    def received(self, message: Received, durable: Callable[[], None]) -> None:
        """Store ``message`` and publish it; ``durable`` is called after the commit."""
        message_id = self._new_id()
        user = (
            ("id", message_id),
            ("peer", message.peer),
            ("protocol", message.protocol),
            ("port", str(message.port)),
            ("received_at", timestamp(self._time.now().wall)),
        )
        properties = write_properties(Properties(user=user))
        self._writer.append(
            partial(self._store, message, properties),
            partial(self._stored, message_id, message, durable),
            size=len(message.data),
        )

    def _store(self, message: Received, properties: str | None) -> None:
        """Write the report and the traffic of ``message``; runs inside the transaction."""
        self._outbox.reports.add(self._names.inbound, message.data, properties)
        self._outbox.ledger.spend(message.traffic, over_modem=message.over_modem)

    def _stored(self, message_id: str, message: Received, durable: Callable[[], None], _: object) -> None:
        """Close the sender's connection and publish; runs after the commit."""
        durable()
        self._look_at_room()
        size = len(message.data)
        log.debug("message %s: %d bytes from %s by %s", message_id, size, message.peer, message.protocol)
        self._notices.reports_ready()
        self._notices.event(
            "message.received", id=message_id, peer=message.peer, protocol=message.protocol, bytes=size
        )

    def _look_at_room(self) -> None:
        """Log and report the limit when the reports reach it."""
        before, self._backpressure = self._backpressure, self.backpressure
        if self._backpressure and not before:
            held = self._outbox.ledger.report_bytes
            text = (
                f"nothing comes in: {held} bytes wait for the broker (store.max_bytes); check that it runs "
                "and that its access list lets the bridge publish"
            )
            log.error("%s", text)
            self._notices.problem("inbound", text)

    def count_overhead(self, traffic: Traffic, *, over_modem: bool = False) -> None:
        """Count the traffic of a connection that brought no message; ``over_modem`` as in `Received`."""
        # With a sum the timer runs already.
        if not any(map(any, self._overhead.values())) and any(traffic):
            self._time.call_later(SPEND_EVERY, self._spend)
        self._overhead[over_modem] = self._overhead[over_modem].plus(traffic)

    def _spend(self) -> None:
        overhead, self._overhead = self._overhead, {False: Traffic(), True: Traffic()}

        def operation() -> None:
            for over_modem, traffic in overhead.items():
                self._outbox.ledger.spend(traffic, over_modem=over_modem)

        self._writer.write(operation)
