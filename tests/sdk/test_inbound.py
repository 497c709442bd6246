"""Messages that come in."""

import socket
import threading
from pathlib import Path

import pytest

from bridge.sdk import CustomCloud, HologramCloud, HologramError, PortTaken
from tests.harness import BridgeProcess, eventually, free_port
from tests.sdk.conftest import Make
from tests.sdk.scripts import Scripts
from tests.sim.harness import Running


def send(port: int, data: bytes) -> None:
    """Send one message as the Hologram cloud does, and wait until it is taken."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        assert connection.recv(1) == b""


def opened(custom: Make) -> CustomCloud:
    cloud: CustomCloud = custom(receive_host="127.0.0.1", receive_port=free_port(), enable_inbound=True)
    return cloud


def test_all_that_came_is_consumed_at_once(custom: Make) -> None:
    """As one text, in order; afterwards there is nothing, which is ''."""
    cloud = opened(custom)
    send(cloud.receive_port, b"hey there!")
    send(cloud.receive_port, b"bye!")
    assert cloud.consumeReceivedMessage() == "hey there!bye!"
    assert cloud.consumeReceivedMessage() == ""


def test_messages_are_popped_one_by_one(custom: Make) -> None:
    """The oldest first, then None; bytes that are no text are shown, and kept beside it."""
    cloud = opened(custom)
    for data in ("première".encode(), b"\xff\x00 binary", b"third"):
        send(cloud.receive_port, data)
    assert cloud.popReceivedMessage() == "première"
    binary = cloud.popReceivedMessage()
    assert binary is not None
    assert (binary, binary.data) == ("\\xff\x00 binary", b"\xff\x00 binary")
    assert cloud.popReceivedMessage() == "third"
    assert cloud.popReceivedMessage() is None


def test_handlers_hear_of_each_message_and_may_take_it(custom: Make) -> None:
    """``message.received`` comes after the message is there, in a thread of its own."""
    cloud = opened(custom)
    taken: list[str | None] = []
    cloud.event.subscribe("message.received", lambda: taken.append(cloud.popReceivedMessage()))
    for number in range(5):
        send(cloud.receive_port, str(number).encode())
    eventually(lambda: taken == ["0", "1", "2", "3", "4"])


def test_the_port_is_closed_and_opened_again(custom: Make) -> None:
    """What came before stays; a closed port refuses; opening or closing twice is fine."""
    cloud = opened(custom)
    send(cloud.receive_port, b"before")
    cloud.closeReceiveSocket()
    cloud.closeReceiveSocket()
    with pytest.raises(ConnectionRefusedError):
        send(cloud.receive_port, b"between")
    assert cloud.openReceiveSocket() is True
    assert cloud.openReceiveSocket() is True
    send(cloud.receive_port, b" after")
    assert cloud.consumeReceivedMessage() == "before after"


def test_a_hologram_cloud_takes_messages_from_the_start(
    hologram: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it is told otherwise, on the port that the environment names, else 4010 everywhere."""
    port = free_port()
    monkeypatch.setenv("HOLOGRAM_SDK_INBOUND", f"127.0.0.1:{port}")
    cloud = hologram(1, enable_inbound=True)
    assert (cloud.receive_host, cloud.receive_port) == ("127.0.0.1", port)
    send(port, b"hello")
    assert cloud.consumeReceivedMessage() == "hello"
    monkeypatch.delenv("HOLOGRAM_SDK_INBOUND")
    cloud = hologram(1)
    assert (cloud.receive_host, cloud.receive_port) == ("0.0.0.0", 4010)


def test_many_messages_at_once_are_all_taken(custom: Make) -> None:
    """From several senders, none is lost or mixed."""
    cloud = opened(custom)
    threads = [
        threading.Thread(target=send, args=(cloud.receive_port, bytes([65 + number]) * 3000))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    found = sorted(str(cloud.popReceivedMessage()) for _ in threads)
    assert found == [chr(65 + number) * 3000 for number in range(20)]


def test_a_taken_port_is_an_error_that_names_its_holder(custom: Make, scripts: Scripts) -> None:
    """By program and process; an OSError too, which the SDK raised here."""
    port = free_port()
    holder = scripts.start(
        f"import socket, threading\nheld = socket.create_server(('127.0.0.1', {port}))\nprint('up')\n"
        "threading.Event().wait()\n",
        name="holder",
    )
    eventually(lambda: "up" in holder.said())
    with pytest.raises(PortTaken, match=rf"{port} is held by holder.py \(process {holder.pid}\)") as error:
        custom(receive_host="127.0.0.1", receive_port=port, enable_inbound=True)
    assert isinstance(error.value, HologramError)
    assert isinstance(error.value, OSError)


def test_a_port_that_the_daemon_holds_says_so(custom: Make, bridge: BridgeProcess) -> None:
    """And where its messages are to be had."""
    port = free_port()
    bridge.configure(inbound={"enabled": True, "host": "127.0.0.1", "port": port})
    bridge.start()
    says = rf"hologram-bridge \(process {bridge.pid}\).*hologram/in \(.*mqtt.prefix\)"
    with pytest.raises(PortTaken, match=says):
        custom(receive_host="127.0.0.1", receive_port=port, enable_inbound=True)


def test_an_address_that_is_not_ours_is_an_error(custom: Make) -> None:
    """Said with the reason."""
    with pytest.raises(HologramError, match=r"192\.0\.2\.1"):
        custom(receive_host="192.0.2.1", receive_port=free_port(), enable_inbound=True)


def test_a_long_message_is_one_message(custom: Make) -> None:
    """The documents know no limit; what is over the daemon's is taken too."""
    cloud = opened(custom)
    long = b"x" * 3_000_000
    send(cloud.receive_port, long)
    assert cloud.popReceivedMessage() == long.decode()


def test_a_port_that_nobody_asked_for_is_no_error(
    sim: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes in is taken by default, as documented; where it cannot be, sending goes on, as released."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("HOLOGRAM_SDK_INBOUND", f"127.0.0.1:{port}")
        monkeypatch.setenv("HOLOGRAM_SDK_CLOUD", f"127.0.0.1:{sim.cloud.port}")
        key = {"devicekey": "abcd1234"}
        with pytest.raises(PortTaken):
            HologramCloud(key, True, outbox=tmp_path / "asked.db")
        cloud = HologramCloud(key, outbox=tmp_path / "outbox.db")
        assert f"nothing is taken: port 127.0.0.1:{port} is held by" in caplog.text
        assert cloud.sendMessage("sent all the same") == 0
        cloud.close()
    cloud = HologramCloud(key, outbox=tmp_path / "outbox.db")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"hello")
    eventually(lambda: cloud.popReceivedMessage() == "hello")
    cloud.close()
