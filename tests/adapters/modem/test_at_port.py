"""An AT port on a real pty, against a scripted modem."""

import asyncio
import contextlib
import fcntl
import logging
import os
import termios
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from bridge.adapters.modem.at_port import Answer, AtPort, Urc
from bridge.errors import AtOutOfStep, AtRefused, ModemError, ModemGone, ModemSilent
from tests.doubles.scripted_modem import Reply, ScriptedModem


class Heard:
    """What a port told beside the answers."""

    def __init__(self) -> None:
        self.codes: list[Urc] = []
        self.lost: list[str] = []


def run(story: Coroutine[Any, Any, None]) -> None:
    """Run ``story``; nothing may be raised into the loop meanwhile."""
    errors: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        await asyncio.wait_for(story, 20)

    asyncio.run(main())
    assert errors == []


@contextlib.asynccontextmanager
async def opened(
    replies: dict[str, Reply] | None = None, *, echo: bool = False
) -> AsyncIterator[tuple[AtPort, ScriptedModem, Heard]]:
    heard = Heard()
    loop = asyncio.get_running_loop()
    port = AtPort(loop, on_urc=heard.codes.append, on_lost=heard.lost.append, payload_after=raw_bytes)
    with ScriptedModem(replies, echo=echo) as modem:
        await port.open(modem.path)
        try:
            yield port, modem, heard
        finally:
            port.close()


def raw_bytes(line: str) -> int:
    return int(line.rpartition(",")[2]) if '"recv"' in line else 0


async def until(condition: object) -> None:
    """Wait until ``condition()`` is true."""
    assert callable(condition)
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.005)


CSQ = b"\r\n+CSQ: 17,99\r\n\r\nOK\r\n"


@pytest.mark.parametrize("echo", [False, True])
def test_an_answer(echo: bool) -> None:
    """Information, final and nothing of the echo; a code in the middle goes its own way."""

    async def story() -> None:
        said = b"\r\n+CREG: 1\r\n" + CSQ
        async with opened({"AT+CSQ": said}, echo=echo) as (port, _, heard):
            assert await port.command("AT+CSQ") == Answer(("+CSQ: 17,99",), "OK")
            await until(lambda: heard.codes == [Urc("+CREG: 1")])

    run(story())


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        (b"\r\nERROR\r\n", "ERROR", None),
        (b"\r\n+CME ERROR: 11\r\n", "CME", 11),
        (b"\r\n+CME ERROR: SIM busy\r\n", "CME", None),
    ],
)
def test_a_refusal(said: bytes, kind: str, code: int | None) -> None:
    """An error final is raised, and the next command is not harmed."""

    async def story() -> None:
        async with opened({"AT+CPIN?": said, "AT+CSQ": CSQ}) as (port, _, _heard):
            with pytest.raises(AtRefused) as caught:
                await port.command("AT+CPIN?")
            assert (caught.value.kind, caught.value.code) == (kind, code)
            assert (await port.command("AT+CSQ")).lines == ("+CSQ: 17,99",)

    run(story())


def test_commands_queue_up() -> None:
    """One is in flight at a time, in the order given, and each gets its own answer."""

    async def story() -> None:
        def own(text: str) -> bytes:
            return f"\r\n{text[2:]}: mine\r\n\r\nOK\r\n".encode()

        async with opened({"*": own}) as (port, modem, _):
            answers = await asyncio.gather(*(port.command(f"AT+X{number}") for number in range(20)))
            assert [answer.lines[0] for answer in answers] == [f"+X{number}: mine" for number in range(20)]
            assert modem.heard == [f"AT+X{number}" for number in range(20)]

    run(story())


@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("mark", [b"\r\n> ", b"\r\n@"])
def test_a_prompt(mark: bytes, echo: bool) -> None:
    """What a prompt asks for is written as it is."""

    async def story() -> None:
        async with opened({"text": b"\r\n+CMGS: 4\r\n\r\nOK\r\n"}, echo=echo) as (port, modem, _):

            def prompt(_: str) -> bytes:
                modem.text_end = b"\x1a"
                return mark

            modem.replies["AT+CMGS=3"] = prompt
            answer = await port.command("AT+CMGS=3", prompt=b"001100\x1a")
            assert answer == Answer(("+CMGS: 4",), "OK")
            assert modem.heard == ["AT+CMGS=3", "001100"]

    run(story())


@pytest.mark.parametrize(
    "late", [b"", b'\r\n+COPS: 0,0,"late",7\r\n\r\nOK\r\n', b"\r\n+COPS: 0\r\n\r\nERROR\r\n"]
)
def test_silence_is_bounded_and_late_answers_are_nobodys(late: bytes) -> None:
    """After a deadline the modem is brought back into step; its late answer is not the next command's."""

    async def story() -> None:
        async with opened({"AT+COPS?": None, "AT+CSQ": CSQ}) as (port, modem, heard):
            with pytest.raises(ModemSilent, match=r"AT\+COPS\? (with)?in 0\.1 s"):
                await port.command("AT+COPS?", timeout=0.1)
            modem.replies["AT"] = late + b"\r\n+CREG: 1\r\n\r\nOK\r\n"
            assert await port.command("AT+CSQ") == Answer(("+CSQ: 17,99",), "OK")
            assert ("AT+CMEE?" in modem.heard) == (not late)  # only where counting does not tell
            await until(lambda: heard.codes == [Urc("+CREG: 1")])

    run(story())


def test_an_answer_that_comes_while_nobody_asks_costs_no_probe() -> None:
    """A late final that is heard in time settles the account."""

    async def story() -> None:
        async with opened({"AT+COPS?": None, "AT+CSQ": CSQ}) as (port, modem, heard):
            with pytest.raises(ModemSilent):
                await port.command("AT+COPS?", timeout=0.1)
            modem.say(b"\r\n+COPS: 0\r\n\r\nOK\r\n+CREG: 5\r\n")
            await until(lambda: heard.codes == [Urc("+CREG: 5")])
            assert (await port.command("AT+CSQ")).lines == ("+CSQ: 17,99",)
            assert modem.heard == ["AT+COPS?", "AT+CSQ"]

    run(story())


def test_a_modem_that_stays_silent_fails_the_next_command_too() -> None:
    """The resynchronisation is inside the next command's own deadline, and the modem may still wake up."""

    async def story() -> None:
        async with opened({"AT+CSQ": CSQ}) as (port, modem, _):
            modem.hung = True
            for _ in range(2):
                with pytest.raises(ModemSilent):
                    await port.command("AT+CSQ", timeout=0.15)
            modem.hung = False
            assert (await port.command("AT+CSQ")).lines == ("+CSQ: 17,99",)

    run(story())


def test_a_queue_does_not_wait_for_a_hung_modem_one_by_one() -> None:
    """When not even the question after a lost answer is answered, all that waits is told so at once."""

    async def story() -> None:
        async with opened({"AT+CSQ": CSQ}) as (port, modem, _):
            modem.hung = True
            begun = asyncio.get_running_loop().time()
            commands = [port.command("AT+CSQ", timeout=0.3) for _ in range(20)]
            results = await asyncio.gather(*commands, return_exceptions=True)
            assert [type(result) for result in results] == [ModemSilent] * 20
            assert asyncio.get_running_loop().time() - begun < 3
            assert modem.heard.count("AT+CSQ") == 1
            modem.hung = False
            assert (await port.command("AT+CSQ")).lines == ("+CSQ: 17,99",)

    run(story())


def test_a_command_whose_caller_has_gone_is_forgotten() -> None:
    """A cancelled command's answer is not the next one's; one that has not begun is never written."""

    async def story() -> None:
        async with opened({"AT+COPS?": None, "AT+CSQ": CSQ}) as (port, modem, _):
            first = asyncio.create_task(port.command("AT+COPS?"))
            second = asyncio.create_task(port.command("AT+NEVER"))
            await until(lambda: modem.heard == ["AT+COPS?"])
            second.cancel()
            first.cancel()
            await asyncio.gather(first, second, return_exceptions=True)
            assert (await port.command("AT+CSQ")).lines == ("+CSQ: 17,99",)
            assert "AT+NEVER" not in modem.heard

    run(story())


def test_a_prompt_that_comes_too_late_is_left() -> None:
    """A modem that waits for a text nobody has is told so by ESC, and answers again."""

    async def story() -> None:
        async with opened({"AT+CMGS=3": None, "AT+CSQ": CSQ}) as (port, modem, _):
            with pytest.raises(ModemSilent):
                await port.command("AT+CMGS=3", prompt=b"001100\x1a", timeout=0.1)
            modem.text_end = b"\x1b"
            modem.say(b"\r\n> ")
            assert (await port.command("AT+CSQ")).lines == ("+CSQ: 17,99",)
            assert "001100" not in modem.heard

    run(story())


@pytest.mark.parametrize("said", [b"\r\nOK\r\n", b"\r\n+CMGS: 3\r\n\r\nOK\r\n", b"\r\nok\r\n"])
def test_a_success_in_the_place_of_a_prompt_is_another_commands(said: bytes) -> None:
    """Nothing is written for it, and the next command has its own answer, though the prompt comes late."""

    async def story() -> None:
        async with opened({"AT+CMGS=3": said, "AT+CSQ": CSQ}) as (port, modem, _):
            with pytest.raises(AtOutOfStep, match="in the place of a prompt") as caught:
                await port.command("AT+CMGS=3", prompt=b"001100\x1a")
            assert not caught.value.prompted
            modem.text_end = b"\x1b"
            modem.say(b"\r\n> ")
            assert (await port.command("AT+CSQ")).lines == ("+CSQ: 17,99",)
            assert "001100" not in modem.heard

    run(story())


@pytest.mark.parametrize("late", [b"", b"\r\n+CMGR: 0,,9\r\n00\r\n\r\nOK\r\n"])
def test_a_success_without_its_proof_is_none(late: bytes) -> None:
    """The command may still be answered: the next one is not given before the modem is in step."""

    async def story() -> None:
        async with opened({"AT+CMGR=3": b"\r\nOK\r\n", "AT+CMGR=5": b"\r\n+CMGR: 1,,9\r\n\r\nOK\r\n"}) as (
            port,
            modem,
            _,
        ):
            with pytest.raises(AtOutOfStep, match=r"without \+CMGR"):
                await port.command("AT+CMGR=3", proof="+CMGR")
            modem.replies["AT"] = late + b"\r\nOK\r\n"
            assert (await port.command("AT+CMGR=5", proof="+CMGR")).lines == ("+CMGR: 1,,9",)

    run(story())


def test_a_modem_that_starts_anew_has_forgotten_the_text() -> None:
    """Nobody waits minutes for what it cannot answer; whether the text went out is not known."""

    async def story() -> None:
        async with opened({"AT+CSQ": CSQ, "text": b"\r\nRDY\r\n\r\n+CPIN: READY\r\n"}) as (
            port,
            modem,
            heard,
        ):

            def prompt(_: str) -> bytes:
                modem.text_end = b"\x1a"
                return b"\r\n> "

            modem.replies["AT+CMGS=3"] = prompt
            with pytest.raises(ModemSilent, match="restarted before") as caught:
                await port.command("AT+CMGS=3", prompt=b"001100\x1a", timeout=60)
            assert caught.value.prompted
            assert (await port.command("AT+CSQ")).lines == ("+CSQ: 17,99",)
            assert [urc.line for urc in heard.codes] == ["RDY", "+CPIN: READY"]

    run(story())


def test_raw_bytes_come_with_their_code() -> None:
    """Announced bytes are handed on as they are; those that are lost do not stop what follows."""

    async def story() -> None:
        async with opened() as (port, modem, heard):
            modem.say(b'\r\n+QIURC: "recv",0,6\r\n\r\nOK\r\n')
            modem.say(b'\r\n+QIURC: "recv",0,9\r\nabc')
            await until(lambda: len(heard.codes) == 2)
            assert heard.codes == [
                Urc('+QIURC: "recv",0,6', b"\r\nOK\r\n"),
                Urc('+QIURC: "recv",0,9', b"abc"),
            ]
            assert (await port.command("AT")).final == "OK"

    run(story())


def test_a_port_that_goes_away_is_told_once() -> None:
    """Everything in flight and waiting ends, `on_lost` is called once, and later commands fail at once."""

    async def story() -> None:
        async with opened({"*": None}) as (port, modem, heard):
            tasks = [asyncio.create_task(port.command("AT+X")) for _ in range(3)]
            await until(lambda: modem.heard)
            modem.vanish()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in results] == [ModemGone] * 3
            await until(lambda: heard.lost)
            assert not port.is_open
            with pytest.raises(ModemGone):
                await port.command("AT")
            port.close()
            await asyncio.sleep(0.02)
            assert len(heard.lost) == 1

    run(story())


def test_closing_is_no_loss() -> None:
    """A closed port ends what was asked, tells nobody, and can be opened again at once."""

    async def story() -> None:
        async with opened({"AT+X": None}) as (port, modem, heard):
            task = asyncio.create_task(port.command("AT+X"))
            await until(lambda: modem.heard)
            port.close()
            port.close()
            with pytest.raises(ModemGone):
                await task
            await port.open(modem.path)
            assert (await port.command("AT")).final == "OK"
            assert heard.lost == []

    run(story())


def test_a_port_has_one_owner() -> None:
    """A second opening is refused in words; whoever honours locks sees that the port is taken."""

    async def story() -> None:
        async with opened() as (_, modem, heard):
            second = AtPort(asyncio.get_running_loop(), on_urc=heard.codes.append, on_lost=heard.lost.append)
            with pytest.raises(ModemGone, match="another process uses it"):
                await second.open(modem.path)
            fd = os.open(modem.path, os.O_RDWR | os.O_NOCTTY) if os.geteuid() == 0 else -1
            if fd >= 0:  # root is not stopped by TIOCEXCL, but by the lock it asks for
                with pytest.raises(BlockingIOError):
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.close(fd)

    run(story())


@pytest.mark.parametrize("what", ["missing", "a file", "a directory"])
def test_what_is_no_port_is_said_so(tmp_path: Path, what: str) -> None:
    """One line that names the path, whatever is there."""
    path = tmp_path / "port"
    if what == "a file":
        path.touch()
    elif what == "a directory":
        path.mkdir()

    async def story() -> None:
        port = AtPort(asyncio.get_running_loop(), on_urc=print, on_lost=print)
        with pytest.raises(ModemGone, match=str(path)) as caught:
            await port.open(str(path))
        assert "\n" not in str(caught.value)

    run(story())


def test_a_port_that_takes_nothing() -> None:
    """Writing to a modem that does not read blocks nobody, and what it has not taken never reaches it."""

    async def story() -> None:
        async with opened({"AT+CSQ": CSQ}) as (port, modem, _):
            modem.stop_reading()
            # More than the kernel holds for a pty
            with pytest.raises(ModemSilent):
                await port.command("AT+X=" + "9" * 100_000, timeout=0.2)
            modem.read_again()
            assert (await port.command("AT+CSQ")).lines == ("+CSQ: 17,99",)

    run(story())


def test_long_commands_are_written_whole() -> None:
    """What the kernel does not take at once is written when it has room."""

    async def story() -> None:
        async with opened() as (port, modem, _):
            text = "AT+X=" + "0123456789" * 5000
            await port.command(text)
            assert modem.heard == [text]

    run(story())


@pytest.mark.parametrize("text", ["AT\rAT+CFUN=0", "AT\n", "AT+CMGS=1\x1a", "AT+X=é", "\x00"])
def test_a_command_is_one_line(text: str) -> None:
    """Nothing that would end it, or begin another, gets through."""

    async def story() -> None:
        async with opened() as (port, modem, _):
            with pytest.raises(ModemError, match="one line"):
                await port.command(text)
            assert modem.heard == []

    run(story())


@pytest.mark.parametrize("echo", [False, True])
def test_secrets_are_not_in_the_trace(caplog: pytest.LogCaptureFixture, echo: bool) -> None:
    """What stands for a command is in the trace and in errors; its text, echoed or not, is in neither."""
    caplog.set_level(logging.DEBUG, logger="at")

    async def story() -> None:
        async with opened({'AT+CPIN="4321"': b"\r\n+CME ERROR: 16\r\n"}, echo=echo) as (port, _, _heard):
            with pytest.raises(AtRefused) as caught:
                await port.command('AT+CPIN="4321"', shown="AT+CPIN=…")
            assert "4321" not in str(caught.value)
            await port.command("AT")

    run(story())
    assert "> AT+CPIN=…" in caplog.messages
    assert "< +CME ERROR: 16" in caplog.messages
    assert "4321" not in caplog.text


def test_the_terminal_is_raw() -> None:
    """No echo, no translation, no waiting for a carrier, and an empty read is a hang-up."""

    async def story() -> None:
        async with opened() as (_port, modem, _):
            if os.geteuid() != 0:
                return
            fd = os.open(modem.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            attributes: list[Any] = termios.tcgetattr(fd)
            os.close(fd)
            assert attributes[2] & termios.CLOCAL
            assert not attributes[3] & (termios.ECHO | termios.ICANON)
            assert attributes[6][termios.VMIN] == 1

    run(story())


def test_noise_while_the_modem_powers_up() -> None:
    """Garbage and half lines before, between and after do not disturb an answer."""

    async def story() -> None:
        async with opened({"AT+CSQ": b"\x00\xff\xfe\r\nhalf\x00" + CSQ + b"\x00\x00"}) as (port, modem, _):
            modem.say(b"\x00\x00\xf0\x80garbage without an end")
            answer = await port.command("AT+CSQ")
            assert answer.lines[-1] == "+CSQ: 17,99"
            assert (await port.command("AT")).final == "OK"

    run(story())
