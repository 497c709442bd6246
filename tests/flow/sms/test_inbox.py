"""Received texts on their way from a modem's store to the outbox, on a real store and a real event loop."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from bridge.adapters.system.loop_time import LoopTime
from bridge.errors import ModemGone, ModemSilent
from bridge.flow.message.topics import Names
from bridge.flow.sms.commands import Commands
from bridge.flow.sms.inbox import Patience, SmsInbox
from bridge.sim.modem import air
from bridge.sim.modem.pdu import tpdu
from bridge.store.database import Lock
from bridge.store.journal import Journal
from bridge.store.reserve import Reserve
from bridge.store.sms import SmsStore
from bridge.store.writer import Writer
from tests.doubles.notices import Told
from tests.doubles.time import SetClock
from tests.store.box import Box

FROM = "+15551234567"
AT = datetime(2026, 11, 21, 8, 30, 15, tzinfo=UTC)
Slot = tuple[str, int]
PATIENT = Patience(every=3600.0)


QUIET = 10
"""Looks in a row that find nothing new when the receiver has come to rest."""


class Store:
    """A modem's store of texts, with faults."""

    def __init__(self) -> None:
        self.texts: dict[Slot, str] = {}
        self.ready = True
        self.usage: tuple[int, int] | None = None
        self.size = 1000
        self.fault: Exception | None = None
        """Raised by the next list."""
        self.keeps = False
        """It deletes nothing, and says so."""
        self.breaks_after: int | None = None
        """Deletions after which it is gone."""
        self.lists = 0
        self.noted: list[str] = []
        self.waiting: list[str] = []
        """What the network holds for it until there is room."""

    def put(self, *pdus: bytes) -> None:
        self.waiting += [pdu.hex() for pdu in pdus]
        self._fill()

    def _fill(self) -> None:
        free = (number for number in range(1, self.size + 1) if ("ME", number) not in self.texts)
        for number in free:
            if not self.waiting:
                return
            self.texts["ME", number] = self.waiting.pop(0)

    def noticed(self, store: str) -> None:
        self.noted.append(store)

    async def list(self) -> list[tuple[Slot, str]]:
        await asyncio.sleep(0)
        self.lists += 1
        fault, self.fault = self.fault, None
        if fault:
            raise fault
        self.usage = (len(self.texts), self.size)
        return list(self.texts.items())

    async def delete(self, slot: Slot) -> bool:
        await asyncio.sleep(0)
        if self.breaks_after == 0:
            raise ModemGone("unplugged")
        if self.breaks_after:
            self.breaks_after -= 1
        if self.keeps:
            return False
        del self.texts[slot]
        self._fill()
        return True


class Rig:
    """A receiver between a modem's store and an outbox; `look` gives it one turn."""

    def __init__(self, box: Box, patience: Patience) -> None:
        self.box = box
        self.patience = patience
        self.store = Store()
        self.told = Told()
        self.desk: Commands | None = None
        self.lock = Lock(box.path)
        self.build()

    def build(self) -> None:
        """Make everything anew on the same store, as after a restart."""
        loop = asyncio.get_running_loop()
        self.writer = Writer(
            self.box.database,
            self.box.outbox,
            Reserve(self.box.path, 4096),
            LoopTime(loop),
        )
        journal = Journal(
            self.lock,
            Reserve(self.box.path, 4096),
            self.box.database,
            self.box.outbox,
            self.writer,
            SetClock(self.box.clock),
        )
        self.texts = SmsStore(self.box.database, self.box.clock)
        self.receiver = SmsInbox(
            journal,
            self.texts,
            Names("hologram"),
            self.store,
            self.told,
            commands=self.desk,
            patience=self.patience,
        )

    @property
    def events(self) -> list[dict[str, Any]]:
        return [{"event_type": kind, **fields} for kind, fields in self.told.events]

    @property
    def problems(self) -> list[str]:
        return [text for _, text in self.told.problems]

    @property
    def wakes(self) -> int:
        return self.told.reports

    def restart(self) -> None:
        self.writer.close()
        self.box.reopen()
        self.build()

    async def look(self, what: Callable[[], object] | None = None) -> None:
        """Run the receiver until it waits for something to happen."""
        task = asyncio.create_task(self.receiver.run())
        await self.rests()
        if what:
            what()
            await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def rests(self) -> None:
        """Wait until the receiver waits: nothing is listed and nothing written for a while."""
        quiet, lists = 0, -1
        while quiet < QUIET:
            await asyncio.sleep(0.005)
            still = lists == self.store.lists and self.writer.idle
            quiet, lists = (quiet + 1 if still else 0), self.store.lists

    def set_room(self, pages: int) -> None:
        """Let the file grow by ``pages`` and then say SQLITE_FULL, as a full disk does."""
        run = self.box.database._run
        now = run("PRAGMA page_count").fetchone()[0]
        run(f"PRAGMA max_page_count = {now + pages}").fetchone()

    def reports(self, topic: str = "hologram/in/sms") -> list[dict[str, Any]]:
        found = [report for report in self.box.outbox.reports.after(0, 100_000) if report.topic == topic]
        assert all(report.retain == (topic == "hologram/in/sms/last") for report in found)
        return [json.loads(report.payload) for report in found]

    def bodies(self) -> list[str]:
        return [report["body"] for report in self.reports()]


def with_rig(box: Box, scenario: Callable[[Rig], Awaitable[None]], patience: Patience = PATIENT) -> None:
    async def run() -> None:
        await asyncio.wait_for(scenario(Rig(box, patience)), 30)

    asyncio.run(run())


def parts(
    text: str, *, sender: str = FROM, reference: int = 5, wide: bool = False, after: float = 0
) -> list[bytes]:
    return air.parts(sender, text, AT + timedelta(seconds=after), reference=reference, wide=wide)


def test_a_text_becomes_two_reports_and_an_event(box: Box) -> None:
    """It is published once, and once retained; the modem's store is empty afterwards."""

    async def scenario(rig: Rig) -> None:
        rig.store.put(*parts("hello €"))
        await rig.look()
        (report,) = rig.reports()
        assert rig.reports("hologram/in/sms/last") == [report]
        assert report == {
            "id": report["id"],
            "from": FROM,
            "body": "hello €",
            "received_at": "2023-11-14T22:13:20.000Z",
            "sent_at": "2026-11-21T08:30:15.000Z",
            "parts": 1,
        }
        assert rig.events == [{"event_type": "sms.received", "id": report["id"], "from": FROM, "parts": 1}]
        assert (rig.store.texts, rig.wakes, rig.problems) == ({}, 1, [])

    with_rig(box, scenario)


def test_parts_make_one_text_whatever_their_order(box: Box) -> None:
    """Parts come out of order, over several looks, doubled, among others; each text comes once and whole."""

    async def scenario(rig: Rig) -> None:
        one, two = parts("ab€" * 200, after=1), parts("😀é" * 100, sender="Design@Home", wide=True)
        assert (len(one), len(two)) == (6, 5)
        rig.store.put(one[5], two[3], one[0], one[5], two[4])
        await rig.look()
        assert (rig.reports(), rig.store.texts) == ([], {})
        rig.restart()
        rig.store.put(two[1], one[2], one[1], two[0], one[4], two[3])
        await rig.look()
        rig.store.put(two[2], one[3], one[3])
        await rig.look()
        assert rig.bodies() == ["😀é" * 100, "ab€" * 200]
        assert [report["from"] for report in rig.reports()] == ["Design@Home", FROM]
        assert [report["parts"] for report in rig.reports()] == [5, 6]
        assert (rig.texts.waiting(), rig.store.texts) == (0, {})

    with_rig(box, scenario)


def test_a_text_that_could_not_be_deleted_counts_once(box: Box) -> None:
    """After a crash, or a modem that went away, between commit and deletion the text is only deleted."""

    async def scenario(rig: Rig) -> None:
        rig.store.put(*parts("one"), *parts("two " * 100), *parts("three"))
        rig.store.breaks_after = 2
        await rig.look()
        assert len(rig.store.texts) == 3
        rig.restart()
        rig.store.breaks_after = None
        await rig.look()
        assert (sorted(rig.bodies()), rig.store.texts) == (["one", "three", "two " * 100], {})

    with_rig(box, scenario)


def test_a_part_that_comes_again_after_its_text_was_published_is_not_kept(box: Box) -> None:
    """The network delivers twice; a part that belongs to nothing would wait for the others for a day."""

    async def scenario(rig: Rig) -> None:
        pdus = parts("x" * 400)
        rig.store.put(*pdus)
        await rig.look()
        rig.store.put(pdus[1])
        await rig.look()
        assert (len(rig.reports()), rig.texts.waiting(), rig.store.texts) == (1, 0, {})

    with_rig(box, scenario)


def test_nothing_is_deleted_before_it_is_durable(box: Box) -> None:
    """While the disk is full the texts stay on the modem; when there is room they come, once."""

    async def scenario(rig: Rig) -> None:
        rig.set_room(0)
        texts = [f"text {number}" for number in range(200)]
        rig.store.put(*(pdu for text in texts for pdu in parts(text)))
        task = asyncio.create_task(rig.receiver.run())
        while not rig.writer.full:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert (len(rig.store.texts), rig.reports(), rig.events) == (200, [], [])
        rig.set_room(10_000)
        while rig.store.texts:
            await asyncio.sleep(0.02)
        assert (rig.bodies(), len(rig.events)) == (texts, 200)
        task.cancel()

    with_rig(box, scenario)


def test_a_listing_that_is_too_old_deletes_nothing(box: Box) -> None:
    """Where the disk took long, places may mean something else: the store is listed again first."""

    async def scenario(rig: Rig) -> None:
        rig.store.put(*parts("hello"))
        task = asyncio.create_task(rig.receiver.run())
        while rig.store.lists < 4:
            await asyncio.sleep(0.01)
        task.cancel()
        assert (rig.bodies(), len(rig.store.texts)) == (["hello"], 1)

    with_rig(box, scenario, PATIENT._replace(stale=0.0))


def test_missing_parts_leave_a_gap_after_a_day(box: Box) -> None:
    """What is there is published once a part has waited a day of running, with the gap marked."""

    async def scenario(rig: Rig) -> None:
        pdus = parts("a" * 153 + "b" * 153 + "c" * 153 + "d" * 20)
        rig.store.put(pdus[0], pdus[3])
        await rig.look()
        box.clock.pass_(24 * 3600 - 60)
        await rig.look()
        assert rig.reports() == []
        box.clock.pass_(120)
        await rig.look()
        await rig.look()
        assert rig.bodies() == ["a" * 153 + "[…]" + "d" * 20]
        assert rig.reports()[0]["parts"] == 4
        assert rig.events[0]["event_type"] == "sms.received"
        assert rig.texts.waiting() == 0

    with_rig(box, scenario)


def test_too_many_parts_without_others_are_published_as_they_are(box: Box) -> None:
    """Nobody fills the disk with beginnings: beyond the bound the oldest text goes, with its gaps."""

    async def scenario(rig: Rig) -> None:
        for reference in range(8):
            rig.store.put(parts(f"{reference}" * 200, reference=reference)[0])
        await rig.look()
        assert rig.bodies() == [f"{reference}" * 153 + "[…]" for reference in range(3)]
        assert rig.texts.waiting() == 5

    with_rig(box, scenario, PATIENT._replace(max_waiting=5))


def test_what_cannot_be_read_is_published_as_it_is(box: Box) -> None:
    """A PDU that makes no sense is not lost and does not stay; the newest text it is not."""

    async def scenario(rig: Rig) -> None:
        rig.store.put(b"\x00\x04\x05", *parts("after it"))
        await rig.look()
        broken, whole = rig.reports()
        assert (broken["body"], broken["from"], broken["pdu"]) == (None, None, "000405")
        assert "ends" in broken["error"]
        assert rig.reports("hologram/in/sms/last") == [whole]
        assert [event["event_type"] for event in rig.events] == ["sms.received"] * 2
        assert rig.store.texts == {}

    with_rig(box, scenario)


def test_data_is_published_as_data(box: Box) -> None:
    """8-bit data that is no text comes as base64, with a body of null."""

    async def scenario(rig: Rig) -> None:
        rig.store.put(tpdu.deliver(FROM, AT, 0x04, 3, b"\xff\x00\x01", header=False))
        rig.store.put(tpdu.deliver(FROM, AT, 0x04, 2, b"ok", header=False))
        await rig.look()
        data, text = rig.reports()
        assert (data["body"], data["data_base64"]) == (None, "/wAB")
        assert (text["body"], "data_base64" in text) == ("ok", False)

    with_rig(box, scenario)


def test_a_language_without_a_table_is_marked(box: Box) -> None:
    """The text is published all the same, with a word about its letters."""

    async def scenario(rig: Rig) -> None:
        rig.store.put(tpdu.deliver(FROM, AT, 0x00, 6, bytes.fromhex("0325010688") + b"\x00", header=True))
        await rig.look()
        (report,) = rig.reports()
        assert report["body"] is not None
        assert "language" in report["error"]

    with_rig(box, scenario)


def test_a_status_report_is_an_event_about_its_message(box: Box) -> None:
    """It names the message that was sent; it is no text, and one that belongs to nothing is told too."""

    async def scenario(rig: Rig) -> None:
        with box:
            rig.texts.await_report(7, FROM, "mine")
        for status in (0x20, 0x00, 0x43):
            done = AT + timedelta(seconds=status)
            rig.store.put(tpdu.status_report(7, FROM, AT, done, status))
        await rig.look()
        assert [(event["id"], event["state"], event["status"]) for event in rig.events] == [
            ("mine", "pending", "still trying: congestion"),
            ("mine", "delivered", "delivered"),
            (None, "failed", "failed for good: not obtainable"),
        ]
        assert all((event["event_type"], event["to"]) == ("sms.report", FROM) for event in rig.events)
        assert (rig.reports(), rig.store.texts) == ([], {})

    with_rig(box, scenario)


def test_codes_of_the_modem_wake_the_receiver(box: Box) -> None:
    """A code that tells of a text leads to a look; one that brings it needs none; others are not ours."""

    async def scenario(rig: Rig) -> None:
        assert not rig.receiver.urc("+CREG: 1")
        assert not rig.receiver.urc('+CUSD: 0,"x"')
        store = rig.store

        def tell() -> None:
            store.put(*parts("told"))
            assert rig.receiver.urc('+CMTI: "SM",3')

        await rig.look(tell)
        await rig.look()
        assert (rig.bodies(), store.noted, store.texts) == (["told"], ["SM"], {})
        assert rig.receiver.urc('+CDSI: "SR",1')
        assert store.noted == ["SM", "SR"]
        (flash,) = parts("flash")
        assert rig.receiver.urc("+CMT: ,24", flash.hex().encode())
        assert rig.receiver.urc("+CMT: ,24", flash.hex().upper().encode())
        await rig.look()
        assert rig.bodies() == ["told", "flash"]

    with_rig(box, scenario)


def test_what_no_code_told_of_is_found(box: Box) -> None:
    """A code that tells of a text can be lost: the store is looked into all the same, from time to time."""

    async def scenario(rig: Rig) -> None:
        task = asyncio.create_task(rig.receiver.run())
        while not rig.store.lists:
            await asyncio.sleep(0.01)
        rig.store.put(*parts("silent"))
        while rig.store.texts:
            await asyncio.sleep(0.01)
        assert rig.bodies() == ["silent"]
        task.cancel()

    with_rig(box, scenario, PATIENT._replace(every=0.05))


def test_a_full_store_is_emptied_and_told(box: Box) -> None:
    """What the network held back comes as there is room; health hears of it, once."""

    async def scenario(rig: Rig) -> None:
        rig.store.size = 4
        texts = [f"text {number}" for number in range(11)]
        rig.store.put(*(pdu for text in texts for pdu in parts(text)))
        assert len(rig.store.waiting) == 7
        await rig.look()
        assert (sorted(rig.bodies()), rig.store.texts) == (sorted(texts), {})
        assert len(rig.problems) == 1
        assert "was full (4 of 4)" in rig.problems[0]

    with_rig(box, scenario)


def test_a_modem_that_deletes_nothing_is_told_and_not_pestered(box: Box) -> None:
    """The texts are published once; the receiver waits for its next turn instead of asking on and on."""

    async def scenario(rig: Rig) -> None:
        rig.store.keeps = True
        rig.store.put(*parts("stays"))
        await rig.look()
        await rig.look()
        assert (rig.bodies(), rig.store.lists) == (["stays"], 2)
        assert rig.problems == ["the modem deletes no SMS; its store will become full"]

    with_rig(box, scenario)


def test_a_modem_in_trouble_is_asked_again(box: Box) -> None:
    """Without a modem nothing is asked; one that does not answer is asked at the next turn."""

    async def scenario(rig: Rig) -> None:
        rig.store.put(*parts("late"))
        rig.store.ready = False
        await rig.look()
        assert rig.store.lists == 0
        rig.store.ready = True
        rig.store.fault = ModemSilent("no answer")
        await rig.look()
        assert rig.reports() == []
        await rig.look()
        assert (rig.bodies(), rig.store.texts) == (["late"], {})

    with_rig(box, scenario)


def test_a_thousand_texts_arrive_once_and_whole(box: Box) -> None:
    """1,000 texts of 1 to 600 characters in either alphabet, all parts shuffled, some doubled."""
    chance = random.Random(23040)
    letters = ("abc xyz 0189 @é€[]", "aé你好😀𝄞 ")
    texts = [
        f"{number} " + "".join(chance.choices(letters[number % 2], k=chance.randint(0, 590)))
        for number in range(1000)
    ]
    texts = [text[:600] for text in texts]
    sent = [
        parts(
            text,
            reference=number % 256,
            wide=number % 3 == 0,
            sender=f"+1555{number // 256:07}",
            after=number,
        )
        for number, text in enumerate(texts)
    ]
    pdus = [pdu for each in sent for pdu in each]
    pdus += chance.sample(pdus, 200)
    chance.shuffle(pdus)

    async def scenario(rig: Rig) -> None:
        rig.store.size = 100
        rig.store.put(*pdus)
        await rig.look()
        assert sorted(rig.bodies()) == sorted(texts)
        assert (rig.store.texts, rig.store.waiting, rig.texts.waiting()) == ({}, [], 0)

    with_rig(box, scenario)


# -- commands --------------------------------------------------------------------------------------------


class Desk:
    """Takes commands; `hold` keeps one until it is durable."""

    def __init__(self) -> None:
        self.listening = True
        self.heard_: list[tuple[bytes, str]] = []
        self.hold: list[Callable[[], None]] | None = None

    def is_command(self, data: bytes) -> bool:
        return data.startswith(b"hb1 ")

    def heard(self, text: bytes, sender: str, taken: Callable[[], None]) -> None:
        self.heard_.append((text, sender))
        if self.hold is None:
            taken()
        else:
            self.hold.append(taken)


def sent(text: str, sender: str, reference: int) -> list[bytes]:
    return air.parts(sender, text, AT, reference=reference, wide=False)


def commanded(box: Box, test: Callable[[Rig, Desk], Awaitable[None]]) -> None:
    """Run ``test`` with somebody who takes commands."""

    async def run() -> None:
        rig, desk = Rig(box, PATIENT), Desk()
        rig.desk = desk
        rig.build()
        await test(rig, desk)

    asyncio.run(run())


def topics(box: Box) -> list[str]:
    return [report.topic for report in box.outbox.reports.after(0, 100)]


def test_a_command_is_published_nowhere(box: Box) -> None:
    """Whoever sent it, in one part or several, whole or not; ordinary SMS between them are."""

    async def test(rig: Rig, desk: Desk) -> None:
        long = "hb1 1 set network.apn=" + "a" * 200
        torn = sent("hb1 " + "b" * 300, "+15550000001", 2)
        rig.store.put(
            *sent("hb1 1 status mac", FROM, 0),
            *sent("hello", FROM, 0),
            *sent(long, FROM, 1),
            *torn[:1],
        )
        await rig.look()
        assert desk.heard_ == [(b"hb1 1 status mac", FROM), (long.encode(), FROM)]
        assert (topics(box), rig.store.texts) == (["hologram/in/sms", "hologram/in/sms/last"], {})
        assert [each["event_type"] for each in rig.events] == ["sms.received"]
        box.clock.pass_(2 * rig.patience.missing)
        await rig.look()
        assert [text[:5] for text, _ in desk.heard_[2:]] == [b"hb1 b"]
        assert len(topics(box)) == 2

    commanded(box, test)


def test_a_command_stays_on_the_modem_until_it_is_durable(box: Box) -> None:
    """So that a crash before that loses nothing, and one after it repeats what is refused as old."""

    async def test(rig: Rig, desk: Desk) -> None:
        desk.hold = []
        rig.store.put(*sent("hb1 1 status mac", FROM, 0))
        task = asyncio.create_task(rig.receiver.run())
        while not desk.hold:
            await asyncio.sleep(0.005)
        assert len(rig.store.texts) == 1
        desk.hold[0]()
        await rig.rests()
        assert rig.store.texts == {}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    commanded(box, test)


def test_without_a_key_it_is_an_ordinary_sms(box: Box) -> None:
    """Published as any other."""

    async def test(rig: Rig, desk: Desk) -> None:
        rig.desk = None
        rig.build()
        rig.store.put(*sent("hb1 1 status mac", FROM, 0))
        await rig.look()
        assert (desk.heard_, topics(box)) == ([], ["hologram/in/sms", "hologram/in/sms/last"])

    commanded(box, test)
