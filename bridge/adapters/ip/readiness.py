"""Readiness: which sockets can be read or written, told by an epoll instance of their own.

The event loop watches only this instance, which is readable while one of its sockets is ready [epoll(7)].
Watched by the loop itself, a socket costs several look-ups in the loop's tables each time, and a handle for
each event: a twentieth of a message's processor time, as each message has a socket of its own.
"""

import asyncio
import select
from collections.abc import Callable
from typing import NamedTuple


class _Watch(NamedTuple):
    readable: Callable[[], None] | None
    writable: Callable[[], None] | None

    @property
    def events(self) -> int:
        return (select.EPOLLIN if self.readable else 0) | (select.EPOLLOUT if self.writable else 0)


class Readiness:
    """Calls back for each watched socket that is ready; lives in the event loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._epoll = select.epoll()
        self._watches: dict[int, _Watch] = {}
        loop.add_reader(self._epoll.fileno(), self._call_back)

    def watch(
        self, fd: int, *, readable: Callable[[], None] | None, writable: Callable[[], None] | None
    ) -> None:
        """Watch ``fd`` for what is not None, from now on for nothing else."""
        before, now = self._watches.get(fd), _Watch(readable, writable)
        self._watches[fd] = now
        if before is None:
            self._epoll.register(fd, now.events)
        elif before.events != now.events:
            self._epoll.modify(fd, now.events)

    def forget(self, fd: int) -> None:
        """Watch ``fd`` no more; the caller closes it at once, which ends the kernel's watch [epoll(7)]."""
        self._watches.pop(fd, None)

    def _call_back(self) -> None:
        ready = [(fd, events, self._watches.get(fd)) for fd, events in self._epoll.poll(0)]
        for fd, events, watch in ready:
            if watch is None:  # a child that is being started holds the closed socket for a moment
                continue
            # An error counts as both. A callback may have ended a watch, and its number may be another's now.
            if watch.readable and events & ~select.EPOLLOUT and self._watches.get(fd) is watch:
                watch.readable()
            if watch.writable and events & ~select.EPOLLIN and self._watches.get(fd) is watch:
                watch.writable()
