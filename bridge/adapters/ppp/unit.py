"""The link by PPP through systemd, for a bridge that is not root: a unit of its own dials.

``hologram-ppp.service`` runs ``hologram-bridge dial``, which reads the configuration itself. No parameter of
the call is passed on: this process can start and stop the unit and nothing else. The unit's status line and
error number give the outcome [sd_notify(3), STATUS and ERRNO]; the end of its interface shows its end.
"""

import asyncio
import contextlib
import errno
import logging
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from bridge.adapters.ppp.pppd import SYSTEM_PATH
from bridge.adapters.system.threads import in_thread
from bridge.core.modem import Link
from bridge.errors import LinkError, NotCalled, PortHeld
from bridge.protocol.ppp.dial import Dial
from bridge.protocol.ppp.pppd_log import read_status

log = logging.getLogger("pppd")

UNIT = "hologram-ppp.service"

UNIT_FOLDERS = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"), Path("/lib/systemd/system"))

BOOTED = Path("/run/systemd/system")
"""Exists if systemd runs [sd_booted(3)]."""

EVERY = 0.5
"""Seconds between checks of the interface, each one `stat`."""

KINDS = {str(errno.EBUSY): PortHeld, str(errno.EINVAL): NotCalled}
"""Exceptions by the unit's error number, of a call that was not made [systemctl(1), show, StatusErrno]."""

MARGIN = 30.0
"""Seconds that the unit may take beyond the call itself, to end a pppd before and after the call."""


def is_there(program: str, path: str = SYSTEM_PATH) -> bool:
    """Return whether ``program`` is in a folder of ``path``, for root to run.

    `shutil.which` would check our own permission, but Debian's pppd is for root and the group dip.
    """
    return any((Path(folder) / program).exists() for folder in path.split(":"))


class PppdUnit:
    """Starts and stops the unit; lives in the event loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_down: Callable[[str], None],
        program: str = "systemctl",
        unit: str = UNIT,
        sys: Path = Path("/sys"),
        booted: Path = BOOTED,
    ) -> None:
        """``on_down`` is called once for a link that ends by itself, with the reason."""
        self._loop = loop
        self._on_down = on_down
        self._program = program
        self._unit = unit
        self._sys = sys
        self._booted = booted
        self._lock = asyncio.Lock()
        self._link: Link | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def link(self) -> Link | None:
        """The link while it is up."""
        return self._link

    @staticmethod
    def available() -> str | None:
        """Return why the unit cannot be used here, or None if it can."""
        if shutil.which("systemctl") is None or not Path("/run/systemd/system").exists():
            return "PPP needs root here, because there is no systemd whose hologram-ppp.service dials"
        if not any((folder / UNIT).exists() for folder in UNIT_FOLDERS):
            return f"{UNIT} is not installed: sudo make install"
        if not is_there("pppd"):
            return "pppd is not installed: apt install ppp"
        return None

    async def connect(self, dial: Dial) -> Link:
        """Start the unit and return its link; if one is up, return that.

        Only the timeout of ``dial`` is used.

        Raises:
            LinkError: the link did not come up; the text says why. `NotCalled` if no call was made: because
          of a setting or a missing part here, or as `PortHeld` because another program has the port.

        """
        async with self._lock:
            if self._link:
                return self._link
            link = await self._standing()
            if link is None:
                await self._start(dial.timeout + MARGIN)
                link = await self._standing()
            if link is None:
                raise LinkError(f"{self._unit} ended at once: {await self._status()}")
            self._link = link
            self._watch = self._loop.create_task(self._watching(link, self._index(link.interface)))
            return link

    async def disconnect(self) -> None:
        """Stop the unit; done when its interface is gone. Does nothing if it does not run."""
        link, self._link = self._link, None
        if self._watch:
            self._watch.cancel()
            self._watch = None
        await self._stop()
        if link:
            await self._gone(link.interface)

    async def clear(self) -> None:
        """Hang up the link of an earlier run; does nothing if there is none, or no systemd.

        Raises:
            LinkError: it could not be hung up, or not even looked for.

        """
        if shutil.which(self._program) is None:
            return
        async with self._lock:
            state = (await self._show()).get("ActiveState")
            if state is None and self._booted.exists():
                raise LinkError(f"{self._unit} could not be looked at; it may keep an earlier run's link")
            if self._link or state in (None, "inactive", "failed"):
                return
            log.info("hanging up the link of an earlier run: %s is %s", self._unit, state)
            if not await self._stop():
                raise LinkError(f"{self._unit} could not be stopped; it keeps an earlier run's link")

    async def _start(self, timeout: float) -> None:
        """Start the unit; its start ends when the link is up or the call has failed."""
        try:
            async with asyncio.timeout(timeout):
                code, said = await self._systemctl("start", self._unit)
        except TimeoutError:
            await self._stop()
            raise LinkError(f"timeout: {self._unit} did not get ready within {timeout:g} s") from None
        except asyncio.CancelledError:
            await asyncio.shield(self._loop.create_task(self._stop()))
            raise
        if code == 0:
            return
        if "uthenti" in said or "denied" in said:
            raise NotCalled(f"the bridge may not start {self._unit}: its polkit rule is missing ({said})")
        shown = await self._show()
        kind = KINDS.get(shown.get("StatusErrno", ""), LinkError)
        raise kind(shown.get("StatusText") or said or f"{self._unit} could not be started")

    async def _stop(self) -> bool:
        code, said = await self._systemctl("stop", self._unit)
        stopped = not code or "not loaded" in said
        if not stopped:
            log.warning("%s could not be stopped: %s", self._unit, said)
        return stopped

    async def _standing(self) -> Link | None:
        """Return the link that the unit keeps, according to the unit and the kernel."""
        shown = await self._show()
        if shown.get("ActiveState") != "active":
            return None
        link = read_status(shown.get("StatusText", ""))
        return link if link and self._index(link.interface) is not None else None

    async def _status(self) -> str:
        return (await self._show()).get("StatusText", "")

    async def _show(self) -> dict[str, str]:
        _, said = await self._systemctl("show", "-p", "ActiveState,StatusText,StatusErrno", self._unit)
        pairs = (line.partition("=") for line in said.splitlines())
        return {name: value for name, _, value in pairs}

    async def _watching(self, link: Link, index: str | None) -> None:
        """Watch the interface until it is gone, or is another one of the same name."""
        while index is not None and self._index(link.interface) == index:
            await asyncio.sleep(EVERY)
        if self._link is link:
            reason = await self._why()
            if self._link is link:
                self._link = None
                self._on_down(reason)

    async def _why(self) -> str:
        """Return the unit's last status, which follows the interface's end by a moment."""
        with contextlib.suppress(TimeoutError, LinkError):
            async with asyncio.timeout(1.0):
                while True:
                    status = await self._status()
                    if status and read_status(status) is None:
                        return status
                    await asyncio.sleep(0.1)
        return "the link ended"

    def _index(self, interface: str) -> str | None:
        try:
            return (self._sys / "class/net" / interface / "ifindex").read_text().strip()
        except OSError:
            return None

    async def _gone(self, interface: str) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                while self._index(interface) is not None:
                    await asyncio.sleep(0.05)

    async def _systemctl(self, *words: str) -> tuple[int, str]:
        command = [self._program, "--no-ask-password", *words]

        def run() -> "subprocess.CompletedProcess[str]":
            return subprocess.run(  # noqa: S603  our own words
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )

        try:
            done = await in_thread(self._loop, run)
        except OSError as exc:
            raise LinkError(f"{self._program} could not be run: {exc.strerror or exc}") from exc
        return done.returncode, (done.stdout if words[0] == "show" else done.stderr).strip()
