"""Unreadable lines of a modem: each kind is logged once, so that none is dropped silently."""

import logging
import re

MOST = 50
"""Number of kinds that are logged for one modem, so that ever new ones cannot fill the log."""

SHOWN = 200
"""Number of a line's characters that are logged."""


class OddLines:
    """Logs unreadable lines, once for each kind; lines that differ only in their numbers are of one kind."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: set[str] = set()

    def say(self, line: str) -> None:
        """Log ``line`` unless its kind was logged before."""
        kind = re.sub(r"[0-9]+", "0", line[:SHOWN])
        if kind not in self._said and len(self._said) < MOST:
            self._said.add(kind)
            self._log.warning(
                "the modem said what cannot be read, and it is left out: %s", ascii(line[:SHOWN])
            )
