"""The control socket between the commands and a running daemon."""

import asyncio
import contextlib
import json
import os
import select
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.adapters.system.control_socket import CONNECTIONS, REQUEST_WAIT, ControlServer, ask, socket_path
from bridge.adapters.system.door import CLOSING
from bridge.errors import OperationError


async def handle(request: dict[str, Any]) -> dict[str, Any]:
    if request["command"] == "fail":
        raise OperationError("it could not be done; do that")
    return {"echo": request}


@contextlib.asynccontextmanager
async def serving(path: Path) -> AsyncIterator[None]:
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
    server = ControlServer(path, handle)
    await server.start()
    yield
    server.close()
    assert errors == [], "an error of one client must not reach the daemon"


def with_server(path: Path, client: Callable[[], Any]) -> Any:
    """Run ``client`` in a thread beside a server."""

    async def main() -> Any:
        async with serving(path):
            return await asyncio.to_thread(client)

    return asyncio.run(main())


def test_a_request_is_answered(tmp_path: Path) -> None:
    """One object goes in, one comes out, whatever text and size within the limit."""
    path = tmp_path / "c.sock"
    request = {"command": "é\n\0", "much": "x" * 500_000}
    assert with_server(path, lambda: ask(path, request)) == {"echo": request}


def test_no_client_keeps_the_others_out(tmp_path: Path) -> None:
    """Connections are bounded, one too many is told so, and idle ones end by themselves."""
    path = tmp_path / "c.sock"

    def client() -> list[bytes]:
        with contextlib.ExitStack() as stack:
            idle = []
            for _ in range(CONNECTIONS):
                each = stack.enter_context(socket.socket(socket.AF_UNIX))
                each.settimeout(REQUEST_WAIT + 20)
                each.connect(str(path))
                each.sendall(b"{")
                idle.append(each)
            for much in ("", "x" * 900_000):  # of which the server reads nothing
                with pytest.raises(OperationError, match="under way already"):
                    ask(path, {"command": "x", "much": much})
            ends = [each.recv(1) for each in idle]
            assert ask(path, {"command": "x"}) == {"echo": {"command": "x"}}
            return ends

    assert with_server(path, client) == [b""] * CONNECTIONS


def test_a_client_that_does_not_read_is_let_go(tmp_path: Path) -> None:
    """An answer that nobody takes does not hold its connection for ever."""
    path = tmp_path / "c.sock"

    def client() -> bytes:
        with socket.socket(socket.AF_UNIX) as slow:
            slow.settimeout(CLOSING + 20)
            slow.connect(str(path))
            slow.sendall(json.dumps({"command": "x", "much": "x" * 900_000}).encode() + b"\n")
            ended = select.poll()
            ended.register(slow, select.POLLRDHUP)
            assert ended.poll((CLOSING + 20) * 1000), "the other side ends it although nothing was read"
            return slow.recv(10)

    assert with_server(path, client).startswith(b'{"echo"')


def test_a_refusal_reaches_the_caller(tmp_path: Path) -> None:
    """What could not be done is said in the daemon's words."""
    path = tmp_path / "c.sock"
    with pytest.raises(OperationError, match="do that"):
        with_server(path, lambda: ask(path, {"command": "fail"}))


def test_nobody_listening_is_none(tmp_path: Path) -> None:
    """Without a daemon, or with the socket of one that died, there is nobody to ask."""
    path = tmp_path / "c.sock"
    assert ask(path, {"command": "stats"}) is None
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert ask(path, {"command": "stats"}) is None


def test_the_socket_of_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    """What a crash left behind is no obstacle, and a clean stop leaves nothing."""
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert with_server(path, lambda: ask(path, {"command": "x"})) == {"echo": {"command": "x"}}
    assert not path.exists()


def test_no_file_is_taken_for_an_old_socket(tmp_path: Path) -> None:
    """What ``control.path`` names by mistake, the outbox itself even, is left alone and said."""
    path = tmp_path / "outbox.db"
    path.write_text("messages")
    with pytest.raises(OperationError, match=r"cannot listen on .*see control\.path"):
        with_server(path, lambda: None)
    assert path.read_text() == "messages"


def test_only_owner_and_group_may_open_it(tmp_path: Path) -> None:
    """Others may neither look into the queue nor purge it."""
    path = tmp_path / "c.sock"
    assert with_server(path, lambda: path.stat().st_mode & 0o777) == 0o660


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else needs root")
def test_others_are_told_to_be_somebody_else(tmp_path: Path) -> None:
    """Somebody without the permission gets a hint, not a traceback."""
    path = tmp_path / "c.sock"
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)

    def as_nobody() -> str:
        groups, group = os.getgroups(), os.getegid()
        os.setgroups([])
        os.setegid(65534)
        os.seteuid(65534)
        try:
            ask(path, {"command": "x"})
        except OperationError as exc:
            return str(exc)
        finally:
            os.seteuid(0)
            os.setegid(group)
            os.setgroups(groups)
        return "it was allowed"

    assert "use sudo, or a user of the group hologram" in with_server(path, as_nobody)


def test_a_place_that_does_not_serve_is_named(tmp_path: Path) -> None:
    """Too long a path, and a folder that is not there, say which setting to look at."""
    for path in (tmp_path / ("x" * 120), tmp_path / "missing" / "c.sock"):
        with pytest.raises(OperationError, match=r"control\.path"):
            with_server(path, lambda: None)


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"no json\n",
        b"[1]\n",
        b"7\n",
        b"{}\n",
        b"\xff\n",
        b"[" * 100_000 + b"\n",
        b"x" * 2_000_000,
        b"",
    ],
    ids=["empty", "text", "list", "number", "no command", "bytes", "deep", "long", "nothing"],
)
def test_a_strange_client_harms_nobody(tmp_path: Path, line: bytes) -> None:
    """Whatever is written to the socket, the server answers or closes, and serves the next."""
    path = tmp_path / "c.sock"

    def client() -> Any:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(path))
            with contextlib.suppress(ConnectionError):
                connection.sendall(line)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
        return ask(path, {"command": "x"})

    assert with_server(path, client) == {"echo": {"command": "x"}}


def test_where_the_socket_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As configured; else where systemd says; else beside the store."""
    store = tmp_path / "outbox.db"
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    assert socket_path(None, store) == tmp_path / "outbox.db.sock"
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/hologram-bridge:/run/other")
    assert socket_path(None, store) == Path("/run/hologram-bridge/control.sock")
    assert socket_path(Path("/x.sock"), store) == Path("/x.sock")
