"""The end of every command: an error becomes one line on stderr, and an exit code."""

import os
import signal
import sys
from collections.abc import Callable

from bridge.cli.screen import say
from bridge.errors import BridgeError


def exit_code(name: str, work: Callable[[], int]) -> int:
    """Run ``work`` for the program called ``name``; return its result, or its error's exit code."""
    try:
        return work()
    except BridgeError as exc:
        for line in (str(exc) or type(exc).__name__).split("\n"):
            say(f"{name}: {line}", error=True)
        return exc.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has closed the pipe. Python would report that at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def end_at_sigterm() -> None:
    """Have SIGTERM end the start of the daemon too, if this is the first process of a container.

    The kernel drops signals for process 1 that have no handler [pid_namespaces(7)], and the daemon sets its
    own when the outbox is open, which can take minutes.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda number, _frame: os._exit(128 + number))
