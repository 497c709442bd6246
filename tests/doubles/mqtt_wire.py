"""MQTT packets as a broker writes them, right ones and wrong ones [MQTT 5.0, sections 2 and 3]."""

import socket


def length(number: int) -> bytes:
    """Return a Variable Byte Integer."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def packet(first: int, body: bytes = b"") -> bytes:
    """Return a packet with a fixed header."""
    return bytes((first,)) + length(len(body)) + body


def text(value: str | bytes) -> bytes:
    """Return a UTF-8 Encoded String, or binary data."""
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(2, "big") + data


def user(key: str | bytes, value: str | bytes) -> bytes:
    """Return a user property."""
    return b"\x26" + text(key) + text(value)


def publish(
    topic: str | bytes = "hologram/out/a",
    payload: bytes = b"x",
    *,
    qos: int = 1,
    mid: int = 1,
    retain: bool = False,
    dup: bool = False,
    properties: bytes = b"",
    version5: bool = True,
) -> bytes:
    """Return a PUBLISH; ``properties`` is their list without its length."""
    head = text(topic) + (mid.to_bytes(2, "big") if qos else b"")
    given = length(len(properties)) + properties if version5 else b""
    return packet(0x30 | dup << 3 | qos << 1 | retain, head + given + payload)


CONNACK = packet(0x20, b"\0\0\0")
CONNACK_3 = packet(0x20, b"\0\0")


def publish_raw(port: int, data: bytes, *, timeout: float = 60.0) -> None:
    """Publish one packet with packet identifier 1, as it is, and wait for its acknowledgement."""
    connect = text("MQTT") + b"\5\2\0\0\0" + text("raw")
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(packet(0x10, connect) + data)
        came = b""
        while b"\x40\x02\0\1" not in came and b"\x40\x03\0\1" not in came:
            chunk = connection.recv(4096)
            assert chunk, f"the broker refused the packet: {came!r}"
            came += chunk
        connection.sendall(packet(0xE0))
