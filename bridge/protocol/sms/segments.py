"""The segmentation of a text into the parts of a concatenated message [3GPP TS 23.040, section 9.2.3.24.1].

::

    alphabet           alone    with an 8-bit reference
    GSM 7-bit septets   160      153
    UCS-2 code units     70       67

A part is a whole number of characters: an escaped character and a surrogate pair stay together.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import NamedTuple

from bridge.errors import InvalidCommand
from bridge.protocol.sms.alphabet import to_septets


class Alphabet(Enum):
    """The coding of user data [3GPP TS 23.038, section 4]; the value is its data coding scheme."""

    GSM7 = 0x00
    DATA = 0x04
    UCS2 = 0x08


_LIMITS = {Alphabet.GSM7: (160, 153), Alphabet.UCS2: (70, 67)}

MAX_PARTS = 255
"""Number of parts that the header of a concatenated message can count."""


class Cut(NamedTuple):
    """A text in parts: septets, one in each byte, or UTF-16 in network order."""

    alphabet: Alphabet
    parts: tuple[bytes, ...]


def check_text(text: str, max_segments: int) -> int:
    """Return the number of parts of ``text``; raises `InvalidCommand` if they are over ``max_segments``."""
    if len(text) > MAX_PARTS * _LIMITS[Alphabet.GSM7][0]:  # told without a look at each character
        raise InvalidCommand("body", text, f"over the air it would take more than {MAX_PARTS} parts")
    parts = len(cut(text).parts)
    if parts > min(max_segments, MAX_PARTS):
        allowed = f"over the air it would take {parts} parts, and sms.max_segments is {max_segments}"
        raise InvalidCommand("body", text, allowed)
    return parts


def cut(text: str) -> Cut:
    """Return ``text`` as the user data of its parts."""
    alphabet, characters = Alphabet.GSM7, to_septets(text)
    if characters is None:
        alphabet = Alphabet.UCS2
        characters = [character.encode("utf-16-be", "surrogatepass") for character in text]
    width = 2 if alphabet is Alphabet.UCS2 else 1
    alone, joined = (limit * width for limit in _LIMITS[alphabet])
    whole = b"".join(characters)
    return Cut(alphabet, (whole,) if len(whole) <= alone else tuple(_fill(characters, joined)))


def one_part(text: str, end: str = "") -> str:
    """Return ``text``, cut so that it makes one part together with ``end``, and ``end``.

    A character that is not in the 7-bit alphabet leaves room for less than half as many. The text is cut
    before it where more fits so.
    """
    narrow, wide = (limit for limit, _ in _LIMITS.values())
    return max(_beginning(text, end, narrow, _septets), _beginning(text, end, wide, _units), key=len)


def _beginning(text: str, end: str, room: int, size: Callable[[str], int]) -> str:
    room -= sum(map(size, end))
    for place, character in enumerate(text):
        room -= size(character)
        if room < 0:
            return text[:place] + end
    return text + end


def _septets(character: str) -> int:
    found = to_septets(character)
    return _LIMITS[Alphabet.GSM7][0] + 1 if found is None else len(found[0])


def _units(character: str) -> int:
    return len(character.encode("utf-16-be", "surrogatepass")) // 2


def _fill(characters: Iterable[bytes], size: int) -> Iterable[bytes]:
    part: list[bytes] = []
    room = size
    for character in characters:
        if len(character) > room:
            yield b"".join(part)
            part, room = [], size
        part.append(character)
        room -= len(character)
    yield b"".join(part)
