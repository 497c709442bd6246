"""The inbound port: one TCP connection or one UDP datagram is one message.

The cloud connects, writes the bytes and closes [Hologram documentation, "Receive messages"]. A message ends
with the peer's close, or after `Limits.timeout` seconds of silence. The end of a connection is the receipt
for its peer::

    we close it (FIN)     the message is durable here
    we reset it (RST)     nothing was taken: too large, cut at the deadline, broken off, empty, refused, or
                          this process died before the message was durable

A crash resets too: accepted sockets carry ``SO_LINGER`` 0, with which the kernel resets the connections of a
dead process. Only a durable message removes the option. A peer that resets in the middle has not finished its
message: the received part is dropped and counted, because the length of the missing part is unknown.

A connection whose bytes begin as a command does (`Limits.command`) brings no message. The command ends with
its line, and is answered on the same connection, or reset. Where there are commands, connections are accepted
on a full disk too, because a command may be what helps; a message then waits on its open connection.

Everything is bounded. Connections beyond `Limits.max_connections` wait in the listen backlog. While the disk
is full, or too many bytes wait for it, all connections wait there, and datagrams are dropped and counted. The
pace of both is limited above that of any cellular link, so that a flood leaves processor time for sending.
"""

import asyncio
import errno
import logging
import resource
import socket
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from bridge.adapters.inbound.port import Commands, NoCommands, Sink, address_text, open_socket
from bridge.adapters.inbound.tcp import Connections
from bridge.adapters.inbound.udp import Datagrams
from bridge.adapters.system.threads import in_thread
from bridge.core.admission import AdmissionControl, neighbourhood, plain_address
from bridge.core.inbound import Limits, Received
from bridge.core.log_throttle import LogInterval

__all__ = ["Limits", "Listener", "Sink"]

log = logging.getLogger("inbound")

WAITING_BYTES = 8_000_000
"""Bytes of messages not yet durable, with overhead, above which nothing more is accepted."""

OVERHEAD = 1000
"""Bytes of memory that a waiting message needs beside its payload."""

MAX_RETRY = 15.0
"""Most seconds between attempts to open a port that another process holds."""

COUNTED = ("received", "empty", "refused", "too_large", "broken", "cut", "dropped")
"""The counters: whole messages, and each reason why none came about. ``dropped`` is UDP under overload."""


class Listener:
    """Owns the inbound sockets, in the event loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        host: str,
        port: int,
        protocols: tuple[str, ...],
        limits: Limits,
        sink: Sink,
        *,
        commands: Commands | None = None,
        on_problem: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``commands`` takes what `Limits.command` begins.

        ``on_problem`` gets the description of a port that cannot be opened.
        """
        self.loop = loop
        self.port = port
        self.sink = sink
        self.commands = commands or NoCommands()
        self.counts: Counter[str] = Counter()
        self.waiting = 0
        """Bytes of messages that were handed over and are not durable yet."""
        self._host = host
        self._on_problem = on_problem
        self._refusals = LogInterval(3600.0)
        self._notes = LogInterval(60.0)
        self._tcp = Connections(self)
        self._udp = Datagrams(self)
        self._ports: list[Connections | Datagrams] = []
        if "tcp" in protocols:
            self._ports.append(self._tcp)
        if "udp" in protocols:
            self._ports.append(self._udp)
        self._stopped = False
        self._problems: dict[str, str] = {}
        self.set_limits(limits)

    def set_limits(self, limits: Limits) -> None:
        """Use ``limits`` from now on, for open connections too."""
        spare = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        if limits.max_connections > spare:
            log.warning(
                "inbound.max_connections: %d is more than this process may open; %d are used (LimitNOFILE)",
                limits.max_connections,
                spare,
            )
            limits = limits._replace(max_connections=spare)
        self.limits = limits
        self._admission = AdmissionControl(limits.allow)

    # -- life --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the ports, and retry a port that another process holds."""
        for port in self._ports:
            self._open(port, 0)
        self._sweep()

    def _open(self, port: Connections | Datagrams, failures: int) -> None:
        if self._stopped:
            return
        future = in_thread(self.loop, partial(open_socket, self._host, self.port, port.kind))
        future.add_done_callback(partial(self._opened, port, failures))

    def _opened(
        self, port: Connections | Datagrams, failures: int, future: "asyncio.Future[socket.socket]"
    ) -> None:
        try:
            sock = future.result()
        except OSError as exc:
            self._not_opened(port, failures, exc)
            return
        if self._stopped:
            sock.close()
            return
        self.port = sock.getsockname()[1]
        self._problems.pop(port.name, None)
        log.info("listening on %s, %s", address_text(self._host, self.port), port.name)
        port.listen(sock)

    def _not_opened(self, port: Connections | Datagrams, failures: int, error: OSError) -> None:
        where = address_text(self._host, self.port)
        why = error.strerror or str(error)
        hint = "; find who holds it with ss -lnp, or set inbound.port" * (error.errno == errno.EADDRINUSE)
        text = f"cannot listen on {where} ({port.name}): {why}{hint}; it is tried again"
        if text != self._problems.get(port.name):
            log.error("%s", text)
            self._problems[port.name] = text
            self._on_problem(text)
        delay = min(MAX_RETRY, 2.0 ** min(failures, 8))
        self.loop.call_later(delay, self._open, port, failures + 1)

    def stop(self) -> None:
        """Accept nothing new; messages that have begun may finish."""
        self._stopped = True
        for port in self._ports:
            port.close()
        self._tcp.end_empty()

    def close(self) -> None:
        """Reset the connections that are still open."""
        self.stop()
        self._tcp.reset_all()

    @property
    def idle(self) -> bool:
        """Whether no connection is open and nothing waits to be durable."""
        return not self._tcp.open and not self.waiting

    @property
    def problem(self) -> str | None:
        """Why a port is not open; None where all are."""
        return "; ".join(self._problems.values()) or None

    def figures(self) -> dict[str, Any]:
        """Return the counts since the start, and the number of open connections."""
        return {
            "listening": [port.name for port in self._ports if port.listening],
            "open": len(self._tcp.open),
            **{name: self.counts[name] for name in COUNTED},
            "dropped": self.counts["dropped"] + self._udp.overflowed,
            "problem": self.problem,
        }

    def _sweep(self) -> None:
        """Check the connections' times, several times within the shortest limit."""
        self._tcp.check_times()
        if not self._stopped or self._tcp.open:
            shortest = min(self.limits.timeout, self.limits.deadline)
            self.loop.call_later(min(0.5, shortest / 5), self._sweep)

    # -- for the ports -----------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether more may be taken."""
        return not self._stopped and self.waiting < WAITING_BYTES and self.sink.taking

    @property
    def accepts(self) -> bool:
        """Whether connections may be accepted: there is room, or a command may come, which needs none."""
        return self.has_room or (not self._stopped and bool(self.limits.command))

    def admits(self, host: str, protocol: str) -> bool:
        """Return whether ``host`` is allowed; log once an hour for each network how to allow it."""
        if self._admission.admits(host):
            return True
        self.counts["refused"] += 1
        if self._refusals.due(neighbourhood(host), self.loop.time()):
            address = plain_address(host)
            log.warning(
                'refused %s (%s): it is not in inbound.allow; add "%s/%d" there to let it in',
                address, protocol, str(address).partition("%")[0], address.max_prefixlen,
            )  # fmt: skip
        return False

    def drop(self, what: str, peer: str, why: str) -> None:
        """Count a connection or datagram without a message, and log it once a minute."""
        self.counts[what] += 1
        if self._notes.due(what, self.loop.time()):
            log.warning("no message from %s: %s (%d so far)", peer, why, self.counts[what])

    def hand_over(self, message: Received, durable: Callable[[], None] | None = None) -> None:
        """Give a whole message to the sink; ``durable`` is called once it is on the disk."""
        size = len(message.data) + OVERHEAD
        self.waiting += size
        self.counts["received"] += 1

        def done() -> None:
            self.waiting -= size
            if durable:
                durable()
            self._tcp.resume()

        self.sink.received(message, done)
