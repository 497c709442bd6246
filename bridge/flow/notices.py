"""Notices: what a flow may say to those around it. The daemon's go to MQTT, the SDK's to its handlers."""

from collections.abc import Container
from typing import Any

from bridge.core.destination import Destination
from bridge.core.events import TYPES
from bridge.core.messages import Endpoint


class Notices:
    """Takes all notices in the event loop's thread; this one passes none on."""

    wanted: Container[str] = TYPES
    """Types that `event` passes on. What comes with each message asks first: most boxes want none of it."""

    def event(self, event_type: str, **fields: Any) -> None:
        """Pass on an event, one of ``hologram/event``, with its fields."""

    def problem(self, component: str, text: str) -> None:
        """Pass on a line that a person may have to act on; ``component`` is the part that it is about."""

    def reports_ready(self) -> None:
        """Note that the outbox holds new reports to publish."""

    def condition_changed(self, endpoint: Endpoint, destination: Destination) -> None:
        """Note that a destination answers again, is down, or refuses our credentials."""

    def link_up(self) -> None:
        """Note that the link came up: what waited for it needs to wait no longer."""

    def path_changed(self) -> None:
        """Note that messages take another network: what is known of the destinations is not of this one."""

    def health_changed(self) -> None:
        """Note that a figure of the health has changed."""


SILENT = Notices()
"""For parts whose notices nobody needs."""
