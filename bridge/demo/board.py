"""The demo's board: what the bridge reports, and what arrived at the simulated cloud."""

import json
from collections import deque
from typing import Any, NamedTuple

from bridge.batch import Batch, BatchError, decode
from bridge.demo.script import SENSORS
from bridge.watch.board import ROWS, Board
from bridge.watch.values import Line, clock, shown, unix

BATCH_TOPIC = "batch"
"""The topic of a batch at the cloud, where the route does not name another."""


class Arrival(NamedTuple):
    """One request as the simulated cloud saw it."""

    at: float
    form: str
    to: str
    text: str
    size: int
    verdict: str
    accepted: bool
    inside: tuple[tuple[str, str], ...] = ()
    """Topics and payload of each reading, where the request is a batch."""


class DemoBoard(Board):
    """The state of bridge and simulated cloud."""

    def __init__(self) -> None:
        super().__init__()
        self.arrivals: deque[Arrival] = deque(maxlen=ROWS)
        self.arrived = 0
        self.unpacked = 0
        """Number of readings that came in batches, without those of repeats."""
        self._unpacked_ids: dict[str | None, None] = {}
        self.knows_time = True
        """Whether the box knew the time at the start; batches wait until it does."""
        self.cloud_back_at: float | None = None
        """When the simulated cloud comes back (Unix seconds); None while it is there."""

    def arrival(self, line: str) -> list[Line]:
        """Take one line of the simulated cloud's log."""
        record = json.loads(line)
        seen = _arrival(record)
        batch = _batch(record) if seen.accepted else None
        if batch:
            seen = _opened(seen, batch)
        self.arrivals.append(seen)
        self.arrived += seen.accepted
        if batch:
            return self._unpack(batch, seen)
        about = f"{seen.form} {seen.to} {seen.text}".rstrip()
        return [Line(seen.at, "cloud", f"{about}, {seen.size} B: {seen.verdict}")]

    def _unpack(self, batch: Batch, seen: Arrival) -> list[Line]:
        """Tell what is in a batch; a receiver drops repeats by the batch's id."""
        about = f"{seen.form} {seen.to} ({batch.id}), {seen.size} B: {seen.verdict}"
        if batch.id in self._unpacked_ids:
            return [Line(seen.at, "cloud", f"{about}; a repeat, dropped by its id")]
        self._unpacked_ids[batch.id] = None
        if len(self._unpacked_ids) > ROWS:
            self._unpacked_ids.pop(next(iter(self._unpacked_ids)))
        self.unpacked += len(batch.readings)
        lines = [Line(seen.at, "cloud", about)]
        for number, (to, text) in enumerate(seen.inside):
            taken = _taken(batch.readings[number].at)
            lines.append(Line(seen.at, "unpacked", f"{to} {text}{taken} ({batch.id}-{number})"))
        return lines

    def bytes_each(self, most: int = 300) -> str:
        """Return what a reading cost last alone, and in batches of each number.

        Before the first batch the text is empty, or says that batches wait for the time.
        Bytes of the IP layer, up and down. ``most`` is the number of sizes of batches, the largest ones.
        """
        whole = {each.messages: each.each for each in self.batches.values() if each.seen == each.messages}
        if not whole:
            return "" if self.knows_time else "batches wait for the clock, 10 minutes at most"
        alone = next(
            (
                row
                for row in reversed(self.rows.values())
                if row.to.startswith(SENSORS) and row.state == "delivered" and row.attempts == 1
            ),
            None,
        )
        parts = [f"{alone.up + alone.down} alone"] if alone else []
        parts += [f"{whole[messages]:.0f} in {messages}" for messages in sorted(whole)[-most:]]
        return f"B each {', '.join(parts)}"


def _arrival(record: dict[str, Any]) -> Arrival:
    data = record["data"] if record["data"] is not None else (record["data_base64"] or "")
    said = "no answer" if record["code"] is None else f"code {record['code']}"
    return Arrival(
        unix(record["at"]),
        record["form"],
        shown(record["to"] or ", ".join(record["topics"])),
        shown(data),
        record["bytes"],
        f"accepted, {said}" if record["accepted"] else f"not accepted, {record['problem'] or said}",
        record["accepted"],
    )


def _batch(record: dict[str, Any]) -> Batch | None:
    """Return the batch that a request is, if it is one; a viewer may send anything on its topic."""
    if record["topics"] != [BATCH_TOPIC] or record["data"] is None:
        return None
    try:
        batch = decode(record["data"])
    except BatchError:
        return None
    return batch if batch.id is not None else None  # any JSON array of objects may be one of the form plain


def _opened(seen: Arrival, batch: Batch) -> Arrival:
    inside = tuple((shown(", ".join(each.topics)), shown(each.payload)) for each in batch.readings)
    text = shown(" · ".join(f"{to} {text}" for to, text in inside))
    return seen._replace(to=f"batch of {len(inside)}", text=text, inside=inside)


def _taken(at: float | None) -> str:
    if at is None:
        return ""
    try:
        return f", taken {clock(at)}"
    except (ValueError, OverflowError, OSError):  # later than 2038, where the system's time has 32 bits
        return f", taken {at:.0f}"
