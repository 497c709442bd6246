"""What keeps a sink from publishing, and what of it the log has."""

import logging
from collections import deque

log = logging.getLogger("collect")

KEPT = 20
"""Problems of one outage that are remembered: the servers of a cluster have one each, in turns."""


class Outage:
    """Why nothing can be published now; the log has each problem once in an outage."""

    def __init__(self, problem: str) -> None:
        self.problem: str | None = problem
        """None while there is none."""
        self._told: deque[str] = deque(maxlen=KEPT)

    def say(self, problem: str) -> None:
        """Begin an outage, or learn more of it."""
        self.problem = problem
        if problem not in self._told:
            log.warning("%s", problem)
            self._told.append(problem)

    def end(self) -> None:
        """Learn that messages can be published."""
        self.problem = None
        self._told.clear()
