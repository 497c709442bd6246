"""IP bytes a message, counted from packets on the loopback."""

import ctypes
import json
import socket
import struct
import time
from collections import defaultdict
from statistics import median

from tests.bench.figures import Row
from tests.bench.peers import Publishers, Results, ask
from tests.bench.rig import PAYLOAD, Mosquitto, Rig, request, until

TOPIC = "sensors/kitchen"
SDK_BYTES = 658
"""What the official SDK needs for this payload and topic."""

BATCHES = {50: 20, 200: 12}
"""Readings in one batch, and the bytes that each may take at most."""

_IPV4 = 0x0800  # ETH_P_IP [linux/if_ether.h]


_SO_ATTACH_FILTER = 26  # [asm-generic/socket.h]


def _only(port: int) -> bytes:
    """Return the classic BPF program that keeps TCP to or from ``port`` [linux/filter.h]."""
    program = (
        (0x30, 0, 0, 9),  # A = the protocol
        (0x15, 0, 6, socket.IPPROTO_TCP),
        (0xB1, 0, 0, 0),  # X = 4 * the header's length in words
        (0x48, 0, 0, 0),  # A = the source port
        (0x15, 2, 0, port),
        (0x48, 0, 0, 2),  # A = the target port
        (0x15, 0, 1, port),
        (0x06, 0, 0, 0xFFFF),  # keep it
        (0x06, 0, 0, 0),  # drop it
    )
    return b"".join(struct.pack("HBBI", *step) for step in program)


class Capture:
    """Every IPv4 TCP packet on the loopback to or from one port, with its direction and IP total length."""

    def __init__(self, port: int) -> None:
        """Raises PermissionError where packets may not be captured (CAP_NET_RAW)."""
        self._port = port
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_IPV4))
        # Other traffic of the loopback must not fill the buffer, which nobody empties all the time.
        program = ctypes.create_string_buffer(code := _only(port), len(code))
        attached = struct.pack("HL", len(program) // 8, ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, attached)
        self._socket.bind(("lo", _IPV4))
        self._socket.setblocking(False)

    def connections(self) -> dict[int, tuple[int, int]]:
        """Return bytes up and down by the client's port, of what came since the last call."""
        found: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        while True:
            try:
                packet, where = self._socket.recvfrom(65536)
            except BlockingIOError:
                return {port: (up, down) for port, (up, down) in found.items()}
            # The loopback shows each packet twice, leaving and arriving: count it once.
            if where[2] == socket.PACKET_OUTGOING or packet[9] != socket.IPPROTO_TCP:
                continue
            (length,) = struct.unpack_from("!H", packet, 2)  # RFC 791: total length
            source, target = struct.unpack_from("!HH", packet, (packet[0] & 15) * 4)
            if target == self._port:
                found[source][0] += length
            elif source == self._port:
                found[target][1] += length

    def close(self) -> None:
        """Stop capturing."""
        self._socket.close()


def wire(quick: bool) -> list[Row]:
    """Bytes on the IP layer both ways, and whether the bridge's own count agrees."""
    messages = 10 if quick else 50
    with Rig() as rig:
        broker, cloud = rig.broker(), rig.cloud()
        try:
            capture = Capture(cloud.port)
        except PermissionError as exc:
            return [Row("bytes", "IP bytes a message", note=f"not measured: {exc.strerror}; run it as root")]
        rig.callback(capture.close)
        rig.bridge(broker, cloud.port, routes=_routes()).wait_online()
        ask(cloud.port, request(TOPIC))
        until(lambda: bool(capture.connections()), "a packet")
        loop: list[int] = []
        bridge: list[tuple[int, int]] = []
        told: list[tuple[int, int]] = []
        for number in range(messages):
            ask(cloud.port, request(TOPIC))
            loop += [up + down for up, down in _settled(capture)]
            results = rig.enter_context(Results(broker, rig.folder, f"result{number}", 1))
            publishers = Publishers(broker, f"pub{number}", [f"hologram/out/{TOPIC}"])
            publishers.feed(1, PAYLOAD)
            publishers.finish()
            told += [(int(r["bytes_up"]), int(r["bytes_down"])) for r in map(json.loads, results.wait())]
            bridge += _settled(capture)
        batches = [_batch(rig, broker, capture, number) for number in BATCHES]
    value, beside = median(map(sum, bridge)), median(loop)
    exact = sum(one == other for one, other in zip(bridge, told, strict=True))
    difference = sum(map(sum, told)) - sum(map(sum, bridge))
    share = value / SDK_BYTES
    return [
        Row("bytes", "IP bytes a message", value, "B", beside, "plain loop, same request",
            aim=f"<= 72 % of the SDK's {SDK_BYTES}", met=share <= 0.72,
            note=f"{share:.0%} of the SDK's; from {min(map(sum, bridge))} to {max(map(sum, bridge))} B"),
        Row("bytes", "results that agree with the capture", exact, f"of {messages}", aim="all",
            met=exact == messages, note=f"told in all {difference:+d} B beside the capture"),
        *(_batch_row(number, *each, value) for number, each in zip(BATCHES, batches, strict=True)),
    ]  # fmt: skip


def _routes() -> list[object]:
    """Return routes with batches of each size, which go when they are full."""
    return [{"match": f"batch/{number}", "batch": {"every": "1h", "messages": number}} for number in BATCHES]


def _batch(rig: Rig, broker: Mosquitto, capture: Capture, number: int) -> tuple[int, int]:
    """Send ``number`` readings in one batch; return its bytes both ways, and what the results say of them."""
    results = rig.enter_context(Results(broker, rig.folder, f"batch{number}", number))
    publishers = Publishers(broker, f"batch-pub{number}", [f"hologram/out/batch/{number}"])
    publishers.feed_each([PAYLOAD.replace(b"499", b"%d" % (300 + seq)) for seq in range(number)])
    publishers.finish()
    told = sum(int(each["bytes_up"]) + int(each["bytes_down"]) for each in map(json.loads, results.wait()))
    (connection,) = _settled(capture)
    return sum(connection), told


def _batch_row(number: int, spent: int, told: int, single: float) -> Row:
    aim, each = BATCHES[number], spent / number
    agrees = "as the results say" if told == spent else f"the results say {told} B"
    return Row(
        "bytes", f"IP bytes a message, {number} in a batch", each, "B", single, "one message alone",
        aim=f"<= {aim} B", met=each <= aim and told == spent, note=f"{spent} B in all, {agrees}",
    )  # fmt: skip


def _settled(capture: Capture) -> list[tuple[int, int]]:
    """Return the connections since the last call, once no more packets come for a moment."""
    found: dict[int, tuple[int, int]] = {}
    quiet = 0
    while quiet < 5:
        more = capture.connections()
        quiet = 0 if more else quiet + 1
        for port, (up, down) in more.items():
            before = found.get(port, (0, 0))
            found[port] = (before[0] + up, before[1] + down)
        time.sleep(0.01)
    return list(found.values())
