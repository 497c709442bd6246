"""The parser of a command line [ITU-T V.250, section 5.4; 3GPP TS 27.007, section 4].

``ATE0V1+CMEE=2;+CSQ`` is four commands: two of the basic syntax, without a separator, and two of the extended
syntax, separated by a semicolon.
"""

import re
from enum import Enum
from typing import Final, NamedTuple


class Kind(Enum):
    """The form of a command."""

    RUN = ""
    READ = "?"
    SET = "="
    TEST = "=?"


class Command(NamedTuple):
    """One command: ``+CSQ``, ``E``, ``&F``, ``S0``, ``D``; ``args`` without quotes; ``text`` as typed."""

    name: str
    kind: Kind
    args: tuple[str, ...] = ()
    text: str = ""

    def number(self, index: int, default: int | None = None) -> int:
        """Return argument ``index`` as a number.

        Raises:
            ValueError: the argument is no number, or is missing and has no default.

        """
        given = self.args[index] if index < len(self.args) else ""
        if not given and default is not None:
            return default
        if not given.isascii() or not given.isdigit() or len(given) > 9:
            raise ValueError(given)
        return int(given)

    def text_at(self, index: int, default: str = "") -> str:
        """Return argument ``index``, or the default if it is missing."""
        return self.args[index] if index < len(self.args) else default


_PREFIX: Final = re.compile(r"AT", re.IGNORECASE)
_EXTENDED: Final = re.compile(r"([+^][A-Z0-9!%\-./:_]+)\s*(=\?|=|\?|)", re.IGNORECASE)
_REGISTER: Final = re.compile(r"(S\d+)\s*(=|\?)(\d*)", re.IGNORECASE)
_BASIC: Final = re.compile(r"(&?[A-Z])(\d*)", re.IGNORECASE)


def parse(line: str) -> list[Command] | None:
    """Return the commands of ``line``; None for noise without ``AT``.

    Raises:
        ValueError: the line begins with ``AT`` and is malformed.

    """
    start = _PREFIX.search(line)
    if start is None:
        return None
    rest = line[start.end() :].strip()
    commands: list[Command] = []
    while rest:
        command, rest = _extended(rest) if rest[0] in "+^" else _basic(rest)
        commands.append(command)
        rest = rest.lstrip(" ;")
    return commands


def _extended(rest: str) -> tuple[Command, str]:
    found = _EXTENDED.match(rest)
    if found is None:
        raise ValueError(rest)
    kind = Kind(found[2])
    text, rest = _to_semicolon(rest[found.end() :])
    if kind is not Kind.SET and text.strip():
        raise ValueError(text)
    args = tuple(_arguments(text)) if kind is Kind.SET else ()
    return Command(found[1].upper(), kind, args, text), rest


def _basic(rest: str) -> tuple[Command, str]:
    if rest[0] in "Dd":  # a dial string takes the rest of the line
        return Command("D", Kind.RUN, (), rest[1:].strip()), ""
    if found := _REGISTER.match(rest):
        kind = Kind.SET if found[2] == "=" else Kind.READ
        return Command(found[1].upper(), kind, (found[3],), found[3]), rest[found.end() :]
    found = _BASIC.match(rest)
    if found is None:
        raise ValueError(rest)
    return Command(found[1].upper(), Kind.RUN, (found[2],), found[2]), rest[found.end() :]


def _to_semicolon(text: str) -> tuple[str, str]:
    """Split at the first semicolon outside of quotes."""
    quoted = False
    for index, sign in enumerate(text):
        if sign == '"':
            quoted = not quoted
        elif sign == ";" and not quoted:
            return text[:index], text[index + 1 :]
    return text, ""


def _arguments(text: str) -> list[str]:
    """Split at the commas outside of quotes, and remove the quotes."""
    parts = [""]
    quoted = False
    for sign in text:
        if sign == '"':
            quoted = not quoted
        elif sign == "," and not quoted:
            parts.append("")
        elif quoted or not sign.isspace():
            parts[-1] += sign
    return parts
