"""The connection of ``hologram network connect`` without a bridge: a process that outlives the command.

The process holds a locked file with its process id for as long as it lives, and ends on SIGTERM.
"""

import argparse
import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bridge.errors import BridgeError, OperationError

CONNECT_WAIT = 200.0
"""Seconds to wait for a connection, the default of the SDK's ``connect``."""

LOCK = Path("/run/hologram-network.lock")
"""File with the process id; only root can write it, and PPP needs root too."""

END_WAIT = 30.0
"""Seconds for the process to end, because pppd hangs up first."""


def complain(text: str) -> None:
    """Print an error in the released command's form."""
    print(f"ERROR: {text}", file=sys.stderr, flush=True)


def start(config: Path | None) -> bool:
    """Start the process and wait until it is connected or has ended; return whether it is connected.

    Raises `OperationError` where PPP is not available.
    """
    from bridge.adapters.ppp.pppd import Pppd

    missing = Pppd.available()
    if missing:
        raise OperationError(missing)
    if _holder() is not None:
        return True  # an earlier process is connected or connecting
    words = [
        sys.executable,
        "-I",
        "-c",
        _program(),
        *([] if config is None else ["-c", str(config.absolute())]),
    ]
    process = subprocess.Popen(  # noqa: S603  # this program itself
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True, cwd="/"
    )
    assert process.stdout is not None
    with process.stdout:
        return process.stdout.readline() == "connected\n"


def _program() -> str:
    """Return the process's Python code, which imports this module from the command's own path."""
    paths = [str(Path(path).absolute()) for path in sys.path]
    return f"import sys; sys.path[:0] = {paths!r}; from {__name__} import main; sys.exit(main(sys.argv[1:]))"


def stop() -> None:
    """End the process and wait for its end; return at once where none runs. Raises `OperationError`."""
    pid = _holder()
    if pid is None:
        return
    print(f"Found existing PPP session on pid: {pid}\nKilling pid {pid} now", flush=True)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + END_WAIT
    while _holder() == pid:
        if time.monotonic() > until:
            raise OperationError(f"process {pid} does not end")
        time.sleep(0.1)


def _holder() -> int | None:
    """Return the id of the process that holds the lock; None without one."""
    try:
        with LOCK.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdecimal() else None
    except OSError:
        return None
    return None


def main(arguments: list[str] | None = None) -> int:
    """Connect, print "connected", and keep the connection until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-c", "--config", type=Path)
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s: %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            return _keep(args.config)
        except BridgeError as exc:
            complain(str(exc))
            return 1


def _keep(config: Path | None) -> int:
    from bridge.cli.tools.common import no_outbox
    from bridge.cli.tools.which_modem import modem, scope
    from bridge.sdk import CustomCloud

    with no_outbox() as outbox:
        cloud = CustomCloud(None, network="cellular", modem=modem(config), outbox=outbox)
        try:
            cloud.network.disable_at_sockets_mode()
            cloud.network.scope = scope(config)
            if not cloud.network.connect(CONNECT_WAIT):
                return 1
            with contextlib.suppress(BrokenPipeError):  # the command may have ended by Ctrl-C
                print("connected", flush=True)
            _close_output()
            while True:
                signal.pause()
        finally:
            cloud.close()


def _end(_number: int, _frame: object) -> None:
    raise SystemExit(0)


def _close_output() -> None:
    """Close the output: it has no reader from now on, and the command waits for its end."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
