"""``hologram-bridge remote key``, ``sign`` and ``send``: what the desk does; they need no configuration."""

import argparse
import socket
import time
from pathlib import Path

from bridge.cli.screen import say
from bridge.errors import OperationError, UsageError
from bridge.protocol import remote

SHORTEST = 24
"""Characters of a key at least, as `remote.key` asks for."""

KEY_FILE_SIZE = 4096
"""Bytes of a key's file at most."""

ANSWER_SIZE = 65536
"""Bytes of an answer at most."""


def add_key(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``remote key``."""
    parser = kinds.add_parser(
        "key",
        help="derive the key of a box from a master key",
        description="Print the key of the box NAME: the lower-case base32 of HMAC-SHA256(master, NAME).",
    )
    parser.add_argument("--master", type=Path, required=True, metavar="FILE", help="file of the master key")
    parser.add_argument("name", metavar="NAME", help="name of the box; any text that no other box has")
    parser.set_defaults(run=run_key)


def add_sign(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``remote sign``."""
    parser = kinds.add_parser(
        "sign",
        help="print the signed line of a command",
        description="Print the line that commands a box; it is good once, wherever its key is.",
    )
    _add_signing(parser)
    parser.set_defaults(run=run_sign)


def add_send(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``remote send``."""
    parser = kinds.add_parser(
        "send",
        help="send a signed command and print the answer",
        description="Sign a command, send it to the inbound port of a box, and print the answer.",
    )
    parser.add_argument("--host", required=True, help="address of the box, or of the near end of a tunnel")
    parser.add_argument("--port", type=int, default=4010, help="its port (default: %(default)s)")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="for the answer (default: 60)"
    )
    _add_signing(parser)
    parser.set_defaults(run=run_send)


def _add_signing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key-file", type=Path, required=True, metavar="FILE", help="file of the box's key")
    parser.add_argument(
        "--counter", type=int, metavar="N", help="the counter (default: milliseconds since 1970)"
    )
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="the command and its arguments")


def run_key(args: argparse.Namespace) -> int:
    """Print the key of a box."""
    if not args.name.isprintable() or not args.name:
        raise UsageError("NAME: text on one line is needed")
    say(remote.derive(_read_key(args.master), args.name))
    return 0


def run_sign(args: argparse.Namespace) -> int:
    """Print the line of a command."""
    say(_signed(args))
    return 0


def run_send(args: argparse.Namespace) -> int:
    """Send a command and print the answer; return 1 if that is an error."""
    if not 1 <= args.port <= 65535:
        raise UsageError(f"--port: {args.port} is not allowed; 1 to 65535")
    if not 0 < args.timeout <= 3600:
        raise UsageError(f"--timeout: {args.timeout:g} is not allowed; seconds up to 3600")
    answer = _exchange(args.host, args.port, _signed(args), args.timeout)
    say(answer)
    return 0 if answer.startswith("ok") else 1


def _signed(args: argparse.Namespace) -> str:
    counter = time.time_ns() // 1_000_000 if args.counter is None else args.counter
    key = _read_key(args.key_file).decode("utf-8", "surrogateescape")
    if not key.isprintable():
        raise OperationError(f"{args.key_file}: a key is one line of text")
    try:
        return remote.sign(key, counter, " ".join(args.command))
    except ValueError as exc:
        raise UsageError(str(exc)) from None


def _read_key(path: Path) -> bytes:
    """Return the key in a file without its line end; raises `OperationError`."""
    try:
        with path.open("rb") as file:
            key = file.read(KEY_FILE_SIZE + 1).rstrip(b"\r\n")
    except OSError as exc:
        raise OperationError(f"{path}: {exc.strerror}") from None
    if not SHORTEST <= len(key) <= KEY_FILE_SIZE:
        raise OperationError(f"{path}: {len(key)} bytes are no key; at least {SHORTEST} are needed")
    return key


def _exchange(host: str, port: int, line: str, timeout: float) -> str:
    """Send ``line`` and return the answer; raises `OperationError`."""
    deadline = time.monotonic() + timeout
    answer = b""
    try:
        with socket.create_connection((host, port), timeout) as connection:
            # The line end ends it: over a modem's own sockets a close of ours would end the answer too.
            connection.sendall(line.encode() + b"\n")
            while b"\n" not in answer and len(answer) < ANSWER_SIZE:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                if not (data := connection.recv(4096)):
                    break
                answer += data
    except TimeoutError:
        raise OperationError(f"{host}:{port}: no answer within {timeout:g} s") from None
    except ConnectionResetError:
        raise OperationError(_refused(host, port)) from None
    except OSError as exc:
        raise OperationError(f"{host}:{port}: {exc.strerror or exc}") from None
    if not answer:
        raise OperationError(_refused(host, port))
    text = answer.partition(b"\n")[0].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in text)


def _refused(host: str, port: int) -> str:
    return (
        f"{host}:{port}: refused without an answer: another key, a command that is not in remote.allow, a "
        "counter that was used before, or an address that is not in inbound.allow"
    )
