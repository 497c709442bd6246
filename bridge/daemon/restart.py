"""A restart in the same process: its number stays, so systemd, a container or a terminal notices nothing."""

import logging
import os
import signal
import sys
from collections.abc import Mapping

log = logging.getLogger("bridge")


def ignore_reloads() -> None:
    """Ignore a reload that is asked for before the next start handles it: it would end the process."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def execute_anew(environ: Mapping[str, str]) -> int:
    """Execute the program of this process anew, as it was called; return the exit code if that is impossible.

    ``environ`` is the environment in which it was called: of ours the notifier has taken its socket.

    Descriptors and threads end with the old program. An upgrade may have replaced the files meanwhile.
    """
    ignore_reloads()
    sys.stdout.flush()
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)  # noqa: S606 no shell: our own arguments
    except OSError as exc:
        log.critical("cannot start anew: %s: %s", sys.executable, exc.strerror)
    return 1
