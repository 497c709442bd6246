"""The link by PPP: pppd as a child of this process, which needs root.

One call at a time: pppd is started, its log lines are read, and the link is up once it has both addresses and
its routes. The link counts as lost with the first line that says so, seconds before pppd has cleaned up.
"""

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bridge.adapters.ppp.child import Child, end_process, left_over
from bridge.adapters.ppp.routes import Routes
from bridge.adapters.system.threads import in_thread
from bridge.adapters.usb.sysfs import held_by
from bridge.core.modem import Link
from bridge.errors import LinkError, NotCalled, PortHeld
from bridge.protocol.ppp.dial import (
    BOUND,
    DEFAULT_SCRIPT,
    DIAL_SCRIPTS,
    Dial,
    arguments,
    check,
    secret_options,
)
from bridge.protocol.ppp.pppd_log import Call, Event, Kind

log = logging.getLogger("pppd")

FOLDERS = (
    Path("/etc/hologram-bridge/ppp"),
    Path("/usr/share/hologram-bridge/ppp"),
    Path(__file__).parents[3] / "config" / "ppp",
)
"""Folders of the options and the chat scripts: the user's own, the installed ones, the source tree's."""

SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
"""Folders of the programs; sbin is not on every PATH."""

GRACE = 10.0
"""Seconds from SIGTERM to SIGKILL: pppd hangs the modem up and drops DTR for a second."""

LOCKED = 6
"""The exit status of a pppd whose port another program has locked [pppd(8), EXIT STATUS]."""

UNABLE = (2, 3, 4)
"""Exit statuses of a pppd that cannot work on this machine: a bad option, no root, a kernel without PPP."""

GONE = 5.0
"""Seconds that the kernel may need to remove the interface of a pppd that has ended."""


NET_ADMIN = 12
"""The capability to open /dev/ppp and to set up its interface [capabilities(7); linux/capability.h]."""


def may_use_net_admin(status: Path = Path("/proc/self/status")) -> bool:
    """Return whether this process has `NET_ADMIN`, which root in a container may lack [proc(5), CapEff]."""
    lines = status.read_text().splitlines()
    effective = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> NET_ADMIN & 1)


def file_of(name: str) -> Path:
    """Return the path of the file ``name`` of the ppp configuration."""
    return next((folder / name for folder in FOLDERS if (folder / name).exists()), FOLDERS[0] / name)


def chat_script(interface: str) -> Path:
    """Return the chat script of a ``network.interface``: its own if there is one, else its kind's."""
    own = file_of(f"chat-{interface}")
    return own if own.exists() else file_of(DIAL_SCRIPTS.get(interface, DEFAULT_SCRIPT))


class Pppd:
    """Owns the one pppd; lives in the event loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_down: Callable[[str], None],
        program: str | None = None,
        chat: str | None = None,
        options: Path | None = None,
        routes: Routes | None = None,
        grace: float = GRACE,
        sys: Path = Path("/sys"),
    ) -> None:
        """``on_down`` is called once for a link that ends by itself, with the reason.

        ``program``, ``chat`` and ``options`` replace
        pppd, chat and the file with pppd's options. ``grace`` is the seconds from SIGTERM to SIGKILL.
        """
        self._loop = loop
        self._on_down = on_down
        self._program = program or shutil.which("pppd", path=SYSTEM_PATH) or "pppd"
        self._chat = chat or shutil.which("chat", path=SYSTEM_PATH) or "chat"
        self._options = options or file_of("options")
        self._routes = routes or Routes(loop)
        self._grace = grace
        self._sys = sys
        self._lock = asyncio.Lock()
        self._child: Child | None = None
        self._call = Call()
        self._up: asyncio.Future[Link] | None = None
        self._link: Link | None = None
        self._ruled = False
        """Whether a rule of the link may be left."""

    @property
    def link(self) -> Link | None:
        """The link while it is up."""
        return self._link

    @staticmethod
    def available() -> str | None:
        """Return why pppd cannot work here, or None if it can."""
        if shutil.which("pppd", path=SYSTEM_PATH) is None:
            return "pppd is not installed: apt install ppp"
        if os.geteuid() != 0:
            return "pppd needs root; without it the bridge dials through hologram-ppp.service"
        if not may_use_net_admin():
            return "pppd needs the capability NET_ADMIN: give it to the container (--cap-add=NET_ADMIN)"
        if not Path("/dev/ppp").exists():
            return (
                "/dev/ppp is missing: this kernel has no PPP, or the container was not given the device "
                "(--device=/dev/ppp)"
            )
        return None

    async def connect(self, dial: Dial) -> Link:
        """Dial and return the link; if one is up, return that.

        Raises:
            LinkError: the link did not come up; the text says why. `NotCalled` if pppd cannot work here,
                `PortHeld` if another program has the port.

        """
        async with self._lock:
            if self._link:
                return self._link
            real = dial._replace(port=os.path.realpath(dial.port))
            if not Path(real.port).exists():
                raise LinkError(f"the port {dial.port} is not there; is the modem plugged in?")
            check(real)
            await self._end()
            await self._clear()
            await self._is_free(real.port)
            try:
                return await self._dial(real)
            except BaseException:
                # Shielded, because a caller that is cancelled twice must not leave a pppd behind.
                await asyncio.shield(self._loop.create_task(self._end()))
                raise

    async def disconnect(self) -> None:
        """End pppd; done when its interface is gone and the port is free. Does nothing if there is none."""
        self._link = None
        await self._end()

    # -- before the call ---------------------------------------------------------------------------------

    async def clear(self) -> None:
        """End the pppd of an earlier run; does nothing if there is none."""
        async with self._lock:
            if not self._link:
                await self._clear()
                await self._routes.drop_rule()

    async def _clear(self) -> None:
        """End a pppd of ours that outlived its parent process, and restore what it changed."""
        for pid, pidfd in await in_thread(self._loop, left_over):
            log.warning("ending a pppd that was left over (pid %d)", pid)
            try:
                await end_process(self._loop, pidfd, self._grace)
            finally:
                os.close(pidfd)
        self._routes.bring_back_dns()

    async def _is_free(self, port: str) -> None:
        """Raise `PortHeld` if another process has the port open or locked."""
        holder = await in_thread(self._loop, lambda: held_by(port))
        if holder:
            raise PortHeld(f"the port {port} is held by {holder}; one program at a time can use it")

    # -- the call ----------------------------------------------------------------------------------------

    async def _dial(self, dial: Dial) -> Link:
        call = self._call = Call()
        self._up = self._loop.create_future()
        child = self._child = self._start(dial, call)
        try:
            async with asyncio.timeout(dial.timeout):
                waiting: set[asyncio.Future[Any]] = {self._up, child.ended}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                self._check(child)
                link = self._up.result()
                link = await self._use(link, dial)
        except TimeoutError:
            raise LinkError(f"timeout: {self._call.stage()} after {dial.timeout:g} s") from None
        except LinkError:
            self._check(child)  # a link lost meanwhile gives the better reason
            raise
        self._check(child)
        self._link = link
        return link

    def _start(self, dial: Dial, call: Call) -> Child:
        secrets = secret_options(dial)
        try:
            return Child(
                self._loop,
                lambda path: [
                    self._program,
                    *arguments(
                        dial, chat=self._chat, options=str(self._options), owner=os.getpid(), secrets=path
                    ),
                ],
                secrets,
                partial(self._line, call),
                partial(self._ended, call),
            )
        except FileNotFoundError:
            raise NotCalled("pppd is not installed: apt install ppp") from None
        except OSError as exc:
            raise NotCalled(f"pppd cannot be started: {exc.strerror or exc}") from exc

    def _check(self, child: Child) -> None:
        """Raise `LinkError` if this call is over."""
        if child.ended.done():
            code = child.ended.result()
            held = code == LOCKED or self._call.held
            kind = PortHeld if held else NotCalled if code in UNABLE else LinkError
            raise kind(self._call.reason(code))
        if self._call.over:
            raise LinkError(self._call.reason(None))

    async def _use(self, link: Link, dial: Dial) -> Link:
        """Route traffic through ``link``; return it with its name servers if only bound sockets ask them."""
        self._ruled = dial.scope in BOUND
        await self._routes.add(dial.scope, link)
        if dial.scope == "system":
            await self._routes.use_dns(link.interface, self._call.dns)
        return link._replace(dns=self._call.dns) if dial.scope in BOUND else link

    # -- pppd's log lines --------------------------------------------------------------------------------

    def _line(self, call: Call, line: str) -> None:
        log.debug("%s", line)
        event = call.take(line)
        if event is None or call is not self._call:
            return
        link = call.link
        if link and self._up and not self._up.done():
            self._up.set_result(link)
        elif event.kind in (Kind.WHY, Kind.HELD, Kind.VAGUE):
            self._bad_news(event)

    def _bad_news(self, event: Event) -> None:
        log.info("pppd: %s", event.value)
        if self._link:
            self._lost(self._call.reason(None))

    def _ended(self, call: Call, code: int) -> None:
        log.debug("pppd ended with %d", code)
        self._routes.bring_back_dns()
        if self._link and call is self._call:
            self._lost(call.reason(code))

    def _lost(self, reason: str) -> None:
        self._link = None
        self._on_down(reason)

    # -- the end -----------------------------------------------------------------------------------------

    async def _end(self) -> None:
        child = self._child
        if child is None:
            return
        # A pppd that has announced its end is cleaning up: its scripts restore the name servers.
        await child.end(self._grace, self._grace / 2 if self._call.over else 0.0)
        interface = self._call.interface
        if interface:
            await self._gone(interface)
            self._routes.bring_back_dns()
        if self._ruled:
            await self._routes.drop_rule()
            self._ruled = False
        if self._child is child:  # two callers may wait for the same end
            self._child = None

    async def _gone(self, interface: str) -> None:
        """Wait until the kernel has removed ``interface``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GONE):
                while (self._sys / "class/net" / interface).exists():
                    await asyncio.sleep(0.05)
