"""Texts over a real pty: sending them part by part, and the modem's store, with a scripted modem."""

import asyncio
import os
import tty
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable

import pytest

from bridge.adapters.modem.at_port import AtPort, Urc
from bridge.adapters.modem.sms import ModemInbox, SmsTransport
from bridge.core.exchange import Outcome
from bridge.core.messages import Traffic
from bridge.core.sms import SmsJob
from bridge.errors import ModemGone, ModemSilent
from bridge.protocol.sms.errors import Blame, judge
from bridge.sim.modem.pdu import tpdu

TO = "+15551234567"
SILENT = None
PROMPT = "\r\n> "
FIXED = {"AT+CMEE?": "+CMEE: 1\r\n\r\nOK"}


class Modem:
    """The far end of a pty: answers from its script first, then as a modem with texts in its stores would."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self._slave = slave
        os.set_blocking(self._master, False)
        self._heard = b""
        self._typing = False
        self.said: list[str] = []
        """Every command line, and every PDU."""
        self.script: dict[str, deque[str | None]] = defaultdict(deque)
        """Answers to commands that begin so, one each; None is silence."""
        self.pdus: deque[str | None] = deque()
        """Answers to what comes after a prompt; an accepting one where there is none."""
        self.stores: dict[str, dict[int, tuple[int, str, int | None]]] = {"ME": {}}
        self.busy: set[str] = set()
        """Of each store: state, PDU and a length that is said in place of the right one."""
        self.store = "ME"
        self.size = 25
        self.delay = self._free = 0.0
        """What each command takes, one after the other."""
        self.foreign = ""
        """The command at which another one's OK comes at once, before its own answer."""
        self._reference = 40
        loop.add_reader(self._master, self._read)

    def close(self) -> None:
        self._loop.remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)

    def put(self, pdu: str, *, store: str = "ME", state: int = 0, length: int | None = None) -> int:
        """Store a text; return its index."""
        texts = self.stores.setdefault(store, {})
        index = next(number for number in range(1, 1000) if number not in texts)
        texts[index] = (state, pdu, length)
        return index

    def write(self, text: str) -> None:
        os.write(self._master, text.encode())

    def _read(self) -> None:
        self._heard += os.read(self._master, 65536)
        while self._take():
            pass

    def _take(self) -> bool:
        end = b"\x1a" if self._typing else b"\r"
        line, found, rest = self._heard.partition(end)
        if self._typing and b"\x1b" in line:  # it ends the text [3GPP TS 27.005, 3.5.1]
            self._typing = False
            self._heard = self._heard.partition(b"\x1b")[2]
            self.write("\r\nOK\r\n")
            return True
        if not found:
            return False
        self._heard = rest
        text = line.decode().strip("\x1b\r\n")
        if text:
            self.said.append(text)
            self._answer(text)
        return True

    def _answer(self, text: str) -> None:
        if self._typing:
            self._typing = False
            self._reference += 1
            answer = self.pdus.popleft() if self.pdus else f"+CMGS: {self._reference}\r\n\r\nOK"
        else:
            key = next(
                (key for key, answers in self.script.items() if answers and text.startswith(key)), None
            )
            answer = self.script[key].popleft() if key else FIXED.get(text) or self._command(text)
            self._typing = self._typing or (answer or "").endswith("> ")
        if text == self.foreign:
            self.foreign = ""
            self.write("\r\nOK\r\n")
        if answer is not None:
            said = answer if answer == PROMPT else f"\r\n{answer}\r\n"
            self._free = max(self._free, self._loop.time()) + self.delay
            self._loop.call_at(self._free, self.write, said) if self.delay else self.write(said)

    def _command(self, text: str) -> str:
        name, _, argument = text.partition("=")
        here = self.stores[self.store]
        if name == "AT+CMGS":
            self._typing = True
            return PROMPT
        if text == "AT+CPMS?":
            fields = f'"{self.store}",{len(here)},{self.size}'
            return f"+CPMS: {fields},{fields},{fields}\r\n\r\nOK"
        if name == "AT+CPMS":
            if argument.strip('"') not in self.stores:
                return "+CMS ERROR: 302"
            self.store = argument.strip('"')
        elif name == "AT+CMGL" and self.store in self.busy:
            return "+CMS ERROR: 314"  # SIM busy [3GPP TS 27.005, 3.2.5]
        elif name == "AT+CMGL":
            lines = [
                line for index in here for line in (self._head(f"+CMGL: {index}", index), here[index][1])
            ]
            return "\r\n".join([*lines, "", "OK"])
        elif name == "AT+CMGR":
            if int(argument) not in here:
                return "+CMS ERROR: 321"
            return "\r\n".join((self._head("+CMGR", int(argument)), here[int(argument)][1], "", "OK"))
        elif name == "AT+CMGD":
            here.pop(int(argument), None)
        return "OK"

    def _head(self, beginning: str, index: int) -> str:
        state, pdu, length = self.stores[self.store][index]
        size = len(pdu) // 2 - int(pdu[:2], 16) - 1 if length is None else length
        return f"{beginning}{',' if ':' in beginning else ': '}{state},,{size}"


def on_air(scenario: Callable[[Modem, AtPort], Awaitable[None]]) -> None:
    """Run ``scenario`` with a modem and an open port to it."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        modem = Modem(loop)
        heard: list[Urc] = []
        port = AtPort(loop, on_urc=heard.append, on_lost=lambda _: None)
        try:
            await port.open(modem.path)
            await asyncio.wait_for(scenario(modem, port), 20)
        finally:
            port.close()
            modem.close()

    asyncio.run(run())


def job(text: str, part_timeout: float = 5.0) -> SmsJob:
    return SmsJob(TO, text, 1, part_timeout)


async def send(transport: SmsTransport, what: SmsJob) -> Outcome:
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    transport.start(what, done.set_result)
    assert not done.done()
    return await done


def transport(port: AtPort | None, **more: object) -> SmsTransport:
    loop = asyncio.get_running_loop()
    return SmsTransport(loop, lambda: port, try_pause=0.05, **more)  # type: ignore[arg-type]  # by name


# -- sending ---------------------------------------------------------------------------------------------


def test_a_text_goes_out_in_pdu_mode_and_its_reference_comes_back() -> None:
    """In PDU mode, with errors in numbers; the PDU follows the prompt, and the reference is the answer."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        told: list[tuple[SmsJob, int]] = []
        what = job("hello €")
        ended = await send(transport(port, on_reference=lambda *about: told.append(about)), what)
        assert ended == Outcome(True, True, True, b"41", False, None, Traffic())
        assert modem.said[:3] == ["AT+CMGF=0", "AT+CMEE=1", "AT+CMGS=20"]
        sent = tpdu.read_submit(bytes.fromhex(modem.said[3]))
        assert (sent.to, sent.text, sent.report) == (TO, "hello €", False)
        assert told == [(what, 41)]

    on_air(scenario)


def test_a_long_text_goes_out_part_by_part_over_one_link() -> None:
    """The parts share a reference, are numbered, and the modem is asked to keep the link between them."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.script["AT+CMMS"].append("ERROR")  # some modems do not have it
        sender = transport(port, status_reports=lambda: True)
        first = await send(sender, job("ab" * 153))
        second = await send(sender, job("😀" * 50))
        assert (first.complete, first.answer, second.complete) == (True, b"41 42", True)
        assert "AT+CMMS=2" in modem.said
        parts = [tpdu.read_submit(bytes.fromhex(line)) for line in modem.said if line[:2] == "00"]
        assert "".join(part.text or "" for part in parts) == "ab" * 153 + "😀" * 50
        assert all(part.report for part in parts)
        assert [part.udh[3:].hex() for part in parts] == ["0201", "0202"] * 2
        references = [part.udh[2] for part in parts]
        assert references[0] == references[1] != references[2] == references[3]

    on_air(scenario)


def test_texts_wait_for_their_turn() -> None:
    """Parts of different texts never mix, however many are begun at once."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        sender = transport(port)
        ended = await asyncio.gather(*(send(sender, job(sign * 200)) for sign in "abc"))
        assert all(outcome.complete for outcome in ended)
        parts = [tpdu.read_submit(bytes.fromhex(line)) for line in modem.said if line[:2] == "00"]
        assert "".join(part.text or "" for part in parts) == "a" * 200 + "b" * 200 + "c" * 200

    on_air(scenario)


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("+CMS ERROR: 28", False),
        ("+CMS ERROR: 331", False),
        ("+CMS ERROR: no network service", False),
        ("+CME ERROR: SIM not inserted", False),
        ("+CME ERROR: 14", False),
        ("+cms error:  28", False),
        ("+CMS ERROR: 332", True),
        ("+CMS ERROR: 500", True),
        ("ERROR", True),
    ],
)
def test_a_refused_text_has_not_gone_out_unless_nobody_knows(line: str, written: bool) -> None:
    """A clear refusal leaves it safe to try again; an error without a reason does not."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.pdus.append(line)
        ended = await send(transport(port), job("hello"))
        assert (ended.connected, ended.written, ended.complete) == (True, written, False)
        assert ended.answer.decode().lower() == line.lower()
        assert ended.error

    on_air(scenario)


def test_silence_after_the_pdu_leaves_the_text_in_doubt() -> None:
    """Without an answer it may have gone out; the next text is sent all the same."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.pdus.append(SILENT)
        sender = transport(port)
        ended = await send(sender, job("hello", part_timeout=0.2))
        assert (ended.connected, ended.written, ended.complete) == (True, True, False)
        assert "did not answer" in (ended.error or "")
        assert (await send(sender, job("next"))).complete

    on_air(scenario)


@pytest.mark.parametrize("answer", [SILENT, "ERROR", "+CMS ERROR: 500"])
def test_before_the_prompt_nothing_can_have_gone_out(answer: str | None) -> None:
    """A modem that never asked for the text has not got it, whatever it says: it may be tried again."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.script["AT+CMGS"].append(answer)
        sender = transport(port)
        ended = await send(sender, job("hello", part_timeout=0.2))
        assert (ended.connected, ended.written, ended.complete) == (True, False, False)
        assert (await send(sender, job("next"))).complete

    on_air(scenario)


def test_a_modem_that_is_not_there_or_hangs_takes_nothing() -> None:
    """No modem, a closed port, and one that does not answer the first command: nothing was written."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        assert await send(transport(None), job("hello")) == Outcome(
            False, False, False, b"", False, "no modem is ready", Traffic()
        )
        sender = transport(port)
        sending = asyncio.ensure_future(send(sender, job("hello")))
        modem.script["AT+CMGF"].append(SILENT)
        while "AT+CMGF=0" not in modem.said:
            await asyncio.sleep(0.01)
        port.close()
        ended = await sending
        assert (ended.connected, ended.written, ended.complete) == (False, False, False)
        assert (await send(sender, job("hello"))).error == "no modem is ready"

    on_air(scenario)


def test_a_port_that_breaks_after_the_pdu_leaves_the_text_in_doubt() -> None:
    """A modem that is pulled out while the network has the text may have sent it."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.pdus.append(SILENT)
        sending = asyncio.ensure_future(send(transport(port), job("hello")))
        while len(modem.said) < 4:
            await asyncio.sleep(0.01)
        port.close()
        ended = await sending
        assert (ended.connected, ended.written, ended.complete) == (True, True, False)

    on_air(scenario)


def test_a_part_that_is_refused_for_the_moment_is_tried_again() -> None:
    """Once a part is out, a refusal is met with patience; the parts before are not repeated."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.pdus.extend(["+CMGS: 7\r\n\r\nOK", "+CMS ERROR: 42", "+CMS ERROR: 331", "+CMGS: 8\r\n\r\nOK"])
        ended = await send(transport(port), job("a" * 300))
        assert (ended.complete, ended.answer) == (True, b"7 8")
        parts = [tpdu.read_submit(bytes.fromhex(line)).udh[4] for line in modem.said if line[:2] == "00"]
        assert parts == [1, 2, 2, 2]

    on_air(scenario)


@pytest.mark.parametrize(
    "refusals", [["+CMS ERROR: 42"] * 3, ["+CMS ERROR: 28"], ["+CMS ERROR: 500"], [SILENT]]
)
def test_a_text_that_breaks_off_is_in_doubt(refusals: list[str | None]) -> None:
    """Where a part is out and a later one is not, the text says how far it came and counts as written."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.pdus.extend(["+CMGS: 7\r\n\r\nOK", *refusals])
        ended = await send(transport(port), job("a" * 300, part_timeout=0.5))
        assert (ended.connected, ended.written, ended.complete) == (True, True, False)
        assert (ended.error or "").startswith("the network took 1 of 2 parts, and then: ")
        assert sum(line[:2] == "00" for line in modem.said) == 1 + len(refusals)

    on_air(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        "OK",
        "ok",
        "+CSQ: 5,99\r\n\r\nOK",
        "+CMGS: \r\n\r\nOK",
        '+CUSD: 0,"you have\r\nOK\r\nleft",15\r\n\r\nOK',
    ],
)
def test_a_success_without_a_reference_leaves_the_text_in_doubt(answer: str) -> None:
    """Some modems end a text that failed with OK, and the OK may be another command's."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.pdus.append(answer)
        sender = transport(port)
        ended = await send(sender, job("a" * 300))
        assert (ended.connected, ended.written, ended.complete) == (True, True, False)
        assert (ended.answer, "+CMGS" in (ended.error or "") or "reference" in (ended.error or "")) == (
            b"",
            True,
        )
        assert sum(line[:2] == "00" for line in modem.said) == 1
        assert (await send(sender, job("next"))).complete

    on_air(scenario)


@pytest.mark.parametrize("code", [258, 30, 100, 9, 19])
def test_the_end_of_another_command_is_no_refusal_of_a_text(code: int) -> None:
    """A USSD session ends while a text is on its way: the text may be out, and the modem is in step again."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.pdus.append(f"+CME ERROR: {code}")
        sender = transport(port)
        ended = await send(sender, job("hello"))
        assert (ended.written, ended.complete, ended.answer.decode()) == (True, False, f"+CME ERROR: {code}")
        modem.write("\r\n+CMGS: 77\r\n\r\nOK\r\n")
        assert (await port.command("AT+CMGR=7", proof="+CMGR")).lines[0].startswith("+CMGR")
        assert (await send(sender, job("next"))).answer == b"42"

    async def with_a_text(modem: Modem, port: AtPort) -> None:
        modem.stores["ME"][7] = (0, PDU, None)
        await scenario(modem, port)

    on_air(with_a_text)


@pytest.mark.parametrize(
    "answer", ["OK", "+CMGS: 40\r\n\r\nOK", "+CMS ERROR: 28", "+CMS ERROR: 42", "+CME ERROR: 258"]
)
@pytest.mark.parametrize("late", [False, True])
def test_what_comes_in_the_place_of_a_prompt_is_another_commands(answer: str, late: bool) -> None:
    """Nothing has gone out and nothing refused this text; a prompt that comes after all is left by ESC."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.script["AT+CMGS"].append(answer + "\r\n\r\n> " * late)
        sender = transport(port)
        ended = await send(sender, job("hello"))
        assert (ended.connected, ended.written, ended.complete) == (True, False, False)
        assert judge(ended.answer.decode()).blame is Blame.NOBODY_KNOWS
        assert not any(line.startswith("00") for line in modem.said)
        assert (await send(sender, job("next"))).answer == b"41"

    on_air(scenario)


@pytest.mark.parametrize("answer", ["OK", "+CMS ERROR: 28", "+CME ERROR: 258", "ERROR"])
def test_a_part_that_was_not_asked_for_is_given_again(answer: str) -> None:
    """Once a part has gone out, one that cannot have is tried again, and no part goes out twice."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.script["AT+CMGS"].extend([PROMPT, answer])
        ended = await send(transport(port), job("a" * 300))
        assert (ended.complete, ended.answer) == (True, b"41 42")
        parts = [tpdu.read_submit(bytes.fromhex(line)).udh[-1] for line in modem.said if line[:2] == "00"]
        assert parts == [1, 2]

    on_air(scenario)


# -- the store -------------------------------------------------------------------------------------------

PDU = "07912160130300F4040B915155214365F7000062112180035100" + "0AE8329BFD4697D9EC37"
OTHER = PDU.replace("5155214365F7", "5155214365F8")


def test_the_store_is_listed_and_emptied() -> None:
    """Read and unread texts come with their places; texts that somebody stored to send are left alone."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.put(PDU)
        modem.put("0001000B915155214365F700000AE8329BFD4697D9EC37", state=2)
        modem.put(PDU.replace("EC37", "EC36"), state=1)
        inbox = ModemInbox(lambda: port)
        found = await inbox.list()
        assert found == [(("ME", 1), PDU), (("ME", 3), PDU.replace("EC37", "EC36"))]
        assert inbox.usage == (3, 25)
        assert [await inbox.delete(slot) for slot, _ in found] == [True, True]
        assert list(modem.stores["ME"]) == [2]
        assert "AT+CNMI=2,1,0,2" not in modem.said

    on_air(scenario)


def test_a_store_that_the_modem_names_is_looked_into() -> None:
    """Status reports may be kept apart; afterwards the modem reads from where it did before."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.put(PDU)
        modem.put(PDU, store="SR")
        inbox = ModemInbox(lambda: port, status_reports=lambda: True)
        assert [slot for slot, _ in await inbox.list()] == [("ME", 1)]
        for store in ("SR", "ME", "XX"):
            inbox.noticed(store)
        found = await inbox.list()
        assert [slot for slot, _ in found] == [("ME", 1), ("SR", 1)]
        assert modem.store == "ME"
        assert all([await inbox.delete(slot) for slot, _ in found])
        assert modem.stores == {"ME": {}, "SR": {}}
        assert modem.store == "ME"
        assert "AT+CNMI=2,1,0,2" in modem.said
        await inbox.list()
        assert modem.said.count('AT+CPMS="XX"') == 1  # it has no such store, and is not asked again

    on_air(scenario)


def test_texts_on_the_sim_are_found_at_each_start_of_a_modem() -> None:
    """No code names what came before it was set up; a store that is empty is not asked for each time."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.stores["SM"] = {}
        modem.put(PDU, store="SM")
        inbox = ModemInbox(lambda: port)
        for _ in range(2):  # what could not be taken is found again
            assert [slot for slot, _ in await inbox.list()] == [("SM", 1)]
        assert await inbox.delete(("SM", 1))
        for _ in range(3):
            assert await inbox.list() == []
        assert modem.store == "ME"
        assert modem.said.count('AT+CPMS="SM"') == 4  # three lists, and to delete

    on_air(scenario)


def test_a_sim_that_is_busy_keeps_no_other_texts_from_being_read() -> None:
    """Its store is refused just when the modem has started; the usual one is read, and stays that."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.stores["SM"] = {}
        modem.put(PDU)
        inbox = ModemInbox(lambda: port)
        modem.busy.add("SM")
        for _ in range(2):
            assert [slot for slot, _ in await inbox.list()] == [("ME", 1)]
            assert modem.store == "ME"
        modem.store = "SM"  # as where a look at it was broken off
        assert [slot for slot, _ in await inbox.list()] == [("ME", 1)]
        assert modem.store == "ME"

    on_air(scenario)


def test_a_text_that_lost_bytes_on_the_line_is_read_again() -> None:
    """Where the length is not what the modem says, the text is read by itself, and once more."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.put(PDU)
        size = len(PDU) // 2 - 8
        modem.script["AT+CMGL"].append(f"+CMGL: 1,0,,{size}\r\n{PDU[:-4]}\r\n\r\nOK")
        modem.script["AT+CMGR"].append(f"+CMGR: 0,,{size}\r\n{PDU[:-3]}\r\n\r\nOK")
        assert await ModemInbox(lambda: port).list() == [(("ME", 1), PDU)]
        assert modem.said.count("AT+CMGR=1") == 2

    on_air(scenario)


def test_a_text_that_stays_broken_is_handed_over_as_it_is() -> None:
    """What a modem has stored broken cannot be mended; it must not stop the others."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.put(PDU, length=99)
        modem.put(PDU)
        assert [slot for slot, _ in await ModemInbox(lambda: port).list()] == [("ME", 1), ("ME", 2)]

    on_air(scenario)


@pytest.mark.parametrize("answer", ["+CMS ERROR: 321", "OK", "ERROR"])
def test_a_text_that_cannot_be_read_again_stops_no_others(answer: str) -> None:
    """It is handed over as it is, and what is read again belongs to its own place."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.put(PDU, length=99)
        modem.put(OTHER, length=99)
        modem.script["AT+CMGR=1"].extend([answer, answer])
        assert await ModemInbox(lambda: port).list() == [(("ME", 1), PDU), (("ME", 2), OTHER)]

    on_air(scenario)


def test_a_late_answer_is_not_the_text_of_another_place() -> None:
    """An OK of another command puts no text in the place of the next, which would be deleted unread."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.put(PDU, length=99)
        modem.put(OTHER, length=99)
        modem.script["AT+CMGR=1"].extend([f"+CMGR: 0,,{len(PDU) // 2 - 8}\r\n{PDU}\r\n\r\nOK"] * 3)
        modem.delay, modem.foreign = 0.05, "AT+CMGR=1"
        assert await ModemInbox(lambda: port).list() == [(("ME", 1), PDU), (("ME", 2), OTHER)]

    on_air(scenario)


def test_nothing_is_deleted_from_another_store_than_it_was_listed_in() -> None:
    """A modem that says OK and stays in its store keeps the text that nobody has read yet."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.put(PDU, store="SM")
        inbox = ModemInbox(lambda: port)
        ((slot, _),) = await inbox.list()
        assert slot == ("SM", 1)
        modem.put(OTHER)  # at the same place of the usual store, and not listed yet
        modem.script['AT+CPMS="SM"'].append("OK")
        assert not await inbox.delete(slot)
        assert 1 in modem.stores["ME"]
        assert await inbox.delete(slot)
        assert (modem.stores["SM"], list(modem.stores["ME"])) == ({}, [1])

    on_air(scenario)


def test_a_list_of_another_store_than_was_chosen_is_none() -> None:
    """What a modem lists that stayed in its store is not the other one's."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.put(PDU)
        modem.stores["SM"] = {}
        modem.script['AT+CPMS="SM"'].append("OK")
        assert await ModemInbox(lambda: port).list() == [(("ME", 1), PDU)]

    on_air(scenario)


def test_what_a_list_has_of_an_unknown_shape_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """With its line, as it stays on the modem; the texts beside it are read, each as its own."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        odd = '+CMGL: 2;"REC READ";"+31628870634"'
        said = [f"+CMGL: 1,1,,{len(PDU) // 2 - 8}", odd, OTHER, f'+CMGL: 3,1,"a, b",{len(PDU) // 2 - 8}', PDU]
        modem.script["AT+CMGL"].extend(["\r\n".join([*said, "", "OK"])] * 2)
        inbox = ModemInbox(lambda: port)
        for _ in range(2):
            assert await inbox.list() == [(("ME", 3), PDU)]

    on_air(scenario)
    assert [each for each in caplog.messages if "cannot be read" in each] == [
        "the modem said what cannot be read, and it is left out: '+CMGL: 1,1,,28'",
        'the modem said what cannot be read, and it is left out: \'+CMGL: 2;"REC READ";"+31628870634"\'',
    ]


def test_a_text_without_a_service_centre_gets_an_empty_one() -> None:
    """Some modems leave the address out; the length tells."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        bare = PDU[16:]
        modem.put(bare, length=len(bare) // 2)
        assert await ModemInbox(lambda: port).list() == [(("ME", 1), "00" + bare)]

    on_air(scenario)


def test_a_text_that_the_modem_does_not_delete_is_told() -> None:
    """A refusal is no failure of the port: the others go on."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.put(PDU)
        modem.script["AT+CMGD"].append("+CMS ERROR: 321")
        inbox = ModemInbox(lambda: port)
        ((slot, _),) = await inbox.list()
        assert not await inbox.delete(slot)
        assert await inbox.delete(slot)

    on_air(scenario)


def test_nothing_is_deleted_from_another_modem_than_was_listed() -> None:
    """A place means nothing once the port is another; without a modem there is nothing to list."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.put(PDU)
        ports: list[AtPort | None] = [port]
        inbox = ModemInbox(lambda: ports[0])
        assert inbox.ready
        ((slot, _),) = await inbox.list()
        loop = asyncio.get_running_loop()
        ports[0] = AtPort(loop, on_urc=lambda _: None, on_lost=lambda _: None)
        with pytest.raises(ModemGone):
            await inbox.delete(slot)
        ports[0] = None
        assert not inbox.ready
        with pytest.raises(ModemGone):
            await inbox.list()
        assert modem.stores["ME"]

    on_air(scenario)


def test_a_hung_modem_is_an_error_of_the_modem() -> None:
    """A list that does not come ends by its time, and says so."""

    async def scenario(modem: Modem, port: AtPort) -> None:
        modem.script["AT+CMGL"].append(SILENT)
        with pytest.raises(ModemSilent):
            await ModemInbox(lambda: port, list_timeout=0.2).list()

    on_air(scenario)
