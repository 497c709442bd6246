"""The simulated cloud's log of requests: a line of JSON in a file, and a line for a person."""

import asyncio
import base64
import contextlib
import json
import logging
from datetime import UTC, datetime
from typing import IO, NamedTuple

from bridge.sim.requests import Request

_log = logging.getLogger(__name__)

_PREVIEW = 60  # characters of payload in a person's line


class Record(NamedTuple):
    """One request and its outcome.

    ``number`` counts from 1; ``at`` is UTC; ``code`` is the code of the answer, None without one; ``fault``
    is the fault that was applied; ``problem`` is the reason of a refusal.
    """

    number: int
    at: datetime
    request: Request
    code: int | None
    fault: str | None
    accepted: bool
    problem: str | None


def json_line(record: Record) -> str:
    """Return the record as one line of JSON with its line end, without the sender's credentials."""
    number, at, request, code, fault, accepted, problem = record
    text, encoded = _data(request.data)
    return (
        json.dumps(
            {
                "n": number,
                "at": at.isoformat(timespec="milliseconds"),
                "form": request.form,
                "data": text,
                "data_base64": encoded,
                "topics": request.topics,
                "to": request.to,
                "code": code,
                "fault": fault,
                "accepted": accepted,
                "bytes": request.size,
                "problem": problem,
            }
        )
        + "\n"
    )


def live_line(record: Record) -> str:
    """Return the record as one line for a person, in local time, control characters escaped."""
    request = record.request
    time = record.at.astimezone().strftime("%H:%M:%S.%f")[:-3]
    to = f" to {request.to}" if request.to else ""
    topics = f" [{_shown(', '.join(request.topics))}]" if request.topics else ""
    head = f"{time} #{record.number} {request.form}{to}{topics} {request.size} B"
    return f"{head} {_preview(request.data)} -> {_outcome(record)}\n"


def _data(data: bytes | None) -> tuple[str | None, str | None]:
    """Return the payload as text, or as base64 if it is not text."""
    if data is None:
        return None, None
    try:
        return data.decode(), None
    except UnicodeDecodeError:
        return None, base64.b64encode(data).decode()


def _preview(data: bytes | None) -> str:
    if data is None:
        return "-"
    return f"'{_shown(data[: 4 * _PREVIEW].decode('utf-8', 'backslashreplace'))}'"


def _shown(text: str) -> str:
    """Return text that is safe on a terminal: no control characters, not too long."""
    safe = text if text.isprintable() else repr(text)[1:-1]
    return safe if len(safe) <= _PREVIEW else safe[: _PREVIEW - 1] + "…"


def _outcome(record: Record) -> str:
    said = "no answer" if record.code is None else f"code {record.code}"
    parts = [said, "accepted" if record.accepted else "not accepted"]
    if record.fault:
        parts.append(f"fault {record.fault}")
    if record.problem:
        parts.append(record.problem)
    return ", ".join(parts)


class LineWriter:
    """Writes lines to a stream, and flushes at once or once per turn of the event loop.

    An error of the stream (a closed pipe, a full disk) ends the writing and nothing else. The event loop's
    thread owns it.
    """

    def __init__(self, stream: IO[str], *, at_once: bool = False) -> None:
        """With ``at_once`` each line is in the file when `write` returns, so that readers may rely on it."""
        self._stream: IO[str] | None = stream
        self._at_once = at_once
        self._due = False

    def write(self, line: str) -> None:
        """Write one line; it is flushed at once, or before the loop sleeps again."""
        if self._stream is None:
            return
        try:
            self._stream.write(line)
        except OSError as error:
            self._give_up(error)
            return
        if self._at_once:
            self.flush()
        elif not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Pass the written lines to the operating system."""
        self._due = False
        if self._stream is not None:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        """Flush and close the stream."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None

    def _give_up(self, error: OSError) -> None:
        _log.warning(
            "%s: %s; nothing more is written to it", getattr(self._stream, "name", "log"), error.strerror
        )
        self._stream = None


def utc_now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)
