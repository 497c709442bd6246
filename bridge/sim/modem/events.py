"""The simulated modem's events: lines of JSON in a file, and lines for a person."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from bridge.errors import OperationError


class Events:
    """Writes each event to ``log`` at once, one line each; ``say`` gets a line for a person.

    Raises:
        OperationError: the file cannot be written.

    """

    def __init__(self, log: Path | None, say: Callable[[str], None]) -> None:
        self.say = say
        self._log: TextIO | None = None
        if log is not None:
            try:
                self._log = log.open("a", encoding="utf-8", buffering=1)
            except OSError as error:
                raise OperationError(f"--log: {log}: {error.strerror}") from None

    def record(self, event: dict[str, Any]) -> None:
        """Take an event, a dict with its ``kind``."""
        line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **event}
        if self._log is not None:
            self._log.write(json.dumps(line) + "\n")
        self.say(_for_a_person(event))

    def close(self) -> None:
        """Close the file."""
        if self._log is not None:
            self._log.close()


def _for_a_person(event: dict[str, Any]) -> str:
    if event["kind"] == "sms":
        return f"SMS to {event['to']}: {event['text']!r}"
    details = [f"{key} {value}" for key, value in event.items() if key != "kind" and value is not None]
    return ", ".join([event["kind"], *details])
