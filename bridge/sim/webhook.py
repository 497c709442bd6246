"""The simulated cloud's webhook: each accepted message is posted to a URL, again until it is answered 200.

The JSON is the one that is documented [Hologram documentation, Data message fields]. How often and for how
long the real cloud repeats is not.
"""

import asyncio
import base64
import http.client
import json
import logging
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from bridge.errors import UsageError
from bridge.sim.journal import Record

_log = logging.getLogger(__name__)

PARALLEL: Final = 8
"""Requests at a time."""

TIMEOUT: Final = 15.0
"""Seconds for an answer."""

LONGEST_DELAY: Final = 8.0
"""Seconds between two tries at most."""

TRIES: Final = 200
"""Tries of one message."""


class Webhook:
    """Posts to ``url`` with ``headers``, for the device ``device`` (its number and its name)."""

    def __init__(self, url: str, headers: Mapping[str, str], device: tuple[int, str]) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"--webhook: {url!r} is not allowed; a URL such as http://127.0.0.1:8080/")
        self._secure = parts.scheme == "https"
        self._address = parts.hostname, parts.port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {"Content-Type": "application/json", **headers}
        self._device = device
        self._turns = asyncio.Semaphore(PARALLEL)
        self._posting: set[asyncio.Task[None]] = set()
        self.posted = 0
        """Messages that were answered 200."""
        self.tries = 0

    def take(self, record: Record) -> None:
        """Post a request that was accepted and carries a payload; SMS are none of the webhook's."""
        if record.accepted and record.request.data is not None and record.request.to is None:
            task = asyncio.get_running_loop().create_task(self._deliver(self._body(record)))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)

    def _body(self, record: Record) -> bytes:
        number, name = self._device
        told = {
            "received": record.at.replace(tzinfo=None).isoformat(timespec="microseconds"),
            "authtype": "psk",
            "tags": [*record.request.topics, f"_DEVICE_{number}_", "_SOCKETAPI_"],
            "device": {"id": number, "name": name},
            "errorcode": 0,
            "source": "simulated",
            "timestamp": "0",
            "data": base64.b64encode(record.request.data or b"").decode(),
        }
        return json.dumps(told).encode()

    async def _deliver(self, body: bytes) -> None:
        for number in range(TRIES):
            async with self._turns:
                answer = await asyncio.to_thread(self._post, body)
            self.tries += 1
            if answer == "200":
                self.posted += 1
                return
            _log.warning("webhook: %s; the message is posted again", answer)
            await asyncio.sleep(min(LONGEST_DELAY, 0.5 * 2 ** min(number, 10)))

    def _post(self, body: bytes) -> str:
        """Return the status of the answer, or why there was none; runs in a thread of its own."""
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(*self._address, timeout=TIMEOUT)
        try:
            connection.request("POST", self._path, body, self._headers)
            return str(connection.getresponse().status)
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__
        finally:
            connection.close()
