"""The own network of a box whose modem is only its backup."""

import asyncio
from collections.abc import Callable

from bridge.adapters.ip.resolver import Resolver, has_route
from bridge.adapters.ip.tcp import TcpTransport
from bridge.core.exchange import sized_job
from bridge.flow.link.backup import OwnNetwork
from bridge.flow.message.codecs import CloudAccess

SOMEWHERE = "192.0.2.1"
"""An address that nobody has, and that needs a default route [RFC 5737]."""


def own_network(
    loop: asyncio.AbstractEventLoop, resolver: Resolver, access: Callable[[], CloudAccess]
) -> OwnNetwork:
    """Return the machine's network, with the ``resolver`` that messages over it use.

    ``access`` returns the cloud's present address.
    """
    transport = TcpTransport(loop, resolver)

    def look(done: Callable[[bool], None]) -> None:
        cloud = access()
        job = sized_job(cloud.host, cloud.port, b"", lambda _: True, cloud.timeout)
        transport.start(job, lambda outcome: done(outcome.connected))

    return OwnNetwork(look, lambda: has_route(SOMEWHERE))
