"""Routes: which destination and options a message gets; the first that matches wins."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bridge.core.batching import Batching
from bridge.core.escalation import Escalation
from bridge.core.filters import Filter
from bridge.core.messages import CLOUD, Endpoint, Lane, Priority
from bridge.core.topic_rules import matcher


class Route(NamedTuple):
    """A destination and the default options of a message; the message's own options take precedence."""

    endpoint: Endpoint = CLOUD
    priority: Priority = Priority.NORMAL
    lifetime: float | None = None
    """Seconds until a message on this route expires."""
    max_attempts: int | None = None
    """Number of sends before a message fails; ``None`` is no limit."""
    stamp: str | None = None
    """The key under which the time of a message goes with it; ``None``: without."""
    match: str = ""
    """Its topic filter."""
    batching: Batching | None = None
    """How its messages go in batches; None: each alone."""
    latest: bool = False
    """Whether a message takes the place of an older one of its topics that still waits."""
    filter: Filter | None = None
    """Which readings say something new; ``None``: each does."""
    escalation: Escalation | None = None
    """When its messages go as texts; ``None``: never."""


DEFAULT = Route()

PLACES, PLACE = 512, 256
"""Topics whose route and lane are kept in memory, and characters of one of them, at most."""


class Router:
    """Finds the route of a message from its topics."""

    def __init__(self, routes: Sequence[tuple[str, Route]]) -> None:
        """``routes`` are topic filters with their routes, in the order in which they are tried."""
        self.routes = tuple(routes)
        self._routes: list[tuple[Callable[[str], bool], Route]] = [
            (matcher(pattern), route) for pattern, route in routes
        ]
        self._places: dict[tuple[str, ...], tuple[Route, Lane]] = {}
        """What `place` has returned: a box has some tens of topics and asks with each message."""

    def named(self, match: str) -> Route | None:
        """Return the first route with this topic filter; None without one."""
        return next((route for _, route in self._routes if route.match == match), None)

    def place(self, topics: tuple[str, ...]) -> tuple[Route, Lane]:
        """Return the route of ``topics``, and the lane of a message on it that has no priority of its own."""
        found = self._places.get(topics)
        if found is None:
            route = self.route(topics)
            batch = None if route.batching is None else route.match
            found = route, Lane(route.endpoint, topics, route.priority, batch)
            if sum(map(len, topics)) <= PLACE:
                self._places[topics] = found
            if len(self._places) > PLACES:
                del self._places[next(iter(self._places))]
        return found

    def route(self, topics: Sequence[str]) -> Route:
        """Return the first route that one of ``topics`` matches; without topics the topic is ``''``."""
        if not self._routes:
            return DEFAULT
        names = topics or ("",)
        for matches, route in self._routes:
            if any(matches(name) for name in names):
                return route
        return DEFAULT
