"""``hologram-bridge collect``: the other end of a fleet."""

import argparse
import logging
from pathlib import Path

from bridge.errors import OperationError


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "collect",
        help="run a collector, where the cloud's webhooks go",
        description="Take the cloud's webhooks by HTTP, unpack batches, and publish each reading on an MQTT "
        "broker or a NATS JetStream stream, until it is stopped.",
    )
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        type=Path,
        default=None,
        help="configuration file (default: /etc/hologram-bridge/collect.hjson)",
    )
    parser.add_argument(
        "--setup",
        action="store_true",
        help="make the stream as the configuration says, or change it, say what was done, and end",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Load the configuration and collect, or set up the stream; return the exit code."""
    from bridge.cli.screen import say
    from bridge.collect.settings import load
    from bridge.daemon import logs

    loaded = load(args.config)
    logs.set_up(loaded.settings.log.level)
    for warning in loaded.warnings:
        logging.getLogger("config").warning("%s", warning)
    try:
        from bridge.collect.run import run as collect
        from bridge.collect.run import set_up
    except ModuleNotFoundError as error:
        extra = "collect" if loaded.settings.nats is None else "nats"
        text = f"{error.name} is missing; run: pip install 'hologram-bridge[{extra}]'"
        raise OperationError(text) from None
    if args.setup:
        say(set_up(loaded.settings))
        return 0
    return collect(loaded.settings)
