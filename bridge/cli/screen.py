"""The commands' output: text from outside is escaped, so it cannot steer the terminal or forge a line."""

import json
import sys
from typing import Any

from bridge.core.visible import visible


def say(text: str, *, error: bool = False) -> None:
    """Print one line on standard output, or as an ``error`` on standard error."""
    print(visible(text), file=sys.stderr if error else sys.stdout, flush=True)


def say_raw(text: str) -> None:
    """Print ``text`` unchanged to a file or pipe; on a terminal it is escaped."""
    print(visible(text) if sys.stdout.isatty() else text, flush=True)


def say_json(value: Any) -> None:
    """Print JSON; characters that a terminal would act on are written as JSON escapes."""
    print("\n".join(map(_escaped, json.dumps(value, indent=2, ensure_ascii=False).split("\n"))))


def json_line(value: Any) -> str:
    """Return compact JSON on one line; what a terminal would act on is written as `say_json` does."""
    return _escaped(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
