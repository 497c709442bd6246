"""The link of the configuration, with the daemon's additions: SMS over the air, the status.

The imports depend on the link, to save the memory of a box without a modem.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from bridge.assemblies.message_flow import MessageFlow
from bridge.assemblies.no_link import NoLink
from bridge.daemon.configure import CALLED_WITH, called_with
from bridge.errors import LinkError
from bridge.flow.message.topics import Names
from bridge.flow.notices import Notices
from bridge.flow.sms.commands import Commands
from bridge.settings import Settings
from bridge.store.journal import Journal

if TYPE_CHECKING:
    import asyncio

    from bridge.assemblies.wifi_link import WifiLink
    from bridge.daemon.modem_link import ModemLink
    from bridge.flow.link.backup import OwnNetwork

log = logging.getLogger("network")


def make_link(
    settings: Callable[[], Settings],
    flow: MessageFlow,
    names: Names,
    notices: Notices,
    *,
    commands: Commands | None = None,
    own: "OwnNetwork | None" = None,
) -> "ModemLink | WifiLink | NoLink":
    """Return the link of ``network.interface``; ``settings`` returns the present configuration.

    ``commands`` takes those that come by SMS. ``own`` is the box's own network, where the link is only its
    backup.
    """
    network = settings().network
    if not network.interface:
        return NoLink()
    if network.interface != "wifi":
        from bridge.daemon.modem_link import ModemLink

        return ModemLink(settings, flow, names, notices, commands=commands, own=own)
    from bridge.assemblies.link import traffic_of
    from bridge.assemblies.wifi_link import WifiLink

    device = network.devices[0] if network.devices else None
    traffic = traffic_of(flow, takes_messages=network.takes_messages)
    return WifiLink(
        device,
        traffic,
        flow.journal.time,
        notices,
        autoconnect=network.autoconnect,
        poll=network.poll,
    )


async def clear_left_link(loop: "asyncio.AbstractEventLoop", settings: Settings, journal: Journal) -> None:
    """Hang up the link of an earlier run, where no modem is managed any more."""
    if called_with(settings) is not None or journal.outbox.meta(CALLED_WITH) is None:
        return
    from bridge.adapters.ppp.dialler import ppp

    try:
        await ppp(loop).clear()
    except LinkError as exc:
        log.warning("%s", exc)
    else:
        journal.writer.write(partial(journal.outbox.set_meta, CALLED_WITH, None))
