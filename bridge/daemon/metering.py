"""Where the budget's figures come from: the link's interface, or the bridge alone."""

from typing import TYPE_CHECKING

from bridge.adapters.system.interface import counters
from bridge.assemblies.no_link import NoLink
from bridge.core.budget import Reading, Way
from bridge.flow.message.budget import Source
from bridge.store.database import boot_id

if TYPE_CHECKING:
    from bridge.assemblies.wifi_link import WifiLink
    from bridge.daemon.modem_link import ModemLink


def source_of(link: "ModemLink | WifiLink | NoLink", scope: str) -> Source:
    """Return the source of ``link``; without a modem the bridge alone counts.

    ``scope`` is ``network.scope``.
    """
    if isinstance(link, NoLink) or not hasattr(link, "cellular"):
        return Source()
    boot, cellular, network = boot_id(), link.cellular, link.network

    def way() -> Way:
        if scope == "hologram":  # messages take the machine's own network
            return Way.OFF
        return Way.APART if cellular.over_sockets else Way.LINK

    def reading() -> Reading | None:
        if network.link is None or cellular.over_sockets:
            return None
        return counters(network.link.interface, boot)

    backup = link.backup
    return Source(way, reading, spared=lambda: backup is not None and not backup.over_modem)
