"""The data call: ``ATD*99#`` and the far end behind it [3GPP TS 27.007, section 10.2.1; ITU-T V.250, 6.3]."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from bridge.sim.modem.active import ActiveFaults
from bridge.sim.modem.port.interpreter import Call, Handler
from bridge.sim.modem.port.results import OK, Refused, Reply
from bridge.sim.modem.port.session import Session
from bridge.sim.modem.profiles import Profile

_DATA: Final = re.compile(r"[TP]?\*99(\*[^#]*)?#", re.IGNORECASE)
_NO_CARRIER: Final = Reply(final="NO CARRIER")
_CONNECT_TIME: Final = 0.2
_PATIENCE: Final = 3.0
"""Seconds for the far end to exit before it gets a stronger signal."""


class Child:
    """A process as the far end; the line is its standard input and output, and a cut line closes both."""

    def __init__(self, loop: asyncio.AbstractEventLoop, command: Sequence[str]) -> None:
        self.gone = asyncio.Event()
        self.cut = False
        self._loop = loop
        self._command = command
        self._output: Callable[[bytes], None] = lambda _: None
        self._ended: Callable[[], None] = lambda: None
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._queue = bytearray()
        self._watched = -1
        self._timers: list[asyncio.TimerHandle] = []

    def start(self, output: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        """Start the process; one that cannot be started counts as ended."""
        self._output = output
        self._ended = ended
        ours, theirs = socket.socketpair()
        try:
            # A group of its own: Ctrl-C at the simulator does not reach it, and one signal ends all of it.
            self._process = subprocess.Popen(  # noqa: S603  # the user's own command
                self._command, stdin=theirs.fileno(), stdout=theirs.fileno(), start_new_session=True
            )
        except OSError as error:
            ours.close()
            print(f"--pppd: {self._command[0]}: {error.strerror}", file=sys.stderr, flush=True)
            self._loop.call_soon(self._exited)
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        self._line = ours
        self._watched = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._watched, self._exited)
        self._loop.add_reader(ours, self._read)

    def _read(self) -> None:
        assert self._line is not None
        try:
            data = self._line.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._output(data)
        else:
            self._loop.remove_reader(self._line)  # it has closed the line; `_exited` reports its end

    def _exited(self) -> None:
        for timer in self._timers:
            timer.cancel()
        if self._process is not None:
            self._process.wait()
            self._loop.remove_reader(self._watched)
            os.close(self._watched)
        self._close()
        self.gone.set()
        if not self.cut:
            self._ended()

    def feed(self, data: bytes) -> None:
        """Pass on data from the host."""
        if self._line is None:
            return
        if not self._queue:
            data = data[self._push(data) :]
            if data:
                self._loop.add_writer(self._line, self._drain)
        self._queue += data

    def _push(self, data: bytes | bytearray) -> int:
        assert self._line is not None
        try:
            return self._line.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)  # the process has closed the line, and the data is lost

    def _drain(self) -> None:
        del self._queue[: self._push(self._queue)]
        if not self._queue and self._line is not None:
            self._loop.remove_writer(self._line)

    def _close(self) -> None:
        if self._line is not None:
            self._loop.remove_reader(self._line)
            self._loop.remove_writer(self._line)
            self._line.close()
            self._line = None

    def hang_up(self) -> None:
        """Cut the line; signal a process that does not exit."""
        self.cut = True
        self._close()
        self.end(signal.SIGHUP)  # a lost carrier's signal
        for times, number in enumerate((signal.SIGTERM, signal.SIGKILL), start=1):
            self._timers.append(self._loop.call_later(times * _PATIENCE, self.end, number))

    def end(self, number: int) -> None:
        """Send a signal to the whole process group."""
        if self._process is not None and not self.gone.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


class Dialer:
    """Makes calls; ``far`` is the command of the far end, empty without one.

    A call without a far end, or while the modem is not ``in_service``, ends after ``give_up`` seconds.
    """

    def __init__(
        self,
        profile: Profile,
        in_service: Callable[[], bool],
        faults: ActiveFaults,
        far: Sequence[str],
        *,
        give_up: float,
        record: Callable[[dict[str, Any]], None],
    ) -> None:
        self.transport = True
        self.calls = 0
        self._loop = asyncio.get_running_loop()
        self._profile = profile
        self._in_service = in_service
        self._faults = faults
        self._far = far
        self._give_up = give_up
        self._record = record
        self._children: list[Child] = []

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handler of each command."""
        return {"D": self._dial, "H": self._hang_up, "O": self._online, "+CGDATA": self._dial}

    async def close(self) -> None:
        """End every far end, and wait a moment for its exit."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for child in self._children:
                child.end(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    for child in self._children:
                        await child.gone.wait()

    async def _dial(self, call: Call) -> Reply:
        if call.command.name == "D" and not _DATA.fullmatch(call.command.text):
            return _NO_CARRIER  # voice calls are not simulated
        if call.port.in_call:
            raise Refused
        self.calls += 1
        leads = await self._free() and self._in_service() and self.transport and self._far
        if self._faults.hits("no-carrier") or not leads:
            await asyncio.sleep(self._give_up)
            self._record({"kind": "call", "connected": False})
            return _NO_CARRIER
        await asyncio.sleep(_CONNECT_TIME)
        return Reply(final=self._profile.connect, then=lambda: self._connect(call.port))

    async def _free(self) -> bool:
        """Wait until the far ends of earlier calls have exited; return False if one has not."""
        if any(not (child.cut or child.gone.is_set()) for child in self._children):
            return False
        for child in self._children:
            await child.gone.wait()
        return True

    def _connect(self, port: Session) -> None:
        self._record({"kind": "call", "connected": True})
        self._children = [child for child in self._children if not child.gone.is_set()]
        child = Child(self._loop, self._far)
        self._children.append(child)
        port.connect(child)

    def _hang_up(self, call: Call) -> Reply:
        call.port.hang_up()
        return OK

    def _online(self, call: Call) -> Reply:
        if not call.port.in_call:
            return _NO_CARRIER
        return Reply(final=self._profile.connect, then=call.port.resume)
