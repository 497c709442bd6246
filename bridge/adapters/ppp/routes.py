"""The link's routes and name servers. All of it needs root.

Nothing here replaces a route; ours are appended. For ``system`` two halves of the address space are routed
through the link. They are narrower than any default route, so they win without changing it, and as routes of
the interface they vanish with it, however it ends. The former routes work again at once, even if pppd was
killed. A default route with a high metric is added for programs that look for one.

For ``bridge`` and ``backup`` no route of the machine changes but those to Hologram's networks. Sockets that
are bound to the interface find it without a route; but their answers would be dropped where ``rp_filter`` is
on, because the way back to the sender is another interface's [linux, ip-sysctl: rp_filter]. So a rule sends
what comes from the link's own address, and with it that check, to a table whose default route is the link.
The table empties with the interface. The rule stays when pppd or the unit is killed, and is removed by the
unit's ExecStopPost, and before the next call.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import subprocess
from pathlib import Path

from bridge.adapters.system.threads import in_thread
from bridge.core.modem import Link
from bridge.errors import LinkError
from bridge.protocol.ppp.dial import BOUND, Scope

log = logging.getLogger("pppd")

HOLOGRAM = ("10.176.0.0/16", "10.254.0.0/16")
"""The private networks of Hologram's tunnels [hologram-python 0.10]."""

HALVES = ("0.0.0.0/1", "128.0.0.0/1")
"""Two networks that together cover every address."""

METRIC = 10
"""Metric of our narrow routes: behind a route to the same network that was made without a metric."""

LAST_METRIC = 700
"""Metric of the default route: NetworkManager's for PPP, behind Ethernet's and Wi-Fi's."""

TABLE = 10176
"""Number of the routing table of the link, and priority of the rule for it: before the main table's 32766."""

TIMEOUT = 10.0
"""Seconds that `ip` or `resolvectl` may take."""


def commands(scope: Scope, link: Link) -> str:
    """Return the input of `ip -batch` [ip(8)]: one command a line."""
    interface = link.interface
    networks = HOLOGRAM + (HALVES if scope == "system" else ())
    lines = [f"route append {network} dev {interface} metric {METRIC}\n" for network in networks]
    if scope == "system":
        lines.append(f"route append default dev {interface} metric {LAST_METRIC}\n")
    if scope in BOUND:
        lines.append(f"rule flush table {TABLE}\n")  # one that a killed call left
        lines.append(f"route replace default dev {interface} table {TABLE}\n")
        lines.append(f"rule add from {link.local_ip} table {TABLE} priority {TABLE}\n")
    return "".join(lines)


class Routes:
    """Routes traffic through the link; ``ip`` and ``resolvectl`` are programs."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        ip: str = "ip",
        resolvectl: str = "resolvectl",
        root: Path = Path("/"),
    ) -> None:
        self._loop = loop
        self._ip = ip
        self._resolvectl = resolvectl
        self._root = root

    async def add(self, scope: Scope, link: Link) -> None:
        """Route the traffic of ``scope`` through ``link``; raises `LinkError` if that fails."""
        problem = await self._run([self._ip, "-4", "-batch", "-"], commands(scope, link))
        if problem:
            raise LinkError(f"the routes could not be set: {problem}")

    async def drop_rule(self) -> None:
        """Remove the rule of a link that has ended; does nothing if there is none.

        A kernel without policy routing has none either.
        """
        problem = await self._run([self._ip, "-4", "rule", "flush", "table", str(TABLE)], "")
        if problem:
            log.info("the rule of the link could not be removed: %s", problem)

    async def use_dns(self, interface: str, servers: tuple[str, ...]) -> None:
        """Have systemd-resolved, if it runs, query the network's ``servers``.

        It drops them with the interface. Without it, Debian's own script behind pppd's usepeerdns writes
        ``/etc/resolv.conf`` and restores the former one.
        """
        resolved = self._root / "run/systemd/resolve/io.systemd.Resolve"
        if not servers or not resolved.exists() or shutil.which(self._resolvectl) is None:
            return
        for words in (["dns", interface, *servers], ["domain", interface, "~."]):
            problem = await self._run([self._resolvectl, *words], "")
            if problem:
                log.warning("the network's name servers are not used: %s", problem)

    def bring_back_dns(self) -> None:
        """Restore the former ``resolv.conf`` if a pppd whose link is gone has left it changed.

        Debian's ip-down script does so if it runs and survives, which it does not after a SIGKILL of pppd.
        The file is restored only while it holds that link's servers, because a newer one is somebody else's.
        """
        real = Path(os.path.realpath(self._root / "etc/resolv.conf"))
        for backup in real.parent.glob(f"{real.name}.pppd-backup.*"):
            if (self._root / "sys/class/net" / backup.name.rpartition(".")[2]).exists():
                continue
            with contextlib.suppress(OSError):
                peers = (self._root / "etc/ppp/resolv.conf").read_text().split("\n")
                if {line for line in peers if line} <= set(real.read_text().split("\n")):
                    backup.replace(real)
                    log.warning("restored the resolv.conf of before the link")

    async def _run(self, command: list[str], script: str) -> str | None:
        """Run a program; return what went wrong, or None."""

        def run() -> "subprocess.CompletedProcess[str]":
            return subprocess.run(  # noqa: S603  programs and values of ours
                command, input=script, capture_output=True, text=True, timeout=TIMEOUT, check=False
            )

        name = Path(command[0]).name
        try:
            done = await in_thread(self._loop, run)
        except (OSError, subprocess.SubprocessError) as exc:
            return f"{name} could not be run: {exc}"
        if done.returncode == 0:
            return None
        return f"{name} says: {' '.join(done.stderr.split()) or f'exit code {done.returncode}'}"
