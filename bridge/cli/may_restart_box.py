"""``hologram-bridge may-restart-box``: the command of ``hologram-restart-box.service``.

It runs as root and takes nothing from the bridge. systemd restarts the box only if it ends well.
"""

import argparse


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "may-restart-box",
        help="tell whether the box may be restarted now (root; for hologram-restart-box.service)",
        description="End with 0 if neither apt nor dpkg is at work, so that the box may be restarted. It "
        "restarts nothing itself. Needs root.",
    )
    parser.set_defaults(run=run)


def run(_args: argparse.Namespace) -> int:
    """Look at the locks of apt and dpkg; raises `OperationError` if one is held."""
    from bridge.adapters.system.package_locks import kept_out

    with kept_out():
        print("neither apt nor dpkg is at work")
    return 0
