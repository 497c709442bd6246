"""The SDK's published examples have counterparts here, and they work."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Keeper, eventually, free_port
from tests.harness.modem import SimModem
from tests.sdk.scripts import Scripts
from tests.sim.harness import Running, running

EXAMPLES = Path(__file__).parent / "examples"
KEY = "abcd1234"


def example(scripts: Scripts, name: str) -> Path:
    """Return a copy of an example: its outbox is not to lie beside the original."""
    return scripts.write((EXAMPLES / f"{name}.py").read_text(), name)


@pytest.fixture
def sim(scripts: Scripts) -> Iterator[Running]:
    """The cloud of the scripts."""
    with running(totp=("8944500000000000001", "234500000000001")) as cloud:
        scripts.cloud(cloud.cloud.port)
        yield cloud


def arrived(sim: Running) -> list[tuple[str, str, tuple[str, ...]]]:
    requests = (record.request for record in sim.records)
    return [(each.form, (each.data or b"").decode(), each.topics) for each in requests]


@pytest.fixture
def modem(keeper: Keeper, tmp_path: Path, scripts: Scripts) -> SimModem:
    modem = SimModem(keeper, tmp_path / "modem", "nova-u201")
    modem.start("--registration", "0.1", "--sim-delay", "0.1")
    scripts.modem(modem.at)
    return modem


def test_message(scripts: Scripts, sim: Running) -> None:
    """A message with topics, and what the cloud says of it."""
    done = scripts.run(example(scripts, "message"), KEY)
    assert done.stdout.splitlines() == [
        "Hologram SDK version: 0.10.3",
        "Cloud type: HologramCloud",
        "Network type: Network Agnostic Mode",
        "RESPONSE CODE FROM CLOUD: 0",
        "RESPONSE MESSAGE: Message sent successfully",
    ]
    assert arrived(sim) == [("json", "Hello, Python!", ("TWO-MORE-TIMES", "TOPIC-TOPIC"))]


def test_totp(scripts: Scripts, sim: Running) -> None:
    """The same, signed."""
    done = scripts.run(example(scripts, "totp"), "8944500000000000001", "234500000000001")
    assert done.stdout == "RESPONSE MESSAGE: Message sent successfully\n"
    assert arrived(sim) == [("totp", "Hello, Python!", ("a", "b"))]


def test_sms(scripts: Scripts, sim: Running) -> None:
    """An SMS by the cloud."""
    done = scripts.run(example(scripts, "sms"), KEY, "+15551234567")
    assert done.stdout == "RESPONSE MESSAGE: Message sent successfully\n"
    assert arrived(sim) == [("sms", "Hello, Python!", ())]


def test_periodic(scripts: Scripts, sim: Running) -> None:
    """Messages at an interval until they are stopped."""
    done = scripts.run(example(scripts, "periodic"), KEY)
    assert done.stdout.splitlines()[1:] == ["running: True", "running: False"]
    assert arrived(sim) == [("json", "This is a periodic message", ("PERIODIC-MESSAGES",))] * 2


def test_receive(scripts: Scripts) -> None:
    """A message that comes in is told and taken."""
    port = free_port()
    script = scripts.start(example(scripts, "receive"), "127.0.0.1", str(port))
    eventually(lambda: "Send your messages now!" in script.said())
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"hello")
    assert script.wait() == 0
    assert script.said().splitlines()[1:] == [
        "A message has been received!",
        "DATA RECEIVED: hello",
        "and then: None",
    ]


def test_signal(scripts: Scripts, modem: SimModem) -> None:
    """The modem's signal, a few times."""
    modem.tell("signal", rssi=20, ber=1)
    done = scripts.run(example(scripts, "signal_strength"))
    assert done.stdout.splitlines() == [
        *["Signal strength: 20,1"] * 3,
        "Average RSSI over 3 samples: 20.0",
        "Average quality over 3 samples: 1.0",
    ]


def test_receive_sms(scripts: Scripts, modem: SimModem) -> None:
    """A text over the air."""
    script = scripts.start(example(scripts, "receive_sms"))
    eventually(lambda: "waiting" in script.said(), 20)
    modem.tell("sms", from_="+15551234567", text="hi there", at="2026-01-02T03:04:05Z")
    assert script.wait(30) == 0
    assert script.said().splitlines()[1:] == [
        "sender: 15551234567",
        "2026-01-02 03:04:05",
        "message: hi there",
    ]


def test_buffered(scripts: Scripts, sim: Running) -> None:
    """Messages while the network is down; all are there when it is back."""
    done = scripts.run(example(scripts, "buffered"), KEY)
    assert done.stdout == "DATA RECEIVED: \n" * 3 + "Testing complete.\n"
    topics = ("TWO-MORE-TIMES", "TOPIC-TOPIC")
    assert arrived(sim) == [("json", text, topics) for text in ("one!", "two!", "three!")]


def test_custom_events(scripts: Scripts) -> None:
    """A host of one's own, and handlers that come and go."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                got.append(connection.recv(100))
                connection.sendall(b"fine")

        thread = threading.Thread(target=serve)
        thread.start()
        done = scripts.run(example(scripts, "custom_events"), "127.0.0.1", str(listener.getsockname()[1]))
        thread.join(10)
    assert got == [b"Hello, Python!"]
    assert done.stdout == "Hello, it's me 2\nDATA RECEIVED: fine\n"
