"""The names of the topics below the prefix."""


class Names:
    """Full topic names for one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.data_filters = (f"{prefix}/out/#", f"{prefix}/send", f"{prefix}/sms/#")
        """What carries messages to send. While the disk is full these wait."""
        self.control_filters = (f"{prefix}/network/set", f"{prefix}/queue/set")
        """What must work even then: a session of its own, since a stalled one stalls all its topics."""
        self.result = f"{prefix}/result"
        self.event = f"{prefix}/event"
        self.state = f"{prefix}/bridge/state"
        self.info = f"{prefix}/bridge/info"
        self.health = f"{prefix}/bridge/health"
        self.network = f"{prefix}/network/status"
        self.inbound = f"{prefix}/in"
        self.inbound_sms = f"{prefix}/in/sms"
        self.last_sms = f"{prefix}/in/sms/last"

    def below(self, topic: str) -> str:
        """Return ``topic`` without the prefix.

        What the broker has kept for us from before a change of `mqtt.prefix` comes back with a slash before
        it, under which there is no command.
        """
        ours = topic.startswith(self.prefix + "/")
        return topic[len(self.prefix) + 1 :] if ours else f"/{topic}"
