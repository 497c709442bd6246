"""One-time codes as the cloud checks them (RFC 4226 with a time counter, hologram-python 0.3)."""

import hashlib
import hmac

STEP = 30
"""Seconds for which one counter value, and so one code, lasts (hologram-python 0.3)."""

SKEW = 300
"""Seconds by which a request's own timestamp may differ from the cloud's clock, either way.

The real cloud's figure is not published. A device without a battery-backed clock is often some minutes off
after its start, so the simulator allows five. A request may be replayed within that time.
"""


def hotp(key: bytes, counter: int, digits: int = 6) -> int:
    """Return the HOTP value of ``counter`` under ``key``, as a plain integer (RFC 4226 section 5.3)."""
    digest = hmac.new(key, counter.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return number % int(10**digits)


def code_is_right(private_key: str, timestamp: int, code: str, now: float) -> bool:
    """Return whether ``code`` proves ``private_key`` at ``timestamp``, which must be close to ``now``.

    Both times are Unix seconds.

    The code travels without leading zeros (hologram-python 0.3), so ``000042`` for 42 is wrong.
    """
    if abs(now - timestamp) > SKEW:
        return False
    return code == str(hotp(private_key.encode(), timestamp // STEP))
