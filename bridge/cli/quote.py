"""``hologram-bridge quote``: what a message would cost; nothing is sent."""

import argparse
from typing import Any

from bridge.cli.screen import say, say_json
from bridge.errors import OperationError, UsageError


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    from bridge.cli.options import add_config

    parser = subparsers.add_parser(
        "quote",
        help="what a message would cost",
        description="Ask the running daemon what a message would cost alone. Nothing is sent.",
    )
    add_config(parser)
    parser.add_argument("text", metavar="TEXT", help="the payload, or the text of the SMS")
    parser.add_argument(
        "--topic",
        action="append",
        default=[],
        metavar="TOPIC",
        help="a topic of the message; may be repeated",
    )
    parser.add_argument("--to", metavar="NUMBER", help="the number of an SMS, such as +15551234567")
    parser.add_argument("--via", choices=("cloud", "modem"), help="how the SMS goes (default: sms.via)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def _message(args: argparse.Namespace) -> dict[str, Any]:
    if args.to is None:
        return {"data": args.text, "topics": args.topic}
    return {"to": args.to, "body": args.text} | ({"via": args.via} if args.via else {})


def run(args: argparse.Namespace) -> int:
    """Ask the daemon and print its answer; return the exit code."""
    from bridge.adapters.system.control_socket import ask, socket_path
    from bridge.settings import load

    if args.to is not None and args.topic:
        raise UsageError("an SMS has no topic: give either --to or --topic")
    if args.to is None and args.via:
        raise UsageError("--via is for an SMS: give --to too")
    settings = load(args.config).settings
    answer = ask(
        socket_path(settings.control.path, settings.store.path),
        {"command": "quote", "message": _message(args)},
    )
    if answer is None:
        raise OperationError("the daemon does not run, and a quote needs it: start hologram-bridge")
    if args.json:
        say_json(answer)
        return 0
    say(f"bytes      {answer['bytes_up']} up, {answer['bytes_down']} down")
    if answer["segments"]:
        say(f"SMS        {answer['segments']}")
    price = "no prices are set" if answer["cost"] is None else f"{answer['cost']} {settings.prices.currency}"
    say(f"cost       {price}")
    return 0
