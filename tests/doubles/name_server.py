"""A name server that knows some names, and notes what it is asked."""

import contextlib
import socket
import struct
import sys
import threading
from collections.abc import Mapping

from bridge.core.messages import Traffic

HEADERS = 28
"""Bytes of IPv4's and UDP's."""


class NameServer:
    """Answers with one address, or that there is no such name; runs in a thread of its own."""

    def __init__(self, address: str, names: Mapping[bytes, str], *, port: int = 53) -> None:
        self.asked: list[str] = []
        self.traffic = Traffic()
        """Bytes of the IP layer, as the client counts them."""
        self._names = names
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while query := self._socket.recvfrom(512):
                data, client = query
                if not data:
                    return
                answer = self._answer(data)
                self.traffic = self.traffic.plus(Traffic(HEADERS + len(data), HEADERS + len(answer)))
                self._socket.sendto(answer, client)

    def _answer(self, query: bytes) -> bytes:
        end = query.index(0, 12) + 1
        name = _text(query[12:end])
        self.asked.append(name.decode())
        address = self._names.get(name)
        question = query[12 : end + 4]
        if address is None:
            return query[:2] + struct.pack("!HHHHH", 0x8183, 1, 0, 0, 0) + question
        record = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(address)
        return query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + question + record


def _text(name: bytes) -> bytes:
    labels = []
    while length := name[0]:
        labels.append(name[1 : 1 + length])
        name = name[1 + length :]
    return b".".join(labels)


def main() -> None:
    """Run one until the process ends: ``python -m tests.doubles.name_server ADDRESS NAME IP``."""
    address, name, ip = sys.argv[1:]
    NameServer(address, {name.encode(): ip})
    threading.Event().wait()


if __name__ == "__main__":
    main()
