"""MQTT 5 properties, read from bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import InvalidCommand
from bridge.protocol.mqtt.properties import properties, utf8, variable_bytes, variable_integer

TEXT = b"\x03\x00\x01a"
PAIR = b"\x26\x00\x01k\x00\x02vv"
EACH = [
    (b"\x01\x01", "payload_format_indicator", 1),
    (b"\x02\x00\x00\x00\x0a", "message_expiry_interval", 10),
    (b"\x21\x01\x00", "receive_maximum", 256),
    (b"\x0b\x80\x01", "subscription_identifier", 128),
    (b"\x09\x00\x02\x00\xff", "correlation_data", b"\x00\xff"),
    (TEXT, "content_type", "a"),
    (PAIR, "user_property", ("k", "vv")),
]


@pytest.mark.parametrize(("data", "name", "value"), EACH)
def test_each_kind_of_value_is_read(data: bytes, name: str, value: object) -> None:
    """The place does not matter."""
    (found,) = properties(b"??" + data + b"??", 2, 2 + len(data))
    assert (found.name, found.value, found.start, found.stop) == (name, value, 2, 2 + len(data))


@pytest.mark.parametrize(("data", "name", "value"), EACH)
def test_one_that_is_cut_off_names_itself(data: bytes, name: str, value: object) -> None:
    """The bytes after the properties are not read as one of them."""
    for length in range(1, len(data)):
        with pytest.raises(InvalidCommand) as caught:
            list(properties(data, 0, length))
        assert caught.value.field == name


def test_those_before_an_unreadable_one_come_out() -> None:
    """The beginning of the next property cannot be known."""
    found = properties(TEXT + b"\x7e" + TEXT, 0, 9)
    assert next(found).value == "a"
    with pytest.raises(InvalidCommand, match="no property with this number"):
        next(found)


@given(st.integers(0, 268_435_455))
def test_a_variable_integer_is_read_as_it_was_written(number: int) -> None:
    """A part of it is no number, and the bytes after it do not matter."""
    data = variable_bytes(number)
    assert len(data) <= 4
    assert variable_integer(data + b"\xff", 0, len(data) + 1) == (number, len(data))
    assert all(variable_integer(data, 0, length) is None for length in range(len(data)))


def test_a_variable_integer_has_at_most_four_bytes() -> None:
    """A fifth is no length."""
    assert variable_integer(b"\xff\xff\xff\xff\x01", 0, 5) is None


@pytest.mark.parametrize("value", [b"\xff", b"\xed\xa0\x80", b"a\0b"], ids=["latin-1", "surrogate", "NUL"])
def test_a_text_is_utf8_without_nul(value: bytes) -> None:
    """The error names the property."""
    with pytest.raises(InvalidCommand) as caught:
        utf8("response_topic", value)
    assert caught.value.field == "response_topic"


def test_a_byte_order_mark_is_a_character() -> None:
    """It stays in the text."""
    assert utf8("topic", b"\xef\xbb\xbfa") == "\ufeffa"
