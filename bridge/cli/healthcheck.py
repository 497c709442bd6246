"""``hologram-bridge healthcheck``: whether the running daemon would feed its watchdog; for containers."""

import argparse
import os
from pathlib import Path
from typing import Any

from bridge.cli.screen import say
from bridge.errors import OperationError

WAIT = 20.0
"""Seconds for the daemon to answer: a loop that is held longer is not healthy."""

CONTROL, STORE = "HOLOGRAM_BRIDGE__CONTROL__PATH", "HOLOGRAM_BRIDGE__STORE__PATH"
"""The variables of ``control.path`` and ``store.path``. With them no configuration is read, which would take
most of the time."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    from bridge.cli.options import add_config

    parser = subparsers.add_parser(
        "healthcheck",
        help="whether the running bridge makes progress",
        description="Exit with 0 if the running bridge makes progress, rightly has nothing to do, or is "
        "starting; else with 1, after a line that says why: restart it then.",
    )
    add_config(parser)
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=WAIT,
        help=f"seconds for the bridge to answer (default: {WAIT:g})",
    )
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0.1 <= value <= 600:
        return value
    raise argparse.ArgumentTypeError(
        f"'{text}' is not allowed; allowed is a number of seconds from 0.1 to 600"
    )


def run(args: argparse.Namespace) -> int:
    """Ask the daemon; raises `OperationError` if it is stuck, does not answer, or does not run."""
    from bridge.adapters.system.control_socket import ask

    answer = ask(_socket(args.config), {"command": "healthcheck"}, args.timeout)
    if answer is None:
        say(_starting(args.config))
    elif answer["stuck"]:
        raise OperationError(f"no progress of: {', '.join(answer['stuck'])}; restart the bridge")
    else:
        say(answer["status"])
    return 0


def _socket(config: Path | None) -> Path:
    if path := os.environ.get(CONTROL):
        return Path(path)
    from bridge.adapters.system.control_socket import socket_path

    settings = _settings(config)
    return socket_path(settings.control.path, settings.store.path)


def _starting(config: Path | None) -> str:
    """Return a line about a daemon that holds the outbox without listening: its start is not to be cut short.

    A damaged outbox takes minutes to save, and an interrupted start would begin with it again.
    """
    from bridge.adapters.system.holders import locking

    given = os.environ.get(STORE)
    store = Path(given) if given else _settings(config).store.path
    holder = locking(store.with_name(store.name + ".lock"))
    if holder is None:
        raise OperationError(f"no hologram-bridge runs on {store}; look into its log")
    return f"{holder} has the outbox and does not listen yet: it is starting, or stopping"


def _settings(config: Path | None) -> Any:
    from bridge.settings import load

    return load(config).settings
