"""Setting aside: what could not be passed on is kept for a person, and a line says where."""

import base64
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from bridge.errors import OperationError
from bridge.protocol.api.reports import timestamp
from bridge.store.outbox import Outbox, Report
from bridge.store.writer import Writer

log = logging.getLogger("store")

SHOW = "hologram-bridge queue set-aside"
"""The command with which a person looks at it."""


class Asides:
    """Sets aside, and tells; lives in the event loop's thread."""

    def __init__(self, outbox: Outbox, writer: Writer) -> None:
        self._outbox = outbox
        self._writer = writer
        self.on_problem: Callable[[str], None] = lambda _: None
        """Gets a line for health."""

    def report(self, report: Report, reason: str) -> None:
        """Keep ``report`` for a person instead of for the broker."""
        self._writer.write(
            partial(self._outbox.set_report_aside, report.seq, reason),
            partial(self._told, f"the report on {report.topic}", len(report.payload), reason),
        )

    def delivery(
        self,
        topic: str,
        payload: bytes,
        reason: str,
        properties: str | None = None,
        durable: Callable[[], None] = lambda: None,
    ) -> None:
        """Keep what the broker delivered and nothing here can use; ``durable`` is called after the commit."""

        def done(kept: tuple[int, int]) -> None:
            durable()
            self._told(f"the delivery on {topic}", len(payload), reason, kept)

        operation = partial(self._outbox.set_delivery_aside, topic, payload, reason, properties)
        self._writer.append(operation, done, size=len(payload))

    def _told(self, what: str, size: int, reason: str, kept: tuple[int, int]) -> None:
        number, gone = kept
        if not number:
            return
        text = f"{what} ({size} bytes) is set aside: {reason}; {SHOW} --show {number} prints it"
        log.error("%s", text)
        if gone:
            log.warning("of what was set aside the oldest %d went to make room", gone)
        self.on_problem(text)


def listing(outbox: Outbox, limit: int) -> dict[str, Any]:
    """Return what ``queue set-aside`` lists, oldest first."""
    return {
        "set_aside": [
            {**entry._asdict(), "kind": entry.kind.value, "at": timestamp(entry.at)}
            for entry in outbox.set_aside.entries(limit)
        ]
    }


def shown(outbox: Outbox, number: int) -> dict[str, Any]:
    """Return all of what was set aside as ``number``; raises `OperationError` where there is nothing."""
    row = outbox.set_aside.get(number)
    if row is None:
        raise OperationError(f"nothing is set aside as {number}; {SHOW} lists what is")
    return {
        "id": row.id,
        "kind": row.kind.value,
        "topic": row.topic,
        "bytes": len(row.payload),
        "reason": row.reason,
        "at": timestamp(row.at),
        "properties": row.properties,
        "retain": row.retain,
        "payload_base64": base64.b64encode(row.payload).decode(),
    }


def change(outbox: Outbox, action: str, number: int | None) -> Callable[[], int]:
    """Return the operation that does ``action`` (``drop`` or ``retry``) to one, or all (None).

    It returns how many it was done to. Deliveries cannot be tried again: of all, they are left.
    """
    act = outbox.set_aside.drop if action == "drop" else outbox.try_again
    return lambda: sum(map(act, outbox.set_aside.ids() if number is None else [number]))


def changed(action: str, number: int | None, times: int) -> dict[str, Any]:
    """Return the answer for what `change` has done; raises `OperationError` where that was nothing."""
    if number is not None and not times:
        left = "; a delivery cannot be tried again" if action == "retry" else ""
        raise OperationError(f"nothing that one can {action} is set aside as {number}{left}; see {SHOW}")
    return {"dropped" if action == "drop" else "tried_again": times}
