"""Log throttles: how often something that happens all the time is worth a log line."""

from math import inf

HOUR = 3600.0


class LogThrottle:
    """Counts a frequent occurrence; the 1st, 2nd, 4th, 8th … of them is worth a log line."""

    def __init__(self) -> None:
        self.count = 0

    def due(self) -> bool:
        """Count one occurrence; return whether to log it, with the count."""
        self.count += 1
        return self.count & (self.count - 1) == 0


class HourlyThrottle:
    """Counts a frequent occurrence anew each hour; the 1st, 2nd, 4th, 8th … is worth a log line."""

    def __init__(self) -> None:
        self._throttle = LogThrottle()
        self._since = -inf

    def due(self, mono: float) -> int:
        """Count one occurrence at ``mono`` (monotonic seconds); return its number if it is worth a line."""
        if mono - self._since >= HOUR:
            self._throttle, self._since = LogThrottle(), mono
        return self._throttle.count if self._throttle.due() else 0


class LogInterval:
    """Allows one log line a key in ``period`` seconds; remembers at most ``keys`` keys."""

    def __init__(self, period: float, keys: int = 64) -> None:
        self._period = period
        self._keys = keys
        self._last: dict[str, float] = {}

    def due(self, key: str, mono: float) -> bool:
        """Return whether to log now; ``mono``: monotonic seconds. False while too many keys are active."""
        last = self._last.get(key)
        if last is not None and mono - last < self._period:
            return False
        if last is None and len(self._last) >= self._keys:
            self._last = {k: at for k, at in self._last.items() if mono - at < self._period}
            if len(self._last) >= self._keys:
                return False
        self._last[key] = mono
        return True
