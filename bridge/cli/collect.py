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
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Load the configuration and collect; return the exit code."""
    from bridge.collect.settings import load
    from bridge.daemon import logs

    loaded = load(args.config)
    logs.set_up(loaded.settings.log.level)
    for warning in loaded.warnings:
        logging.getLogger("config").warning("%s", warning)
    try:
        from bridge.collect.run import run as collect
    except ModuleNotFoundError as error:
        raise OperationError(_missing(error, "collect")) from None
    return collect(loaded.settings)


def _missing(error: ModuleNotFoundError, extra: str) -> str:
    return f"{error.name} is missing; run: pip install 'hologram-bridge[{extra}]'"
