"""``hologram-bridge run``: the daemon."""

import argparse
import logging

from bridge.cli.ending import end_at_sigterm


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    from bridge.cli.options import add_config

    parser = subparsers.add_parser(
        "run", help="run the bridge", description="Run the bridge until it is stopped."
    )
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Load the configuration and run the daemon; return the exit code."""
    end_at_sigterm()
    from bridge.daemon import app, logs
    from bridge.settings import Loaded, Overrides, load

    def reread(*, overrides: Overrides | None = None) -> Loaded:
        return load(args.config, overrides=overrides)

    loaded = reread()
    logs.set_up(loaded.settings.log.level)
    for warning in loaded.warnings:
        logging.getLogger("config").warning("%s", warning)
    return app.run(loaded, reread)
