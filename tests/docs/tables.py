"""The tables of the pages that are made from the code; ``make tables`` writes them."""

import importlib
import json
import re
from argparse import SUPPRESS, Action, ArgumentParser, _SubParsersAction
from collections.abc import Callable, Iterator
from typing import Any

import hjson
from pydantic import BaseModel

from bridge.__main__ import build_parser
from bridge.protocol.modems import PROFILES
from bridge.settings import Settings
from bridge.settings.explain import allowed, is_list, is_secret, model_of
from tests.bench.price_list import FAILURES, FUNCTIONS
from tests.docs.pages import FACES, PAGES
from tests.harness.process import ROOT


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(*rows: tuple[str, ...]) -> str:
    head, *rest = rows
    return "\n".join([_row(*head), "|" + "---|" * len(head), *(_row(*row) for row in rest)])


def _comments() -> dict[str, str]:
    """Return what the shipped configuration says above each key; neighbours share it, or their section's."""
    found: dict[str, str] = {}
    path: list[tuple[str, str]] = []
    said: list[str] = []
    above = ""
    for line in (ROOT / "config" / "bridge.hjson").read_text().splitlines():
        text = line.strip()
        if text.startswith("#"):
            said.append(text.lstrip("# "))
            continue
        if key := re.match(r"(\w+): *(\{?)", text):
            above = " ".join(said) or above
            found[".".join([*(name for name, _ in path), key[1]])] = above
            if key[2]:
                path.append((key[1], above))
        elif text == "}" and path:
            _, above = path.pop()
        said = []
    return found


_FURTHER = {
    "mqtt.tls.ca": "The authority that is trusted; null: those of the system.",
    "mqtt.tls.cert": "A client certificate, if the broker asks for one; together with `key`.",
    "mqtt.tls.key": "Its key.",
    "home_assistant.notify[].name": "What Home Assistant calls the person.",
    "home_assistant.notify[].to": "The number.",
    "routes": "What happens to which topics under `hologram/out/`; the first match wins.",
    "routes[].match": "The topics, without `hologram/out/`.",
    "routes[].channel": "The cloud, or straight to a host by TCP or UDP.",
    "routes[].host": "The host, for `tcp` and `udp`.",
    "routes[].port": "Its port.",
    "routes[].expect": "What the answer must hold, for `tcp`; null: the peer closes after the message.",
    "routes[].max_attempts": "After how many attempts it is `failed`; null: never.",
    "routes[].priority": "null: normal.",
    "routes[].filter": "Which readings go; the others are filtered. null: all of them.",
    "routes[].filter.deadband": "A number goes when it has moved at least so far.",
    "routes[].filter.field": "Where that number is in a JSON object; null: the payload is the number.",
    "routes[].filter.changed": "true: a payload equal to the last that went does not go.",
    "routes[].filter.min_interval": "At most one message of a topic list in this time.",
    "routes[].filter.max_interval": "After this time one goes whatever it says.",
    "routes[].keep": "latest: a message that waits is replaced by a newer one of its topics.",
    "routes[].stamp": "The key under which the time of a message goes with it; null: without a time.",
    "routes[].expires": "How long it is kept trying; null: `store.max_age`.",
    "routes[].escalate": "Texts for a message that is not delivered; null: none.",
    "routes[].escalate.after": "How long a message has until its texts go.",
    "routes[].escalate.sms": "The numbers; each gets one text.",
    "routes[].escalate.limit": "Texts of the route at most in `per`; each number's counts.",
    "routes[].escalate.per": "The time for `limit`.",
    "routes[].batch": "Several messages in one request to the cloud; null: each alone.",
    "routes[].batch.every": "How long the oldest waits for others.",
    "routes[].batch.messages": "With so many it goes at once.",
    "routes[].batch.bytes": "What its request, as it is sent, does not exceed; a larger message goes alone.",
    "routes[].batch.topic": "The cloud topic of its request; its messages keep their own inside it.",
    "routes[].batch.form": "`plain` is JSON that needs no decoder, and costs several times the data.",
}
"""Keys that the shipped configuration explains by an example."""


def keys(model: type[BaseModel] = Settings, before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting with its field."""
    for name, field in model.model_fields.items():
        inner = model_of(field.annotation)
        if inner is None or is_list(field) or field.default is None:
            yield f"{before}{name}", field
        if inner is not None:
            yield from keys(inner, f"{before}{name}{'[]' if is_list(field) else ''}.")


def _default(key: str, field: Any) -> str:
    if field.is_required():
        return "needed"
    shipped: Any = hjson.loads((ROOT / "config" / "bridge.hjson").read_text())
    if "[]" not in key and ".tls." not in key:
        for step in key.split("."):
            shipped = shipped[step]
        return f"`{json.dumps(shipped)}`"
    return f"`{json.dumps(field.default)}`"


def _allowed(field: Any) -> str:
    text = re.sub(r'"[^"]*"', lambda found: f"`{found[0]}`", allowed(field))
    if text.count("` or `") > 1:
        text = text.replace("` or `", "`, `")
    return f"{text}; secret" if is_secret(field) else text


def _meaning(key: str) -> str:
    """Return what a key is, without the range that stands in the column before."""
    text = _FURTHER.get(key) or re.sub(r" \([\d.]+ to \d+\)", "", _comments()[key])
    return text.replace("<", r"\<")


def _configuration() -> str:
    rows = [(f"`{key}`", _default(key, field), _allowed(field), _meaning(key)) for key, field in keys()]
    return _table(("key", "default", "allowed", "what it is"), *rows)


def _command_rows(parser: ArgumentParser, words: str) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, inner in action.choices.items():
                deeper = list(_command_rows(inner, f"{words} {name}"))
                yield from deeper or [(f"{words} {name}", helps[name])]


def _commands() -> str:
    rows = [(f"`{words}`", text) for words, text in _command_rows(build_parser(), "hologram-bridge")]
    return _table(("command", "does"), *rows)


def _modems() -> str:
    rows = [
        (
            f"`{profile.interface}`",
            profile.label,
            ", ".join(f"`{usb}`" for usb in profile.usb_ids),
            "yes" if profile.sockets else "no",
            "one" if profile.at_interface == profile.dial_interface else "two",
        )
        for profile in PROFILES
        if profile.usb_ids
    ]
    head = ("`network.interface`", "modem", "USB id", "sockets of its own", "ports")
    return _table(head, *rows)


def _options() -> str:
    """Return a section for each command: its arguments and options, in the words of its help."""
    return "\n\n".join(_sections(build_parser(), "hologram-bridge", ""))


def _tools() -> str:
    """Return the same for each of the SDK's tools."""
    parsers = {name: importlib.import_module(module).build_parser() for name, module in FACES.items()}
    return "\n\n".join(
        text
        for name, parser in parsers.items()
        for text in _sections(parser, name, " ".join((parser.description or "").split()))
    )


def _sections(parser: ArgumentParser, words: str, does: str) -> Iterator[str]:
    subparsers = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
    for action in subparsers:
        helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, inner in action.choices.items():
            yield from _sections(inner, f"{words} {name}", inner.description or helps[name])
    if subparsers:
        return
    shown = [action for action in parser._actions if action.dest != "help" and action.help is not SUPPRESS]
    table = _table(("argument", "is"), *map(_option, shown)) if shown else "It takes none."
    does = " ".join(does.split()).rstrip(".")
    yield f"### `{words}`\n\n{does[:1].upper()}{does[1:]}.\n\n{table}"


def _option(action: Action) -> tuple[str, str]:
    value = action.metavar or (None if action.nargs == 0 else action.dest.upper())
    if isinstance(value, tuple):
        value = value[0]
    if action.option_strings:
        shown = ", ".join(action.option_strings) + (f" {value}" if value else "")
    else:
        shown = value or action.dest
    text = " ".join(((action.help or "") % vars(action)).split())
    if action.choices:
        text = f"{', '.join(f'`{each}`' for each in action.choices)}: {text}"
    # A bar in code marks would end the cell.
    return f"`{shown.replace('|', ' or ')}`", text.replace("<", r"\<")


def _prices() -> str:
    """Return what each function costs a month."""
    head = ("function", "bytes each time", "how often", "MB a month")
    rows = [(each.what, str(each.each), each.often, _megabytes(each.month)) for each in FUNCTIONS]
    return _table(head, *rows)


def _failures() -> str:
    """Return what a try that fails costs, and a day of them."""
    rows = [(each.what, str(each.each), _megabytes(each.month / 30)) for each in FAILURES]
    return _table(("what happens", "bytes an attempt", "MB a day"), *rows)


def _megabytes(value: float) -> str:
    return f"{value:.2g}"


MADE: dict[str, Callable[[], str]] = {
    "configuration": _configuration,
    "commands": _commands,
    "options": _options,
    "tools": _tools,
    "modems": _modems,
    "prices": _prices,
    "failures": _failures,
}
"""The tables, each between ``<!-- made: NAME -->`` and ``<!-- end -->``."""


def made_anew(text: str) -> str:
    """Return a page with its made tables as they have to be."""
    for name, make in MADE.items():
        before, mark, rest = text.partition(f"<!-- made: {name} -->\n")
        if mark:
            _, _, after = rest.partition("<!-- end -->")
            text = f"{before}{mark}\n{make()}\n\n<!-- end -->{after}"
    return text


if __name__ == "__main__":
    for each in PAGES:
        each.path.write_text(made_anew(each.text))
