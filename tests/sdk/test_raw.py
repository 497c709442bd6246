"""Messages to a host of one's own: what counts as sent, and what the host sees of it."""

import socket
import threading
from typing import Any

from bridge.sdk import CustomCloud
from tests.doubles.peer import LITTLE, MUCH, peer, read_request
from tests.harness import eventually, free_port
from tests.sdk.conftest import Make


def sending(custom: Make, port: int) -> tuple[CustomCloud, list[str]]:
    """Return a cloud that sends to ``port``, and a list that gets its ``message.sent``."""
    cloud: CustomCloud = custom(send_host="127.0.0.1", send_port=port)
    told: list[str] = []
    cloud.event.subscribe("message.sent", lambda: told.append("sent"))
    return cloud, told


def reading(got: list[bytes]) -> Any:
    """Return a script that reads until the sender's end and says nothing; it fails where there is none."""

    def script(connection: socket.socket) -> None:
        got.append(read_request(connection, b"never"))

    return script


def test_a_host_that_reads_until_the_end_gets_the_message(custom: Make) -> None:
    """It says nothing while the sender is there: sent after the timeout, and the host sees the end."""
    got: list[bytes] = []
    with peer(reading(got)) as host:
        cloud, told = sending(custom, host.port)
        response = cloud.sendMessage("hello", timeout=0.5)
        eventually(lambda: got == [b"hello"])
    assert (response.kept, told) == (False, ["sent"])


def test_the_sdks_own_receiver_gets_the_message(custom: Make) -> None:
    """One script's message is another's, whichever of the two is the more patient."""
    port = free_port()
    receiver: CustomCloud = custom(receive_host="127.0.0.1", receive_port=port, enable_inbound=True)
    cloud, told = sending(custom, port)
    assert not cloud.sendMessage("hello", timeout=0.5).kept
    assert told == ["sent"]
    eventually(lambda: receiver.popReceivedMessage() == "hello")


def test_what_the_host_has_not_acknowledged_is_kept(custom: Make) -> None:
    """All is written, and most has not arrived within the timeout: kept, and sent when the host reads."""
    got: list[bytes] = []
    reads = threading.Event()

    def script(connection: socket.socket) -> None:
        reads.wait(20)
        reading(got)(connection)

    with peer(script, receive_buffer=LITTLE) as host:
        cloud, told = sending(custom, host.port)
        response = cloud.sendMessage("x" * MUCH, timeout=0.5)
        assert response.kept
        assert response.reason == "the host has not taken the whole message: silence for 0.5 s"
        assert (got, told) == ([], [])
        reads.set()
        eventually(lambda: told == ["sent"])
        eventually(lambda: b"x" * MUCH in got)


def test_a_part_of_a_message_is_none(custom: Make) -> None:
    """A host that takes a part and stalls: the message is kept."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        cloud, told = sending(custom, listener.getsockname()[1])
        assert cloud.sendMessage("y" * 6_000_000, timeout=0.5).kept
        assert told == []
