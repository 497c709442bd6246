"""Turns a validator's findings into one clear line per problem, with secrets masked."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from bridge.settings.fields import Allowed, Secret
from bridge.settings.hints import in_seconds, is_curly, measured, without_quotes
from bridge.settings.models import Settings

MASK = "***"
_SHOWN = 80
_COUNTED = re.compile(r"[0-9 to]+ characters")


@dataclass(frozen=True, slots=True)
class Place:
    """The target of a path of keys: the readable ``path``, and its section or setting."""

    path: str
    model: type[BaseModel] | None
    field: FieldInfo | None


def model_of(annotation: object) -> type[BaseModel] | None:
    """Return the section in an annotation: alone, as an option or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := model_of(part))), None)


def is_list(field: FieldInfo) -> bool:
    """Return whether the setting is a list."""
    return get_origin(field.annotation) is tuple


def may_be_list(field: FieldInfo) -> bool:
    """Return whether the setting accepts one value or a list of them."""
    return any(get_origin(part) is tuple for part in get_args(field.annotation))


def is_nullable(field: FieldInfo) -> bool:
    """Return whether the setting may be null."""
    return type(None) in get_args(field.annotation)


def find(loc: tuple[int | str, ...], root: type[BaseModel] = Settings) -> Place:
    """Follow ``loc`` through the known settings of ``root``; an unknown key ends the path without a field."""
    model: type[BaseModel] | None = root
    field: FieldInfo | None = None
    path = ""
    for step in loc:
        if isinstance(step, int):
            path += f"[{step}]"
            if field is not None:
                model = model_of(field.annotation)
        elif model is None:
            break  # inside a setting: the name of a variant, not a key
        else:
            path += f".{step}" if path else step
            field = model.model_fields.get(step)
            model = model_of(field.annotation) if field and not is_list(field) else None
    return Place(path, model, field)


def _marks(node: object) -> list[Any]:
    """Return all metadata of an annotation, the outermost first."""
    if isinstance(node, FieldInfo):
        return [*node.metadata, *_marks(node.annotation)]
    own: list[Any] = []
    for mark in getattr(node, "__metadata__", ()):
        own += mark.metadata if isinstance(mark, FieldInfo) else [mark]
    return own + [mark for part in get_args(node) for mark in _marks(part)]


def is_secret(field: FieldInfo) -> bool:
    """Return whether the setting is never shown."""
    return any(isinstance(mark, Secret) for mark in _marks(field))


def _literals(annotation: object) -> list[Any]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in _literals(part)]


def allowed(field: FieldInfo) -> str:
    """Return the values that a setting accepts, in words that follow "allowed is"."""
    marks = _marks(field)
    texts = [mark.text for mark in marks if isinstance(mark, Allowed)]
    if texts:
        text = texts[0]
    elif model := model_of(field.annotation):
        text = f"an object with the keys {', '.join(model.model_fields)}"
    elif values := _literals(field.annotation):
        text = " or ".join(json.dumps(value) for value in values)
    else:
        low = next(mark.ge for mark in marks if isinstance(mark, Ge))
        text = f"{low} to {next(mark.le for mark in marks if isinstance(mark, Le))}"
    return f"{text}, or null" if is_nullable(field) else text


def shown(value: object, field: FieldInfo | None) -> str:
    """Return a value in a form that may be shown: masked if secret, short, on one line."""
    if field is None or is_secret(field):
        return MASK
    if model_of(field.annotation):  # a section may contain secrets
        kinds = (
            (dict, "an object"),
            (list, "a list"),
            (str, "text"),
            (bool, "this value"),
            (int | float, "a number"),
        )
        return next((word for kind, word in kinds if isinstance(value, kind)), "null")
    text = json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _all_keys(model: type[BaseModel], before: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(before + name)
        inner = model_of(field.annotation)
        if inner and not is_list(field):
            keys += _all_keys(inner, f"{before}{name}.")
    return keys


def known_keys(root: type[BaseModel] = Settings) -> list[str]:
    """Return the path of every key outside lists, sections included: ``mqtt``, ``mqtt.host``, …."""
    return _all_keys(root)


def nearest(key: str, known: list[str], otherwise: Sequence[str] = ()) -> str:
    """Return a question with the known key nearest to ``key``, or an empty text."""
    from difflib import get_close_matches

    near = get_close_matches(key, known, 1) or otherwise
    return f" did you mean '{near[0]}'?" if near else ""


def unknown_key(key: str, allowed_keys: list[str], root: type[BaseModel] = Settings) -> str:
    """Return the problem of an unknown key, with the nearest known one."""
    if key in known_keys(root) and "." in key:
        section, _, inner = key.rpartition(".")
        return f"unknown key '{key}'; a section has braces, as in {section}: {{ {inner}: … }}"
    elsewhere = [path for path in known_keys(root) if path.rsplit(".", 1)[-1] == key]
    hint = nearest(key, allowed_keys, elsewhere)
    return f"unknown key '{key[:_SHOWN]}';{hint} allowed keys are {', '.join(allowed_keys)}"


def takes_text(field: FieldInfo) -> bool:
    """Return whether the setting is text or a path, so that digits stay as they are."""
    return _mentions(field.annotation, str) or _mentions(field.annotation, Path)


def _mentions(annotation: object, kind: type) -> bool:
    return annotation is kind or any(
        _mentions(part, kind) for part in get_args(annotation) if get_origin(annotation) is not Literal
    )


def _wrong_value(place: Place, value: object, reason: str) -> str:
    field = place.field
    assert field is not None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    key = place.path.rsplit(".", 1)[-1]
    if is_number and takes_text(field):
        sample = "…" if is_secret(field) else str(value)
        return (
            f"{shown(value, field)} is a number as it stands; put it in quotes, as in "
            f'{key}: "{sample}"; allowed is {allowed(field)}'
        )
    meant = _meant(key, value, field) if isinstance(value, str) else " is not allowed"
    return f"{shown(value, field)}{meant}{reason}; allowed is {allowed(field)}"


def _meant(key: str, text: str, field: FieldInfo) -> str:
    """Return why a text is refused, and its probable meaning."""
    wanted = allowed(field)
    plain = without_quotes(
        text,
        numbers=_mentions(field.annotation, int) or _mentions(field.annotation, float),
        flags=_mentions(field.annotation, bool),
        null=is_nullable(field),
    )
    if plain and not takes_text(field):
        return f" is text as it stands; write it without quotes, as in {key}: {plain}"
    if wanted.partition(", or null")[0].endswith(" seconds") and (seconds := in_seconds(text)):
        return f" is text as it stands; write the number of seconds alone, as in {key}: {seconds}"
    if is_secret(field) or _COUNTED.match(wanted):
        return f" ({measured(text)}) is not allowed"
    if near := nearest(text.lower(), [each for each in _literals(field.annotation) if isinstance(each, str)]):
        return f" is not allowed;{near.rstrip('?')}"
    if is_curly(text):
        return ' is not allowed: it has typographic quotes, write " before and after it'
    return " is not allowed"


def _line(error: Mapping[str, Any], root: type[BaseModel]) -> tuple[str, str]:
    """Return the path of one finding, and its problem in words."""
    kind, loc, context = error["type"], error["loc"], error.get("ctx", {})
    if kind == "extra_forbidden":
        model = find(loc[:-1], root).model
        assert model is not None
        return find(loc, root).path, unknown_key(str(loc[-1]), list(model.model_fields), root)
    place = find(loc, root)
    if kind == "bridge":
        return ".".join(part for part in (place.path, context["key"]) if part), context["text"]
    if place.field is None:
        return place.path or "configuration", "is not an object; allowed is { … }"
    if place.path.endswith("]") and place.model is not None:
        return (
            place.path,
            f"is not an object; allowed is one with the keys {', '.join(place.model.model_fields)}",
        )
    if kind == "missing":
        return place.path, f"is missing; allowed is {allowed(place.field)}"
    # Only `_readable` gives a reason of the system's; other texts would repeat what is allowed.
    reason = str(context.get("error", "")) if kind == "value_error" and "read" in allowed(place.field) else ""
    return place.path, _wrong_value(place, error["input"], f" ({reason})" if reason else "")


def explain(error: ValidationError, root: type[BaseModel] = Settings) -> dict[str, str]:
    """Return the problem of each wrong key of ``root``, by its path, in the order found."""
    lines: dict[str, str] = {}
    for each in error.errors(include_url=False):
        path, text = _line(each, root)
        if not any(known.startswith(f"{path}[") for known in lines):  # problems of its items are more precise
            lines.setdefault(path, text)
    return lines


def one_line_each(problems: Mapping[str, str]) -> str:
    """Return one line per problem, whatever characters the file's keys are made of."""
    lines = (f"{path}: {text}" for path, text in problems.items())
    return "\n".join("".join(char if char.isprintable() else "?" for char in line) for line in lines)


def masked(model: BaseModel) -> dict[str, Any]:
    """Return a section as JSON-able values, secrets masked."""
    return {
        name: _plain(getattr(model, name), is_secret(field))
        for name, field in type(model).model_fields.items()
    }


def _plain(value: object, secret: bool) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, BaseModel):
        return masked(value)
    if isinstance(value, tuple):
        return [_plain(item, secret) for item in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    return MASK if secret else str(value)
