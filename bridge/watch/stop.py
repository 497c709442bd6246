"""The request to end. The module imports almost nothing, so that it handles even an early Ctrl-C."""

import signal


class Stop:
    """Set by Ctrl-C, SIGTERM and a closed terminal; it interrupts nothing, and the loop checks it."""

    def __init__(self) -> None:
        self.wanted = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: object) -> None:
        self.wanted = True
