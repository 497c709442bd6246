"""Paths: which transport reaches each destination now.

* Without an interface of ours, and with ``network.scope: "hologram"``, everything takes the machine's own
  network, which nobody knows to be down.
* Otherwise messages wait until the link is up; then they take the machine's network over it, or the modem's
  own sockets where the link is those.
* Texts over the air need the modem in a network, and no link.
"""

from collections.abc import Callable, Mapping

from bridge.core.exchange import Transport
from bridge.core.messages import MODEM_SMS, Channel, Endpoint
from bridge.flow.message.codecs import Codec
from bridge.flow.message.uplink import Path

_OF_THE_CLOUD = (Channel.CLOUD, Channel.SMS)


class NetworkPaths:
    """Knows the ways; the network's parts set it."""

    def __init__(
        self,
        codecs: Mapping[Channel, Codec],
        transports: Mapping[Channel, Transport],
        *,
        identified: Callable[[], bool],
    ) -> None:
        """``identified`` says whether we have credentials: those of the SIM come with the modem."""
        self._codecs = codecs
        self._transports = transports
        self._identified = identified
        self.link_up: Callable[[], bool] | None = None
        """Says whether the link that messages need stands; None: they need none of ours."""
        self.on_wanted: Callable[[], None] = lambda: None
        """Is called when a message waits for the link."""
        self.sockets: Callable[[Channel], Transport | None] | None = None
        """Returns the modem's own sockets for a channel while they are the link."""
        self.texts: Path | None = None
        """Sends texts over the air."""
        self.texts_ready: Callable[[], bool] = lambda: False

    def wanted(self) -> None:
        """Have an on-demand link dialled."""
        self.on_wanted()

    def ready(self, endpoint: Endpoint) -> bool:
        """Whether the way to ``endpoint`` is not known to be closed."""
        if endpoint == MODEM_SMS:
            return self.texts is not None and self.texts_ready()
        if endpoint.channel in _OF_THE_CLOUD and not self._identified():
            return False
        return self.link_up is None or self.link_up()

    def path(self, endpoint: Endpoint) -> Path:
        """Return who speaks to ``endpoint``, and over what."""
        if endpoint == MODEM_SMS:
            assert self.texts is not None  # `ready` said so
            return self.texts
        sockets = self.sockets(endpoint.channel) if self.sockets else None
        return Path(self._codecs[endpoint.channel], sockets or self._transports[endpoint.channel])
