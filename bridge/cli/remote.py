"""``hologram-bridge remote``: signed commands to a box, and what they changed."""

import argparse


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``remote`` with ``key``, ``sign``, ``send`` and ``clear``; each sets ``run(args) -> int``."""
    from bridge.cli.remote_clear import add_clear
    from bridge.cli.remote_desk import add_key, add_send, add_sign

    parser = subparsers.add_parser(
        "remote",
        help="command a box from afar",
        description="Make the key of a box, sign and send commands to it, and remove what they changed.",
    )
    kinds = parser.add_subparsers(metavar="COMMAND", required=True)
    add_key(kinds)
    add_sign(kinds)
    add_send(kinds)
    add_clear(kinds)
