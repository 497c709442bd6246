"""Home Assistant's Supervisor, as an add-on asks it for the broker.

``GET /services/mqtt`` with the token of ``SUPERVISOR_TOKEN`` [Home Assistant developer docs, "Add-on
communication" and "Supervisor API endpoints", service]. It answers ``{"result": "ok", "data": {…}}``, or
``{"result": "error", "message": …}`` with a status of 400 while no add-on offers a broker.
"""

import http.client
import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from bridge.errors import OperationError

TIMEOUT = 10.0
"""Seconds for the Supervisor to answer."""

LONGEST = 65536
"""Bytes of its answer that are read."""

REFUSED = (401, 403)
"""HTTP statuses of a token that it does not know, or that may not ask for services."""


class Broker(NamedTuple):
    """The broker that another add-on offers."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: bool


class NotOffered(OperationError):
    """No broker yet: none is installed or started, or the Supervisor is busy; asking again can help."""


def broker(url: str, token: str) -> Broker:
    """Ask the Supervisor at ``url``; raises `NotOffered`, or `OperationError` if it refuses the token."""
    status, body = _get(url, "/services/mqtt", token)
    if status in REFUSED:
        raise OperationError(
            f"the Supervisor refuses the add-on's token (HTTP status {status}); restart the add-on, "
            "or set mqtt.host in its options"
        )
    try:
        return _read(status, json.loads(body))
    except (ValueError, KeyError, TypeError) as exc:
        raise NotOffered(f"the Supervisor's answer cannot be read (HTTP status {status})") from exc


def _read(status: int, answer: Mapping[str, Any]) -> Broker:
    if status != http.client.OK or answer["result"] != "ok":
        raise NotOffered(str(answer.get("message") or f"HTTP status {status}"))
    data = answer["data"]
    return Broker(
        host=str(data["host"]),
        port=int(data["port"]),
        username=data.get("username") or None,
        password=data.get("password") or None,
        tls=bool(data.get("ssl")),
    )


def _get(url: str, path: str, token: str) -> tuple[int, bytes]:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=TIMEOUT)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read(LONGEST)
    except (OSError, http.client.HTTPException) as exc:
        raise NotOffered(f"the Supervisor does not answer: {exc}") from exc
    finally:
        connection.close()
