"""``hologram-bridge doctor``: checks everything that the bridge needs, and says how to fix it."""

import argparse
import shlex
import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bridge.cli.screen import say, say_json
from bridge.core.visible import visible

if TYPE_CHECKING:
    from bridge.doctor.context import Context
    from bridge.doctor.finding import Finding

_WIDTH = 100
_COLOURS = {"ok": "\033[32m", "warn": "\033[33m", "fail": "\033[31m", "skipped": "\033[2m"}
_PLAIN = "\033[0m"

_EPILOG = """\
It sends no message, and at most one TCP handshake to the cloud. It does not disturb a running bridge.
Exit codes: 0 nothing failed, 1 something failed, 78 the configuration cannot be used."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    from bridge.cli.options import add_config

    parser = subparsers.add_parser(
        "doctor",
        help="check everything that the bridge needs, and say how to fix it",
        description="Check everything that the bridge needs, and say how to fix what is wrong.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the checks and print the findings; return the exit code."""
    from bridge.doctor.checks import examine, unreadable
    from bridge.doctor.context import Context
    from bridge.errors import ConfigError
    from bridge.settings import load

    try:
        context = Context(load(args.config))
    except ConfigError as exc:
        _show(unreadable(str(exc)), as_json=args.json)
        return exc.exit_code
    findings = _show(
        examine(context, lambda text: say(f"        {text}", error=args.json)), as_json=args.json
    )
    if not args.json and any((each.name, each.state) == ("broker", "ok") for each in findings):
        say(f"to see it live: {_watch(context)}")
    return 1 if any(each.state == "fail" for each in findings) else 0


def _watch(context: "Context") -> str:
    """Return the line that shows this bridge live; an unusual broker needs the configuration."""
    mqtt, usual = context.settings.mqtt, type(context.settings.mqtt)()
    keys = ("host", "port", "username", "tls", "prefix")
    if context.config is None or all(getattr(mqtt, key) == getattr(usual, key) for key in keys):
        return "hologram-bridge watch"
    return f"sudo hologram-bridge watch -c {shlex.quote(str(context.config))}"


def _show(findings: "Iterator[Finding]", *, as_json: bool) -> "list[Finding]":
    """Print the findings, one by one for a person or at the end as JSON; return them."""
    found = []
    for each in findings:
        found.append(each)
        if not as_json:
            _print(each)
    if as_json:
        ended = {state: sum(each.state == state for each in found) for state in _COLOURS}
        say_json({"findings": [each._asdict() for each in found], **ended})
    return found


def _print(finding: "Finding") -> None:
    state = finding.state.value
    colour, plain = (_COLOURS[state], _PLAIN) if sys.stdout.isatty() else ("", "")
    lines = textwrap.wrap(finding.finding, _WIDTH, break_long_words=False) or [""]
    print(f"{colour}{state:<7}{plain} {finding.name:<14} {visible(lines[0])}")
    for line in lines[1:]:
        say(f"{'':<23}{line}")
    if finding.fix:
        fix = textwrap.wrap(finding.fix, _WIDTH, break_long_words=False, break_on_hyphens=False)
        say(f"{'':<23}-> {fix[0]}")
        for line in fix[1:]:
            say(f"{'':<26}{line}")
