"""A TCP line to a peer that tests break: what is on its way is lost, as with a link that goes down."""

import contextlib
import socket
import threading

from tests.harness.process import Keeper


class Cable:
    """Listens on ``port`` and hands everything on to ``peer``, a port on loopback, and back.

    `swallow` loses what one side says, while the connections stand; `cut` ends the connections, and the next
    ones are whole again.
    """

    def __init__(self, keeper: Keeper, peer: int) -> None:
        self._peer = peer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        self._pumps: list[threading.Thread] = []
        self._swallowed: set[str] = set()
        """The sides of the present connections that are not heard; the next ones get a set of their own."""
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()
        keeper.finally_(self.close)

    def swallow(self, side: str) -> None:
        """Lose what the ``near`` side (who connected) or the ``far`` one (the peer) says, until `cut`."""
        with self._lock:
            self._swallowed.add(side)

    def cut(self) -> None:
        """End every connection; those that are made from now on are whole."""
        with self._lock:
            ends, self._ends, self._swallowed = self._ends, [], set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Be gone."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        self.cut()
        for pump in self._pumps:
            pump.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._peer))
                except OSError:  # the peer is down
                    near.close()
                    continue
                with self._lock:
                    self._ends += [near, far]
                    pumps = [
                        threading.Thread(target=self._pump, args=(near, far, "near", self._swallowed)),
                        threading.Thread(target=self._pump, args=(far, near, "far", self._swallowed)),
                    ]
                    self._pumps = [each for each in self._pumps if each.is_alive()] + pumps
                    for pump in pumps:
                        pump.start()

    def _pump(self, source: socket.socket, sink: socket.socket, side: str, swallowed: set[str]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if side not in swallowed:
                    sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
