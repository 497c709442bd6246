"""``hologram-bridge check-config``: validates the configuration and prints it with secrets masked."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bridge.cli.options import add_config
from bridge.cli.screen import say, say_json

if TYPE_CHECKING:
    from bridge.collect.settings import Loaded as CollectorLoaded
    from bridge.settings import Loaded


def add_parser(subparsers: Any) -> None:
    """Add ``check-config`` to the commands; its ``run(args)`` returns the exit code."""
    parser = subparsers.add_parser(
        "check-config",
        help="validate the configuration and print it",
        description="Validate the configuration and print the effective values as JSON, with secrets masked.",
    )
    add_config(parser)
    parser.add_argument(
        "--collect",
        action="store_true",
        help="the configuration of a collector (default file: /etc/hologram-bridge/collect.hjson)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the effective configuration; raises `bridge.errors.ConfigError` for a wrong one."""
    # Here, because every command is slower by what this one needs.
    from bridge.settings.explain import masked

    loaded, note = (_load_collector(args), "") if args.collect else _load_bridge(args)
    for warning in loaded.warnings:
        say(f"WARNING:config:{warning}", error=True)
    say_json(masked(loaded.settings))
    if note:
        say(note, error=True)
    # Programs read stdout, so warnings go to stderr. A warning does not keep the bridge from running.
    where = loaded.path or "the environment"
    verdict = "it can be used, with the warnings above" if loaded.warnings else "all is right"
    say(f"{where}: {verdict}", error=True)
    return 0


def _load_bridge(args: argparse.Namespace) -> "tuple[Loaded, str]":
    """Return the configuration, and what of it was changed from afar."""
    from bridge.daemon.configure import broker
    from bridge.settings import load

    loaded = load(args.config)
    broker(loaded.settings)
    if loaded.refused:
        loaded = replace(loaded, warnings=(*loaded.warnings, loaded.refused))
    return loaded, loaded.changes()


def _load_collector(args: argparse.Namespace) -> "CollectorLoaded":
    from bridge.collect.settings import load

    return load(args.config)
