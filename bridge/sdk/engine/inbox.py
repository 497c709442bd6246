"""Inbound messages until the script takes them: the listener's sink.

They are in memory only, as documented; messages that the script has not taken at its end are lost.
"""

import asyncio
import errno
import socket
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from ipaddress import ip_network

from bridge.adapters.inbound.listener import Limits, Listener
from bridge.adapters.inbound.port import address_text, open_socket
from bridge.adapters.system import holders
from bridge.adapters.system.threads import in_thread
from bridge.assemblies.message_flow import until
from bridge.core.exchange import SLOWEST
from bridge.core.inbound import Received
from bridge.core.messages import Traffic
from bridge.sdk.engine.errors import HologramError, NetworkError, PortTaken
from bridge.sdk.engine.response import Response, of_answer
from bridge.sdk.engine.runtime import alive, dispatcher, runtime

RECEIVE_TIMEOUT = 5.0
"""Seconds of silence that end a message [hologram-python 0.10]."""

ROOM = 8_000_000
"""Bytes of messages that wait for the script; above this senders wait."""

OPEN_WAIT = 10.0
"""Seconds for the port to open."""

CLOSE_WAIT = 1.0
"""Seconds for open connections to end when the port is closed."""

ANYBODY = (ip_network("0.0.0.0/0"), ip_network("::/0"))
"""All networks: as with the SDK, every host that reaches the port may send."""

LIMITS = Limits(timeout=RECEIVE_TIMEOUT, max_bytes=ROOM, deadline=ROOM / SLOWEST, allow=ANYBODY)
"""Limits of inbound messages. The documents have only the silence [Python SDK 0.3]; the others bound memory
and connections."""


class Inbox:
    """Buffers whole messages; `take` and `take_all` may be called from any thread."""

    def __init__(self, on_message: Callable[[], None]) -> None:
        """``on_message`` is called in the thread for background events."""
        self._on_message = on_message
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._size = 0

    # -- the listener's side, in the loop's thread -------------------------------------------------------

    @property
    def taking(self) -> bool:
        """Whether there is room."""
        return self._size < ROOM

    def received(self, message: Received, durable: Callable[[], None]) -> None:
        """Take ``message``, which is kept in memory and never becomes durable."""
        with self._lock:
            self._waiting.append(message.data)
            self._size += len(message.data)
        runtime().loop.call_soon(durable)  # never before this returns
        dispatcher().submit(self._on_message)

    def count_overhead(self, traffic: Traffic, *, over_modem: bool = False) -> None:
        """Do nothing: the SDK does not count traffic."""

    # -- the script's side -------------------------------------------------------------------------------

    def take(self) -> Response | None:
        """Return the oldest message, or None."""
        with self._lock:
            if not self._waiting:
                return None
            data = self._waiting.popleft()
            self._size -= len(data)
        return of_answer(data)

    def take_all(self) -> Response:
        """Return all waiting messages as one text; '' without any."""
        with self._lock:
            data = b"".join(self._waiting)
            self._waiting.clear()
            self._size = 0
        return of_answer(data)


class Door:
    """The inbound port; `open` and `shut` are called from the script's threads."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._listener: Listener | None = None

    @property
    def port(self) -> int | None:
        """Number of the open port, or None."""
        return self._listener.port if self._listener else None

    def open(self, host: str, port: int) -> None:
        """Listen; a second call changes nothing. Raises `PortTaken` and `NetworkError`."""
        if self._listener is None:
            self._listener = runtime().wait(_listen(host, port, self._inbox))

    def shut(self) -> None:
        """Stop listening; messages that have begun may finish."""
        listener, self._listener = self._listener, None
        if listener is not None and alive():
            runtime().wait(_end(listener))


async def _listen(host: str, port: int, inbox: Inbox) -> Listener:
    loop = asyncio.get_running_loop()
    try:  # test the port first, because the listener would only log a failure and retry
        (await in_thread(loop, partial(open_socket, host, port, socket.SOCK_STREAM))).close()
    except UnicodeError as exc:  # an impossible name, such as a..b
        raise NetworkError(f"receive_host: {host!r} is not allowed; give a name or an address") from exc
    except OSError as exc:
        raise await in_thread(loop, partial(_refused, host, port, exc)) from exc
    problems: list[str] = []
    listener = Listener(loop, host, port, ("tcp",), LIMITS, inbox, on_problem=problems.append)
    listener.start()
    await until(lambda: bool(problems or listener.figures()["listening"]), OPEN_WAIT)
    if listener.figures()["listening"]:
        return listener
    listener.close()
    raise NetworkError(problems[0] if problems else f"{address_text(host, port)} does not open")


def _refused(host: str, port: int, error: OSError) -> HologramError:
    where = address_text(host, port)
    if error.errno != errno.EADDRINUSE:
        return NetworkError(f"cannot listen on {where}: {error.strerror or error}")
    pid = holders.of_port(port)
    who = holders.describe(pid) if pid else "another user's program (root sees which)"
    text = f"port {where} is held by {who}"
    if who.startswith("hologram-bridge"):
        text += (
            ": read what comes in from its MQTT topic hologram/in (hologram stands for its mqtt.prefix), "
            "set enable_inbound=False, or stop it"
        )
    else:
        text += ": end that, or use another port"
    taken = PortTaken(text)
    taken.errno = errno.EADDRINUSE
    return taken


async def _end(listener: Listener) -> None:
    listener.stop()
    await until(lambda: listener.idle, CLOSE_WAIT)
    # A message that is not whole by now was never the script's: the reset tells its sender so.
    listener.close()
