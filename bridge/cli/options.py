"""Options that several commands share."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser that prints its help where no command is given; its subparsers are of the same class."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2, after the help or one line."""
        if message.startswith("the following arguments are required: ") and message.endswith(COMMAND):
            self.print_help(sys.stderr)
            self.exit(2)
        super().error(message)


COMMAND = "COMMAND"
"""The placeholder for a command in the help."""


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``-c FILE``."""
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        type=Path,
        default=None,
        help="configuration file (default: /etc/hologram-bridge/bridge.hjson)",
    )
