"""Home Assistant: announces the bridge as a device, again after its birth message, and cleans up.

What was announced is remembered on disk, so that a component that a new configuration leaves out, or a
discovery that was switched off or moved to another prefix, is removed there too: at once, and after the next
birth message once more, since a Home Assistant that was away has kept its entities, and would for ever.
"""

import json
import logging
import random
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from bridge.core.delivery import Delivery
from bridge.protocol.api import discovery
from bridge.protocol.api.reports import dumps
from bridge.store.journal import Journal

log = logging.getLogger("home_assistant")

REMEMBERED = "home_assistant"
"""Key under which the last announcement is kept: the device's id, its topic, the platforms of its components
and of those that were removed, and topics of earlier ones that the broker has yet to forget."""

BIRTH_PAUSE = (1.0, 4.0)
"""Seconds after the birth message, at random: Home Assistant asks devices not to answer all at once."""

STATES_PAUSE = 2.0
"""Seconds that Home Assistant is given to set the entities up before their states come again."""

REMOVAL_PAUSE = 3.0
"""Seconds that it is given to set up what is to be removed."""


class HomeAssistant:
    """Owns the discovery topic; lives in the event loop's thread."""

    def __init__(
        self,
        journal: Journal,
        topics: discovery.Topics,
        *,
        prefix: str,
        enabled: bool,
        host: str,
        device: Callable[[str], discovery.Device],
        publish: Callable[[str, bytes], None],
        clear_retained: Callable[[str, Callable[[], None]], None],
        repeat: Callable[[], None],
    ) -> None:
        """``publish`` keeps and publishes a retained state; ``repeat`` publishes all states again.

        ``clear_retained`` has the broker forget a retained state, and tells when it has. ``device`` returns
        what is announced, given its id; ``host`` names this machine in it the first time, and the id stays
        when the name changes.
        """
        self.birth = f"{prefix}/status"
        """The topic of Home Assistant's birth and last will."""
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self._topics = topics
        self._enabled = enabled
        self._device = device
        self._publish = publish
        self._take_back = clear_retained
        self._repeat = repeat
        self._known: dict[str, Any] = json.loads(journal.outbox.meta(REMEMBERED) or "{}")
        self._id = self._known.get("id") or "hologram_bridge_" + re.sub(r"[^a-z0-9]+", "_", host.lower())
        self._topic = f"{prefix}/device/{self._id}/config"
        self._born = 0

    def start(self) -> None:
        """Announce, and take back what was announced elsewhere, or before it was switched off."""
        old = {*self._known.get("old", ()), self._known.get("topic")} - {None}
        if self._enabled:
            old.discard(self._topic)
        self._remember(topic=None, old=sorted(old))
        for topic in sorted(old):
            self._take_back(topic, partial(self._gone, topic))
        if self._enabled:
            self.announce()
        else:
            self._remember(components={}, removed=self._announced())

    def _gone(self, topic: str) -> None:
        """The broker has forgotten an earlier announcement; an unreachable one would have kept it."""
        log.info("taken back from Home Assistant: %s", topic)
        self._remember(old=[each for each in self._known["old"] if each != topic])

    def announce(self) -> None:
        """Publish the device as it is now."""
        device = self._device(self._id)
        platforms = discovery.platforms(discovery.payload(device, self._topics))
        removed = {key: platform for key, platform in self._announced().items() if key not in platforms}
        self._remember(components=platforms, removed=removed)
        self._tell(discovery.payload(device, self._topics, removed=removed))

    def _announced(self) -> dict[str, str]:
        """Return the platforms of all components that Home Assistant may know."""
        announced: dict[str, str] = self._known.get("removed", {}) | self._known.get("components", {})
        return announced

    def _tell(self, payload: dict[str, Any]) -> None:
        self._remember(topic=self._topic)
        self._publish(self._topic, dumps(payload).encode())

    def _remember(self, **changed: Any) -> None:
        known = {**self._known, "id": self._id, **changed}
        if known != self._known:
            self._known = known
            self._writer.write(lambda: self._outbox.set_meta(REMEMBERED, json.dumps(known)))

    # -- its birth ---------------------------------------------------------------------------------------

    def received(self, delivery: Delivery) -> None:
        """Take Home Assistant's birth or last will."""
        if delivery.payload != b"online" or not (self._enabled or self._known.get("removed")):
            return
        log.info("Home Assistant has started: the device is announced again")
        self._born += 1
        self._after(random.uniform(*BIRTH_PAUSE), self._again)  # noqa: S311 no secret

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        """Call ``act`` after ``seconds``, unless Home Assistant is born again meanwhile."""
        birth = self._born
        self._time.call_later(seconds, lambda: act() if birth == self._born else None)

    def _again(self) -> None:
        removed = self._known.get("removed")
        if removed:
            self._tell(discovery.recalled(self._device(self._id), self._topics, removed))
            self._after(REMOVAL_PAUSE, self._bury)
        else:
            self._announce_with_states()

    def _announce_with_states(self) -> None:
        self.announce()
        self._after(STATES_PAUSE, self._repeat)

    def _bury(self) -> None:
        """Remove what was recalled; Home Assistant has then forgotten it."""
        if self._enabled:
            self._announce_with_states()
            self._remember(removed={})
        else:
            self._remember(topic=None, removed={}, old=[self._topic])
            self._take_back(self._topic, partial(self._gone, self._topic))
