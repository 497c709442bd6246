"""A restart in the same process: its number stays, so systemd, a container or a terminal notices nothing."""

import logging
import os
import signal
import sys

log = logging.getLogger("bridge")


def execute_anew() -> int:
    """Execute the program of this process anew, as it was called; return the exit code if that is impossible.

    Descriptors and threads end with the old program. An upgrade may have replaced the files meanwhile.
    """
    # A reload that is asked for before the new program handles it would end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.stdout.flush()
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 no shell: our own arguments
    except OSError as exc:
        log.critical("cannot start anew: %s: %s", sys.executable, exc.strerror)
    return 1
