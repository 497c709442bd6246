"""The full names of the bridge's topics."""


class Names:
    """The topic names and subscription filters under one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._start = f"{prefix}/"
        self.data_filters = (f"{prefix}/out/#", f"{prefix}/send", f"{prefix}/sms/#")
        """Filters of the session for messages. On a full disk these deliveries wait unacknowledged."""
        self.control_filters = tuple(
            f"{prefix}/{topic}" for topic in ("network/set", "queue/set", "budget/set", "quote")
        )
        """Filters of the session for commands about the bridge. It is a session of its own, because a broker
        that waits for acknowledgements stalls every topic of a session."""
        self.result = f"{prefix}/result"
        self.event = f"{prefix}/event"
        self.state = f"{prefix}/bridge/state"
        self.info = f"{prefix}/bridge/info"
        self.health = f"{prefix}/bridge/health"
        self.usage = f"{prefix}/bridge/usage"
        self.network = f"{prefix}/network/status"
        self.inbound = f"{prefix}/in"
        self.inbound_sms = f"{prefix}/in/sms"
        self.last_sms = f"{prefix}/in/sms/last"

    def below(self, topic: str) -> str:
        """Return ``topic`` without the prefix.

        After a change of `mqtt.prefix` the broker may still deliver messages under the old one. These get a
        leading slash, which no command has.
        """
        return topic[len(self._start) :] if topic.startswith(self._start) else f"/{topic}"
