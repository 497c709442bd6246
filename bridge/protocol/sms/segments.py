"""The segmentation of a text into the parts of a concatenated message [3GPP TS 23.040, section 9.2.3.24.1].

::

    alphabet           alone    with an 8-bit reference
    GSM 7-bit septets   160      153
    UCS-2 code units     70       67

A part is a whole number of characters: an escaped character and a surrogate pair stay together.
"""

from collections.abc import Iterable
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


class Segments(NamedTuple):
    """The size of a text in segments."""

    alphabet: Alphabet
    parts: int
    characters: int
    """Septets or UTF-16 code units, by which the limits of a part count."""


class Cut(NamedTuple):
    """A text in parts: septets, one in each byte, or UTF-16 in network order."""

    alphabet: Alphabet
    parts: tuple[bytes, ...]


def count_segments(text: str) -> Segments:
    """Return the alphabet and the number of parts that ``text`` needs."""
    alphabet, characters = _coded(text)
    width = _width(alphabet)
    return Segments(
        alphabet, len(_cut(alphabet, characters)), sum(len(character) for character in characters) // width
    )


def check_text(text: str, max_segments: int) -> Segments:
    """Return the size of ``text``; raises `InvalidCommand` if it is over ``max_segments`` parts."""
    if len(text) > MAX_PARTS * _LIMITS[Alphabet.GSM7][0]:  # told without a look at each character
        raise InvalidCommand("body", text, f"over the air it would take more than {MAX_PARTS} parts")
    segments = count_segments(text)
    if segments.parts > min(max_segments, MAX_PARTS):
        raise InvalidCommand(
            "body",
            text,
            f"over the air it would take {segments.parts} parts, and sms.max_segments is {max_segments}",
        )
    return segments


def cut(text: str) -> Cut:
    """Return ``text`` as the user data of its parts."""
    alphabet, characters = _coded(text)
    return Cut(alphabet, tuple(_cut(alphabet, characters)))


def _coded(text: str) -> tuple[Alphabet, list[bytes]]:
    septets = to_septets(text)
    if septets is not None:
        return Alphabet.GSM7, septets
    return Alphabet.UCS2, [character.encode("utf-16-be", "surrogatepass") for character in text]


def _width(alphabet: Alphabet) -> int:
    return 2 if alphabet is Alphabet.UCS2 else 1


def _cut(alphabet: Alphabet, characters: list[bytes]) -> list[bytes]:
    alone, joined = (limit * _width(alphabet) for limit in _LIMITS[alphabet])
    whole = b"".join(characters)
    return [whole] if len(whole) <= alone else list(_fill(characters, joined))


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
