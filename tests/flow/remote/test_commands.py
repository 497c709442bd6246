"""Commands that were accepted: carried out once, and answered with what came of it."""

import asyncio
from collections.abc import Awaitable, Callable

from bridge.core.budget import Bounds
from bridge.core.messages import State
from bridge.errors import LinkError
from bridge.flow.message.budget import Budget, Plan
from bridge.flow.remote.answers import one_text
from bridge.flow.remote.commands import LONGEST_ANSWER, MAX_IN_FLIGHT, STOPPED
from bridge.protocol.sms.segments import cut
from tests.doubles.desk import PHONE, Box
from tests.doubles.heart import Disk, Heart, answered
from tests.flow.conftest import MakeHeart

Test = Callable[[Box], Awaitable[None]]


def on_box(heart: Heart, test: Test) -> None:
    """Run ``test`` on a box, and stop that as a stop of the bridge does."""

    async def run() -> None:
        box = Box(heart)
        await box.settle()
        await test(box)
        await box.stop()

    asyncio.run(run())


def sms(text: str) -> str:
    """Return the request that carries ``text`` to the desk."""
    return f"Sabcd1234{PHONE} {text}\n\n"


def alarm(heart: Heart, to: str) -> None:
    """Publish an SMS that goes by the modem, with high priority."""
    heart.publish("sms", f'{{"to": "{to}", "body": "alarm", "via": "modem"}}'.encode(), priority="high")


def test_a_failure_is_the_answer(heart: Heart) -> None:
    """By both doors, with the reason."""

    async def test(box: Box) -> None:
        box.fails = "there is nothing\nto do"
        assert (await box.call(box.line("status", 1))).said == ["error status: there is nothing to do"]
        await box.text(box.line("status", 2))
        assert box.texts() == [sms("error status: there is nothing to do")]
        assert [each["outcome"] for each in box.events()] == ["error", "error"]

    on_box(heart, test)


def test_what_takes_the_link_answers_a_connection_before(heart: Heart) -> None:
    """It begins once the peer has the answer, and its outcome is told by an event."""

    async def test(box: Box) -> None:
        box.link = asyncio.get_running_loop().create_future()
        peer = await box.call(box.line("reconnect"), slow=True)
        assert (peer.said, box.carried) == (["ok reconnect: begins"], [])
        peer.deliver()
        await box.settle()
        assert (box.carried, box.events()) == ([("reconnect", "")], [])
        box.link.set_exception(LinkError("no network"))
        await box.settle()
        (event,) = box.events()
        assert (event["outcome"], event["description"]) == ("error", "no network")
        assert peer.said == ["ok reconnect: begins"]
        assert box.store.left() == []

    on_box(heart, test)


def test_by_sms_the_outcome_is_told(heart: Heart) -> None:
    """After it, not when it begins."""

    async def test(box: Box) -> None:
        box.link = asyncio.get_running_loop().create_future()
        await box.text(box.line("reconnect"))
        assert (box.carried, box.texts()) == ([("reconnect", "")], [])
        box.link.set_result("connected")
        await box.settle()
        assert box.texts() == [sms("ok reconnect: connected")]

    on_box(heart, test)


def test_a_restart_answers_a_connection_before_and_an_sms_after(make_heart: MakeHeart) -> None:
    """Each gets one answer."""

    async def before(box: Box) -> None:
        peer = await box.call(box.line("restart", 1), slow=True)
        assert (peer.said, box.ended) == (["ok restart: restarts"], [])
        peer.deliver()
        await box.settle()
        assert len(box.events()) == 1
        await box.text(box.line("restart", 2))
        assert (box.ended, box.texts()) == (["restart", "restart"], [])
        assert len(box.events()) == 1, "the next start tells the outcome"

    async def after(box: Box) -> None:
        assert (box.texts(), box.carried) == ([sms("ok restart: runs again")], [])
        assert [(each["outcome"], each["description"]) for each in box.events()] == [("ok", "runs again")]
        assert box.store.left() == []

    on_box(make_heart(), before)
    on_box(make_heart(), after)


def test_a_restart_of_the_box_is_answered_after_it_or_with_its_failure(make_heart: MakeHeart) -> None:
    """The mark is durable before it begins, because nothing can be written after that."""

    async def before(box: Box) -> None:
        box.fails = "apt is at work"
        await box.text(box.line("restart_box", 1))
        assert box.texts() == [sms("error restart_box: apt is at work")]
        assert (await box.call(box.line("restart_box", 2))).said == ["ok restart_box: begins"]
        assert box.store.left() == []
        box.fails = None
        await box.text(box.line("restart_box", 3))
        assert (len(box.texts()), len(box.carried)) == (1, 3)

    async def after(box: Box) -> None:
        assert box.texts() == [sms("ok restart_box: runs again")]
        assert box.store.left() == []

    heart = make_heart()
    on_box(heart, before)
    heart.write(lambda: heart.journal.database._run("UPDATE boot SET boot_id = 'earlier'"))
    on_box(make_heart(), after)


def test_a_restart_of_the_box_that_did_not_come_is_not_told_as_done(make_heart: MakeHeart) -> None:
    """The bridge was killed after the mark, and has started in the same boot."""

    async def before(box: Box) -> None:
        await box.text(box.line("restart_box"))
        assert len(box.carried) == 1

    async def after(box: Box) -> None:
        assert box.texts() == [sms(f"error restart_box: {STOPPED}")]
        assert [each["outcome"] for each in box.events()] == ["error"]

    on_box(make_heart(), before)
    on_box(make_heart(), after)


def test_what_a_stop_interrupts_is_not_carried_out_again(make_heart: MakeHeart) -> None:
    """An SMS gets the answer at the next start; a replay is refused."""

    async def before(box: Box) -> None:
        box.link = asyncio.get_running_loop().create_future()
        await box.text(box.line("reconnect"))
        assert box.texts() == []

    async def after(box: Box) -> None:
        assert (box.texts(), box.carried) == ([sms(f"error reconnect: {STOPPED}")], [])
        await box.text(box.line("reconnect"))
        assert (len(box.texts()), box.carried) == (1, [])

    on_box(make_heart(), before)
    on_box(make_heart(), after)


def test_what_was_accepted_and_not_begun_is_not_carried_out_later(make_heart: MakeHeart) -> None:
    """A kill between the commit and the first step leaves a command that ends as an error."""

    async def before(box: Box) -> None:
        await box.stop()  # what carries out is dead, and the gate goes on
        await box.call(box.line("status", 1))
        await box.text(box.line("status", 2))
        assert len(box.store.left()) == 2

    async def after(box: Box) -> None:
        assert (box.texts(), box.carried) == ([sms(f"error status: {STOPPED}")], [])
        assert box.store.left() == []

    on_box(make_heart(), before)
    on_box(make_heart(), after)


def test_what_is_told_as_done_is_on_disk(make_heart: MakeHeart) -> None:
    """A crash would undo what a command has written."""
    disk = Disk()

    async def test(box: Box) -> None:
        box.link = asyncio.get_running_loop().create_future()
        peer = await box.call(box.line("reconnect", 1))
        disk.hangs = True
        box.link.set_result("connected")
        await box.settle()
        assert (peer.said[1:], box.events()) == ([], [])
        disk.go_on()
        await box.settle()
        assert [each["outcome"] for each in box.events()] == ["ok"]

    on_box(make_heart(worker=disk), test)


def test_a_sender_that_is_no_number_gets_no_answer(heart: Heart) -> None:
    """A name can be allowed, and cannot be answered."""

    async def test(box: Box) -> None:
        await box.text(box.line("status"), "Hologram")
        assert (box.carried, box.texts(), box.store.left()) == ([("status", "")], [], [])

    on_box(heart, test)


def test_an_answer_waits_for_its_budget_and_expires(heart: Heart) -> None:
    """It is an SMS as any, in the outbox."""

    async def test(box: Box) -> None:
        plan = Plan(Bounds(sms_day=0))
        Budget(heart.journal, heart.notices, plan, heart.uplink)
        await box.text(box.line("status"))
        assert (box.texts(), heart.queued()) == ([], ["ok status: status is done"])
        heart.turn(3700.0)
        assert heart.states() == [State.EXPIRED.value]

    on_box(heart, test)


def test_a_pause_holds_no_answer(make_heart: MakeHeart) -> None:
    """Nor does an alarm to the same number that the pause holds; it is as one given before a restart."""

    async def paused(box: Box) -> None:
        box.heart.uplink.paused = True
        alarm(box.heart, PHONE)
        await box.text(box.line("status", 1))
        assert box.texts() == [sms("ok status: status is done")]
        await box.text(box.line("status", 2))
        assert len(box.texts()) == 1, "one at a time"

    async def after(box: Box) -> None:
        box.heart.uplink.paused = True
        box.heart.turn()
        assert box.texts() == [sms("ok status: status is done")]
        assert sorted(box.heart.queued()) == ["alarm", "ok status: status is done"]

    on_box(make_heart(), paused)
    on_box(make_heart(), after)


def test_an_answer_goes_before_other_sms_and_one_at_a_time(heart: Heart) -> None:
    """The modem sends one at a time."""

    async def test(box: Box) -> None:
        for number in range(3):
            alarm(heart, f"+1555123456{number}")
        await box.text(box.line("status"))
        assert len(box.texts()) == 1
        heart.air.end(answered())
        await box.settle()
        assert box.texts()[1:] == [sms("ok status: status is done")]

    on_box(heart, test)


def test_too_many_at_once_are_errors(heart: Heart) -> None:
    """What takes minutes is bounded."""

    async def test(box: Box) -> None:
        box.link = asyncio.get_running_loop().create_future()
        for number in range(MAX_IN_FLIGHT):
            await box.text(box.line("reconnect", number + 1))
        (answer,) = (await box.call(box.line("status", 100))).said
        assert answer.startswith("error status: 16 commands")
        assert len(box.carried) == MAX_IN_FLIGHT

    on_box(heart, test)


def test_an_answer_is_one_line_of_bounded_length(heart: Heart) -> None:
    """Whatever the part that carried it out says."""

    async def test(box: Box) -> None:
        box.fails = "a\r\n\x1bb" + "c" * 5000
        (answer,) = (await box.call(box.line("status"))).said
        assert answer.startswith("error status: a   bc")
        assert len(answer) == LONGEST_ANSWER

    on_box(heart, test)


def test_an_answer_by_sms_is_one_part() -> None:
    """What is not in its alphabet is a question mark, and what does not fit is cut."""
    assert one_text("ok") == "ok"
    assert one_text("grün ж 😀") == "grün ? ?"
    for text in ("x" * 500, "€" * 500, "[x]|" * 100, "ж€" * 100):
        assert len(cut(one_text(text)).parts) == 1
        assert len(cut(one_text(text)).parts[0]) in (159, 160)
