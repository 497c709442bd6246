"""Network namespaces of a test's own, each entered by one thread; needs root."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

CLONE_NEWNET = 0x40000000  # [unshare(2)]

HERE, THERE = "10.99.0.1", "10.99.0.2"
"""The addresses at the ends of a cable."""


class Namespace:
    """A network namespace with its loopback up; it is gone with the thread that lives in it."""

    def __init__(self, *, timestamps: bool) -> None:
        """``timestamps`` is its ``net.ipv4.tcp_timestamps``."""
        self._thread = ThreadPoolExecutor(1)
        self.do(lambda: _enter(timestamps=timestamps))

    def do(self, work: Callable[[], T], *, seconds: float = 60) -> T:
        """Run ``work`` there and return what it returns; threads and processes that it starts stay there."""
        return self._thread.submit(work).result(seconds)

    def ip(self, command: str) -> None:
        """Run an ``ip`` command there."""
        self.do(partial(_ip, command))

    def join(self, other: "Namespace") -> None:
        """Lay a cable from `HERE` to `THERE` in ``other``; both ends are called ``cable``."""
        there = other.do(threading.get_native_id)
        self.ip(f"link add cable type veth peer name cable netns {there}")
        for namespace, address in ((self, HERE), (other, THERE)):
            namespace.ip(f"address add {address}/24 dev cable")
            namespace.ip("link set cable up")

    def close(self) -> None:
        """Leave it."""
        self._thread.shutdown()


def _enter(*, timestamps: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    Path("/proc/sys/net/ipv4/tcp_timestamps").write_text(str(int(timestamps)))
    _ip("link set lo up")


def _ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True, capture_output=True, timeout=30)


@contextmanager
def namespaces(*timestamps: bool) -> Iterator[tuple[Namespace, ...]]:
    """Make a namespace for each of ``timestamps``; they are gone after the block."""
    made = tuple(Namespace(timestamps=each) for each in timestamps)
    try:
        yield made
    finally:
        for namespace in made:
            namespace.close()
