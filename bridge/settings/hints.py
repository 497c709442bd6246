"""The probable meaning of a refused value, for a newcomer."""

import re

from bridge.core.units import parse_duration

_PLAIN = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,9})?", re.ASCII)
_CURLY = set("\u201c\u201d\u201e\u201f\u2018\u2019\u00ab\u00bb")


def measured(text: str) -> str:
    """Return a text's length and its easily overlooked features, but nothing of the text itself."""
    found = f"{len(text)} character{'' if len(text) == 1 else 's'}"
    if any(char.isspace() for char in text):
        return f"{found}, with a space"
    if not text.isascii():
        return f"{found}, with one that is not ASCII"
    return found


def without_quotes(text: str, *, numbers: bool, flags: bool, null: bool) -> str | None:
    """Return the value of ``text`` without its quotes, if the setting accepts such a value."""
    word = text.strip().strip("\"'")  # containers' environment files keep the quotes
    if numbers and _PLAIN.fullmatch(word):
        return word
    if (flags and word.lower() in ("true", "false")) or (null and word.lower() == "null"):
        return word.lower()
    return None


def in_seconds(text: str) -> str | None:
    """Return the number of seconds in ``text``, such as ``5m``; None if it is no duration."""
    try:
        return f"{parse_duration(text):g}"
    except ValueError:
        return None


def is_curly(text: str) -> bool:
    """Return whether a text is in typographic quotes, which HJSON reads as a part of it."""
    return bool(_CURLY & set(text[:1] + text[-1:]))
