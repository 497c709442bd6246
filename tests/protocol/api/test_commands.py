"""What users publish, read into values; every mistake names its field."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.delivery import Properties
from bridge.core.messages import Channel, Priority, Reply
from bridge.core.units import MAX_DURATION
from bridge.errors import InvalidCommand
from bridge.protocol.api.commands import (
    LATEST,
    NETWORK_COMMANDS,
    QUEUE_COMMANDS,
    Control,
    Options,
    Send,
    Sms,
    channel_of,
    claimed_id,
    parse,
)


def user(**pairs: str) -> Properties:
    return Properties(user=tuple(pairs.items()))


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


NONE = Options()

NO_TIMES = [
    "",
    "now",
    "-1",
    "+1",
    " 1",
    "1e9",
    "nan",
    "inf",
    "\u0663",
    "1_0",
    "1.",
    "1700000000000",
    "9" * 400,
]
NO_NUMBERS: list[Any] = [-1, -0.5, True, [], {}, "", "soon", LATEST + 1, 1_700_000_000_000, 10**400]

GOOD = [
    ("out", b"", Properties(), Send((), b"", NONE)),
    ("out/a/b", b"\xff\0", Properties(), Send(("a/b",), b"\xff\0", NONE)),
    (
        "out/",
        b"",
        Properties(),
        Send(("",), b"", NONE),
    ),  # the empty level is refused where topics are checked
    ("out/a", b"x", user(topics="b,a,c"), Send(("a", "b", "c"), b"x", NONE)),
    (
        "out",
        b"x",
        user(id="7", priority="low", expires="2m"),
        Send((), b"x", Options("7", Priority.LOW, 120.0)),
    ),
    ("out", b"x", Properties(expiry=30), Send((), b"x", Options(lifetime=30.0))),
    ("out", b"x", Properties(60, user=(("expires", "2m"),)), Send((), b"x", Options(lifetime=60.0))),
    ("out", b"x", Properties(600, user=(("expires", "2m"),)), Send((), b"x", Options(lifetime=120.0))),
    (
        "out",
        b"x",
        Properties(response_topic="me/reply", correlation=b"\0\xff"),
        Send((), b"x", Options(reply=Reply("me/reply", b"\0\xff"))),
    ),
    ("send", as_json({"data": "é"}), Properties(), Send((), "é".encode(), NONE)),
    (
        "send",
        as_json({"data_base64": "/wA=", "topics": ["a", "b", "a"], "id": "é1", "priority": "high"}),
        Properties(),
        Send(("a", "b"), b"\xff\0", Options("é1", Priority.HIGH)),
    ),
    ("send", as_json({"data": "x", "id": "1"}), user(id="2"), Send((), b"x", Options("1"))),
    (
        "send",
        as_json({"data": "x", "expires": "1h"}),
        Properties(5, user=(("expires", "2m"),)),
        Send((), b"x", Options(lifetime=5.0)),
    ),
    (
        "send",
        as_json({"data": "x", "expires": "0.5s"}),
        Properties(5),
        Send((), b"x", Options(lifetime=0.5)),
    ),
    ("out/a", b"x", user(at="1700000000"), Send(("a",), b"x", NONE, 1_700_000_000)),
    ("out/a", b"x", user(at="1700000000.999"), Send(("a",), b"x", NONE, 1_700_000_000)),
    ("out/a", b"x", user(at="0"), Send(("a",), b"x", NONE, 0)),
    ("send", as_json({"data": "x", "at": 1_700_000_000}), user(at="5"), Send((), b"x", NONE, 1_700_000_000)),
    ("send", as_json({"data": "x", "at": 0.5}), Properties(), Send((), b"x", NONE, 0)),
    ("send", as_json({"data": "x", "at": "12"}), Properties(), Send((), b"x", NONE, 12)),
    ("send", as_json({"data": "x", "at": None}), Properties(), Send((), b"x", NONE)),
    ("send", as_json({"data": "x", "at": LATEST}), Properties(), Send((), b"x", NONE, LATEST)),
    (
        "sms",
        as_json({"to": "+15551234567", "body": "hi"}),
        Properties(),
        Sms("+15551234567", "hi", None, NONE),
    ),
    (
        "sms",
        as_json({"to": "+15551234567", "body": "hi", "via": "modem", "expires": 90}),
        Properties(),
        Sms("+15551234567", "hi", "modem", Options(lifetime=90.0)),
    ),
    ("sms/15551234567", "hé".encode(), user(id="x"), Sms("+15551234567", "hé", None, Options("x"))),
    ("queue/set", b" flush\n", Properties(), Control(Channel.QUEUE, "flush", None, NONE)),
    (
        "network/set",
        as_json({"command": "connect", "timeout": 122, "id": "n"}),
        Properties(),
        Control(Channel.NETWORK, "connect", 122, Options("n")),
    ),
]


@pytest.mark.parametrize(("topic", "payload", "properties", "expected"), GOOD)
def test_good_commands(topic: str, payload: bytes, properties: Properties, expected: object) -> None:
    """Each documented form is read as documented; the message's own word beats its properties."""
    command = parse(topic, payload, properties)
    if isinstance(command, Send):
        command = command._replace(in_topic=False)
    assert command == expected


def test_a_topic_is_called_what_its_publisher_calls_it() -> None:
    """The one in the MQTT topic is the topic; those in a list are the topics."""
    both = parse("out/a", b"", user(topics="b,c"))
    assert isinstance(both, Send)
    assert [both.field(place) for place in range(3)] == ["topic", "topics", "topics"]
    listed = parse("send", as_json({"data": "x", "topics": ["a"]}))
    assert isinstance(listed, Send)
    assert listed.field(0) == "topics"


def test_every_control_command_is_known() -> None:
    """Every command of the network and the queue is read, as a word and as JSON."""
    for topic, names in (("network/set", NETWORK_COMMANDS), ("queue/set", QUEUE_COMMANDS)):
        for name in names:
            for payload in (name.encode(), as_json({"command": name})):
                command = parse(topic, payload)
                assert isinstance(command, Control)
                assert command.command == name


DEEP = b"[" * 100_000
GOOD_SMS = {"to": "+15551234567", "body": "hi"}

BAD = [
    # topic, payload, properties, the field that is named
    ("send", b"", Properties(), "payload"),
    ("send", b"null", Properties(), "payload"),
    ("send", b"[]", Properties(), "payload"),
    ("send", b'"data"', Properties(), "payload"),
    ("send", b"\xff\xfe", Properties(), "payload"),
    ("send", b'{"data":"x"', Properties(), "payload"),
    ("send", b'{"data":NaN}', Properties(), "payload"),
    ("send", DEEP, Properties(), "payload"),
    ("send", b'{"data":' + DEEP, Properties(), "payload"),
    ("send", b'{"data":' + b"9" * 5000 + b"}", Properties(), "payload"),
    ("send", as_json({}), Properties(), "data"),
    ("send", as_json({"data": "x", "data_base64": "eA=="}), Properties(), "data"),
    ("send", as_json({"data": 21.5}), Properties(), "data"),
    ("send", as_json({"data": None}), Properties(), "data"),
    ("send", b'{"data":"\\ud800"}', Properties(), "data"),
    ("send", as_json({"data_base64": "eA"}), Properties(), "data_base64"),
    ("send", as_json({"data_base64": "e A=="}), Properties(), "data_base64"),
    ("send", as_json({"data_base64": "é"}), Properties(), "data_base64"),
    ("send", as_json({"data_base64": 7}), Properties(), "data_base64"),
    ("send", as_json({"data": "x", "topics": "a"}), Properties(), "topics"),
    ("send", as_json({"data": "x", "topics": [1]}), Properties(), "topics"),
    ("send", as_json({"data": "x", "topics": [["a"]]}), Properties(), "topics"),
    ("send", b'{"data":"x","topics":["\\udfff"]}', Properties(), "topics"),
    ("send", as_json({"data": "x", "id": ""}), Properties(), "id"),
    ("send", as_json({"data": "x", "id": "x" * 129}), Properties(), "id"),
    ("send", as_json({"data": "x", "id": "a\nb"}), Properties(), "id"),
    ("send", as_json({"data": "x", "id": 7}), Properties(), "id"),
    ("send", as_json({"data": "x", "priority": "urgent"}), Properties(), "priority"),
    ("send", as_json({"data": "x", "priority": ["high"]}), Properties(), "priority"),
    ("send", as_json({"data": "x", "expires": "soon"}), Properties(), "expires"),
    ("send", as_json({"data": "x", "expires": 0}), Properties(), "expires"),
    ("send", as_json({"data": "x", "expires": -1}), Properties(), "expires"),
    ("send", b'{"data":"x","expires":1e999}', Properties(), "expires"),
    ("send", as_json({"data": "x", "expires": 10**400}), Properties(), "expires"),
    ("send", as_json({"data": "x", "expires": True}), Properties(), "expires"),
    ("send", as_json({"data": "x", "expires": {}}), Properties(), "expires"),
    ("send", as_json({"data": "x", "colour": "red"}), Properties(), "colour"),
    ("send/x", as_json({"data": "x"}), Properties(), "topic"),
    ("out", b"", user(priority="HIGH"), "priority"),
    ("out", b"", user(expires=""), "expires"),
    *(("out", b"", user(at=text), "at") for text in NO_TIMES),
    *(("send", as_json({"data": "x", "at": value}), Properties(), "at") for value in NO_NUMBERS),
    ("send", b'{"data":"x","at":1e999}', Properties(), "at"),
    ("out", b"", user(id=""), "id"),
    ("out", b"", Properties(response_topic="hologram/result"), "response_topic"),
    ("out", b"", Properties(response_topic="hologram"), "response_topic"),
    ("out", b"", Properties(response_topic="a/+"), "response_topic"),
    ("out", b"", Properties(response_topic="#"), "response_topic"),
    ("out", b"", Properties(response_topic="$SYS/x"), "response_topic"),
    ("out", b"", Properties(response_topic="a\x7f"), "response_topic"),
    ("out", b"", Properties(response_topic="a\uffff"), "response_topic"),
    ("sms", b"hello", Properties(), "payload"),
    ("sms", as_json({"body": "hi"}), Properties(), "to"),
    ("sms", as_json({"to": "15551234567", "body": "hi"}), Properties(), "to"),
    ("sms", as_json({"to": "+1555 1234567", "body": "hi"}), Properties(), "to"),
    ("sms", as_json({"to": "+" + "1" * 16, "body": "hi"}), Properties(), "to"),
    ("sms", as_json({"to": "+123456", "body": "hi"}), Properties(), "to"),
    ("sms", as_json({"to": "+١٢٣٤٥٦٧٨", "body": "hi"}), Properties(), "to"),
    ("sms", as_json({"to": "+0123456789", "body": "hi"}), Properties(), "to"),  # E.164: no code begins with 0
    ("sms", as_json({"to": "+15551234567\n", "body": "hi"}), Properties(), "to"),
    ("sms", as_json({"to": ["+15551234567"], "body": "hi"}), Properties(), "to"),
    ("sms", as_json({"to": "+15551234567"}), Properties(), "body"),
    ("sms", as_json(GOOD_SMS | {"body": 7}), Properties(), "body"),
    ("sms", as_json(GOOD_SMS | {"via": "pigeon"}), Properties(), "via"),
    ("sms", as_json(GOOD_SMS | {"via": ["cloud"]}), Properties(), "via"),
    ("sms", as_json(GOOD_SMS | {"topics": []}), Properties(), "topics"),
    ("sms/", b"hi", Properties(), "to"),
    ("sms/+15551234567", b"hi", Properties(), "to"),
    ("sms/1555/1234567", b"hi", Properties(), "to"),
    ("sms/15551234567", b"\xff", Properties(), "payload"),
    ("queue/set", b"", Properties(), "command"),
    ("queue/set", b"connect", Properties(), "command"),
    ("queue/set", b"\xff", Properties(), "command"),
    ("queue/set", b"{", Properties(), "payload"),
    ("queue/set", as_json({}), Properties(), "command"),
    ("queue/set", as_json({"command": ["purge"]}), Properties(), "command"),
    ("queue/set", as_json({"command": "purge", "timeout": 5}), Properties(), "timeout"),
    ("network/set", as_json({"command": "connect", "timeout": 0}), Properties(), "timeout"),
    ("network/set", as_json({"command": "connect", "timeout": "5"}), Properties(), "timeout"),
    ("network/set", as_json({"command": "connect", "timeout": True}), Properties(), "timeout"),
    ("network/set", b'{"command":"connect","timeout":1e999}', Properties(), "timeout"),
    ("network", b"connect", Properties(), "topic"),
    ("elsewhere", b"", Properties(), "topic"),
    ("", b"", Properties(), "topic"),
]


BAD_IDS = [f"{topic or 'nothing'}-{field}-{number}" for number, (topic, _, _, field) in enumerate(BAD)]


@pytest.mark.parametrize(("topic", "payload", "properties", "field"), BAD, ids=BAD_IDS)
def test_bad_commands_name_their_field(
    topic: str, payload: bytes, properties: Properties, field: str
) -> None:
    """Each mistake is refused with one short line that begins with the name of the field at fault."""
    with pytest.raises(InvalidCommand) as caught:
        parse(topic, payload, properties)
    assert caught.value.field == field
    text = str(caught.value)
    assert text.startswith(f"{field}: ")
    assert "\n" not in text
    assert len(text) < 500


@pytest.mark.parametrize("key", ["x\nCRITICAL:bridge:forged", "x" * 100_000], ids=["forged", "long"])
def test_an_unknown_key_cannot_forge_or_flood_the_log(key: str) -> None:
    """The refusal of an unknown key stays one line of readable length, whatever the key is."""
    with pytest.raises(InvalidCommand) as caught:
        parse("send", as_json({"data": "x", key: 1}))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_the_prefix_that_response_topics_may_not_have_is_the_configured_one() -> None:
    """A bridge under another prefix guards that one; a topic that only begins alike is no part of it."""
    with pytest.raises(InvalidCommand):
        parse("out", b"", Properties(response_topic="site/box/in"), prefix="site/box")
    for topic in ("hologram/x", "site/boxes", "site"):
        command = parse("out", b"", Properties(response_topic=topic), prefix="site/box")
        assert command.options.reply == Reply(topic, None)


texts = st.text(max_size=20)
words = st.sampled_from(
    ["out", "out/", "out/a", "send", "sms", "sms/1", "sms/15551234567", "network/set", "queue/set", "", "/"]
)
keys = st.sampled_from(
    [
        "data",
        "data_base64",
        "topics",
        "id",
        "priority",
        "expires",
        "at",
        "to",
        "body",
        "via",
        "command",
        "timeout",
    ]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | texts
    | st.sampled_from(["10m", "high", "cloud"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
properties_of_any_kind = st.tuples(
    st.none() | st.integers(0, 2**32 - 1),
    st.none() | texts,
    st.none() | st.binary(max_size=10),
    st.lists(
        st.tuples(st.sampled_from(["id", "priority", "topics", "expires", "at", "x"]), texts), max_size=4
    ).map(tuple),
).map(lambda parts: Properties(*parts))


@given(
    words | texts,
    st.binary(max_size=60) | st.dictionaries(keys | texts, values, max_size=5).map(as_json),
    properties_of_any_kind,
)
def test_nothing_but_invalid_command_is_ever_raised(
    topic: str, payload: bytes, properties: Properties
) -> None:
    """Any topic, payload and properties are a command with sound options, or name a field."""
    claimed = claimed_id(topic, payload, properties)
    assert claimed is None or (0 < len(claimed) <= 128 and claimed.isprintable())
    assert channel_of(topic) in Channel
    try:
        command = parse(topic, payload, properties)
    except InvalidCommand:
        return
    options = command.options
    assert options.lifetime is None or 0 <= options.lifetime <= max(MAX_DURATION, 2**32)
    assert options.priority is None or options.priority in Priority
    assert options.id is None or options.id.isprintable()


@given(st.binary(max_size=200), st.lists(texts, max_size=4, unique=True))
def test_what_goes_in_comes_out(payload: bytes, names: list[str]) -> None:
    """Bytes and topics of `hologram/send` come out as they were put in."""
    given_json = {"data_base64": base64.b64encode(payload).decode(), "topics": names}
    command = parse("send", as_json(given_json))
    assert isinstance(command, Send)
    assert (command.payload, command.topics) == (payload, tuple(names))


@pytest.mark.parametrize(
    ("payload", "properties", "expected"),
    [
        (b'{"id":"7","data":5}', Properties(), "7"),
        (b'{"id":"7"}', user(id="8"), "8"),
        (b'{"id":7}', Properties(), None),
        (b'{"id":"' + b"x" * 129 + b'"}', Properties(), None),
        (b"{" * 100_000, Properties(), None),
        (b'{"a":' * 100_000, Properties(), None),
        (b"[]", Properties(), None),
        (b"", Properties(), None),
    ],
    ids=["json", "property wins", "number", "too long", "deep", "deeper", "list", "nothing"],
)
def test_a_refusal_bears_the_id_that_its_sender_would_look_for(
    payload: bytes, properties: Properties, expected: str | None
) -> None:
    """A command that cannot be carried out still has its id read, where there is one."""
    assert claimed_id("send", payload, properties) == expected


def test_a_payload_of_the_users_own_claims_no_id() -> None:
    """What is sent to the cloud may look like a command of ours and is none."""
    assert claimed_id("out/bad topic", b'{"id":"7"}', Properties()) is None
    assert claimed_id("sms/1555", b'{"id":"7"}', Properties()) is None
    assert claimed_id("out/bad topic", b'{"id":"7"}', user(id="8")) == "8"


@pytest.mark.parametrize(
    ("topic", "channel"),
    [
        ("out/sms", "cloud"),
        ("send", "cloud"),
        ("sms/1", "sms"),
        ("network/set", "network"),
        ("queue/set", "queue"),
    ],
)
def test_a_refusal_belongs_to_a_channel(topic: str, channel: str) -> None:
    """The result of an unreadable command names the channel that it was meant for."""
    assert channel_of(topic).value == channel


def test_no_depth_of_json_is_an_error_of_ours() -> None:
    """Neither reading it nor writing out what is wrong with it recurses too deep, at the limit too."""
    for depth in range(700, 1100):
        for data in (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth):
            with pytest.raises(InvalidCommand, match=r"data: |payload: "):
                parse("send", b'{"data": ' + data + b"}")
            with pytest.raises(InvalidCommand, match=r"priority: |payload: "):
                parse("send", b'{"data": "x", "priority": ' + data + b"}")


def test_json_is_bounded_beside_its_strings() -> None:
    """A long text may hold anything; many values may not be there."""
    text = '[{"a": 1}, "\\"", 2, 3]' * 50_000
    assert parse("send", as_json({"data": text, "topics": ["a"]})) == Send(("a",), text.encode(), NONE)
    for data in (b"[" + b"1," * 50_000 + b"1]", b"[" + b'"a",' * 50_000 + b'""]', b" " * 70_000 + b'"x"'):
        with pytest.raises(InvalidCommand, match="more than 65536 characters beside its strings"):
            parse("send", b'{"data": ' + data + b"}")
        assert claimed_id("send", b'{"id": "a", "data": ' + data + b"}", Properties()) is None


def test_topics_are_bounded() -> None:
    """Each is compared with every route: their number has a bound, and their length."""
    names = [str(number) for number in range(1000)]
    assert parse("send", as_json({"data": "x", "topics": names})) == Send(tuple(names), b"x", NONE)
    with pytest.raises(InvalidCommand, match=r"^topics: '1001 topics' is not allowed"):
        parse("send", as_json({"data": "x", "topics": [*names, "one more"]}))
    with pytest.raises(InvalidCommand, match=r"^topics: '1002 topics' is not allowed"):
        parse("out/a", b"x", user(topics="b," * 1000))
    with pytest.raises(InvalidCommand, match=r"^topics: '70000 characters' is not allowed"):
        parse("send", as_json({"data": "x", "topics": ["a" * 35_000, "b" * 35_000]}))


def test_a_value_is_shown_by_its_beginning() -> None:
    """However long or deep it is, the description is short."""
    values = ["x" * 10**7, b"x" * 10**7, ["x" * 10**7] * 100, {"a": {"b": {"c": {"d": {"e": 1}}}}}, 10**4000]
    for value in values:
        assert len(str(InvalidCommand("field", value, "not so"))) < 130
