"""The 7-bit alphabets, beside a published codec and the standard's own examples."""

import gsm0338  # type: ignore[import-untyped]  # it ships no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.protocol.sms.alphabet import (
    DEFAULT,
    ESCAPE,
    EXTENSION,
    from_septets,
    known_language,
    pack,
    to_septets,
    unpack,
)

CODEC = gsm0338.Codec()
LETTERS = (DEFAULT.replace("\x1b", "") + "".join(EXTENSION.values())).replace("\f", "")
"""All that the alphabet has and the other codec too, which leaves out the form feed."""


def septets(text: str) -> bytes:
    found = to_septets(text)
    assert found is not None
    return b"".join(found)


def test_every_letter_is_where_another_codec_has_it() -> None:
    """Both tables agree with those of the package gsm0338, letter by letter, both ways."""
    assert len(DEFAULT) == 128
    for letter in LETTERS:
        expected, _ = CODEC.encode(letter)
        assert septets(letter) == expected
        assert from_septets(expected) == letter


@given(st.text(alphabet=LETTERS, max_size=200))
def test_any_text_reads_as_another_codec_reads_it(text: str) -> None:
    """Whatever is written in the alphabet, the package gsm0338 writes the same and reads it back."""
    assert septets(text) == CODEC.encode(text)[0]
    assert from_septets(septets(text)) == text == CODEC.decode(septets(text))[0]


@pytest.mark.parametrize("text", ["ą", "你好", "😀", "\x1b", "\0", "`", "a\u0301"])
def test_what_is_not_in_the_alphabet_is_not_written_in_it(text: str) -> None:
    """A character without a septet makes the whole text one for UCS-2; the escape itself is no character."""
    assert to_septets(text) is None


@pytest.mark.parametrize("text", ["é£ñ", "@", "Δ_Φ", "\n\r", "ß"])
def test_letters_that_look_foreign_take_one_septet(text: str) -> None:
    """Accented letters of the alphabet cost what plain ones do."""
    assert len(septets(text)) == len(text)


@pytest.mark.parametrize("text", ["€", "[", "]", "{", "}", "^", "~", "\\", "|", "\f"])
def test_letters_of_the_extension_take_two(text: str) -> None:
    """An escaped character is two septets."""
    assert len(septets(text)) == 2


def test_septets_are_packed_as_in_the_standards_example() -> None:
    """The well-known example of seven-bit packing comes out bit for bit."""
    assert pack(septets("hellohello")).hex() == "e8329bfd4697d9ec37"
    assert from_septets(unpack(bytes.fromhex("e8329bfd4697d9ec37"), 10)) == "hellohello"


@given(st.binary(max_size=170), st.integers(0, 6))
def test_packing_is_undone_by_unpacking(data: bytes, fill: int) -> None:
    """Any septets come back, whatever bits stand before them."""
    given_septets = bytes(byte & 0x7F for byte in data)
    packed = pack(given_septets, fill)
    assert len(packed) == (7 * len(data) + fill + 7) // 8
    assert unpack(packed, len(data), fill) == given_septets


@given(st.binary(max_size=200), st.integers(0, 300), st.integers(0, 6))
def test_unpacking_takes_what_there_is(octets: bytes, number: int, fill: int) -> None:
    """More septets than the octets hold cannot be had; what is there comes, each below 128."""
    found = unpack(octets, number, fill)
    assert len(found) <= min(number, 8 * len(octets) // 7)
    assert all(septet < 128 for septet in found)


@given(st.binary(max_size=200), st.integers(0, 255), st.integers(0, 255))
def test_any_septets_are_some_text(octets: bytes, locking: int, single: int) -> None:
    """No septets and no language make the reader fail, and the escape itself never shows."""
    assert "\x1b" not in from_septets(bytes(octet & 0x7F for octet in octets), locking, single)


def test_an_unknown_escaped_character_is_read_from_the_main_table() -> None:
    """A receiver that lacks an extension shows the letter of the main table; an escape alone is a space."""
    assert from_septets(bytes((ESCAPE, ord("a")))) == "a"
    assert from_septets(bytes((ord("a"), ESCAPE))) == "a "
    assert from_septets(bytes((ESCAPE, ESCAPE, ord("a")))) == " a"


@pytest.mark.parametrize(
    ("octets", "locking", "single", "text"),
    [
        ("0b0c1c1d400760", 1, 0, "ĞğŞşİ\u0131ç"),
        ("1b471b491b531b631b671b691b73", 0, 1, "ĞİŞçğ\u0131ş"),
        ("1b411b491b4f1b551b611b691b6f1b751b09", 0, 2, "ÁÍÓÚáíóúç"),
        ("04060708090b0c0e0f12151618191a5b7b", 3, 0, "êúíóçÔôÁáª∞^€Ó|Ãã"),
        ("1b051b1f1b5b1b5c1b7b1b7c1b7f1b41", 0, 3, "êÊÃÕãõâÀ"),
    ],
)
def test_national_tables_are_read(octets: str, locking: int, single: int, text: str) -> None:
    """Turkish, Spanish and Portuguese letters come from the tables that a header names."""
    assert from_septets(bytes.fromhex(octets), locking, single) == text


def test_other_languages_are_known_to_be_unknown() -> None:
    """A text in a language whose table is not here can be told from one that is read rightly."""
    assert known_language(0, 0)
    assert known_language(1, 3)
    assert known_language(2, 2)  # Spanish has no locking table of its own: the default one holds
    assert not known_language(6, 0)
    assert not known_language(0, 13)
