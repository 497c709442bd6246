"""The sources of values: one HJSON file, what was changed from afar, and the environment.

HJSON reads text without quotes up to the end of its line, and a key such as 12345678 as a number. Both are
kept apart here from quoted values, so that the messages can say so.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hjson
from pydantic import BaseModel

from bridge.errors import WHO_MAY, ConfigError
from bridge.settings.explain import (
    find,
    is_list,
    is_nullable,
    known_keys,
    may_be_list,
    model_of,
    nearest,
    takes_text,
)
from bridge.settings.files import open_file
from bridge.settings.models import Settings

PREFIX = "HOLOGRAM_BRIDGE"
FILE = "_FILE"
"""Ends the name of a variable that names a file with the value: where containers get their secrets."""

_MAX_BYTES = 1_000_000
_NUMBER = re.compile(r"-?[0-9]{1,300}(\.[0-9]{1,300})?([eE][-+]?[0-9]{1,3})?", re.ASCII)
_SWALLOWED = re.compile(r"[,}\]]$|\s(//|#|/\*)")
_BARE_TEXT = re.compile(r"""[{,\s]*["']?(\w+)["']?\s*:\s*(?=[^\s"'\[{])([^\n]*[,}\]][^\n]*)""")


@dataclass
class Read:
    """The content of one source: the values, the problems by path, and the variable that set each path."""

    values: dict[str, Any]
    problems: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    mode: int = 0


class _Bare(str):
    """Text without quotes."""

    __slots__ = ()


class _Real(float):
    """A number with a fraction or an exponent; unlike float, a too large one passes HJSON's own test."""

    __slots__ = ()

    def __int__(self) -> int:
        return super().__int__() if math.isfinite(self) else 0


class _Table(dict[str, Any]):
    """An object that remembers duplicate keys."""

    twice: tuple[str, ...] = ()


def _whole(text: str) -> int | float:
    return int(text) if len(text) < 300 else _Real(text)


def _table(pairs: list[tuple[str, Any]]) -> _Table:
    table = _Table(pairs)
    names = [name for name, _ in pairs]
    table.twice = tuple(name for name in table if names.count(name) > 1)
    return table


class _Decoder(hjson.HjsonDecoder):  # type: ignore[misc]  # hjson ships no types
    """Marks text without quotes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        scan: Any = self.parse_tfnns  # type: ignore[has-type]  # hjson ships no types

        def bare(context: object, text: str, start: int) -> tuple[Any, int]:
            value, end = scan(context, text, start)
            return (_Bare(value) if isinstance(value, str) else value), end

        self.parse_tfnns = bare
        # The scanner has copied the functions, so it is made again.
        self.scan_once, self.scan_object_once = hjson.decoder.make_scanner(self)


def _decode(text: str) -> Any:
    """Return the value of HJSON ``text``; raises ValueError with a line for the user."""
    try:
        return hjson.loads(text, cls=_Decoder, object_pairs_hook=_table, parse_int=_whole, parse_float=_Real)
    except hjson.HjsonDecodeError as error:
        # A line end inside quotes is only found after it.
        line = error.lineno - error.msg.startswith("Invalid control")
        raise ValueError(_syntax(text, line, error.msg)) from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except (IndexError, ValueError, OverflowError):  # hjson reads past the end of an open comment or text
        raise ValueError("is not HJSON: a comment, text or bracket is left open") from None


def _syntax(text: str, line: int, reason: str) -> str:
    bare = next(_bare_lines(text), None)
    if bare is not None and bare[0] <= line:
        number, key = bare
        return (
            f"line {number} is not HJSON: the value of '{key}' has no quotes, so it takes in the rest "
            "of its line; put it in quotes"
        )
    if "eof" in reason:
        return f"line {line} is not HJSON: the text ends before a closing bracket or quote"
    return f"line {line} is not HJSON: look there for a missing quote, colon or bracket"


def _bare_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number and key of each line whose bare text takes in a comma or a bracket."""
    for number, line in enumerate(text.splitlines(), start=1):
        for match in _BARE_TEXT.finditer(line):
            if line.lstrip().startswith(("#", "//")):
                continue
            value = re.split(r"[,}\]]", match[2], maxsplit=1)[0].strip()
            if value not in ("", "true", "false", "null") and not _NUMBER.fullmatch(value):
                yield number, match[1]


def _pitfalls(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Yield each value that HJSON reads differently than its writer meant: its path, and the message."""
    if isinstance(value, _Table):
        for name in value.twice:
            yield f"{path}.{name}".lstrip("."), "is given twice; keep one of the two"
        for name, item in value.items():
            yield from _pitfalls(item, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _pitfalls(item, f"{path}[{index}]")
    elif isinstance(value, _Bare) and _SWALLOWED.search(value):
        yield path, 'the value has no quotes, so it took in the rest of its line; put it in quotes: "…"'


def read_file(path: Path) -> Read:
    """Read the file at ``path``; raises FileNotFoundError, and ConfigError for any other problem."""
    try:
        with os.fdopen(open_file(path), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if isinstance(error, IsADirectoryError):
            raise ConfigError(f"{path}: is a directory; name the HJSON file in it") from None
        help_ = f"; {WHO_MAY}" if isinstance(error, PermissionError) else ""
        raise ConfigError(f"{path}: cannot be read ({reason}){help_}") from None
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {_MAX_BYTES} bytes; that is no configuration")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: line {line} is not UTF-8; save the file as UTF-8") from None
    if not text.strip():
        raise ConfigError(f"{path}: is empty; it must hold at least the credentials")
    try:
        values = _decode(text)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: is not an object; the whole must stand in {{ … }}")
    return Read(values, dict(_pitfalls(values, "")), mode=mode)


def _content(path: Path) -> str:
    """Return the text of a file, without the line end that an editor leaves; raises ValueError."""
    try:
        with os.fdopen(open_file(path), "rb") as file:
            data = file.read(_MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8") from None
    if len(data) > _MAX_BYTES:
        raise ValueError(f"{path} is larger than {_MAX_BYTES} bytes")
    return text.removesuffix("\n").removesuffix("\r")


def _value(text: str, path: str, root: type[BaseModel]) -> Any:
    """Return the value of a variable's text for the key at ``path``; raises ValueError."""
    place = find(tuple(path.split(".")), root)
    assert place.field is not None
    if is_nullable(place.field) and text.strip().lower() in ("", "null"):
        return None
    opens_list = may_be_list(place.field) and text.lstrip().startswith("[")
    if opens_list or place.model is not None or is_list(place.field) or model_of(place.field.annotation):
        return _decode(text)
    if takes_text(place.field):
        return text
    word = text.strip()
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    if _NUMBER.fullmatch(word):
        return _Real(word) if set(word) & set(".eE") else int(word)
    return text


def read_environment(
    environ: Mapping[str, str], root: type[BaseModel] = Settings, prefix: str = PREFIX
) -> Read:
    """Read all variables with the ``prefix``, and the files that those ending in `FILE` name.

    One that names no key of ``root`` is a problem, and so is a key that is given in both ways.
    """
    names = {f"{prefix}__{path.upper().replace('.', '__')}": path for path in known_keys(root)}
    read = Read({})
    ours = [name for name in environ if name.upper().startswith(f"{prefix}_")]
    for name in sorted(ours, key=lambda each: (each.count("__"), each)):  # a section before the keys in it
        in_file = name.upper().endswith(FILE) and name.upper() not in names
        path = names.get(name.upper().removesuffix(FILE) if in_file else name.upper())
        if path is None:
            hint = nearest(name.upper(), list(names))
            read.problems[name] = (
                f"unknown name in the environment;{hint} allowed is {prefix}__SECTION__KEY "
                f"with the keys of the file, as in {prefix}__MQTT__HOST"
            )
            continue
        if path in read.origins:
            read.problems[path] = f"is given by {read.origins[path]} and by {name}; keep one of the two"
            continue
        read.origins[path] = name
        try:
            value = _value(_content(Path(environ[name])) if in_file else environ[name], path, root)
        except ValueError as error:
            read.problems[path] = f"{error} (from {name})"
            continue
        read.problems.update(_pitfalls(value, path))
        _set(read.values, path.split("."), value)
    return read


def read_overrides(values: Mapping[str, str]) -> Read:
    """Read the texts of settings that were changed from afar, as the environment's are read."""
    read = Read({})
    for path, text in values.items():
        read.origins[path] = "an override"
        try:
            value = _value(text, path, Settings)
        except ValueError as error:
            read.problems[path] = str(error)
            continue
        read.problems.update(_pitfalls(value, path))
        _set(read.values, path.split("."), value)
    return read


def sets(read: Read, path: str) -> bool:
    """Return whether a source sets the key at ``path``, or something in it."""
    tree: Any = read.values
    for key in path.split("."):
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True


def _set(tree: dict[str, Any], keys: list[str], value: object) -> None:
    for key in keys[:-1]:
        inner = tree.get(key)
        if not isinstance(inner, dict):
            inner = tree[key] = {}
        tree = inner
    tree[keys[-1]] = value
