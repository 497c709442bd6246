"""The machine of one exchange, driven by hand: every event, byte by byte, at any time."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.exchange import ANSWER_LIMIT, Exchange, Job, Outcome, Phase
from bridge.core.messages import Traffic

SPENT = Traffic(7, 5)
SILENCE, LIMIT, GRACE = 10.0, 60.0, 0.5


def job(
    request: bytes = b"request", *, until_close: bool = False, orderly: bool = False, limit: float = LIMIT
) -> Job:
    return Job(
        "host",
        80,
        request,
        lambda got: b"]" in got,
        SILENCE,
        limit,
        until_close=until_close,
        orderly=orderly,
    )


@dataclass
class Story:
    """An exchange, and a clock that is put forward by hand."""

    job: Job = field(default_factory=job)
    grace: float = GRACE
    shallow: bool = False
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.exchange = Exchange(self.job, self.now, grace=self.grace, shallow=self.shallow)

    def connect(self) -> "Story":
        self.exchange.connected(self.now)
        return self

    def send(self, size: int | None = None) -> "Story":
        self.exchange.took(len(self.job.request) if size is None else size, self.now)
        return self

    def receive(self, data: bytes) -> "Story":
        self.exchange.received(data, self.now)
        self.exchange.tick(self.now)
        return self

    def acknowledge(self, total: int, *, since: float = 0.0) -> "Story":
        self.exchange.acknowledged(total, self.now, since=since)
        self.exchange.tick(self.now)
        return self

    def wait(self, seconds: float) -> "Story":
        """Let time pass; the machine is asked whenever it wanted to be."""
        until = self.now + seconds
        while not self.exchange.over and (due := self.exchange.tick(self.now)) <= until:
            assert self.exchange.over or due > self.now, "it would be asked for ever"
            self.now = max(self.now, due)
        self.now = until
        self.exchange.tick(self.now)
        return self

    @property
    def outcome(self) -> Outcome:
        assert self.exchange.over
        return self.exchange.outcome(SPENT)

    @property
    def error(self) -> str | None:
        return self.outcome.error


def sent(job: Job | None = None, *, grace: float = GRACE, shallow: bool = False) -> Story:
    """The request is out."""
    return Story(job or make(), grace, shallow).connect().send()


make = job


def test_an_answer_and_the_peers_close() -> None:
    """The plain case: the answer, then the close within the grace."""
    story = sent().receive(b"[0,0]")
    assert story.exchange.phase is Phase.ANSWERED
    story.exchange.closed()
    assert story.outcome == Outcome(True, True, True, b"[0,0]", True, None, SPENT)


def test_an_answer_without_a_close_is_over_after_the_grace() -> None:
    """The peer has a moment to close, and no more."""
    story = sent().receive(b"[0,0]").wait(GRACE * 0.9)
    assert not story.exchange.over
    story.wait(GRACE * 0.2)
    assert story.outcome == Outcome(True, True, True, b"[0,0]", False, None, SPENT)


def test_without_grace_an_answer_is_the_end() -> None:
    """A transport that waits for the close by itself tells of the answer at once."""
    assert sent(grace=0.0).receive(b"[0,0]").outcome.complete


@given(st.integers(1, 9), st.binary(max_size=20))
def test_an_answer_byte_by_byte_with_trailing_bytes(step: int, trailing: bytes) -> None:
    """However it is cut, the answer is complete with its last byte; what trails after that is ignored."""
    answer = b"[0, 0, 0]"
    story = sent()
    for start in range(0, len(answer), step):
        assert story.exchange.phase is Phase.CARRYING
        story.receive(answer[start : start + step])
    assert story.exchange.phase is Phase.ANSWERED
    story.receive(trailing).exchange.closed()
    assert (story.outcome.answer, story.outcome.complete) == (answer, True)


def test_trailing_bytes_of_the_same_piece_are_kept() -> None:
    """What came in one piece is the reader's to judge."""
    assert sent(grace=0.0).receive(b"[0,0]rest").outcome.answer == b"[0,0]rest"


def test_of_a_long_answer_the_beginning_is_kept() -> None:
    """Memory stays bounded; what is let go is a sign of life all the same."""
    story = sent()
    for _ in range(3):
        story.wait(SILENCE * 0.9).receive(b"y" * ANSWER_LIMIT)
    story.exchange.closed()
    assert (story.outcome.answer, story.outcome.complete) == (b"y" * ANSWER_LIMIT, False)


def test_an_early_answer_counts() -> None:
    """A peer may refuse a request before it was all sent."""
    story = Story(job(b"x" * 100), grace=0.0).connect().send(10).receive(b"[2,0]")
    assert (story.outcome.complete, story.outcome.whole) == (True, False)


@pytest.mark.parametrize("shallow", [False, True])
def test_silence_ends_it(shallow: bool) -> None:
    """Nothing for the silence allowed; the answer is as incomplete as it is."""
    story = sent(shallow=shallow).wait(5).receive(b"[0").wait(SILENCE * 0.99)
    assert not story.exchange.over
    assert story.wait(SILENCE * 0.02).outcome == Outcome(
        True, True, False, b"[0", False, "silence for 10 s", SPENT
    )


def test_silence_before_the_connection() -> None:
    """Nobody was reached, and nothing has left."""
    story = Story().wait(SILENCE)
    expected = Outcome(False, False, False, b"", False, "cannot connect to host:80: no answer", SPENT)
    assert story.outcome == expected


def test_signs_of_life_are_bounded_by_the_limit() -> None:
    """Bytes keep it alive until the limit, which counts from the start."""
    story = Story().wait(5).connect().send()
    for _ in range(10):
        story.wait(5).receive(b".")
    assert not story.exchange.over
    assert story.wait(5).error == "the exchange took longer than 60 s"


def test_acknowledged_bytes_are_signs_of_life_from_when_they_came() -> None:
    """An acknowledgement found late counts from its own time; the same number again is none."""
    story = Story(job(b"x" * 100)).connect().send()
    story.wait(9).acknowledge(40, since=2.0)
    story.wait(7.9).acknowledge(40)
    assert not story.exchange.over
    assert story.wait(0.2).error == "silence for 10 s"


@pytest.mark.parametrize(("shallow", "over"), [(False, True), (True, False)])
def test_bytes_taken_are_signs_of_life_where_little_is_held(shallow: bool, over: bool) -> None:
    """What the kernel buffers proves nothing; a modem takes only what it gets rid of."""
    story = Story(job(b"x" * 100), shallow=shallow).connect().wait(6).send(50).wait(6)
    assert story.exchange.over is over


def test_a_large_request_behind_its_pace_is_cut_early() -> None:
    """After six silences, though every acknowledgement is a sign of life."""
    story = Story(job(b"x" * 600_000, limit=600)).connect().send()
    for second in range(0, 51, 5):
        story.acknowledge(1000 * second // 5).wait(5)
    assert not story.exchange.over
    assert "too slow for 600000 bytes: 10000 passed" in str(story.wait(5).error)


def test_our_own_side_is_no_silence_of_the_peers() -> None:
    """While we wait for ourselves only the limit counts; the next sign of life starts the silence anew."""
    story = Story(shallow=True)
    story.exchange.held = True
    story.wait(LIMIT * 0.9)
    assert not story.exchange.over
    story.connect().send().wait(LIMIT * 0.05).exchange.held = True
    assert story.wait(LIMIT).error == "the exchange took longer than 60 s"


def test_a_sign_of_life_ends_the_wait_for_our_own_side() -> None:
    """From then on a silence is the peer's again."""
    story = sent(shallow=True)
    story.exchange.held = True
    story.wait(SILENCE * 2).receive(b"[").wait(SILENCE)
    assert story.error == "silence for 10 s"


def test_our_own_side_may_be_why_nobody_was_reached() -> None:
    """The modem had no time for us until the limit."""
    story = Story(shallow=True)
    story.exchange.held = True
    assert story.wait(LIMIT).error == "cannot connect to host:80: the modem is busy"


@pytest.mark.parametrize("answer", [b"", b"[0"])
def test_a_close_without_the_answer(answer: bytes) -> None:
    """It ends the exchange, without an error and without completeness."""
    story = sent().receive(answer)
    story.exchange.closed()
    assert story.outcome == Outcome(True, True, False, answer, True, None, SPENT)


def test_a_broken_connection() -> None:
    """The reason is told; an answer that was there counts, and then there is none."""
    story = sent().receive(b"[0")
    story.exchange.failed("the connection broke: reset")
    assert story.outcome == Outcome(True, True, False, b"[0", False, "the connection broke: reset", SPENT)
    story = sent().receive(b"[0,0]")
    story.exchange.failed("the connection broke: reset")
    assert story.outcome == Outcome(True, True, True, b"[0,0]", False, None, SPENT)


def test_no_connection() -> None:
    """The peer is named; a close before there was a connection is no close of a connection."""
    story = Story()
    story.exchange.failed("Connection refused")
    assert story.error == "cannot connect to host:80: Connection refused"
    assert story.outcome[:5] == (False, False, False, b"", False)
    story = Story()
    story.exchange.closed()
    assert story.error == "cannot connect to host:80: the connection broke"


def test_what_ends_it_first_decides() -> None:
    """Whatever comes after the end changes nothing of the outcome."""
    story = sent().wait(SILENCE)
    before = story.outcome
    story.exchange.failed("late")
    story.exchange.closed()
    story.receive(b"[0,0]").connect().exchange.end("later")
    assert story.outcome == before


def test_a_connection_after_the_end_is_not_told() -> None:
    """Nobody hears of a connection of an exchange that was given up."""
    told: list[bool] = []
    story = Story(job()._replace(on_connected=lambda: told.append(True))).wait(SILENCE).connect()
    assert (story.outcome.connected, told) == (False, [])


def test_a_connection_is_told_once() -> None:
    """As soon as it is there."""
    told: list[bool] = []
    Story(job()._replace(on_connected=lambda: told.append(True))).connect().connect()
    assert told == [True]


@pytest.mark.parametrize("known", range(8))
def test_the_peers_close_is_the_answer_to_a_whole_request_only(known: int) -> None:
    """Byte by byte: until the last one is acknowledged a close is no receipt."""
    story = sent(job(until_close=True)).acknowledge(known)
    story.exchange.closed()
    whole = known == len(b"request")
    assert story.outcome == Outcome(True, True, whole, b"", True, None, SPENT, whole=whole)


def test_until_close_an_answer_ends_nothing() -> None:
    """It is kept; only the close ends the exchange."""
    story = sent(job(until_close=True)).receive(b"[0,0]").acknowledge(7)
    assert story.exchange.phase is Phase.CARRYING
    assert story.exchange.handed_over
    story.exchange.closed()
    assert (story.outcome.complete, story.outcome.answer) == (True, b"[0,0]")


def test_a_close_that_never_comes_is_no_receipt() -> None:
    """All was acknowledged, and then the peer is silent."""
    story = sent(job(until_close=True)).acknowledge(7).wait(SILENCE)
    assert (story.outcome.complete, story.outcome.whole, story.error) == (False, True, "silence for 10 s")


@pytest.mark.parametrize("answer_first", [False, True])
def test_an_orderly_exchange_needs_both(answer_first: bool) -> None:
    """The answer and the last acknowledgement, in either order."""
    story = sent(job(orderly=True), grace=0.0)
    if answer_first:
        story.receive(b"[0,0]")
    else:
        story.acknowledge(7)
    assert not story.exchange.over
    story.receive(b"[0,0]").acknowledge(7)
    assert (story.outcome.complete, story.outcome.whole) == (True, True)


def test_an_answer_to_a_part_does_not_excuse_a_break() -> None:
    """In an orderly exchange the peer must have the whole request."""
    story = sent(job(orderly=True)).receive(b"[0,0]").acknowledge(6)
    story.exchange.failed("the connection broke")
    assert (story.error, story.outcome.whole) == ("the connection broke", False)


@pytest.mark.parametrize("taken", range(8))
def test_little_held_means_that_a_close_or_an_answer_is_an_acknowledgement(taken: int) -> None:
    """Where the transport cannot tell; but only once it took the last byte of the request."""
    whole = taken == len(b"request")
    for answer in (b"", b"[0,0]"):
        story = Story(job(until_close=not answer), shallow=True).connect().send(taken).receive(answer)
        story.exchange.closed()
        assert story.outcome.whole is whole
        assert story.outcome.complete is (whole or bool(answer))


def test_an_empty_request_is_whole_with_the_connection() -> None:
    """No bytes are a request as well where the close is the answer."""
    story = Story(job(b"", until_close=True)).connect().send()
    story.exchange.closed()
    assert (story.outcome.complete, story.outcome.written) == (True, False)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(0, 20)),
        st.tuples(st.just("send"), st.integers(0, 3)),
        st.tuples(st.just("acknowledge"), st.integers(0, 9)),
        st.tuples(st.just("receive"), st.sampled_from([b"", b"[", b"0", b"]"])),
        st.tuples(st.sampled_from(["connect", "closed", "failed", "held"]), st.just(None)),
    ),
    max_size=30,
)


@given(EVENTS, st.booleans(), st.booleans(), st.booleans(), st.sampled_from([0.0, GRACE]))
def test_any_events_in_any_order(
    events: list[tuple[str, object]], until_close: bool, orderly: bool, shallow: bool, grace: float
) -> None:
    """It always ends by its limit and its grace, and its outcome never changes nor contradicts itself."""
    story = Story(job(until_close=until_close, orderly=orderly), grace, shallow)
    began, outcome = story.now, None
    for name, value in events:
        exchange = story.exchange
        if name == "closed":
            exchange.closed()
        elif name == "failed":
            exchange.failed("broke")
        elif name == "held":
            exchange.held = True
        elif name == "connect":
            story.connect()
        elif name in ("wait", "receive") or (exchange.reached and not exchange.over):
            getattr(story, name)(value)
        if outcome is not None:
            assert exchange.outcome(SPENT) == outcome
        elif exchange.over:
            outcome = exchange.outcome(SPENT)
    story.wait(max(0.0, began + LIMIT + 2 * GRACE - story.now))
    ended = story.outcome
    assert ended.connected or not (ended.written or ended.complete or ended.closed)
    assert not (ended.complete and ended.error)
    assert ended.complete or ended.closed or ended.error
