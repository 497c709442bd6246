"""Paths: the transport that reaches each destination now.

* Without a managed interface, and with ``network.scope: "hologram"``, messages take the machine's own
  network. The bridge does not know when that is down.
* Otherwise messages wait until the link is up. Then they take the machine's network over it, or the modem's
  own sockets while these are the link.
* SMS over the air need a modem that is registered, and no link.
"""

from collections.abc import Callable, Mapping

from bridge.core.exchange import Transport
from bridge.core.messages import MODEM_SMS, Channel, Endpoint
from bridge.flow.message.codecs import Codec
from bridge.flow.message.uplink import Path

_OF_THE_CLOUD = (Channel.CLOUD, Channel.SMS)


class NetworkPaths:
    """Maps endpoints to paths; the parts of the link set its attributes."""

    def __init__(
        self,
        codecs: Mapping[Channel, Codec],
        transports: Mapping[Channel, Transport],
        *,
        identified: Callable[[], bool],
    ) -> None:
        """``identified`` returns whether there are credentials; those of the SIM come with the modem."""
        self._codecs = codecs
        self._transports = transports
        self._identified = identified
        self.link_up: Callable[[], bool] | None = None
        """Returns whether the link is up; None: no link is managed, or messages do not need it."""
        self.on_wanted: Callable[[], None] = lambda: None
        """Is called when a message waits for the link."""
        self.sockets: Callable[[Channel], Transport | None] | None = None
        """Returns the transport over the modem's own sockets for a channel, None while they are not the
        link."""
        self.texts: Path | None = None
        """Codec and transport of SMS over the air."""
        self.texts_ready: Callable[[], bool] = lambda: False

    def wanted(self) -> None:
        """Have an on-demand link dialled."""
        self.on_wanted()

    def ready(self, endpoint: Endpoint) -> bool:
        """Whether ``endpoint`` may be reachable: False only while its path is known to be closed."""
        if endpoint == MODEM_SMS:
            return self.texts is not None and self.texts_ready()
        if endpoint.channel in _OF_THE_CLOUD and not self._identified():
            return False
        return self.link_up is None or self.link_up()

    def path(self, endpoint: Endpoint) -> Path:
        """Return the codec and the transport for ``endpoint``."""
        if endpoint == MODEM_SMS:
            assert self.texts is not None  # `ready` is False without it
            return self.texts
        sockets = self.sockets(endpoint.channel) if self.sockets else None
        return Path(self._codecs[endpoint.channel], sockets or self._transports[endpoint.channel])
