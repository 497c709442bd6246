"""The demo's board: what the bridge's messages tell, and what arrived at the simulated cloud."""

import json
from collections import deque
from typing import NamedTuple

from bridge.watch.board import ROWS, Board
from bridge.watch.values import Line, shown, unix


class Arrival(NamedTuple):
    """One request as the simulated cloud saw it."""

    at: float
    form: str
    to: str
    text: str
    size: int
    verdict: str
    accepted: bool


class DemoBoard(Board):
    """The state of bridge and simulated cloud."""

    def __init__(self) -> None:
        super().__init__()
        self.arrivals: deque[Arrival] = deque(maxlen=ROWS)
        self.arrived = 0
        self.cloud_back_at: float | None = None
        """When the simulated cloud comes back (Unix seconds); None while it is there."""

    def arrival(self, line: str) -> list[Line]:
        """Take one line of the simulated cloud's log."""
        record = json.loads(line)
        data = record["data"] if record["data"] is not None else (record["data_base64"] or "")
        said = "no answer" if record["code"] is None else f"code {record['code']}"
        seen = Arrival(
            unix(record["at"]),
            record["form"],
            shown(record["to"] or ", ".join(record["topics"])),
            shown(data),
            record["bytes"],
            f"accepted, {said}" if record["accepted"] else f"not accepted, {record['problem'] or said}",
            record["accepted"],
        )
        self.arrivals.append(seen)
        self.arrived += record["accepted"]
        about = f"{seen.form} {seen.to} {seen.text}".rstrip()
        return [Line(seen.at, "cloud", f"{about}, {seen.size} B: {seen.verdict}")]
