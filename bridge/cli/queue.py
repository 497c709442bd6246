"""``hologram-bridge queue``: the outbox, through the running daemon or on the file itself."""

import argparse
import base64
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bridge.cli.screen import say, say_json
from bridge.errors import OperationError

COMMANDS = {
    "stats": "the depth of the queue, and the results so far",
    "list": "the queued messages, oldest first, without their payloads",
    "retry": "send everything now instead of after its delay",
    "purge": "drop every queued message; each gets its result",
    "set-aside": "list, print, drop or retry what the broker did not take",
}

MOST = 1_000_000_000
"""Most messages that are listed: the largest outbox that can be configured."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    from bridge.cli.options import add_config

    parser = subparsers.add_parser(
        "queue",
        help="inspect the outbox and act on it",
        description="Inspect the outbox and act on it: through the running daemon, or on the file.",
    )
    commands = parser.add_subparsers(dest="queue_command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        add_config(command)
        command.add_argument("--json", action="store_true", help="print JSON")
        if name == "list":
            command.add_argument(
                "--limit", type=_count, default=100, help="number of messages at most (default: 100)"
            )
        elif name == "set-aside":
            _add_aside(command)
        command.set_defaults(run=run)


def _add_aside(command: argparse.ArgumentParser) -> None:
    act = command.add_mutually_exclusive_group()
    act.add_argument(
        "--show", type=_count, metavar="ID", help="print the one with this number, with its payload"
    )
    act.add_argument(
        "--drop", type=_one_or_all, metavar="ID|all", help="delete the one with this number, or all"
    )
    act.add_argument(
        "--retry",
        type=_one_or_all,
        metavar="ID|all",
        help="publish the report with this number again, or all",
    )
    command.add_argument("--limit", type=_count, default=100, help="number of lines at most (default: 100)")
    command.add_argument(
        "--raw", action="store_true", help="with --show: print only the payload, byte for byte"
    )


def _one_or_all(text: str) -> int | str:
    return text if text == "all" else _count(text)


def _request(args: argparse.Namespace) -> dict[str, Any]:
    request = {"command": args.queue_command, "limit": getattr(args, "limit", 100)}
    if args.queue_command != "set-aside":
        return request
    for action in ("show", "drop", "retry"):
        if (which := getattr(args, action)) is not None:
            return {**request, "action": action, "number": None if which == "all" else which}
    return {**request, "action": "list", "number": None}


def _count(text: str) -> int:
    if text.isdecimal() and len(text) <= len(str(MOST)) and 1 <= int(text) <= MOST:
        return int(text)
    raise argparse.ArgumentTypeError(f"'{text}' is not allowed; allowed is a whole number from 1 to {MOST}")


def run(args: argparse.Namespace) -> int:
    """Carry the command out; return the exit code."""
    from bridge.adapters.system.control_socket import ask, socket_path
    from bridge.settings import load

    settings = load(args.config).settings
    store = settings.store.path
    request = _request(args)
    answer = ask(socket_path(settings.control.path, store), request)
    if answer is None:
        answer = _on_file(settings, store, request)
    if getattr(args, "raw", False) and "payload_base64" in answer:
        sys.stdout.buffer.write(base64.b64decode(answer["payload_base64"]))
    elif args.json:
        say_json(answer)
    elif args.queue_command == "stats":
        _print_stats(answer, settings.mqtt.prefix)
    else:
        _PRINTERS[args.queue_command](answer)
    return 0


def _on_file(settings: Any, store: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Act on the file, as the user who owns it, so that new files beside it belong to the daemon's user."""
    from bridge.cli.offline import act
    from bridge.store.owner import as_owner

    try:
        with as_owner(store):
            store.stat()
            return act(settings, store, request)
    except FileNotFoundError:
        raise OperationError(
            f"there is no outbox at {store} yet, and no daemon is running; see store.path"
        ) from None
    except OSError as exc:
        help_ = "use sudo" if isinstance(exc, PermissionError) else "see store.path"
        raise OperationError(f"cannot use {store}: {exc.strerror}; {help_}") from exc


def _print_stats(answer: dict[str, Any], prefix: str) -> None:
    queue = answer["queue"]
    say(f"queued     {queue['messages']} messages, {queue['bytes']} bytes")
    for channel, depth in queue["by_channel"].items():
        shown = ", ".join(f"{number} {priority}" for priority, number in depth.items())
        say(f"  {channel:<8} {shown}")
    if queue["oldest_age"] is not None:
        say(f"oldest     {queue['oldest_age']:.0f} s")
    for name, number in queue["held"].items():
        say(f"held       {number} messages, since budget.{name} is used up")
    if queue["paused"]:
        say(f"sending is paused ({prefix}/queue/set resume)")
    say("results    " + ", ".join(f"{number} {state}" for state, number in answer["results"].items()))
    for period, traffic in answer["bytes"].items():
        say(f"{period:<10} {traffic['up']} bytes up, {traffic['down']} bytes down")


def _print_list(answer: dict[str, Any]) -> None:
    for message in answer["messages"]:
        queued = datetime.fromtimestamp(message["queued_at"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        target = message["to"] or ",".join(message["topics"]) or "-"
        say(
            f"{message['id']}  {queued}  {message['channel']:<5} {message['priority']:<6} "
            f"{message['state']:<9} attempts {message['attempts']}  {message['bytes']} bytes  {target}"
        )
        if message["retry_in"] is not None and message["error"]:
            say(f"  tried again in {message['retry_in']:.0f} s: {message['error']}")
        if message["held"]:
            say(f"  held back: budget.{message['held']} is used up")
    if not answer["messages"]:
        say("nothing is queued")


def _print_aside(answer: dict[str, Any]) -> None:
    if "payload_base64" in answer:
        _print_one(answer)
    elif "set_aside" in answer:
        for each in answer["set_aside"]:
            say(
                f"{each['id']}  {each['at']}  {each['kind']:<8} {each['bytes']} bytes  "
                f"{each['topic']}  {each['reason']}"
            )
        if not answer["set_aside"]:
            say("nothing is set aside")
    else:
        done = "dropped" if "dropped" in answer else "published again:"
        say(f"{done} {' '.join(map(str, answer.values()))}")


def _print_one(answer: dict[str, Any]) -> None:
    """Print one entry escaped for a terminal; ``--raw`` gives the payload's bytes."""
    for name in ("id", "kind", "topic", "bytes", "reason", "at", "properties"):
        if answer[name] is not None:
            say(f"{name:<10} {answer[name]}")
    payload = base64.b64decode(answer["payload_base64"]).decode("utf-8", "backslashreplace")
    say("")
    for line in payload.split("\n"):
        say(line)


_PRINTERS: dict[str, Callable[[dict[str, Any]], None]] = {
    "list": _print_list,
    "retry": lambda answer: say(answer["description"]),
    "purge": lambda answer: say(f"purged {answer['purged']} messages"),
    "set-aside": _print_aside,
}
