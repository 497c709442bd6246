"""``hologram-bridge run``: the daemon."""

import argparse
import logging
import os
import signal


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
    _end_at_sigterm()
    from bridge.daemon import app, logs
    from bridge.settings import Loaded, Overrides, load

    def reread(*, overrides: Overrides | None = None) -> Loaded:
        return load(args.config, overrides=overrides)

    loaded = reread()
    logs.set_up(loaded.settings.log.level)
    for warning in loaded.warnings:
        logging.getLogger("config").warning("%s", warning)
    return app.run(loaded, reread)


def _end_at_sigterm() -> None:
    """Have SIGTERM end the start too, if this is the first process of a container.

    The kernel drops signals for process 1 that have no handler [pid_namespaces(7)], and the daemon sets its
    own when the outbox is open, which can take minutes.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda number, _frame: os._exit(128 + number))
