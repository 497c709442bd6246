"""The restart of the whole box, by a unit of systemd's that the bridge may start.

``hologram-restart-box.service`` runs ``hologram-bridge may-restart-box``, which refuses while apt or dpkg is
at work. systemd restarts the box when that ends well [systemd.unit(5), SuccessAction].
"""

import asyncio

from bridge.adapters.system import units

UNIT = "hologram-restart-box.service"

TIMEOUT = 45.0
"""Seconds for the unit's program to finish, which has 30 itself."""


def available() -> str | None:
    """Return why the box cannot be restarted from here, or None if it can."""
    return units.available(UNIT)


async def restart_box(
    loop: asyncio.AbstractEventLoop, *, program: str = "systemctl", timeout: float = TIMEOUT
) -> None:
    """Have the box restarted, which begins at once.

    Raises:
        OperationError: it is not restarted; the text says why.

    """
    await units.start(loop, UNIT, program=program, timeout=timeout)
