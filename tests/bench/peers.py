"""What stands beside the bridge: the plain loop, publishers, subscribers."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.rig import PIPE, Child, Mosquitto, request

TOPICS = tuple(f"bench/{number:02}" for number in range(16))

PATIENCE = 300
"""Seconds after which a subscriber gives up waiting for messages."""


def ask(port: int, data: bytes) -> bytes:
    """Send one request as the official SDK does: open, send all, receive until close, close."""
    answer = b""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.connect(("127.0.0.1", port))
        connection.sendall(data)
        while part := connection.recv(4096):
            answer += part
    if answer != b"[0,0]":
        raise RuntimeError(f"the cloud answered {answer!r}")
    return answer


def plain_loop(port: int, count: int) -> float:
    """Send ``count`` messages one after the other; return messages per second."""
    requests = [request(topic) for topic in TOPICS]
    started = time.perf_counter()
    for number in range(count):
        ask(port, requests[number % len(requests)])
    return count / (time.perf_counter() - started)


class Results(Child):
    """A subscriber that ends once it has received ``count`` results."""

    def __init__(self, broker: Mosquitto, folder: Path, name: str, count: int) -> None:
        self._out = folder / f"{name}.out"
        self._count = count
        command = ["mosquitto_sub", "-V", "5", "-h", "127.0.0.1", "-p", str(broker.port), "-i", name]
        command += ["-q", "1", "-t", "hologram/result", "-C", str(count), "-W", str(PATIENCE)]
        with self._out.open("wb") as out:
            super().__init__(subprocess.Popen(command, stdout=out))
        broker.wait_for(f"{name} 1 hologram/result")

    def wait(self) -> list[bytes]:
        """Wait for the last one; return all, every one of which says that its message was delivered."""
        self.process.wait()
        lines = self._out.read_bytes().splitlines()
        self._out.unlink()
        delivered = sum(b'"state":"delivered"' in line for line in lines)
        if delivered != self._count:
            raise RuntimeError(f"{delivered} of {self._count} messages were delivered")
        return lines


class Publishers:
    """`mosquitto_pub -l -q 1`, one for each topic, connected and waiting for lines."""

    def __init__(self, broker: Mosquitto, name: str, topics: Sequence[str]) -> None:
        self._children = []
        for number, topic in enumerate(topics):
            command = ["mosquitto_pub", "-V", "5", "-h", "127.0.0.1", "-p", str(broker.port)]
            command += ["-i", f"{name}-{number}", "-l", "-q", "1", "-t", topic]
            self._children.append(Child(subprocess.Popen(command, stdin=subprocess.PIPE)))
        broker.wait_for(*(f"as {name}-{number} (" for number in range(len(topics))))

    def feed(self, lines: int, payload: bytes) -> None:
        """Give ``lines`` more messages to publish, spread over the publishers."""
        share, rest = divmod(lines, len(self._children))
        for number, child in enumerate(self._children):
            _write(child, [payload] * (share + (number < rest)))

    def feed_each(self, payloads: Sequence[bytes]) -> None:
        """Give the first publisher these messages to publish."""
        _write(self._children[0], payloads)

    def finish(self) -> None:
        """Close their inputs and wait for their ends."""
        for child in self._children:
            assert child.process.stdin is not None
            child.process.stdin.close()
        for child in self._children:
            if child.process.wait(60):
                raise RuntimeError("a publisher failed")


def _write(child: Child, payloads: Sequence[bytes]) -> None:
    data = b"".join(payload + b"\n" for payload in payloads)
    if len(data) > PIPE:
        raise ValueError(f"{len(payloads)} messages at once do not fit into the pipes")
    assert child.process.stdin is not None
    os.write(child.process.stdin.fileno(), data)


class Counter(Child):
    """A subscriber at QoS 1 that does nothing with what it gets; ``count`` is how much that was."""

    def __init__(self, broker: Mosquitto, name: str, topic: str) -> None:
        self.count = 0
        command = ["mosquitto_sub", "-V", "5", "-h", "127.0.0.1", "-p", str(broker.port), "-i", name]
        command += ["-q", "1", "-t", topic]
        super().__init__(subprocess.Popen(command, stdout=subprocess.PIPE))
        threading.Thread(target=self._read, daemon=True).start()
        broker.wait_for(f"{name} 1 {topic}")

    def _read(self) -> None:
        """Ends with the subscriber's output."""
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        while data := os.read(fd, 65536):
            self.count += data.count(b"\n")
