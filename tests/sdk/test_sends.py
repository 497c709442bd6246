"""What a send returns, keeps and tells."""

import logging
import pickle
import socket
import threading
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from bridge.sdk import (
    AuthenticationError,
    CustomCloud,
    HologramCloud,
    HologramError,
    Response,
)
from bridge.sdk.engine.outbox_service import GRACE
from tests.harness import eventually, free_port
from tests.sdk.conftest import Make
from tests.sim.harness import Running, running

DESCRIPTIONS = {
    0: "The message has been sent successfully.",
    1: "Connection was closed so we couldn't read the whole message.",
    2: "Failed to parse the message.",
    3: "Auth section of the message was invalid.",
    4: "Payload type was invalid.",
    5: "Protocol type was invalid.",
}


@pytest.mark.parametrize("code", range(9))
def test_each_code_is_returned_with_its_description(hologram: Make, code: int) -> None:
    """Whatever the cloud answers is returned: the documented description, which equals the code."""
    with running(*([f"code{code}:1"] if code else [])) as sim:
        cloud = hologram(sim.cloud.port)
        response = cloud.sendMessage("hi", timeout=3)
    assert response == code
    assert int(response) == code
    assert response == DESCRIPTIONS.get(code, response)
    assert str(response)
    assert cloud.getResultString(response) == cloud.getResultString(code) != "Unknown response code"
    assert cloud.resultWasSuccess(response) is cloud.resultWasSuccess(code) is (code == 0)
    assert not response.kept


class Seen(NamedTuple):
    """A request as the cloud read it."""

    form: str
    data: str
    topics: list[str]
    to: str | None


def seen(sim: Running) -> list[Seen]:
    """Return every request so far."""
    requests = (record.request for record in sim.records)
    return [Seen(each.form, (each.data or b"").decode(), list(each.topics), each.to) for each in requests]


def test_unknown_codes_have_words_too(hologram: Make) -> None:
    """As the released SDK says them."""
    cloud = hologram(1)
    assert cloud.getResultString(77) == cloud.getResultString("x") == "Unknown response code"
    assert cloud.getResultString(-1) == "Unknown error"
    assert cloud.getResultString(0) == "Message sent successfully"
    assert not cloud.resultWasSuccess(-1)
    assert not cloud.resultWasSuccess("")


def test_a_message_that_the_cloud_judged_is_not_sent_again(hologram: Make) -> None:
    """The caller hears the code and decides: a refused message is not kept, whatever the code."""
    with running("code6:1") as sim:
        cloud = hologram(sim.cloud.port)
        assert cloud.sendMessage("x", timeout=3) == 6
        assert cloud._post().waiting == 0
        assert len(sim.records) == 1


@pytest.mark.parametrize(
    ("credentials", "options"),
    [
        ({"devicekey": "abcd1234"}, {}),
        ({"cloud_id": "1d3g", "cloud_key": "5a7b"}, {}),
        ({"device_id": "8944500000000000001", "private_key": "234500000000001"}, {}),
        (
            {"device_id": "8944500000000000001", "private_key": "234500000000001"},
            {"authentication_type": "totp"},
        ),
    ],
)
def test_every_kind_of_credentials_is_accepted(
    sim: Running, hologram: Make, credentials: dict[str, str], options: dict[str, str]
) -> None:
    """Device key, cloud id and key, and TOTP, each by what the dictionary holds."""
    assert hologram(sim.cloud.port, credentials, **options).sendMessage("hi", topics=["a"]) == 0
    assert [(record.data, record.topics) for record in seen(sim)] == [("hi", ["a"])]


@pytest.mark.parametrize(
    ("credentials", "says"),
    [
        ({}, "devicekey"),
        ({"devicekey": "short"}, "8 characters"),
        ({"cloud_id": "abcd"}, "4 characters"),
        ({"device_id": "1"}, "device id or private key"),
        ({"user": "x"}, "credentials"),
    ],
)
def test_credentials_that_cannot_serve_are_an_error(
    hologram: Make, credentials: dict[str, str], says: str
) -> None:
    """Said before anything is kept or sent, without the secret."""
    with pytest.raises(AuthenticationError, match=says):
        hologram(1, credentials).sendMessage("hi")


def test_an_unknown_authentication_type_is_an_error(hologram: Make) -> None:
    """By the constructor and by `setAuthenticationType`."""
    with pytest.raises(HologramError, match="sim-otp"):
        hologram(1, {}, authentication_type="sim-otp")
    with pytest.raises(HologramError, match="magic"):
        hologram(1).setAuthenticationType({}, "magic")


def test_credentials_may_change(sim: Running, hologram: Make) -> None:
    """A message goes with the credentials of its moment; what they are is the script's to set."""
    cloud = hologram(sim.cloud.port, {"devicekey": "wrong123"})
    assert cloud.sendMessage("one") == 3
    cloud.credentials = {"devicekey": "abcd1234"}
    assert cloud.sendMessage("two") == 0
    cloud.setAuthenticationType(
        {"device_id": "8944500000000000001", "private_key": "234500000000001"}, "totp"
    )
    assert cloud.sendMessage("three") == 0
    assert [record.form for record in seen(sim)] == ["json", "json", "totp"]


@pytest.mark.parametrize(
    ("message", "arrives"),
    [
        ("línea ✓", ("línea ✓", None, [])),
        (b"as Python 2 had it", ("as Python 2 had it", None, [])),
        (bytearray(b"bytes"), ("bytes", None, [])),
        ("", ("", None, [])),
        (b"\xff\x00", ("/wA=", None, ["base64"])),
    ],
)
def test_text_and_bytes_arrive(
    sim: Running, hologram: Make, message: object, arrives: tuple[str, None, list[str]]
) -> None:
    """Str and bytes are both text, as in Python 2; other bytes go as base64 under their topic."""
    assert hologram(sim.cloud.port).sendMessage(message) == 0
    (record,) = seen(sim)
    assert (record.data, None, record.topics) == arrives


@pytest.mark.parametrize("message", [21.5, None, ["x"], {"a": 1}])
def test_what_is_no_text_is_answered_as_the_cloud_does(sim: Running, hologram: Make, message: object) -> None:
    """Payload type invalid, without a request."""
    assert hologram(sim.cloud.port).sendMessage(message) == 4
    assert not sim.records


def test_topics_go_unchecked(sim: Running, hologram: Make) -> None:
    """The cloud's answer decides about them; one may be given as a string."""
    cloud = hologram(sim.cloud.port)
    assert cloud.sendMessage("hi there!", topics=["TOPIC 1", "TOPIC 2"]) == 8
    assert cloud.sendMessage("hi", topics="alone") == 0
    assert cloud.sendMessage("hi", topics=("a", "b")) == 0
    assert [record.topics for record in seen(sim)] == [["TOPIC 1", "TOPIC 2"], ["alone"], ["a", "b"]]


def test_timeout_is_the_silence_allowed(hologram: Make) -> None:
    """A cloud that never answers holds a call for the timeout, and the message is kept."""
    with running("silent:1") as sim:
        cloud = hologram(sim.cloud.port)
        response = cloud.sendMessage("x", timeout=0.3)
    assert response == ""
    assert response.kept
    assert "silence" in response.reason
    assert cloud._post().waiting == 1


@pytest.mark.parametrize("timeout", [0, -1, None])
def test_a_timeout_that_is_none_is_an_error(hologram: Make, timeout: float) -> None:
    """Seconds above 0 are allowed."""
    with pytest.raises(HologramError, match="timeout"):
        hologram(1).sendMessage("x", timeout=timeout)


def test_what_cannot_be_sent_is_kept_and_sent_once(hologram: Make) -> None:
    """No connection: an empty response, and the message goes with the next that works, in order, once."""
    port = free_port()
    cloud = hologram(port)
    for number in range(3):
        response = cloud.sendMessage(f"kept {number}", topics=["a", "b"])
        assert (response, response.kept, response.code) == ("", True, None)
        assert cloud.getResultString(response).endswith("the network is back")
        assert not cloud.resultWasSuccess(response)
    with running() as sim:
        cloud.send_port = sim.cloud.port
        assert cloud.sendMessage("last", topics=["a", "b"]) == 0
        eventually(lambda: cloud._post().waiting == 0)
        assert cloud.sendMessage("more") == 0
        found = [(record.data, record.topics) for record in seen(sim)]
    assert found == [(data, ["a", "b"]) for data in ("kept 0", "kept 1", "kept 2", "last")] + [("more", [])]


def test_what_is_kept_survives_the_object(hologram: Make, sim: Running) -> None:
    """A cloud that is made anew on the same outbox sends what an earlier one left, without being asked."""
    first = hologram(free_port())
    first.sendMessage("from before", topics=["t"])
    first.close()
    cloud = hologram(sim.cloud.port)
    eventually(lambda: [record.data for record in seen(sim)] == ["from before"])
    assert cloud.sendMessage("now") == 0


def test_the_network_events_hold_and_release(hologram: Make, sim: Running) -> None:
    """``network.disconnected`` keeps messages; ``network.connected`` sends them before it returns."""
    cloud = hologram(sim.cloud.port)
    cloud.event.broadcast("network.disconnected")
    assert not cloud.is_ready_to_send()
    for text in ("one!", "two!", "three!"):
        assert cloud.sendMessage(text, topics=["A", "B"]) == ""
    assert not sim.records
    cloud.event.broadcast("network.connected")
    assert [(record.data, record.topics) for record in seen(sim)] == [
        (text, ["A", "B"]) for text in ("one!", "two!", "three!")
    ]


def test_kept_texts_go_once_too(hologram: Make, sim: Running) -> None:
    """An SMS that is held goes when the network is back, once."""
    cloud = hologram(sim.cloud.port)
    cloud.event.broadcast("network.disconnected")
    assert cloud.sendSMS("+11234567890", "later").kept
    cloud.event.broadcast("network.connected")
    assert [(record.form, record.to, record.data) for record in seen(sim)] == [
        ("sms", "+11234567890", "later")
    ]


def test_an_sms_without_a_clear_answer_is_not_sent_again(hologram: Make) -> None:
    """A second one costs: the outcome is unknown, and final."""
    with running("close:1") as sim:
        cloud = hologram(sim.cloud.port)
        response = cloud.sendSMS("+11234567890", "hi")
        assert response == -1
        assert not response.kept
        assert cloud._post().waiting == 0
        assert len(sim.records) == 1


@pytest.mark.parametrize(
    ("number", "text", "says"),
    [
        ("11234567890", "x", "'\\+' sign"),
        ("+1 23", "x", "digits"),
        ("+11234567890", "x" * 161, "160"),
        ("+11234567890", "", "text"),
        ("+11234567890", "a\n\nb", "line ends"),
    ],
)
def test_an_sms_that_can_never_be_sent_is_an_error(hologram: Make, number: str, text: str, says: str) -> None:
    """Said at once, and nothing is kept."""
    with pytest.raises(HologramError, match=says):
        hologram(1).sendSMS(number, text)


def test_totp_cannot_send_sms(hologram: Make) -> None:
    """As the released SDK says it."""
    cloud = hologram(1, {"device_id": "1", "private_key": "2"})
    with pytest.raises(HologramError, match="totp does not support SDK SMS features"):
        cloud.sendSMS("+11234567890", "x")


def test_an_sms_arrives(hologram: Make, sim: Running) -> None:
    """Number and text as given, and its event is told."""
    cloud = hologram(sim.cloud.port)
    told: list[str] = []
    cloud.event.subscribe("message.sent", lambda: told.append("sent"))
    assert cloud.sendSMS("+11234567890", "Hello, Python!") == 0
    assert [(record.form, record.to, record.data) for record in seen(sim)] == [
        ("sms", "+11234567890", "Hello, Python!")
    ]
    assert told == ["sent"]


def test_events_come_in_order_in_the_thread_that_sends(hologram: Make, sim: Running) -> None:
    """Connected, closed, sent; none of them for a message that was not sent."""
    cloud = hologram(sim.cloud.port)
    told: list[tuple[str, bool]] = []
    here = threading.current_thread()
    for name in ("socket.connected", "socket.closed", "message.sent"):
        cloud.event.subscribe(name, lambda name=name: told.append((name, threading.current_thread() is here)))
    cloud.sendMessage("x")
    assert told == [("socket.connected", True), ("socket.closed", True), ("message.sent", True)]
    told.clear()
    cloud.credentials = {"devicekey": "wrong123"}
    cloud.sendMessage("x")
    assert [name for name, _ in told] == ["socket.connected", "socket.closed"]


def test_a_handler_may_send(hologram: Make, sim: Running) -> None:
    """From an event of a call, and from one of the background."""
    cloud = hologram(sim.cloud.port)
    done = threading.Event()

    def again() -> None:
        cloud.event.unsubscribe("message.sent", again)
        assert cloud.sendMessage("from the handler") == 0
        done.set()

    cloud.event.subscribe("message.sent", again)
    assert cloud.sendMessage("first") == 0
    assert done.is_set()
    assert [record.data for record in seen(sim)] == ["first", "from the handler"]


def test_threads_may_send_at_once(hologram: Make, sim: Running) -> None:
    """Each call gets the outcome of its own message."""
    cloud = hologram(sim.cloud.port)
    results: dict[int, Response] = {}

    def send(number: int) -> None:
        topic = "fine" if number % 2 else "not fine"
        results[number] = cloud.sendMessage(str(number), topics=[topic])

    threads = [threading.Thread(target=send, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {number: int(result) for number, result in results.items()} == {
        number: 0 if number % 2 else 8 for number in range(16)
    }


def test_two_devices_in_one_script(hologram: Make, sim: Running) -> None:
    """Each cloud's messages go with its own credentials, kept ones too."""
    one = hologram(sim.cloud.port)
    two = hologram(sim.cloud.port, {"cloud_id": "1d3g", "cloud_key": "5a7b"})
    wrong = hologram(sim.cloud.port, {"devicekey": "wrong123"})
    two.event.broadcast("network.disconnected")
    assert two.sendMessage("two").kept
    assert one.sendMessage("one") == 0
    assert wrong.sendMessage("wrong") == 3
    assert [record.data for record in seen(sim)] == ["one", "wrong"]
    two.event.broadcast("network.connected")
    assert [(record.request.data, record.accepted) for record in sim.records] == [
        (b"one", True),
        (b"wrong", False),
        (b"two", True),
    ]


def test_the_log_has_the_documented_form(
    hologram: Make, sim: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """``INFO:<class>:<message>``, without the message itself or a secret."""
    caplog.set_level(logging.INFO)
    cloud = hologram(sim.cloud.port)
    cloud.event.broadcast("network.disconnected")
    cloud.sendMessage("secret text")
    cloud.event.broadcast("network.connected")
    cloud.sendMessage("secret text")
    lines = [f"{record.levelname}:{record.name}:{record.getMessage()}" for record in caplog.records]
    assert "INFO:CustomCloud:Connecting to 127.0.0.1" in lines
    eventually(
        lambda: any(
            path.getMessage() == "A buffered message has been sent since an active connection is established"
            and path.name == "HologramCloud"
            for path in caplog.records
        )
    )
    assert not [path for path in lines if "secret text" in path or "abcd1234" in path]


# -- a host of one's own ---------------------------------------------------------------------------------


class Peer:
    """A host that reads a connection's bytes and answers ``answer``; closing after it if ``close``."""

    def __init__(self, answer: bytes = b"", *, close: bool = True) -> None:
        self.got: list[bytes] = []
        self._answer, self._close = answer, close
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        """Ends when the listener is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            self.got.append(connection.recv(65536))
            connection.sendall(self._answer)
            if self._close:
                connection.close()

    def stop(self) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()


def test_a_host_of_ones_own_gets_the_bytes_and_its_answer_is_returned(custom: Make) -> None:
    """Exactly the bytes, and the answer as text with its bytes beside it."""
    peer = Peer(b"fine \xff")
    cloud = custom(send_host="127.0.0.1", send_port=str(peer.port))
    response = cloud.sendMessage("h\u00e9llo")
    assert (response, response.data, response.kept) == ("fine \\xff", b"fine \xff", False)
    assert cloud.sendMessage(b"\x00\xff", timeout=2).data == b"fine \xff"
    assert peer.got == ["h\u00e9llo".encode(), b"\x00\xff"]
    assert cloud.resultWasSuccess(response)
    assert cloud.getResultString(response) == "fine \\xff"
    peer.stop()


def test_a_host_that_stays_open_is_waited_for_as_long_as_it_says_something(custom: Make) -> None:
    """The timeout ends the answer of a host that does not close; saying nothing is fine."""
    talks, quiet = Peer(b"ok", close=False), Peer(close=False)
    told: list[str] = []
    cloud = custom(send_host="127.0.0.1", send_port=talks.port)
    cloud.event.subscribe("message.sent", lambda: told.append("sent"))
    assert cloud.sendMessage("a", timeout=0.3) == "ok"
    cloud.send_port = quiet.port
    response = cloud.sendMessage("b", timeout=0.3)
    assert response == ""
    assert not response.kept
    assert told == ["sent", "sent"]
    talks.stop()
    quiet.stop()


def test_a_host_that_is_away_gets_its_messages_later(custom: Make) -> None:
    """Kept, and sent when it is back; whoever breaks off in the middle has not got it."""
    port = free_port()
    cloud = custom(send_host="127.0.0.1", send_port=port)
    assert cloud.sendMessage("one").kept
    assert cloud.sendMessage("two").kept
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(20)
        cloud.event.broadcast("network.disconnected")
        threading.Thread(target=cloud.event.broadcast, args=("network.connected",)).start()
        while len(got) < 2:
            connection, _ = listener.accept()
            with connection:
                got.append(connection.recv(100))
        eventually(lambda: cloud._post().waiting == 0)
    assert got == [b"one", b"two"]


def test_hosts_and_ports_that_are_missing_are_errors(custom: Make) -> None:
    """For sending, for receiving, and in the constructor."""
    for options in ({}, {"send_host": "127.0.0.1"}, {"send_port": 1}):
        with pytest.raises(HologramError, match="Send host and port must be set"):
            custom(**options).sendMessage("x")
    for options in ({}, {"receive_host": "127.0.0.1"}, {"receive_port": 1}):
        with pytest.raises(HologramError, match="Receive host and port must be set"):
            custom(**options).openReceiveSocket()
    with pytest.raises(HologramError, match="Must set receive host and port for inbound connection"):
        custom(enable_inbound=True)
    with pytest.raises(HologramError, match="str or bytes"):
        custom(send_host="127.0.0.1", send_port=1).sendMessage(7)
    with pytest.raises(NotImplementedError, match="Cannot send SMS via custom cloud"):
        custom().sendSMS("+11234567890", "x")
    for wrong in ("x", -1, 65536):
        with pytest.raises(ValueError, match="port"):
            custom(send_port=wrong)


# -- the outbox ------------------------------------------------------------------------------------------


def test_the_outbox_is_named_by_the_script(tmp_path: Path) -> None:
    """Nothing is written until there is something to keep, and then where the caller says."""
    path = tmp_path / "here" / "mine.db"
    cloud = CustomCloud(None, send_host="127.0.0.1", send_port=free_port(), outbox=path)
    assert not path.parent.exists()
    cloud.sendMessage("x")
    assert path.exists()
    cloud.close()


def test_an_outbox_that_cannot_be_had_is_an_error(tmp_path: Path) -> None:
    """It names the file and what to do."""
    (tmp_path / "file").touch()
    cloud = HologramCloud({"devicekey": "abcd1234"}, enable_inbound=False, outbox=tmp_path / "file" / "x.db")
    with pytest.raises(HologramError, match="outbox=") as error:
        cloud.sendMessage("x")
    assert str(tmp_path) in str(error.value)


def test_one_cloud_may_end_before_another(hologram: Make, sim: Running) -> None:
    """Two share an outbox: the one that is left sends on, and one that was closed opens it again."""
    one, two = hologram(sim.cloud.port), hologram(sim.cloud.port)
    assert one.sendMessage("a") == two.sendMessage("b") == 0
    one.close()
    assert two.sendMessage("c") == 0
    assert one.sendMessage("d") == 0
    two.close()
    one.close()
    assert one.sendMessage("e") == 0
    assert [record.data for record in seen(sim)] == ["a", "b", "c", "d", "e"]


def test_refused_credentials_hold_what_is_kept(hologram: Make, sim: Running) -> None:
    """Kept messages are not lost to a wrong key: the call says so, and a right key delivers them all."""
    cloud = hologram(sim.cloud.port, {"devicekey": "wrong123"})
    cloud.event.broadcast("network.disconnected")
    cloud.sendMessage("kept")
    cloud.event.broadcast("network.connected")
    response = cloud.sendMessage("another", topics=["t"])
    assert response == 3
    cloud.credentials = {"devicekey": "abcd1234"}
    assert cloud.sendMessage("last") == 0
    eventually(lambda: cloud._post().waiting == 0)
    accepted = [record.request.data for record in sim.records if record.accepted]
    assert {b"kept", b"last"} <= set(accepted)
    assert len(accepted) == len(set(accepted))


def test_a_damaged_outbox_is_repaired(tmp_path: Path, hologram: Make, sim: Running) -> None:
    """What can be read of it is kept, and the script goes on."""
    (tmp_path / "outbox.db").write_bytes(b"this is no database" * 1000)
    assert hologram(sim.cloud.port).sendMessage("x") == 0
    assert list(tmp_path.glob("outbox.db.damaged-*"))


def test_an_outbox_that_is_closed_at_once_stops_no_other(tmp_path: Path, sim: Running) -> None:
    """A cloud that finds what an earlier one has left, and is let go of before it has begun with that."""
    key = {"devicekey": "abcd1234"}

    def cloud(name: str) -> HologramCloud:
        made = HologramCloud(key, enable_inbound=False, outbox=tmp_path / name)
        made.send_host, made.send_port = "127.0.0.1", sim.cloud.port
        return made

    first = cloud("one.db")
    assert first.sendMessage("x") == 0
    first.close()
    cloud("one.db").close()
    other = cloud("other.db")
    until = time.monotonic() + 2 * GRACE
    while time.monotonic() < until:
        assert other.sendMessage("goes on") == 0
    other.close()


def test_a_response_is_its_text_and_its_code() -> None:
    """It is compared, shown, formatted and pickled as either."""
    response = Response("fine", code=0, data=b"fine")
    assert response == "fine" == response
    assert response == 0
    assert response != 1
    assert response != "other"
    assert response in (0, 1)
    assert "%d" % response == "0"  # noqa: UP031  # as scripts write it
    assert f"{response}!" == "fine!"
    assert {0: "found"}[response] == "found"  # type: ignore[index]  # a table of codes finds it
    again = pickle.loads(pickle.dumps(response))
    assert (again, again.code, again.data) == ("fine", 0, b"fine")
    assert int(Response("")) == -1


def test_periodic_messages(hologram: Make, sim: Running) -> None:
    """One job at a time, no faster than a second; a refusal ends it, a message that is kept does not."""
    cloud = hologram(sim.cloud.port)
    with pytest.raises(HologramError, match="less than 1 seconds"):
        cloud.sendPeriodicMessage(0.5, "x")
    cloud.stopPeriodicMessage()
    cloud.sendPeriodicMessage(1, "refused", topics=["not allowed"])
    eventually(lambda: not cloud.periodicMessageRunning())
    cloud.event.broadcast("network.disconnected")
    cloud.sendPeriodicMessage(1, "kept")
    with pytest.raises(HologramError, match="more than 1 periodic"):
        cloud.sendPeriodicMessage(1, "y")
    eventually(lambda: cloud._post().waiting == 2, what="it goes on while messages are kept")
    assert cloud.periodicMessageRunning()
    cloud.stopPeriodicMessage()
    assert not cloud.periodicMessageRunning()
