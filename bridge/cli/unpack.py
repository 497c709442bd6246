"""``hologram-bridge unpack``: batches on standard input become messages on standard output."""

import argparse
import base64
from collections.abc import Iterator
from typing import IO, Any

from bridge.cli.screen import json_line, say
from bridge.errors import OperationError

LONGEST = 2_000_000
"""Bytes of a line at most: a batch of a million bytes that do not compress has 1.4 million in base64."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "unpack",
        help="turn batches on standard input into messages on standard output",
        description="Read batches from standard input, one a line: base64, or the array of the form plain."
        ' Write each message as one line of JSON with "id", "topics", "at" and "data", or "data_base64" where'
        ' it is not text. "at" is in Unix seconds; null where the box did not know the time, with "seconds"'
        " since the first message of its batch. A line that is no batch is named on standard error; the"
        " others are written, and the command ends with 1.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:  # noqa: ARG001 a command gets its arguments
    """Write the messages of each line; return 1 where one was no batch."""
    try:
        # By their numbers: where one is closed there is no sys.stdin, or no sys.stdout.
        with open(0, "rb", closefd=False) as batches, open(1, "wb", closefd=False) as messages:
            return _unpack_lines(batches, messages)
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise OperationError(f"cannot read the batches or write the messages: {exc.strerror}") from exc


def _unpack_lines(batches: IO[bytes], messages: IO[bytes]) -> int:
    code = 0
    for number, line in enumerate(_lines(batches), 1):
        if not line.isspace() and (wrong := _unpack(line, messages)):
            say(f"hologram-bridge: line {number}: {wrong}", error=True)
            code = 1
    return code


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield each line, of one that is too long the beginning: more than ``LONGEST`` bytes."""
    while line := stream.readline(LONGEST + 1):
        yield line
        while len(line) > LONGEST and not line.endswith(b"\n"):
            line = stream.readline(LONGEST + 1)


def _unpack(line: bytes, output: IO[bytes]) -> str | None:
    """Write the messages of a batch; return what is wrong where it is none."""
    from bridge.batch import BatchError, decode

    if len(line) > LONGEST:
        return f"it is longer than {LONGEST:,} bytes"
    try:
        batch = decode(line)
    except BatchError as exc:
        return str(exc)
    for number, reading in enumerate(batch.readings):
        message: dict[str, Any] = {} if batch.id is None else {"id": f"{batch.id}-{number}"}
        message |= {"topics": reading.topics, "at": reading.at}
        if reading.at is None and batch.id is not None:
            message["seconds"] = reading.seconds
        output.write(json_line(message | _data(reading.payload)).encode() + b"\n")
    output.flush()
    return None


def _data(payload: bytes) -> dict[str, str]:
    try:
        return {"data": payload.decode()}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(payload).decode()}
