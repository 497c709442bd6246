"""The connection managers of Wi-Fi interfaces: NetworkManager, else wpa_supplicant.

The networks and their passwords are theirs; the bridge only decides when to connect.
"""

import asyncio
import contextlib
import os
import shutil
from pathlib import Path
from typing import NamedTuple, Protocol

from bridge.adapters.system.threads import in_thread
from bridge.errors import LinkError
from bridge.protocol.wifi import Device, WifiState, nm_device, nm_error, wpa_device, wpa_networks

SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
"""Folders of the programs; sbin is not on every PATH."""

ASKING = 10.0
"""Seconds that a query may take."""

POLL = 0.5
"""Seconds between queries during an operation, because each starts a program."""


class Said(NamedTuple):
    """The outcome of a program."""

    code: int
    out: str
    error: str


class Programs:
    """Runs the programs; ``path`` has their folders."""

    def __init__(self, path: str = SYSTEM_PATH) -> None:
        self._path = path
        self.env = {**os.environ, "LC_ALL": "C", "PATH": path}

    def find(self, program: str) -> str | None:
        """Return the path of ``program``, or None."""
        return shutil.which(program, path=self._path)

    async def run(self, program: str, *arguments: str, timeout: float = ASKING) -> Said:
        """Run a program to its end; a missing program ends with 127.

        Raises:
            LinkError: it took too long; it has been ended.

        """
        found = self.find(program)
        if found is None:
            return Said(127, "", f"{program} is not installed")
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            found, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=self.env
        )
        try:
            async with asyncio.timeout(timeout):
                out, error = await child.communicate()
        except TimeoutError:
            raise LinkError(f"{program} took longer than {timeout:g} s") from None
        finally:
            if child.returncode is None:
                await asyncio.shield(_end(child))
        return Said(child.returncode or 0, out.decode(errors="replace"), error.decode(errors="replace"))


class ConnectionManager(Protocol):
    """Manages an interface."""

    name: str

    async def device(self) -> Device:
        """Return the interface's connection state."""

    async def connect(self, timeout: float) -> None:
        """Connect to a known network; returns when the connection is made or in flight.

        Raises:
            LinkError: the request was refused; the text says why.

        """

    async def disconnect(self) -> None:
        """Disconnect and stay so; does nothing if there is no connection."""

    async def radio(self, on: bool) -> None:
        """Switch the radio; raises `LinkError` if that is not allowed."""


class NetworkManager:
    """NetworkManager by ``nmcli`` [nmcli(1), NetworkManager 1.42]."""

    name = "NetworkManager"

    def __init__(self, loop: asyncio.AbstractEventLoop, programs: Programs, interface: str) -> None:
        self._loop = loop
        self._programs = programs
        self._interface = interface

    async def keeps(self) -> bool:
        """Return whether NetworkManager runs and manages the interface."""
        said = await self._programs.run("nmcli", "-t", "-f", "RUNNING", "general")
        if said.code or said.out.strip() != "running":
            return False
        return (await self.device()).standing is not WifiState.UNMANAGED

    async def device(self) -> Device:
        """Return the interface's connection state."""
        fields = "GENERAL.STATE,GENERAL.REASON"
        return nm_device((await self._ask("-t", "-f", fields, "device", "show", self._interface)).out)

    async def connect(self, timeout: float) -> None:
        """Activate the best saved connection in reach; returns when NetworkManager has decided.

        NetworkManager knows the networks in reach from its last scan. If that has no saved one, nmcli tries
        to create a new connection, for which it lacks the password; so this scans, and tries again.
        """
        if "802-11-wireless" not in (await self._ask("-t", "-f", "TYPE", "connection", "show")).out:
            raise LinkError("NetworkManager has no Wi-Fi saved: nmcli --ask device wifi connect NAME")
        deadline = self._loop.time() + timeout
        while True:
            left = max(1.0, deadline - self._loop.time())
            order = ("--wait", str(int(left)), "device", "connect", self._interface)
            said = await self._programs.run("nmcli", *order, timeout=left + ASKING)
            if said.code == 0:
                return
            why = nm_error(said.error or said.out)
            if "new connection" not in why:
                raise LinkError(f"NetworkManager: {why}")
            if self._loop.time() + POLL >= deadline:
                raise LinkError("NetworkManager: none of the networks that it has saved is in reach")
            await asyncio.sleep(POLL)
            await self._scan(max(1.0, deadline - self._loop.time()))

    async def _scan(self, timeout: float) -> None:
        with contextlib.suppress(LinkError):
            scan = ("device", "wifi", "list", "ifname", self._interface, "--rescan", "yes")
            await self._programs.run("nmcli", "-t", "-f", "BSSID", *scan, timeout=timeout)

    async def disconnect(self) -> None:
        """Disconnect; NetworkManager does not connect by itself again until it is asked to."""
        if (await self.device()).standing not in (WifiState.COMING, WifiState.UP):
            return
        said = await self._ask("device", "disconnect", self._interface)
        if said.code and (await self.device()).standing in (WifiState.COMING, WifiState.UP):
            raise LinkError(f"NetworkManager: {nm_error(said.error or said.out)}")

    async def radio(self, on: bool) -> None:
        """Switch all Wi-Fi radios, as NetworkManager does."""
        said = await self._ask("radio", "wifi", "on" if on else "off")
        if said.code:
            raise LinkError(f"NetworkManager: {nm_error(said.error or said.out)}")

    async def _ask(self, *arguments: str) -> Said:
        return await self._programs.run("nmcli", *arguments)


class WpaSupplicant:
    """wpa_supplicant by ``wpa_cli`` [wpa_cli(8), wpa_supplicant 2.10]; a DHCP client gives the address."""

    name = "wpa_supplicant"

    def __init__(
        self, loop: asyncio.AbstractEventLoop, programs: Programs, interface: str, sys: Path = Path("/sys")
    ) -> None:
        self._loop = loop
        self._programs = programs
        self._interface = interface
        self._sys = sys

    async def refusal(self) -> str | None:
        """Return why wpa_supplicant cannot be queried, or None if it runs for the interface."""
        said = await self._ask("ping")
        if said.code == 0 and "PONG" in said.out:
            return None
        return (said.error or said.out).strip().splitlines()[-1] if said.error or said.out else "no answer"

    async def device(self) -> Device:
        """Return the interface's connection state."""
        return wpa_device((await self._ask("status")).out)

    async def connect(self, timeout: float) -> None:  # noqa: ARG002  # what it does is in flight at once
        """Connect to one of the networks of its configuration."""
        if not wpa_networks((await self._ask("list_networks")).out):
            raise LinkError("wpa_supplicant knows no network: add one to its configuration")
        await self._order("reconnect")

    async def disconnect(self) -> None:
        """Disconnect until `connect`."""
        await self._order("disconnect")

    async def radio(self, on: bool) -> None:
        """Block or unblock the radio [Linux, Documentation/ABI/stable/sysfs-class-rfkill]."""
        switches = list((self._sys / "class/net" / self._interface / "phy80211").glob("rfkill*/soft"))
        if not switches:
            raise LinkError(f"{self._interface} has no radio switch")
        try:
            for paths in switches:
                await in_thread(self._loop, lambda at=paths: at.write_text("0" if on else "1"))  # type: ignore[misc]  # a default is how a lambda keeps a loop's value
        except OSError as error:
            raise LinkError(
                f"the radio cannot be switched: {error.strerror}; NetworkManager could"
            ) from error

    async def _order(self, command: str) -> None:
        said = await self._ask(command)
        if said.code or "OK" not in said.out:
            raise LinkError(f"wpa_supplicant refused {command}: {(said.out or said.error).strip()}")

    async def _ask(self, *arguments: str) -> Said:
        # wpa_cli receives its answers on a socket of its own, by default in /tmp, which a service has for
        # itself.
        runtime = os.environ.get("RUNTIME_DIRECTORY")
        own = ("-s", runtime.split(":")[0]) if runtime else ()
        return await self._programs.run("wpa_cli", *own, "-i", self._interface, *arguments)


async def manager(
    loop: asyncio.AbstractEventLoop, programs: Programs, interface: str, sys: Path = Path("/sys")
) -> ConnectionManager:
    """Return the manager of ``interface``.

    Raises:
        LinkError: the interface has none.

    """
    manager = NetworkManager(loop, programs, interface)
    if await manager.keeps():
        return manager
    supplicant = WpaSupplicant(loop, programs, interface, sys)
    if (why := await supplicant.refusal()) is None:
        return supplicant
    raise LinkError(
        f"nobody looks after {interface}: NetworkManager does not manage it, and wpa_supplicant said: {why}"
    )


async def _end(child: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.kill()
    await child.wait()
