"""Setting aside: keeps for a person what could not be passed on, and logs how to see it."""

import base64
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from bridge.errors import OperationError
from bridge.protocol.api.reports import timestamp
from bridge.store.outbox import Outbox
from bridge.store.reports import Report
from bridge.store.writer import Writer

log = logging.getLogger("store")

SHOW = "hologram-bridge queue set-aside"
"""The command that lists what is set aside."""


class Asides:
    """Sets reports aside; lives in the event loop's thread."""

    def __init__(self, outbox: Outbox, writer: Writer) -> None:
        self._outbox = outbox
        self._writer = writer
        self.on_problem: Callable[[str], None] = lambda _: None
        """Called with one line of text, for the health."""

    def report(self, report: Report, reason: str) -> None:
        """Set aside a report that the broker does not take."""
        self._writer.write(
            partial(self._outbox.set_report_aside, report.seq, reason),
            partial(self._log, report, reason),
        )

    def _log(self, report: Report, reason: str, kept: tuple[int, int]) -> None:
        number, gone = kept
        if not number:
            return
        what = f"the report on {report.topic} ({len(report.payload)} bytes)"
        text = f"{what} is set aside: {reason}; {SHOW} --show {number} prints it"
        log.error("%s", text)
        if gone:
            log.warning("dropped the oldest %d entries of what is set aside to make room", gone)
        self.on_problem(text)


def listing(outbox: Outbox, limit: int) -> dict[str, Any]:
    """Return the answer of ``queue set-aside``: the entries, oldest first."""
    return {
        "set_aside": [
            {**entry._asdict(), "kind": entry.kind.value, "at": timestamp(entry.at)}
            for entry in outbox.set_aside.entries(limit)
        ]
    }


def shown(outbox: Outbox, number: int) -> dict[str, Any]:
    """Return one entry with its payload; raises `OperationError` for a number that does not exist."""
    row = outbox.set_aside.get(number)
    if row is None:
        raise OperationError(f"no entry {number} is set aside; {SHOW} lists the entries")
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
    """Return the operation that drops or retries (``action``) one entry, or all entries (None).

    The operation returns how many entries it changed. A delivery cannot be retried, so a retry of all entries
    leaves the deliveries.
    """
    act = outbox.set_aside.drop if action == "drop" else outbox.try_again
    return lambda: sum(map(act, outbox.set_aside.ids() if number is None else [number]))


def changed(action: str, number: int | None, times: int) -> dict[str, Any]:
    """Return the answer after `change`; raises `OperationError` if the one entry was not changed."""
    if number is not None and not times:
        left = "; a delivery cannot be tried again" if action == "retry" else ""
        raise OperationError(f"no entry {number} to {action} is set aside{left}; see {SHOW}")
    return {"dropped" if action == "drop" else "tried_again": times}
