"""How texts are cut: the limits of the standard, and characters that stay whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import InvalidCommand
from bridge.protocol.sms.alphabet import ESCAPE
from bridge.protocol.sms.segments import Alphabet, check_text, cut
from bridge.protocol.sms.text import UserData, join

GSM7, UCS2 = Alphabet.GSM7, Alphabet.UCS2

TEXTS = st.one_of(
    st.text(alphabet="ab @€[~\n", max_size=700),
    st.text(max_size=400),
    st.text(alphabet="a😀你𝄞é", max_size=400),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (GSM7, 1, 0)),
        ("a" * 160, (GSM7, 1, 160)),
        ("a" * 161, (GSM7, 2, 161)),
        ("a" * 306, (GSM7, 2, 306)),
        ("a" * 307, (GSM7, 3, 307)),
        ("€" * 80, (GSM7, 1, 160)),
        ("€" * 81, (GSM7, 2, 162)),
        ("é" * 160, (GSM7, 1, 160)),
        ("ą" * 70, (UCS2, 1, 70)),
        ("ą" * 71, (UCS2, 2, 71)),
        ("ą" * 134, (UCS2, 2, 134)),
        ("ą" * 135, (UCS2, 3, 135)),
        ("😀" * 35, (UCS2, 1, 70)),
        ("😀" * 36, (UCS2, 2, 72)),
        ("a" * 600, (GSM7, 4, 600)),
        ("ą" * 600, (UCS2, 9, 600)),
    ],
)
def test_parts_are_counted_by_the_limits_of_the_standard(
    text: str, expected: tuple[Alphabet, int, int]
) -> None:
    """160 septets or 70 UTF-16 units alone, 153 or 67 in a part; escaped letters and emoji count twice."""
    alphabet, parts = cut(text)
    width = 1 if alphabet is GSM7 else 2
    assert (alphabet, len(parts), sum(map(len, parts)) // width) == expected


def test_a_character_of_two_is_never_cut() -> None:
    """Where the second half would fall into the next part, both go there, and that may cost a part."""
    assert [len(part) for part in cut("a" * 152 + "€" + "a" * 152).parts] == [152, 153, 1]
    assert [len(part) // 2 for part in cut("ą" * 66 + "😀" + "ą" * 66).parts] == [66, 67, 1]


@given(TEXTS)
def test_any_text_comes_out_of_its_parts_whole(text: str) -> None:
    """The parts hold the text, none is over its limit, and each can be read without the others."""
    alphabet, parts = cut(text)
    width, limit = (1, 153) if alphabet is GSM7 else (2, 67)
    assert len(parts) == 1 or all(len(part) <= limit * width for part in parts)
    data = [UserData(alphabet, part) for part in parts]
    assert join(data) == text == "".join(join([part]) for part in data)
    assert all(part[-1] != ESCAPE for part in parts if part and alphabet is GSM7)


def test_a_text_of_too_many_parts_is_refused_with_their_number() -> None:
    """The error names the field, how many parts it would take, and the setting that limits them."""
    assert check_text("a" * 600, 4) == 4
    with pytest.raises(InvalidCommand, match=r"body: .* would take 5 parts, and sms\.max_segments is 4"):
        check_text("a" * 700, 4)
    with pytest.raises(InvalidCommand, match="would take 256 parts"):
        check_text("a" * (255 * 153 + 1), 1000)
    with pytest.raises(InvalidCommand, match="would take more than 255 parts"):
        check_text("€" * 10_000_000, 4)
