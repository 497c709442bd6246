"""The gate: once, durably, and for the right key alone."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bridge.core.messages import Traffic
from bridge.flow.remote.gate import REFUSED_SPEND_EVERY, Policy
from bridge.protocol.remote import AHEAD, derive, sign
from tests.doubles.desk import KEY, PHONE, POLICY, Box
from tests.doubles.heart import Heart
from tests.flow.conftest import MakeHeart

Test = Callable[[Box], Awaitable[None]]


def on_box(heart: Heart, test: Test, policy: Policy = POLICY) -> None:
    """Run ``test`` on a box."""

    async def run() -> None:
        box = Box(heart, policy)
        await box.settle()
        await test(box)
        await box.stop()

    asyncio.run(run())


def commits(heart: Heart) -> int:
    (progress,) = heart.writer.progress()
    return progress.steps


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""], ids=["LF", "CR LF", "closed"])
def test_a_right_line_is_carried_out_once(heart: Heart, end: bytes) -> None:
    """However its line ends; a repeat is refused at once."""

    async def test(box: Box) -> None:
        line = box.line("status").encode() + end
        assert (await box.call(line)).said == ["ok status: status is done"]
        assert (await box.call(line)).said == ["refused"]
        assert box.carried == [("status", "")]

    on_box(heart, test)


@pytest.mark.parametrize(
    "data",
    [
        lambda line: line + b"\nx",
        lambda line: line + b"\n\n",
        lambda line: line + b"\r",
        lambda line: line + b" \n",
        lambda line: b"hb1 \n" + line,
        lambda line: line.replace(b" ", b"  ", 1),
        lambda line: line.upper(),
        lambda line: line[:-1],
        lambda _: b"hb1 ",
    ],
    ids=[
        "more bytes",
        "more lines",
        "CR alone",
        "space",
        "line before",
        "spaces",
        "upper case",
        "cut",
        "empty",
    ],
)
def test_what_is_near_a_line_is_refused(heart: Heart, data: Callable[[bytes], bytes]) -> None:
    """No answer, nothing carried out, nothing written; the right line still works after it."""

    async def test(box: Box) -> None:
        before = commits(heart)
        assert (await box.call(data(box.line("status").encode()))).said == ["refused"]
        assert (box.carried, commits(heart), box.store.last) == ([], before, 0)
        assert len((await box.call(box.line("status"))).said) == 1
        assert box.carried == [("status", "")]

    on_box(heart, test)


def test_a_command_that_is_not_allowed_uses_up_its_counter(heart: Heart) -> None:
    """It gets no answer; what came before it is old."""

    async def test(box: Box) -> None:
        assert (await box.call(box.line("pause", 5))).said == ["refused"]
        assert (await box.call(box.line("status", 5))).said == ["refused"]
        assert (await box.call(box.line("status", 4))).said == ["refused"]
        assert len((await box.call(box.line("status", 6))).said) == 1
        assert [each["outcome"] for each in box.events()] == ["refused", "refused", "ok"]
        assert box.events()[0]["command"] == "pause"

    on_box(heart, test)


def test_a_line_for_another_box_does_nothing(heart: Heart) -> None:
    """Keys of one master do not open each other's boxes."""
    here, there = derive(b"master", "here"), derive(b"master", "there")

    async def test(box: Box) -> None:
        assert (await box.call(sign(there, 1, "status"))).said == ["refused"]
        assert len((await box.call(sign(here, 1, "status"))).said) == 1
        assert box.carried == [("status", "")]

    on_box(heart, test, POLICY._replace(key=here))


def test_only_senders_are_heard(heart: Heart) -> None:
    """A right line from another number is refused, and its counter is not used up."""

    async def test(box: Box) -> None:
        line = box.line("status")
        await box.text(line, "+15559999999")
        await box.text(line, PHONE[1:])
        assert box.carried == []
        await box.text(line + " \n\t")
        assert box.carried == [("status", "")]
        assert box.texts() == ["Sabcd1234+15551234567 ok status: status is done\n\n"]
        await box.text(line)
        assert len(box.texts()) == 1

    on_box(heart, test)


def test_a_far_counter_needs_a_box_that_does_not_know_the_time(heart: Heart) -> None:
    """One more than a day ahead would lock out all that follow."""
    now = int(heart.time.now().wall * 1000)

    async def test(box: Box) -> None:
        assert (await box.call(box.line("status", now + AHEAD + 60_000))).said == ["refused"]
        assert (await box.call(box.line("status", now + AHEAD))).said != ["refused"]
        heart.time.known = False
        assert (await box.call(box.line("status", now + 2 * AHEAD))).said != ["refused"]

    on_box(heart, test)


def test_nothing_old_is_accepted_after_a_restart(make_heart: MakeHeart) -> None:
    """The store has the counter."""

    async def first(box: Box) -> None:
        await box.call(box.line("status", 7))

    async def second(box: Box) -> None:
        assert (await box.call(box.line("status", 7))).said == ["refused"]
        assert (await box.call(box.line("status", 8))).said != ["refused"]

    on_box(make_heart(), first)
    on_box(make_heart(), second)


@pytest.mark.parametrize("lost", ["store", "file"])
def test_the_larger_of_store_and_file_counts(make_heart: MakeHeart, tmp_path: Path, lost: str) -> None:
    """A store that is restored or lost alone brings no line back, and neither does the file."""

    async def first(box: Box) -> None:
        await box.call(box.line("status", 7))

    async def second(box: Box) -> None:
        assert (await box.call(box.line("status", 7))).said == ["refused"]

    heart = make_heart()
    on_box(heart, first)
    if lost == "file":
        (tmp_path / "outbox.db.counter").unlink()
    else:
        heart.write(lambda: heart.outbox.set_meta("remote_counter", 3))
    on_box(make_heart(), second)


@pytest.mark.parametrize("content", [b"", b"x\n", b"\xff" * 40, b"9" * 40, None], ids=repr)
def test_a_damaged_file_changes_nothing(make_heart: MakeHeart, tmp_path: Path, content: bytes | None) -> None:
    """The store alone counts then, and the next command writes the file anew."""
    file = tmp_path / "outbox.db.counter"

    async def test(box: Box) -> None:
        await box.call(box.line("status", box.store.last + 1))

    on_box(make_heart(), test)
    if content is None:
        file.unlink()
        file.symlink_to("/dev/zero")
    else:
        file.write_bytes(content)
    on_box(make_heart(), test)
    assert (file.is_symlink(), file.read_bytes(), file.stat().st_mode & 0o777) == (False, b"2\n", 0o600)


def test_a_file_that_cannot_be_written_stops_no_command(heart: Heart, tmp_path: Path) -> None:
    """The store has the counter."""
    (tmp_path / "outbox.db.counter.new").mkdir()

    async def test(box: Box) -> None:
        assert (await box.call(box.line("status"))).said == ["ok status: status is done"]
        assert (await box.call(box.line("status"))).said == ["refused"]

    on_box(heart, test)


def test_a_flood_costs_little(heart: Heart) -> None:
    """No write, no answer, and a line at the 1st, 2nd, 4th, 8th … of an hour."""
    chance = random.Random(1)

    async def test(box: Box) -> None:
        before = commits(heart)
        line = box.line("status").encode()
        for _ in range(300):
            at = chance.randrange(4, len(line))
            box.gate.called(line[:at] + bytes((line[at] ^ 1,)) + line[at + 1 :], "10.176.0.1:1", Refused())
            box.gate.count_refused(Traffic(1, 2))
            box.gate.heard(line[:at], PHONE, lambda: None)
            box.gate.datagram("10.176.0.1:2")
        await box.settle()
        assert (commits(heart), box.texts(), box.carried) == (before, [], [])
        assert [each["refused"] for each in box.events()] == [2**power for power in range(10)]
        heart.turn(REFUSED_SPEND_EVERY)
        assert heart.outbox.ledger.spent(heart.time.now().wall)[0] == (300, 600)
        heart.turn(3600.0)
        box.gate.datagram("10.176.0.1:2")
        assert box.events()[-1]["refused"] == 1

    on_box(heart, test)


def test_a_hundred_thousand_wrong_lines_are_refused(heart: Heart) -> None:
    """Random ones, and the right one with a change; none is accepted, and nothing of them is kept."""
    chance = random.Random(18)

    async def test(box: Box) -> None:
        line, before = box.line("status").encode(), commits(heart)
        for _ in range(50_000):
            at = chance.randrange(4, len(line))
            other = bytes((line[at] ^ chance.randrange(1, 256),))
            box.gate.called(line[:at] + other + line[at + 1 :], "10.176.0.1:1", Refused())
            box.gate.called(b"hb1 " + chance.randbytes(chance.randrange(80)), "10.176.0.1:1", Refused())
        await box.settle()
        assert (commits(heart), box.carried, box.store.last, box.gate.accepted.qsize()) == (before, [], 0, 0)
        assert len(box.events()) == 17

    on_box(heart, test)


class Refused:
    """A connection that must only be refused."""

    def answer(self, line: str, sent: Callable[[], None]) -> None:
        raise AssertionError(f"{line} {sent}")

    def refuse(self) -> None:
        pass


def test_without_a_key_nothing_is_a_command(heart: Heart) -> None:
    """What looks like one is an ordinary message then."""

    async def test(box: Box) -> None:
        assert not box.gate.is_command(box.line("status").encode())
        assert not box.gate.listening
        box.gate.policy = POLICY
        assert box.gate.is_command(box.line("status").encode())

    on_box(heart, test, Policy())


def test_neither_log_nor_event_has_a_value(heart: Heart, caplog: pytest.LogCaptureFixture) -> None:
    """Nor the key, nor the line."""
    caplog.set_level("DEBUG")

    async def test(box: Box) -> None:
        line = box.line("set network.apn=hidden-value more")
        await box.call(line)
        await box.call(line)
        await box.call(box.line("set network.apn hidden-value", 2))
        said = caplog.text + repr(box.events())
        assert [each["command"] for each in box.events()] == ["set network.apn", None, "set network.apn"]
        assert "hidden" not in said
        assert KEY not in said
        assert line[-16:] not in said

    on_box(heart, test)
