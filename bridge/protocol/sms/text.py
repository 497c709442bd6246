"""User data, and the text of a message's parts."""

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

from bridge.errors import BadPdu
from bridge.protocol.sms.alphabet import from_septets, known_language
from bridge.protocol.sms.segments import Alphabet


class UserData(NamedTuple):
    """The content of one part; parts that agree in all but ``data`` are read as one.

    A sender may have cut within a surrogate pair or an escaped character; joined they are whole again.
    """

    alphabet: Alphabet
    data: bytes
    """Septets, one in each byte; octets; or UTF-16 in network order."""
    locking: int = 0
    single: int = 0

    @property
    def legible(self) -> bool:
        """Whether the tables of its language are known; otherwise some characters are wrong."""
        return known_language(self.locking, self.single)


GAP = "[…]"
"""The mark for missing parts in a text."""


def join(parts: Iterable[UserData]) -> str:
    """Return the text of consecutive ``parts``; raises `BadPdu` if it is binary data."""
    runs = groupby(parts, key=lambda part: part._replace(data=b""))
    return "".join(_text(kind, b"".join(part.data for part in run)) for kind, run in runs)


def join_with_gaps(parts: dict[int, UserData], total: int) -> str:
    """Return the text of ``parts``, by their numbers from 1 to ``total``, with a mark for each gap."""
    return GAP.join(join(run) for run in _runs(parts, total))


def _runs(parts: dict[int, UserData], total: int) -> list[list[UserData]]:
    """Return the runs of parts between gaps; an empty run at an end means a gap there."""
    runs: list[list[UserData]] = [[]]
    missing = False
    for number in range(1, total + 1):
        if number in parts:
            runs[-1].append(parts[number])
        elif not missing:
            runs.append([])
        missing = number not in parts
    return runs


def _text(kind: UserData, data: bytes) -> str:
    if kind.alphabet is Alphabet.GSM7:
        return from_septets(data, kind.locking, kind.single)
    if kind.alphabet is Alphabet.UCS2:
        # UTF-16 instead of UCS-2, because phones send it. A lone half becomes the replacement character.
        return data.decode("utf-16-be", "replace")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadPdu(f"{len(data)} bytes of data, not text") from None
    if not all(sign.isprintable() or sign in "\n\r\t" for sign in text):
        raise BadPdu(f"{len(data)} bytes of data, not text")
    return text
