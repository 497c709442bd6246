"""``hologram-bridge remote clear``, at the box: the file alone counts again."""

import argparse
from pathlib import Path

from bridge.cli.screen import say
from bridge.errors import OperationError


def add_clear(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    from bridge.cli.options import add_config

    text = "remove all settings that were changed from afar, so that the file alone counts"
    clear = commands.add_parser("clear", help=text, description=f"{text[0].upper()}{text[1:]}.")
    add_config(clear)
    clear.set_defaults(run=run_clear)


def run_clear(args: argparse.Namespace) -> int:
    """Have the daemon remove all overrides, or do it where none runs; return the exit code."""
    from bridge.adapters.system.control_socket import ask, socket_path
    from bridge.settings import Overrides, load

    settings = load(args.config, overrides=Overrides()).settings
    store = settings.store.path
    answer = ask(socket_path(settings.control.path, store), {"command": "remote-clear"})
    say(_clear(store) if answer is None else answer["description"])
    return 0


def _clear(store: Path) -> str:
    """Remove them, as the user who owns the outbox; return what happened."""
    from bridge.settings import OverrideFile
    from bridge.store.database import Lock
    from bridge.store.owner import as_owner

    try:
        with as_owner(store):
            lock = Lock(store)
            try:
                return OverrideFile(store).clear()
            finally:
                lock.release()
    except FileNotFoundError:
        raise OperationError(f"there is no outbox at {store}; see store.path") from None
    except OSError as exc:
        help_ = "use sudo" if isinstance(exc, PermissionError) else "see store.path"
        raise OperationError(f"cannot use {store}: {exc.strerror}; {help_}") from exc
