"""Lines of a modem that cannot be read: each kind is said once, so that none is left out without a word."""

import logging
import re

MOST = 50
"""Kinds that are said of one modem; one that says ever new ones must not fill the log."""

SHOWN = 200
"""Characters of a line that are shown."""


class OddLines:
    """Says what cannot be read, once for each kind: lines that differ in their numbers alone are of one."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: set[str] = set()

    def say(self, line: str) -> None:
        """Tell of ``line``, which nobody can read."""
        kind = re.sub(r"[0-9]+", "0", line[:SHOWN])
        if kind not in self._said and len(self._said) < MOST:
            self._said.add(kind)
            self._log.warning(
                "the modem said what cannot be read, and it is left out: %s", ascii(line[:SHOWN])
            )
