"""Wi-Fi: the connection that the system has saved for an interface, brought up, taken down and watched.

The interface's connection manager (`bridge.adapters.wifi.managers`) connects it. ``iw event`` reports within
moments that the connection was lost or roamed; ``iw dev NAME link`` gives its access point and signal.
"""

import asyncio
import contextlib
import fcntl
import logging
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from bridge.adapters.wifi.managers import ASKING, POLL, SYSTEM_PATH, ConnectionManager, Programs, manager
from bridge.core import modem
from bridge.core.link import Code, Fault
from bridge.core.modem import Link
from bridge.errors import LinkError
from bridge.protocol.wifi import Samples, Station, WifiState, heard, station

log = logging.getLogger("wifi")

_SIOCGIFADDR = 0x8915
"""The request for an interface's IPv4 address [netdevice(7)]."""

AGAIN = 5.0
"""Seconds until an ``iw event`` that ended is restarted."""


def wireless(sys: Path = Path("/sys")) -> list[str]:
    """Return the names of this system's Wi-Fi interfaces, in the order of their creation."""
    found = [each.parent for each in (sys / "class/net").glob("*/phy80211")]
    return [each.name for each in sorted(found, key=_index)]


class Wifi:
    """Owns the Wi-Fi connection; lives in the event loop's thread."""

    kind = "wifi"

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        device: str | None = None,
        on_down: Callable[[str], None],
        on_change: Callable[[], None] | None = None,
        path: str = SYSTEM_PATH,
        sys: Path = Path("/sys"),
        again: float = AGAIN,
    ) -> None:
        """``device`` is the interface; None is the first one there.

        ``on_down`` is called once for a connection that ends by itself, with the reason. ``on_change`` is
        called when `wifi` changed without a call of ours. ``path`` has the programs. ``again`` is the seconds
        until an event listener that ended is restarted.
        """
        self.radio = True
        """Whether the radio is on, as far as it was commanded."""
        self._loop = loop
        self._device = device
        self._on_down = on_down
        self._on_change = on_change
        self._programs = Programs(path)
        self._sys = sys
        self._again = again
        self._lock = asyncio.Lock()
        self._link: Link | None = None
        self._wifi = modem.Wifi()
        self._samples = Samples()
        self._watcher: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()

    @property
    def link(self) -> Link | None:
        """The link while it is up."""
        return self._link

    @property
    def wifi(self) -> modem.Wifi:
        """The facts of the connection at the last look; empty while there is none."""
        return self._wifi

    # --- commands

    async def connect(self, timeout: float = 60.0) -> Link:
        """Connect to a network that the system knows; if a link is up, return that.

        Raises:
            LinkError: no connection within ``timeout`` seconds, or none possible; the text says why.

        """
        async with self._lock:
            if self._link:
                return self._link
            interface = self._interface()
            await self._watch()
            self._link, seen = await self._connected(interface, timeout)
            self._samples = Samples()
            self._add(seen)
            return self._link

    async def disconnect(self) -> None:
        """Disconnect, and stay so until `connect`; does nothing without a connection or an interface.

        A refusal is a warning in the log, because the link is down for the bridge in any case.
        """
        async with self._lock:
            self._forget()
            try:
                await (await self._manager(self._interface())).disconnect()
            except LinkError as error:
                log.warning("Wi-Fi is not disconnected: %s", error)

    async def reconnect(self, timeout: float = 60.0) -> Link:
        """Disconnect and connect; raises `LinkError` as `connect` does."""
        await self.disconnect()
        return await self.connect(timeout)

    async def order(self, command: str) -> str:
        """Carry out ``reset`` (the radio off and on), ``radio_on`` or ``radio_off``; return what was done.

        Raises:
            LinkError: the command failed.

        """
        async with self._lock:
            manager = await self._manager(self._interface())
            if command != "radio_on":
                self._forget()
                await manager.radio(on=False)
            if command != "radio_off":
                await manager.radio(on=True)
            self.radio = command != "radio_off"
        return {"reset": "the radio was switched off and on"}.get(command, command.replace("_", " is "))

    def may_be_better(self, quiet: bool) -> bool:  # noqa: ARG002  a modem would look at it
        """There is one way only."""
        return False

    async def sample(self) -> modem.Wifi:
        """Look at the connection again and return its facts.

        Raises:
            LinkError: the connection cannot be looked at.

        """
        if self._link:
            await self._look(self._link)
        return self._wifi

    async def look(self) -> modem.Wifi:
        """Return the interface's present connection, whoever made it; changes nothing.

        Raises:
            LinkError: there is no interface, or it cannot be looked at.

        """
        if self._link:
            return await self.sample()
        seen = await self._station(self._interface())
        if seen is None:
            return modem.Wifi()
        samples = Samples() if seen.signal is None else Samples().add(seen.signal)
        return samples.of(seen)

    async def close(self) -> None:
        """Stop watching. The connection is the system's and stays."""
        watcher, self._watcher = self._watcher, None
        self._listening.clear()
        if watcher:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher

    def fault(self) -> Fault | None:
        """Return the fault that rules a connection out for now."""
        try:
            self._interface()
        except LinkError as error:
            return Fault(Code.CLOUD_ERR_CONNECT, str(error))
        return None

    def failed(self, failures: int) -> None:
        """Do nothing: the interface's connection manager retries by itself."""

    # --- inside

    def _interface(self) -> str:
        there = wireless(self._sys)
        if self._device is None:
            if not there:
                raise LinkError("there is no Wi-Fi interface")
            return there[0]
        if self._device not in there:
            others = f"there are: {', '.join(there)}" if there else "there is none at all"
            raise LinkError(f"there is no Wi-Fi interface {self._device}; {others}")
        return self._device

    async def _manager(self, interface: str) -> ConnectionManager:
        return await manager(self._loop, self._programs, interface, self._sys)

    async def _connected(self, interface: str, timeout: float) -> tuple[Link, Station]:
        """Connect, and wait until the interface carries IP.

        An address is no proof, because NetworkManager keeps it for seconds after the access point is gone.
        """
        deadline = self._loop.time() + timeout
        manager = await self._manager(interface)
        ordered = False
        while True:
            device = await manager.device()
            says = device.says
            if device.standing is WifiState.UP:
                seen, address = await self._station(interface), _address(interface)
                if seen and address:
                    return Link(interface, address), seen
                says = "it is connected, but got no address" if seen else "the access point is gone"
            elif device.standing is WifiState.UNAVAILABLE:
                raise LinkError(f"{interface} is {says}; is its radio off?")
            elif device.standing is WifiState.DOWN and not ordered:
                await manager.connect(max(1.0, deadline - self._loop.time()))
                ordered = True
                continue
            if self._loop.time() >= deadline:
                raise LinkError(f"{interface} did not connect within {timeout:g} s: {says}")
            await asyncio.sleep(POLL)

    async def _station(self, interface: str) -> Station | None:
        """Query iw for the interface's access point; raises `LinkError` if that fails."""
        said = await self._programs.run("iw", "dev", interface, "link")
        if said.code == 127:
            raise LinkError(f"{said.error}: apt install iw")
        return station(said.out) if said.code == 0 else None

    async def _look(self, link: Link, reason: str = "the access point is gone") -> None:
        """Look at the connection; a lost one is reported with its ``reason``, if known."""
        seen = await self._station(link.interface)
        if self._link is not link:
            return  # the connection was taken down meanwhile
        if seen is None:
            self._lost(reason)
            return
        if seen.ap != self._wifi.ap:
            self._samples = Samples()
        self._add(seen)

    def _add(self, seen: Station) -> None:
        if seen.signal is not None:
            self._samples = self._samples.add(seen.signal)
        self._wifi = self._samples.of(seen)

    def _lost(self, reason: str) -> None:
        if self._link is None:
            return
        self._forget()
        self._on_down(reason)

    def _forget(self) -> None:
        self._link = None
        self._wifi = modem.Wifi()
        self._samples = Samples()

    # --- the watcher

    async def _watch(self) -> None:
        """Start listening to events; an earlier loss shows at the next look at the connection."""
        if self._watcher is None:
            self._watcher = self._loop.create_task(self._listen_on())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ASKING):
                await self._listening.wait()

    async def _listen_on(self) -> None:
        """Listen to events until cancelled; a listener that ends is restarted."""
        while True:
            try:
                await self._listen()
            except (OSError, LinkError) as error:
                log.warning("Wi-Fi events: %s", error)
            self._listening.set()  # otherwise `connect` would wait for ever
            await asyncio.sleep(self._again)

    async def _listen(self) -> None:
        program = self._programs.find("iw")
        if program is None:
            raise LinkError("iw is not installed: apt install iw")
        child = await asyncio.create_subprocess_exec(
            *(program, "event"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=self._programs.env,
        )
        assert child.stdout
        self._listening.set()
        try:
            if self._link:
                await self._look(self._link)  # events between two listeners were missed
            async for line in child.stdout:
                await self._hear(line.decode(errors="replace"))
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await asyncio.shield(child.wait())

    async def _hear(self, line: str) -> None:
        log.debug("iw: %s", line.strip())
        link = self._link
        if link is None:
            return
        if not (self._sys / "class/net" / link.interface).exists():
            self._lost(f"{link.interface} is gone")
            return
        event = heard(line, link.interface)
        if event is None:
            return
        # An event may belong to an earlier connection, or be outdated: only the present state counts.
        try:
            await self._look(link, event.reason or "the access point is gone")
        except LinkError as error:
            log.warning("Wi-Fi: %s", error)
        if self._link and self._on_change:
            self._on_change()


def _index(interface: Path) -> int:
    try:
        return int((interface / "ifindex").read_text())
    except (OSError, ValueError):
        return 1 << 31  # it went away meanwhile


def _address(interface: str) -> str | None:
    """Return the interface's IPv4 address, if it has one."""
    request = struct.pack("16s16x", interface.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            return socket.inet_ntoa(fcntl.ioctl(any_socket, _SIOCGIFADDR, request)[20:24])
        except OSError:
            return None
