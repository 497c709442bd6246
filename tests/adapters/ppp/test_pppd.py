"""A pppd as a child: a program that behaves like it, real chat scripts, real routes, pppd's own parser."""

import asyncio
import os
import pty
import shutil
import signal
import subprocess
import sys
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from bridge.adapters.ppp.pppd import Pppd, chat_script, file_of
from bridge.adapters.ppp.routes import Routes
from bridge.core.modem import Link
from bridge.errors import LinkError, NotCalled, PortHeld
from bridge.protocol.modems import PROFILES
from bridge.protocol.ppp.dial import BOUND, OWNER, Dial, Scope, arguments, secret_options
from tests.harness import Keeper, eventually

FAKE = Path(__file__).parents[2] / "doubles" / "fake_pppd.py"

UP = """\
say Serial connection established.
say Using interface ppp0
say Connect: ppp0 <--> /dev/ttyUSB3
say local  IP address 10.176.5.6
say remote IP address 10.64.64.64
say primary   DNS address 8.8.8.8
"""

LINK = Link("ppp0", "10.176.5.6", "10.64.64.64")


class Modem:
    """The far side of a port: a pseudo terminal that answers each command by a table."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        os.close(slave)
        self.answers = {
            "AT": "OK",
            "ATH": "OK",
            "AT&D2": "OK",
            "AT+CGDCONT": "OK",
            "ATDT": "CONNECT 150000000",
        }
        self.heard: list[str] = []
        self.in_data_mode = False
        self._rest = b""
        loop.add_reader(self._master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 4096)
        except OSError:  # nobody has the port open
            return
        if self.in_data_mode:
            self._rest += data
            if self._rest.endswith(b"+++"):
                self.in_data_mode, self._rest = False, b""
                os.write(self._master, b"\r\nOK\r\n")
            return
        *lines, self._rest = (self._rest + data).split(b"\r")
        for line in (line.decode().strip() for line in lines):
            self.heard.append(line)
            known = [name for name in self.answers if line.startswith(name)]
            if known:
                answer = self.answers[max(known, key=len)]
                os.write(self._master, f"{line}\r\r\n{answer}\r\n".encode())

    def close(self) -> None:
        self._loop.remove_reader(self._master)
        os.close(self._master)


class Box:
    """A pppd adapter with a stand-in program, a port to dial on, and what was told."""

    def __init__(self, folder: Path, *, program: str | None = None, ip: str | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.folder = folder
        self.modem = Modem(loop)
        self.downs: list[str] = []
        (folder / "options").write_text("")
        (folder / "etc").mkdir(exist_ok=True)
        self.pppd = Pppd(
            loop,
            on_down=self.downs.append,
            program=program or str(write_program(folder)),
            options=folder / "options",
            routes=Routes(loop, ip=ip or str(write_ip(folder)), root=folder),
            grace=0.5,
            sys=folder / "sys",
        )
        self.dial = Dial(self.modem.port, str(file_of("chat-3g")), timeout=10.0)

    def does(self, *scripts: str) -> None:
        """Order what the stand-in does."""
        (self.folder / "script").write_text("".join(scripts))

    def let(self, name: str) -> None:
        """Let a stand-in go on that waits for ``name``."""
        (self.folder / name).touch()

    def pids(self) -> list[int]:
        file = self.folder / "pids"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def running(self) -> list[int]:
        return [pid for pid in self.pids() if alive(pid)]


def finish(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait(10)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/status").read_text().partition("State:")[2].split()[0] != "Z"
    except OSError:
        return False


def write_program(folder: Path) -> Path:
    """Write a program that is the stand-in for pppd."""
    path = folder / "pppd"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    path.chmod(0o755)
    return path


def write_ip(folder: Path, code: int = 0) -> Path:
    """Write a stand-in for ip(8) that notes what it was asked for."""
    path = folder / "ip"
    text = f'#!/bin/sh\necho "$@" >>{folder}/ip.log; cat >>{folder}/ip.log\n'
    path.write_text(f"{text}[ {code} = 0 ] || echo 'Cannot find device' >&2\nexit {code}\n")
    path.chmod(0o755)
    return path


@asynccontextmanager
async def box(folder: Path, **given: str) -> AsyncIterator[Box]:
    made = Box(folder, **given)
    try:
        yield made
    finally:
        await made.pppd.disconnect()
        made.modem.close()
        assert made.running() == []


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Run a story in a loop of its own, within a minute."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story()

    asyncio.run(bounded())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def test_a_call_comes_up_with_its_routes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The chat script dials, the link is returned and told once, and all traffic is routed there."""
    caplog.set_level("DEBUG", logger="pppd")

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does("chat\n", UP, "hold\n")
            assert await made.pppd.connect(made.dial) == LINK
            assert made.pppd.link == LINK
            assert made.modem.heard == ["AT", "ATH", "AT&D2", 'AT+CGDCONT=1,"IP","hologram"', "ATDT*99***1#"]
            asked = (tmp_path / "ip.log").read_text().splitlines()
            assert asked[0] == "-4 -batch -"
            assert [line.split()[2] for line in asked[1:]] == [
                *("10.176.0.0/16", "10.254.0.0/16", "0.0.0.0/1", "128.0.0.0/1", "default")
            ]
            assert all("dev ppp0" in line for line in asked[1:])
            assert "Using interface ppp0" in caplog.messages
        assert made.downs == []
        assert made.pppd.link is None

    run(story)


def test_a_link_to_the_port_is_followed(tmp_path: Path) -> None:
    """A stable name leads to the port of the moment, which is what pppd locks and reports."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does(UP, "hold\n")
            stable = tmp_path / "usb-u-blox_SARA-U201 (1)-if01"
            stable.symlink_to(made.modem.port)
            assert await made.pppd.connect(made.dial._replace(port=str(stable))) == LINK
            assert (tmp_path / "argv").read_text().splitlines()[1] == made.modem.port

    run(story)


def test_scope_hologram_routes_only_the_tunnels_networks(tmp_path: Path) -> None:
    """The machine's own traffic and its name servers stay where they are."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does(UP, "hold\n")
            await made.pppd.connect(made.dial._replace(scope="hologram"))
            asked = (tmp_path / "ip.log").read_text()
            assert "10.176.0.0/16" in asked
            assert "10.254.0.0/16" in asked
            assert "default" not in asked
            assert "0.0.0.0/1" not in asked
            assert "usepeerdns" not in (tmp_path / "argv").read_text().splitlines()

    run(story)


@pytest.mark.parametrize("scope", ["bridge", "backup"])
def test_a_link_for_bound_sockets_leaves_the_rest_of_the_machine_alone(tmp_path: Path, scope: Scope) -> None:
    """Its name servers come with the link, a rule leads what has its address to it, and goes with it."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does(UP, "hold\n")
            link = await made.pppd.connect(made.dial._replace(scope=scope))
            assert link == made.pppd.link == LINK._replace(dns=("8.8.8.8",))
            asked = (tmp_path / "ip.log").read_text().splitlines()
            assert asked[1:] == [
                "route append 10.176.0.0/16 dev ppp0 metric 10",
                "route append 10.254.0.0/16 dev ppp0 metric 10",
                "rule flush table 10176",
                "route replace default dev ppp0 table 10176",
                "rule add from 10.176.5.6 table 10176 priority 10176",
            ]
            words = (tmp_path / "argv").read_text().splitlines()
            assert "usepeerdns" in words
            assert [words[words.index(each) + 1] for each in ("ip-up-script", "ip-down-script")] == [
                *("/bin/true", "/bin/true")
            ]
            await made.pppd.disconnect()
            after = (tmp_path / "ip.log").read_text().splitlines()[len(asked) :]
            assert after == ["-4 rule flush table 10176"]

    run(story)


def test_connect_when_connected_returns_the_link(tmp_path: Path) -> None:
    """It is not dialled again; two callers at once share one call."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does(UP, "hold\n")
            links = await asyncio.gather(made.pppd.connect(made.dial), made.pppd.connect(made.dial))
            assert list(links) == [LINK, LINK]
            assert await made.pppd.connect(made.dial) == LINK
            assert len(made.pids()) == 1

    run(story)


def test_disconnect_ends_pppd_and_is_fine_without(tmp_path: Path) -> None:
    """It is done when the process is gone; the link that was asked to end is not told as lost."""

    async def story() -> None:
        async with box(tmp_path) as made:
            await made.pppd.disconnect()
            made.does(UP, "hold\n")
            await made.pppd.connect(made.dial)
            await made.pppd.disconnect()
            assert made.running() == []
            await made.pppd.disconnect()
            assert await made.pppd.connect(made.dial) == LINK
        assert made.downs == []
        assert len(made.pids()) == 2

    run(story)


@pytest.mark.parametrize(
    ("steps", "word"),
    [
        ("say LCP terminated by peer (too long)\nsay Modem hangup\nexit 0\n", "hung up: too long"),
        ("say Modem hangup\nsay Connection terminated.\nexit 16\n", "the modem hung up"),
        ("say No response to 4 echo-requests\nexit 15\n", "LCP echo"),
        ("exit 16\n", "the modem hung up"),
        ("kill 9\n", "signal 9"),
        ("kill 11\n", "signal 11"),
    ],
)
def test_a_link_that_ends_is_told_once_with_its_reason(tmp_path: Path, steps: str, word: str) -> None:
    """The far end's leave, a hangup, a dead line, a pppd that dies: one report, and it can dial again."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does(UP, "wait go\n", steps)
            await made.pppd.connect(made.dial)
            made.let("go")
            await until(lambda: made.downs)
            assert word in made.downs[0]
            assert made.pppd.link is None
            await until(lambda: not made.running())
            made.does(UP, "hold\n")
            assert await made.pppd.connect(made.dial) == LINK
        assert len(made.downs) == 1

    run(story)


def test_a_lost_link_is_told_before_pppd_has_tidied_up(tmp_path: Path) -> None:
    """The line that says so counts, not the end of the process; dialling again ends what is left of it."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does(UP, "wait go\n", "say Modem hangup\n", "hold\n")
            await made.pppd.connect(made.dial)
            made.let("go")
            await until(lambda: made.downs)
            first = made.running()
            assert len(first) == 1
            made.does(UP, "hold\n")
            assert await made.pppd.connect(made.dial) == LINK
            assert not alive(first[0])
        assert made.downs == ["the modem hung up"]

    run(story)


@pytest.mark.parametrize("answer", ["BUSY", "NO CARRIER", "+CME ERROR: 148"])
def test_what_the_modem_says_to_the_dial_command_is_the_reason(tmp_path: Path, answer: str) -> None:
    """The real chat program reads it off the port; nothing is left running."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does("chat\n", UP, "hold\n")
            made.modem.answers["ATDT"] = answer
            with pytest.raises(LinkError, match="^ERROR: " if "ERROR" in answer else f"^{answer}: "):
                await made.pppd.connect(made.dial)
            assert made.running() == []
            made.modem.answers["ATDT"] = "CONNECT"
            assert await made.pppd.connect(made.dial) == LINK
        assert made.downs == []

    run(story)


@pytest.mark.parametrize("script", ["chat-3g", "chat-lte"])
@pytest.mark.parametrize("left", ["NO CARRIER", "BUSY", "ERROR", "NO ANSWER"])
def test_what_an_earlier_call_left_in_the_port_ends_no_new_one(
    tmp_path: Path, script: str, left: str
) -> None:
    """Its end may come in front of an answer, or behind one, until the modem is in step again."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does("chat\n", UP, "hold\n")
            made.modem.answers["AT"] = f"{left}\r\n\r\nOK"
            made.modem.answers["ATH"] = f"OK\r\n\r\n{left}"
            if left != "ERROR":  # which would be the answer to the next command
                made.modem.answers["AT&D2"] = f"OK\r\n\r\n{left}"
            assert await made.pppd.connect(made.dial._replace(chat=str(file_of(script)))) == LINK

    run(story)


def test_an_lte_modem_may_refuse_the_context_that_it_already_has(tmp_path: Path) -> None:
    """The script for LTE dials on after an ERROR there; the one for 3G gives up and names the APN."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does("chat\n", UP, "hold\n")
            made.modem.answers["AT+CGDCONT"] = "ERROR"
            with pytest.raises(LinkError, match="APN"):
                await made.pppd.connect(made.dial)
            made.modem.heard.clear()
            assert await made.pppd.connect(made.dial._replace(chat=str(file_of("chat-lte")))) == LINK
            assert made.modem.heard[-1] == "ATDT*99***1#"

    run(story)


def test_a_modem_left_in_data_mode_is_fetched_back(tmp_path: Path) -> None:
    """As a killed pppd may leave it: it hears no command, but the escape sequence."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does("chat\n", UP, "hold\n")
            made.modem.in_data_mode = True
            assert await made.pppd.connect(made.dial) == LINK
            assert made.modem.heard[0] == "ATH"

    run(story)


def test_a_call_has_a_deadline(tmp_path: Path) -> None:
    """What was still missing is said; pppd and its chat script are gone afterwards."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does("chat\n", UP, "hold\n")
            del made.modem.answers["ATDT"]
            with pytest.raises(LinkError, match="timeout: dialled, but not connected"):
                await made.pppd.connect(made.dial._replace(timeout=4.0))  # enough to get as far as dialling
            assert made.running() == []
            assert holders(made.modem.port) == []

    run(story)


def holders(port: str) -> list[str]:
    """Return the processes that have ``port`` open."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(link.readlink()) == port:
                found.append(link.parts[2])
        except OSError:
            continue
    return found


def test_a_cancelled_call_leaves_nothing_behind(tmp_path: Path) -> None:
    """Called off in the middle of dialling, twice even: the process ends and the port is free."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does("chat\n", UP, "hold\n")
            del made.modem.answers["ATDT"]
            call = asyncio.get_running_loop().create_task(made.pppd.connect(made.dial))
            await until(lambda: "ATDT*99***1#" in made.modem.heard)
            call.cancel()
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait({call})
            assert call.cancelled()
            await until(lambda: not made.running() and not holders(made.modem.port))
            made.does(UP, "hold\n")
            assert await made.pppd.connect(made.dial) == LINK

    run(story)


def test_disconnect_during_a_call_ends_it(tmp_path: Path) -> None:
    """Both end when pppd is gone, and the next call is not taken for the one before."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does("say Using interface ppp7\n", "hold\n")
            call = asyncio.get_running_loop().create_task(made.pppd.connect(made.dial))
            await until(made.running)
            await made.pppd.disconnect()
            # A slow machine's pppd is killed when it has not ended in time.
            with pytest.raises(LinkError, match=r"told to end|signal 9"):
                await call
            assert made.running() == []
            made.does(UP, "hold\n")
            assert await made.pppd.connect(made.dial) == LINK
        assert made.downs == []

    run(story)


def test_a_pppd_that_will_not_end_is_killed(tmp_path: Path) -> None:
    """With what it has started, which would keep the port."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does("ignore\n", "child\n", UP, "hold\n")
            await made.pppd.connect(made.dial)
            child = int((tmp_path / "child").read_text())
            assert alive(child)
            await made.pppd.disconnect()
            assert made.running() == []
            await until(lambda: not alive(child))

    run(story)


def test_disconnect_waits_for_the_interface_to_go(tmp_path: Path) -> None:
    """A pppd that is gone may leave its interface for a moment."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does(UP, "hold\n")
            interface = tmp_path / "sys/class/net/ppp0"
            interface.mkdir(parents=True)
            await made.pppd.connect(made.dial)
            ending = asyncio.get_running_loop().create_task(made.pppd.disconnect())
            await until(lambda: not made.running())
            await asyncio.sleep(0.1)
            assert not ending.done()
            interface.rmdir()
            await ending

    run(story)


def test_routes_that_cannot_be_set_are_the_reason(tmp_path: Path) -> None:
    """Without its routes the link is of no use: it is hung up, and ip's own words are told."""

    async def story() -> None:
        async with box(tmp_path, ip=str(write_ip(tmp_path, code=1))) as made:
            made.does(UP, "hold\n")
            with pytest.raises(LinkError, match="Cannot find device"):
                await made.pppd.connect(made.dial)
            assert made.running() == []
            assert not made.downs

    run(story)


def test_secrets_are_neither_arguments_nor_environment(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """User and password reach pppd by a file that only it can read; its environment is clean."""
    caplog.set_level("DEBUG", logger="pppd")

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does(UP, "hold\n")
            await made.pppd.connect(made.dial._replace(user="somebody", password="xyzzy"))
            assert (tmp_path / "secrets").read_text() == 'user "somebody"\npassword "xyzzy"\n'
            for name in ("argv", "env"):
                assert "xyzzy" not in (tmp_path / name).read_text()
                assert "somebody" not in (tmp_path / name).read_text()
            assert "xyzzy" not in caplog.text
            assert not list(tmp_path.rglob("ppp-*"))
            names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
            assert names <= {"PATH", "LC_ALL", "LC_CTYPE", "PWD", "SHLVL", "_"}

    run(story)


def test_a_port_that_somebody_has_open_is_not_dialled_on(tmp_path: Path, keeper: Keeper) -> None:
    """The reason names the program."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does(UP, "hold\n")
            with Path(made.modem.port).open("r+b", buffering=0) as port:
                other = subprocess.Popen(["sleep", "600"], stdin=port)
            keeper.finally_(lambda: finish(other))
            with pytest.raises(PortHeld, match=rf"held by sleep \(process {other.pid}\)"):
                await made.pppd.connect(made.dial)
            assert made.pids() == []

    run(story)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """A port that is not there, a pppd that is not installed, values that are not allowed."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does(UP, "hold\n")
            with pytest.raises(LinkError, match="is not there"):
                await made.pppd.connect(made.dial._replace(port="/dev/ttyUSB-none"))
            with pytest.raises(LinkError, match="apn"):
                await made.pppd.connect(made.dial._replace(apn="a;b"))
            made.does("exit 4\n")
            with pytest.raises(NotCalled, match="this kernel has no PPP"):
                await made.pppd.connect(made.dial)
        async with box(tmp_path, program="/nonexistent/pppd") as made:
            with pytest.raises(NotCalled, match="not installed"):
                await made.pppd.connect(made.dial)

    run(story)


@contextmanager
def started_by_another(made: Box, *, owner_lives: bool) -> Iterator[int]:
    """Have another process start the stand-in for our link; give the stand-in's process id."""
    script = (
        "import os, subprocess, sys, time\n"
        "command = [word.replace('OWNER_PID', str(os.getpid())) for word in sys.argv[1:]]\n"
        "child = subprocess.Popen(command)\n"
        "print(child.pid, flush=True)\n" + ("time.sleep(600)\n" if owner_lives else "")
    )
    words = arguments(made.dial, chat="chat", options=str(made.folder / "options"), owner=1, secrets=None)
    words = [word.replace(f"{OWNER}=1", f"{OWNER}=OWNER_PID") for word in words]
    command = [sys.executable, "-c", script, sys.executable, str(FAKE), *words]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    try:
        eventually(lambda: pid in made.pids(), what="the other pppd runs")
        if not owner_lives:
            owner.wait(10)
        yield pid
    finally:
        owner.kill()
        owner.wait(10)
        owner.stdout.close()
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: not alive(pid), what="the other pppd is gone")


def test_a_pppd_left_over_from_before_is_ended_first(tmp_path: Path) -> None:
    """Its owner was killed; only a process with our mark counts, and one that ignores SIGTERM is killed."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does("ignore\n", "hold\n")
            with started_by_another(made, owner_lives=False) as pid:
                stranger = subprocess.Popen(
                    [sys.executable, "-c", "import time; time.sleep(600)", "linkname"]
                )
                try:
                    made.does(UP, "hold\n")
                    assert await made.pppd.connect(made.dial) == LINK
                    assert not alive(pid)
                    assert alive(stranger.pid)
                finally:
                    stranger.kill()
                    stranger.wait(10)

    run(story)


def test_the_link_of_another_bridge_is_left_alone(tmp_path: Path) -> None:
    """A pppd whose owner still lives is not left over."""

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does("hold\n")
            with started_by_another(made, owner_lives=True) as pid:
                with pytest.raises(LinkError, match="another hologram-bridge"):
                    await made.pppd.connect(made.dial)
                assert alive(pid)

    run(story)


def test_systemd_resolved_gets_the_networks_servers(tmp_path: Path) -> None:
    """Where it runs it is told, for every name; that it refuses is no reason to hang up."""
    (tmp_path / "run/systemd/resolve").mkdir(parents=True)
    (tmp_path / "run/systemd/resolve/io.systemd.Resolve").touch()
    program = tmp_path / "resolvectl"
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/resolvectl.log\nexit 1\n')
    program.chmod(0o755)

    async def story() -> None:
        routes = Routes(asyncio.get_running_loop(), resolvectl=str(program), root=tmp_path)
        await routes.use_dns("ppp0", ("8.8.8.8", "8.8.4.4"))

    run(story)
    asked = (tmp_path / "resolvectl.log").read_text().splitlines()
    assert asked == ["dns ppp0 8.8.8.8 8.8.4.4", "domain ppp0 ~."]


def test_a_changed_resolv_conf_is_brought_back(tmp_path: Path) -> None:
    """A killed pppd leaves the network's servers in it; the copy that Debian's script made comes back."""
    etc = tmp_path / "etc"
    (etc / "ppp").mkdir(parents=True)
    (etc / "ppp/resolv.conf").write_text("nameserver 8.8.8.8\n")
    (etc / "resolv.conf").write_text("nameserver 8.8.8.8\nsearch lan\n")
    (etc / "resolv.conf.pppd-backup.ppp0").write_text("nameserver 192.168.1.1\nsearch lan\n")

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does(UP, "wait go\n", "kill 9\n")
            await made.pppd.connect(made.dial)
            made.let("go")
            await until(lambda: made.downs)
        assert (etc / "resolv.conf").read_text() == "nameserver 192.168.1.1\nsearch lan\n"

    run(story)


def test_a_resolv_conf_of_an_earlier_run_is_brought_back_before_dialling(tmp_path: Path) -> None:
    """Where everything was killed at once; that of a link which still stands is left alone."""
    etc = tmp_path / "etc"
    (etc / "ppp").mkdir(parents=True)
    (etc / "ppp/resolv.conf").write_text("nameserver 8.8.8.8\n")
    (etc / "resolv.conf").write_text("nameserver 8.8.8.8\nsearch lan\n")
    (etc / "resolv.conf.pppd-backup.ppp0").write_text("search lan\n")
    standing = tmp_path / "sys/class/net/ppp0"
    standing.mkdir(parents=True)

    async def story() -> None:
        async with box(tmp_path) as made:
            made.does("exit 1\n")
            for expected in ("nameserver 8.8.8.8\nsearch lan\n", "search lan\n"):
                with pytest.raises(LinkError):
                    await made.pppd.connect(made.dial)
                assert (etc / "resolv.conf").read_text() == expected
                if standing.exists():
                    standing.rmdir()

    run(story)


def test_a_newer_resolv_conf_stays(tmp_path: Path) -> None:
    """What somebody else has written since is not replaced by an old copy."""
    (tmp_path / "etc/ppp").mkdir(parents=True)
    (tmp_path / "etc/ppp/resolv.conf").write_text("nameserver 8.8.8.8\n")
    (tmp_path / "etc/resolv.conf").write_text("nameserver 192.168.7.7\n")
    (tmp_path / "etc/resolv.conf.pppd-backup.ppp0").write_text("nameserver 192.168.1.1\n")

    async def story() -> None:
        Routes(asyncio.get_running_loop(), root=tmp_path).bring_back_dns()

    run(story)
    assert (tmp_path / "etc/resolv.conf").read_text() == "nameserver 192.168.7.7\n"


@pytest.mark.parametrize("interface", [profile.interface for profile in PROFILES])
def test_every_modem_has_a_chat_script(interface: str) -> None:
    """It waits for CONNECT and has the APN and the dial command filled in."""
    text = chat_script(interface).read_text()
    for part in (
        "\\T",
        "\\U",
        "CONNECT",
        "NO CARRIER",
        "BUSY",
        "NO DIAL TONE",
        "NO ANSWER",
        "DELAYED",
        "VOICE",
    ):
        assert part in text


@pytest.mark.root
def test_pppd_takes_our_arguments(tmp_path: Path) -> None:
    """The real pppd reads the command line and the options file; what it does not know it refuses."""
    pppd = shutil.which("pppd", path="/usr/sbin:/sbin") or pytest.fail("pppd is not installed")
    secrets = tmp_path / "secrets"
    master, slave = pty.openpty()
    taken = {}
    for extra in ("dryrun", "no-such-option"):
        dial = Dial(os.ttyname(slave), str(file_of("chat-3g")), user="me", password='p "q" \\ #1')
        dial = dial._replace(scope="bridge")  # which has the most options
        secrets.write_bytes(secret_options(dial) or b"")
        options = str(file_of("options"))
        words = arguments(dial, chat="chat", options=options, owner=1, secrets=str(secrets))
        done = subprocess.run(
            [pppd, *words, extra], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        taken[extra] = done.returncode
    os.close(master)
    os.close(slave)
    assert taken["no-such-option"] == 2
    assert taken["dryrun"] in (0, 4)  # 4: this kernel has no PPP, which is looked at after the options


@pytest.fixture
def namespace(keeper: Keeper, tmp_path: Path) -> Callable[..., str]:
    """A network namespace of its own with a way out over eth9 and an interface ppp0; runs ip in it."""
    holder = subprocess.Popen(["unshare", "-n", "sleep", "600"])
    keeper.finally_(lambda: finish(holder))
    mine = Path("/proc/self/ns/net").readlink()
    eventually(lambda: Path(f"/proc/{holder.pid}/ns/net").readlink() != mine, what="the namespace")

    def ip(*words: str) -> str:
        command = ["nsenter", "-t", str(holder.pid), "-n", "ip", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    ip("link", "add", "eth9", "type", "veth", "peer", "far9")
    ip("link", "add", "ppp0", "type", "veth", "peer", "far0")
    for name in ("eth9", "far9", "ppp0", "far0"):
        ip("link", "set", name, "up")
    ip("addr", "add", "192.168.77.2/24", "dev", "eth9")
    ip("route", "add", "default", "via", "192.168.77.1", "dev", "eth9")
    ip("route", "add", "10.0.0.0/8", "via", "192.168.77.1", "dev", "eth9")
    wrapper = tmp_path / "ip"
    wrapper.write_text(f'#!/bin/sh\nexec nsenter -t {holder.pid} -n ip "$@"\n')
    wrapper.chmod(0o755)
    ip.program = str(wrapper)  # type: ignore[attr-defined]  # the program that a Routes is given
    return ip


@pytest.mark.root
@pytest.mark.parametrize("scope", ["system", "hologram", "bridge", "backup"])
def test_the_routes_win_and_go_with_the_interface(namespace: Callable[..., str], scope: Scope) -> None:
    """In a real kernel: what belongs on the link goes there, the rest does not, and nothing is left of it."""
    before = namespace("route")

    async def story() -> None:
        routes = Routes(asyncio.get_running_loop(), ip=namespace.program)  # type: ignore[attr-defined]  # see there
        namespace("rule", "add", "from", LINK.local_ip, "table", "10176", "priority", "10176")  # after a kill
        await routes.add(scope, LINK)
        if scope in BOUND:
            assert namespace("rule").count("10176") == 2, "its priority and its table"

    async def drop_rule() -> None:
        await Routes(asyncio.get_running_loop(), ip=namespace.program).drop_rule()  # type: ignore[attr-defined]  # see there

    def way(address: str) -> str:
        return namespace("route", "get", address).split(" dev ")[1].split()[0]

    run(story)
    assert way("10.176.1.1") == way("10.254.1.1") == "ppp0"
    assert way("8.8.8.8") == way("200.1.1.1") == ("ppp0" if scope == "system" else "eth9")
    assert way("192.168.77.1") == "eth9"
    assert way("10.1.1.1") == "eth9"
    namespace("link", "del", "ppp0")
    assert namespace("route") == before
    run(drop_rule)
    run(drop_rule)
    assert "10176" not in namespace("rule")
