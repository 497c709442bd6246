"""Payloads, topics and JSON of every kind: each arrives exactly, or gets a result that names the field."""

import base64
import json

import pytest

from tests.harness import BridgeProcess, Client, Cloud

PAYLOADS = {
    "empty": b"",
    "nul": b"a\0b\0",
    "quotes": b"he said \"no\", \\ and 'yes'",
    "newlines": b"one\n\ntwo\r\n\r\nthree\n",
    "controls": bytes(range(32)) + b"\x7f",
    "unicode": "žluťoučký 🐎 \u2028 \ufeff".encode(),
    "json": b'{"k":"x","d":"y"}\n\n{"k":"z"}',
    "looks-like-an-answer": b"[0,0]",
    "spaces": b"  \t ",
}

NOT_TEXT = {"invalid": b"\xff\xfe\x00\x80", "half": b"ok \xc3", "surrogate": b"\xed\xa0\x80"}


def test_every_payload_arrives_exactly(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Text of every kind arrives byte by byte; what is no text arrives as base64 with its extra topic."""
    cloud.start()
    bridge.start()
    for name, payload in (PAYLOADS | NOT_TEXT).items():
        client.publish(f"hologram/out/{name}", payload, user={"id": name})
    for name in PAYLOADS | NOT_TEXT:
        assert client.wait_result(name)["state"] == "delivered", name
    arrived = {each.topics: each.payload for each in cloud.accepted}
    for name, payload in PAYLOADS.items():
        assert arrived[name,] == payload
    for name, payload in NOT_TEXT.items():
        assert base64.b64decode(arrived[name, "base64"], validate=True) == payload


def test_a_megabyte_arrives_exactly(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """As text and as bytes that are none; the bytes that it cost are counted."""
    cloud.start()
    bridge.start()
    text, raw = b"0123456789abcdef" * 65536, bytes(range(256)) * 4096
    client.publish("hologram/out/text", text, user={"id": "text"})
    client.publish("hologram/out/raw", raw, user={"id": "raw"})
    for name in ("text", "raw"):
        result = client.wait_result(name, 20)
        assert (result["state"], result["attempts"]) == ("delivered", 1)
        assert result["bytes_up"] > 1 << 20
    arrived = {each.topics: each.payload for each in cloud.accepted}
    assert arrived.keys() == {("text",), ("raw", "base64")}
    assert arrived["text",] == text
    assert base64.b64decode(arrived["raw", "base64"]) == raw


TOPICS = [
    "x" * 32,
    "x" * 4000,
    "with space",
    "$SYS/x",
    "a/$b",
    "café",
    "日本",
    "/lead",
    "trail/",
    "mid//dle",
    "/",
    "",
    "a.b",
]


@pytest.mark.parametrize("how", ["out", "send"])
def test_topics_that_the_cloud_does_not_take_are_named(
    bridge: BridgeProcess, cloud: Cloud, client: Client, how: str
) -> None:
    """Each gets a ``rejected`` result that names the field; none is sent; those within the rules are."""
    cloud.start()
    bridge.start()
    topics = (
        TOPICS if how == "out" else [*TOPICS, "a/+", "#", "a/#", "a\0b", "tab\tbed"]
    )  # no client may publish to those
    for number, topic in enumerate(topics):
        if how == "out":
            client.publish(f"hologram/out/{topic}", b"x", user={"id": f"bad{number}"})
        else:
            client.send({"data": "x", "topics": ["good", topic], "id": f"bad{number}"})
    for number, topic in enumerate(topics):
        result = client.wait_result(f"bad{number}")
        assert result["state"] == "rejected", topic
        assert result["code"] is None
        assert result["description"].startswith("topic" if how == "out" else "topics"), topic
        assert len(result["description"]) < 1000
    client.wait_for(lambda: len(client.events("message.rejected")) == len(topics))
    for topic in ("x" * 31, "A-z_0/9"):
        client.publish(f"hologram/out/{topic}", b"fine", user={"id": topic})
        assert client.wait_result(topic)["state"] == "delivered"
    assert [each.topics for each in cloud.arrived] == [("x" * 31,), ("A-z_0/9",)]


SENDS = {
    "no-object": (b"[1]", "payload"),
    "empty": (b"", "payload"),
    "text": (b"hello", "payload"),
    "cut": (b'{"data": "x"', "payload"),
    "not-utf8": (b'{"data": "\xff"}', "payload"),
    "deep": (b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "payload"),
    "deep-object": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "payload"),
    "many-digits": (b'{"data": ' + b"9" * 10_000 + b"}", "payload"),
    "nan": (b'{"data": NaN}', "payload"),
    "huge": (b'{"data": 1e999}', "data"),
    "number": (b'{"data": 1}', "data"),
    "null": (b'{"data": null}', "data"),
    "half-surrogate": (b'{"data": "\\ud800"}', "data"),
    "nothing": (b"{}", "data"),
    "both": (b'{"data": "a", "data_base64": "YQ=="}', "data"),
    "base64": (b'{"data_base64": "?"}', "data_base64"),
    "base64-padding": (b'{"data_base64": "YQ"}', "data_base64"),
    "topics-string": (b'{"data": "a", "topics": "x"}', "topics"),
    "topics-number": (b'{"data": "a", "topics": [1]}', "topics"),
    "topics-surrogate": (b'{"data": "a", "topics": ["\\udfff"]}', "topics"),
    "unknown": (b'{"data": "a", "prio": "high"}', "prio"),
    "priority": (b'{"data": "a", "priority": 1}', "priority"),
    "priority-list": (b'{"data": "a", "priority": ["high"]}', "priority"),
    "expires-huge": (b'{"data": "a", "expires": 1e999}', "expires"),
    "expires-large": (b'{"data": "a", "expires": 1e308}', "expires"),
    "expires-digits": (b'{"data": "a", "expires": "' + b"9" * 400 + b'd"}', "expires"),
    "expires-negative": (b'{"data": "a", "expires": "-1s"}', "expires"),
    "expires-word": (b'{"data": "a", "expires": "soon"}', "expires"),
    "id-number": (b'{"data": "a", "id": 1}', "id"),
    "id-empty": (b'{"data": "a", "id": ""}', "id"),
    "id-long": (b'{"data": "a", "id": "' + b"x" * 129 + b'"}', "id"),
    "id-surrogate": (b'{"data": "a", "id": "\\ud800"}', "id"),
    "id-newline": (b'{"data": "a", "id": "a\\nb"}', "id"),
}


def test_json_that_is_wrong_is_named(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Each wrong command to ``hologram/send`` gets one ``rejected`` result that names its field."""
    cloud.start()
    bridge.start()
    for payload, _field in SENDS.values():
        client.publish("hologram/send", payload)
    client.wait_for(lambda: len(client.results()) >= len(SENDS), what="a result each")
    assert len(client.results()) == len(SENDS)
    for (name, (_payload, field)), result in zip(SENDS.items(), client.results(), strict=True):
        assert result["state"] == "rejected", name
        assert result["description"].startswith(f"{field}:"), (name, result["description"])
        assert len(result["description"]) < 1000
    client.send({"data": "still here", "id": "after"})
    assert client.wait_result("after")["state"] == "delivered"
    assert cloud.payloads() == [b"still here"]


SMS: dict[str, tuple[dict[str, object], str]] = {
    "to-missing": ({"body": "x"}, "to"),
    "to-number": ({"to": 15551234567, "body": "x"}, "to"),
    "to-plain": ({"to": "15551234567", "body": "x"}, "to"),
    "to-digits": ({"to": "+1\u0665551234567", "body": "x"}, "to"),
    "body-missing": ({"to": "+15551234567"}, "body"),
    "body-long": ({"to": "+15551234567", "body": "x" * 161}, "body"),
    "body-lines": ({"to": "+15551234567", "body": "a\n\nb"}, "body"),
    "via": ({"to": "+15551234567", "body": "x", "via": "pigeon"}, "via"),
}


def test_an_sms_that_is_wrong_is_named(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Numbers, texts and ways that cannot be: ``rejected`` with the field, nothing is sent."""
    cloud.start()
    bridge.start()
    for name, (command, _field) in SMS.items():
        client.publish("hologram/sms", json.dumps({**command, "id": name}))
    client.publish("hologram/sms/abc", b"x", user={"id": "digits"})
    client.publish("hologram/sms/15551234567", b"\xff", user={"id": "bytes"})
    expected = {name: field for name, (_command, field) in SMS.items()} | {"digits": "to", "bytes": "payload"}
    for name, field in expected.items():
        result = client.wait_result(name)
        assert (result["state"], result["channel"]) == ("rejected", "sms")
        assert result["description"].startswith(f"{field}:"), (name, result["description"])
    assert cloud.arrived == []


@pytest.mark.parametrize(
    ("topic", "payload", "field"),
    [
        ("queue/set", b"", "command"),
        ("queue/set", b"explode", "command"),
        ("queue/set", b'{"command": "pause", "timeout": 1}', "timeout"),
        ("queue/set", b'{"command": ["pause"]}', "command"),
        ("queue/set", b'{"command": "pause", "id": 7}', "id"),
        ("queue/set", b'{"command"', "payload"),
        ("queue/set", b'{"a":' * 50_000, "payload"),
        ("network/set", b"\xff\xff", "command"),
        ("network/set", b'{"command": "connect", "timeout": 1e999}', "timeout"),
        ("network/set", b'{"command": "connect", "timeout": true}', "timeout"),
    ],
)
def test_a_control_command_that_is_wrong_is_named(
    bridge: BridgeProcess, client: Client, topic: str, payload: bytes, field: str
) -> None:
    """It ends as ``rejected`` on its own channel, names the field, and changes nothing."""
    bridge.start()
    client.publish(f"hologram/{topic}", payload)
    result = client.wait_for(client.results)[0]
    assert (result["state"], result["channel"]) == ("rejected", topic.split("/", maxsplit=1)[0])
    assert result["description"].startswith(f"{field}:")
    assert client.health()["queue"]["paused"] is False
