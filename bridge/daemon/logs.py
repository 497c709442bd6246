"""Logs: one line an event on stderr, ``LEVEL:component:message``; journald's priorities under systemd.

No payload appears above debug level, and no secret at any level. Text from outside (topics, answers, names)
is escaped here, once, where the line is written.
"""

import logging
import os
import sys
import time
from collections import deque

from bridge.core.visible import visible

_PRIORITIES = {
    logging.CRITICAL: "<2>",
    logging.ERROR: "<3>",
    logging.WARNING: "<4>",
    logging.INFO: "<6>",
    logging.DEBUG: "<7>",
}  # sd-daemon(3)


KEPT_LINES = 100
"""Lines that are kept in memory for the command ``log``."""

_KEPT_SIZE = 300
"""Characters of each of them at most."""


class Recent(logging.Handler):
    """Keeps the last lines, each with its time of day (UTC)."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = deque[str](maxlen=KEPT_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        at = time.strftime("%H:%M:%S", time.gmtime(record.created))
        line = visible(f"{at} {record.levelname}:{record.name}:{record.getMessage()}")
        self._lines.append(line[:_KEPT_SIZE])

    def last(self, number: int) -> list[str]:
        """Return the last lines, oldest first."""
        return list(self._lines)[-number:]


RECENT = Recent()
"""The last lines of this process."""


class _Formatter(logging.Formatter):
    def __init__(self, *, journald: bool) -> None:
        super().__init__()
        self._journald = journald

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}: {self.formatException(record.exc_info)}"
        line = visible(f"{record.levelname}:{record.name}:{text}")
        return _PRIORITIES.get(record.levelno, "<6>") + line if self._journald else line


def set_up(level: str) -> None:
    """Log from ``level`` (``debug``, ``info``, ``warning`` or ``error``) up to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(journald="JOURNAL_STREAM" in os.environ))
    root = logging.getLogger()
    root.handlers[:] = [handler, RECENT]
    root.setLevel(level.upper())
    # asyncio's own debug lines describe asyncio, not the bridge.
    logging.getLogger("asyncio").setLevel(max(logging.WARNING, root.level))
