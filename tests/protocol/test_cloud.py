"""Requests to the cloud, read back by the simulated cloud's reader, which has no code of the encoders'."""

import base64
import hashlib
import hmac
import json
import struct

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from bridge.errors import InvalidCommand
from bridge.protocol.cloud import (
    Credentials,
    DeviceKey,
    LegacyKey,
    Totp,
    check_sms_body,
    encode,
    encode_sms,
    hotp,
    totp_code,
)
from bridge.sim.requests import CloudKeys, Request
from bridge.sim.wire import Accounts, RequestReader, judge

KEY = DeviceKey("abcd1234")
LEGACY = LegacyKey("ab12", "cd34")
TOTP = Totp("8944500000000000001", "234500000000001")
ACCOUNTS = Accounts("abcd1234", CloudKeys("ab12", "cd34"), TOTP.device_id, TOTP.private_key)
WALL = 1_700_000_000.75

payloads = st.binary(max_size=300) | st.text(max_size=100).map(str.encode)
topics = st.lists(
    st.text("abcXYZ019-_", min_size=1, max_size=8).filter(lambda name: name != "base64"),
    max_size=4,
    unique=True,
).map(tuple)


def read(request: bytes) -> Request:
    """Return what the simulated cloud reads; all of the request must be one request, and nothing less."""
    reader = RequestReader()
    assert reader.feed(request[:-1]) is None
    whole = reader.feed(request[-1:])
    assert whole is not None
    assert whole.size == len(request)
    return whole


def verdict(request: bytes, now: float = WALL) -> int:
    return judge(read(request), ACCOUNTS, now)[0]


def unpacked(request: Request, sent: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Undo the base64 convention as the pages explain it, where ``sent`` needed it."""
    assert request.data is not None
    if request.topics[-1:] == ("base64",):
        return base64.b64decode(request.data, validate=True), request.topics[:-1]
    return request.data, request.topics


@given(st.sampled_from([KEY, LEGACY]), topics, payloads)
@example(KEY, (), b"")
@example(KEY, (), b"\n\n\r\r")
@example(KEY, ("a",), b'{"k":"x"}\0\x7f\xe2\x80\xa8')
@example(KEY, ("a",), b"\xff\n\n")
def test_json_comes_out_as_it_went_in(
    credentials: Credentials, names: tuple[str, ...], payload: bytes
) -> None:
    """Any bytes and topics arrive unchanged in the JSON form, base64 undone, and are accepted."""
    request = encode(credentials, names, payload, WALL)
    assert verdict(request) == 0
    assert unpacked(read(request), payload) == (payload, names)


@given(topics, payloads)
@example((), b"")
@example(("a",), b"\0")
@example(("a",), b"\xff\xfeTB")
def test_totp_comes_out_as_it_went_in(names: tuple[str, ...], payload: bytes) -> None:
    """The TOTP form carries bytes as they are; only a NUL, which ends a part, makes them base64."""
    request = encode(TOTP, names, payload, WALL)
    assert verdict(request) == 0
    found = read(request)
    assert unpacked(found, payload) == (payload, names)
    assert (found.data == payload) == (b"\0" not in payload)


@given(payloads)
def test_a_topic_of_the_users_called_base64_is_not_doubled(payload: bytes) -> None:
    """Each topic travels once, also where the user's own is the one that marks base64."""
    for credentials in (KEY, LEGACY, TOTP):
        found = read(encode(credentials, ("base64",), payload, WALL)).topics
        assert found == ("base64",)


@given(
    st.text(max_size=160).filter(lambda body: "\n\n" not in body and "\r\r" not in body),
    st.sampled_from([KEY, LEGACY]),
    st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True),
)
def test_an_sms_comes_out_as_it_went_in(body: str, credentials: DeviceKey | LegacyKey, to: str) -> None:
    """A text that passes the check arrives unchanged, with its number, under either kind of key."""
    try:
        check_sms_body(body)
        raw = body.encode()
    except (InvalidCommand, UnicodeEncodeError):
        assume(False)
        return
    request = encode_sms(credentials, to, body)
    found = read(request)
    assert (found.to, found.data, verdict(request)) == (to, raw, 0)


@pytest.mark.parametrize(
    ("credentials", "names", "payload", "expected"),
    [
        # Hologram, Embedded TCP API: {"k":…,"d":…,"t":…} and two newlines; one topic as a string.
        (KEY, ("sensors",), b"hi", b'{"k":"abcd1234","d":"hi","t":"sensors"}\n\n'),
        (KEY, ("a", "b"), b"hi", b'{"k":"abcd1234","d":"hi","t":["a","b"]}\n\n'),
        (KEY, (), b"", b'{"k":"abcd1234","d":""}\n\n'),
        # RFC 8259 section 7: quotes, backslashes and controls are escaped; other text may stay as it is.
        (KEY, (), 'a"\\\n\0é€'.encode(), '{"k":"abcd1234","d":"a\\"\\\\\\n\\u0000é€"}\n\n'.encode()),
        # RFC 4648 section 4: FF 00 is /wA=
        (KEY, ("a",), b"\xff\0", b'{"k":"abcd1234","d":"/wA=","t":["a","base64"]}\n\n'),
        # hologram-python 0.3: cloud id and cloud key as s and c.
        (LEGACY, ("a",), b"hi", b'{"s":"ab12","c":"cd34","d":"hi","t":"a"}\n\n'),
    ],
)
def test_json_requests_byte_for_byte(
    credentials: Credentials, names: tuple[str, ...], payload: bytes, expected: bytes
) -> None:
    """The JSON form is as compact as it can be; worked out by hand from the documents named."""
    assert encode(credentials, names, payload, WALL) == expected


def test_an_sms_request_byte_for_byte() -> None:
    """``S``, the key, the number, a space, the text, two newlines [Hologram, Embedded TCP API]."""
    assert encode_sms(KEY, "+15551234567", "Hello") == b"Sabcd1234+15551234567 Hello\n\n"
    assert encode_sms(LEGACY, "+15551234567", "é") == b"Sab12cd34+15551234567 \xc3\xa9\n\n"


def test_a_totp_request_byte_for_byte() -> None:
    r"""``C<id> <time> <code> T<topic>\0B<data>\0\0`` [hologram-python 0.3].

    The key and the code are RFC 4226's own: 59 // 30 is counter 1, whose code is 287082 [appendix D].
    """
    totp = Totp("8944", "12345678901234567890")
    request = encode(totp, ("a/b", "c"), b"\xffhi", 59.9)
    assert request == b"C8944 59 287082 Ta/b\0Tc\0B\xffhi\0\0"


RFC_4226 = (755224, 287082, 359152, 969429, 338314, 254676, 287922, 162583, 399871, 520489)


@pytest.mark.parametrize(("counter", "code"), list(enumerate(RFC_4226)))
def test_hotp_gives_the_rfcs_values(counter: int, code: int) -> None:
    """The codes of RFC 4226, appendix D."""
    assert hotp(b"12345678901234567890", counter) == code


@given(st.text("0123456789", min_size=14, max_size=15), st.integers(0, 2**33))
def test_codes_are_those_of_an_independent_computation(key: str, timestamp: int) -> None:
    """The code is RFC 4226 over the 30-second counter, a plain integer without leading zeros."""
    mac = hmac.digest(key.encode(), struct.pack(">Q", timestamp // 30), hashlib.sha1)
    (number,) = struct.unpack_from(">I", mac, mac[19] & 15)
    assert totp_code(key, timestamp) == (number & 0x7FFFFFFF) % 1_000_000


def test_a_short_code_has_no_leading_zeros() -> None:
    """A code below 100000 travels with fewer digits, and the cloud takes it."""
    wall = next(
        float(time)
        for time in range(1_700_000_000, 1_700_100_000, 30)
        if totp_code(TOTP.private_key, time) < 100_000
    )
    request = encode(TOTP, (), b"x", wall)
    code = request.split(b" ")[2]
    assert len(code) < 6
    assert not code.startswith(b"0")
    assert verdict(request, wall) == 0


def test_wrong_credentials_are_told_apart() -> None:
    """The reader that accepts all of the above refuses another key with code 3: it does look."""
    assert verdict(encode(DeviceKey("wrongkey"), (), b"x", WALL)) == 3
    assert verdict(encode(LegacyKey("ab12", "xxxx"), (), b"x", WALL)) == 3
    assert verdict(encode(Totp(TOTP.device_id, "999"), (), b"x", WALL)) == 3
    assert verdict(encode_sms(DeviceKey("wrongkey"), "+15551234567", "x")) == 3


@given(st.text(max_size=100))
def test_json_is_as_short_as_a_json_writer_makes_it(text: str) -> None:
    """No byte is wasted: the same object in the standard library's shortest form is no shorter."""
    try:
        payload = text.encode()
    except UnicodeEncodeError:
        assume(False)
        return
    shortest = json.dumps(
        {"k": KEY.key, "d": text, "t": "a"}, ensure_ascii=False, separators=(",", ":")
    ).encode()
    assert len(encode(KEY, ("a",), payload, WALL)) == len(shortest) + 2


@pytest.mark.parametrize("body", ["", "x" * 161, "é" * 161, "a\n\nb", "a\r\rb", "a\n", "a\r", "\n\n"])
def test_texts_that_do_not_fit_are_refused(body: str) -> None:
    """No text, over 160 characters, or anything that would end the request early: the body is named."""
    with pytest.raises(InvalidCommand) as caught:
        check_sms_body(body)
    assert caught.value.field == "body"


@pytest.mark.parametrize("body", ["x" * 160, "é" * 160, "😀" * 160, "a\nb\nc", "a\r\nb", " ", "\nx"])
def test_texts_that_fit_pass(body: str) -> None:
    """160 characters of any script, and single line ends, pass."""
    check_sms_body(body)
    assert read(encode_sms(KEY, "+15551234567", body)).data == body.encode()
