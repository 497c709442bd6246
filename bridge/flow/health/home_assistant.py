"""Home Assistant: announces the bridge as a device, repeats that after its birth message, and cleans up.

The announcement is remembered on disk. So a component that a new configuration leaves out is removed from
Home Assistant, as is everything when discovery was switched off or moved to another prefix. It is removed at
once and once more after the next birth message, because a Home Assistant that was away would keep its
entities for ever.
"""

import json
import logging
import random
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from bridge.core.delivery import Delivery
from bridge.flow.message.publisher import Publisher
from bridge.protocol.api import discovery
from bridge.protocol.api.reports import dumps
from bridge.store.journal import Journal

log = logging.getLogger("home_assistant")

REMEMBERED = "home_assistant"
"""Key in the store of the last announcement: the device's id, its topic, the platforms of its present and
removed components, and earlier topics that the broker has not cleared yet."""

BIRTH_PAUSE = (1.0, 4.0)
"""Seconds after the birth message, at random, because Home Assistant asks devices not to answer all at
once."""

STATES_PAUSE = 2.0
"""Seconds for Home Assistant to set the entities up before their states are published again."""

REMOVAL_PAUSE = 3.0
"""Seconds for Home Assistant to set up the components that are then removed."""


class HomeAssistant:
    """Owns the discovery topic; lives in the event loop's thread."""

    def __init__(
        self,
        journal: Journal,
        publisher: Publisher,
        *,
        prefix: str,
        enabled: bool,
        host: str,
        device: Callable[[str], discovery.Device],
    ) -> None:
        """``device`` returns what is announced, given its id.

        ``host`` names this machine in the id the first time; the id stays when the name changes.
        """
        self.birth = f"{prefix}/status"
        """The topic of Home Assistant's birth and last will."""
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        names = publisher.names
        self._topics = discovery.Topics(
            names.prefix, names.state, names.health, names.network, names.event, names.last_sms
        )
        self._enabled = enabled
        self._device = device
        self._publisher = publisher
        self._known: dict[str, Any] = journal.outbox.meta_json(REMEMBERED, {})
        self._id = self._known.get("id") or "hologram_bridge_" + re.sub(r"[^a-z0-9]+", "_", host.lower())
        self._topic = f"{prefix}/device/{self._id}/config"
        self._born = 0

    def start(self) -> None:
        """Announce the device; clear announcements on earlier topics, and all of them if discovery is off."""
        old = {*self._known.get("old", ()), self._known.get("topic")} - {None}
        if self._enabled:
            old.discard(self._topic)
        self._remember(topic=None, old=sorted(old))
        for topic in sorted(old):
            self._publisher.clear_retained(topic, partial(self._gone, topic))
        if self._enabled:
            self.announce()
        else:
            self._remember(components={}, removed=self._announced())

    def _gone(self, topic: str) -> None:
        """Note that the broker has cleared an earlier announcement; until then it is tried at each start."""
        log.info("cleared an earlier announcement to Home Assistant: %s", topic)
        self._remember(old=[each for each in self._known["old"] if each != topic])

    def changed(self) -> None:
        """Announce the device again: a reload has changed what it has."""
        if self._enabled:
            self.announce()

    def announce(self) -> None:
        """Publish the device as it is now."""
        device = self._device(self._id)
        platforms = discovery.platforms(discovery.payload(device, self._topics))
        removed = {key: platform for key, platform in self._announced().items() if key not in platforms}
        self._remember(components=platforms, removed=removed)
        self._publish_device(discovery.payload(device, self._topics, removed=removed))

    def _announced(self) -> dict[str, str]:
        """Return the platforms of all components that Home Assistant may have."""
        announced: dict[str, str] = self._known.get("removed", {}) | self._known.get("components", {})
        return announced

    def _publish_device(self, payload: dict[str, Any]) -> None:
        self._remember(topic=self._topic)
        self._publisher.state(self._topic, dumps(payload).encode(), again=True)

    def _remember(self, **changed: Any) -> None:
        known = {**self._known, "id": self._id, **changed}
        if known != self._known:
            self._known = known
            self._writer.write(lambda: self._outbox.set_meta(REMEMBERED, json.dumps(known)))

    # -- its birth ---------------------------------------------------------------------------------------

    def received(self, delivery: Delivery) -> None:
        """Take Home Assistant's birth message or last will."""
        if delivery.payload != b"online" or not (self._enabled or self._known.get("removed")):
            return
        log.info("Home Assistant has started: the device is announced again")
        self._born += 1
        self._after(random.uniform(*BIRTH_PAUSE), self._again)  # noqa: S311 no secret

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        """Call ``act`` after ``seconds``, unless another birth message comes before."""
        # Home Assistant may restart several times in a row; only the last birth counts.
        birth = self._born
        self._time.call_later(seconds, lambda: act() if birth == self._born else None)

    def _again(self) -> None:
        removed = self._known.get("removed")
        if removed:
            self._publish_device(discovery.recalled(self._device(self._id), self._topics, removed))
            self._after(REMOVAL_PAUSE, self._bury)
        else:
            self._announce_with_states()

    def _announce_with_states(self) -> None:
        self.announce()
        self._after(STATES_PAUSE, self._publisher.repeat)

    def _bury(self) -> None:
        """Remove the recalled components: after this Home Assistant has forgotten them."""
        if self._enabled:
            self._announce_with_states()
            self._remember(removed={})
        else:
            self._remember(topic=None, removed={}, old=[self._topic])
            self._publisher.clear_retained(self._topic, partial(self._gone, self._topic))
