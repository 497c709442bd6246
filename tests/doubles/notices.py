"""What a flow said, in lists."""

from typing import Any

from bridge.flow.notices import Notices


class Told(Notices):
    """Keeps the events as (type, fields), the problems as (component, text), and counts the rest."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.problems: list[tuple[str, str]] = []
        self.reports = 0

    def event(self, event_type: str, **fields: Any) -> None:
        self.events.append((event_type, fields))

    def problem(self, component: str, text: str) -> None:
        self.problems.append((component, text))

    def reports_ready(self) -> None:
        self.reports += 1
