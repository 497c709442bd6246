"""The wish to end. It imports next to nothing, so that it is there before a hasty Ctrl-C."""

import signal


class Stop:
    """Set by Ctrl-C, SIGTERM and a closed terminal; nothing is interrupted, the loop looks at it."""

    def __init__(self) -> None:
        self.wanted = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: object) -> None:
        self.wanted = True
