"""What a newcomer most likely meant by a value that is refused."""

import re

from bridge.core.units import parse_duration

_PLAIN = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,9})?", re.ASCII)
_CURLY = set("\u201c\u201d\u201e\u201f\u2018\u2019\u00ab\u00bb")


def measured(text: str) -> str:
    """Return how long a text is, and what in it is easily overlooked; nothing of the text itself."""
    found = f"{len(text)} character{'' if len(text) == 1 else 's'}"
    if any(char.isspace() for char in text):
        return f"{found}, with a space"
    if not text.isascii():
        return f"{found}, with one that is not ASCII"
    return found


def without_quotes(text: str, *, numbers: bool, flags: bool, null: bool) -> str | None:
    """Return what ``text`` is without its quotes, where that is of a kind that the setting takes."""
    word = text.strip().strip("\"'")  # environment files of containers keep them
    if numbers and _PLAIN.fullmatch(word):
        return word
    if (flags and word.lower() in ("true", "false")) or (null and word.lower() == "null"):
        return word.lower()
    return None


def in_seconds(text: str) -> str | None:
    """Return the number of seconds that ``text``, such as ``5m``, stands for; None where it is none."""
    try:
        return f"{parse_duration(text):g}"
    except ValueError:
        return None


def is_curly(text: str) -> bool:
    """Tell whether a text stands in typographic quotes, which HJSON takes as a part of it."""
    return bool(_CURLY & set(text[:1] + text[-1:]))
