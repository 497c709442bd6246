"""Whatever is done in whatever order, the outbox agrees with a plain list of its messages."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from bridge.core.messages import CLOUD, Channel, Endpoint, Message, Priority, Traffic
from bridge.store.outbox import Limits, Verdict
from tests.store.box import Box, message

ENDPOINTS = (CLOUD, Endpoint(Channel.TCP, "h", 1, None))


class Agreement(RuleBasedStateMachine):
    """Random operations, some rolled back, beside a model: the messages in the order they came."""

    stored = Bundle("stored")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.box = Box(self.folder / "o.db", limits=Limits(max_messages=12, max_bytes=60, drop_oldest=True))
        self.model: list[Message] = []
        self.waiting: dict[object, float] = {}
        self.number = 0

    def teardown(self) -> None:
        self.box.database.close()
        shutil.rmtree(self.folder)

    def make(self, topic: str, size: int, priority: Priority, endpoint: Endpoint) -> Message:
        self.number += 1
        return message(
            f"m{self.number}", topic=topic, payload=b"x" * size, priority=priority, endpoint=endpoint
        )

    @rule(
        target=stored,
        topic=st.sampled_from("abc"),
        size=st.integers(0, 20),
        priority=st.sampled_from(Priority),
        endpoint=st.sampled_from(ENDPOINTS),
    )
    def put(self, topic: str, size: int, priority: Priority, endpoint: Endpoint) -> object:
        """A message comes in, and perhaps others go for it, never more urgent ones."""
        new = self.make(topic, size, priority, endpoint)
        taken = self.box.put(new)
        gone = {each.queued.id for each in taken.dropped}
        assert all(each.queued.lane.priority >= priority for each in taken.dropped)
        self.drop(gone)
        if taken.verdict is not Verdict.STORED:
            return multiple()
        self.model.append(new)
        return new.id

    def drop(self, gone: set[str]) -> None:
        for lane in {item.lane for item in self.model if item.id in gone}:
            if next(item.id for item in self.model if item.lane == lane) in gone:
                self.waiting.pop(lane, None)
        self.model = [item for item in self.model if item.id not in gone]

    @rule(name=consumes(stored))
    def finish(self, name: str) -> None:
        """A message ends, the head of its lane or not."""
        if name in self.box.ids():
            self.box.finish(name)
            self.drop({name})

    @rule(name=stored, delay=st.integers(1, 100))
    def defer(self, name: str, delay: int) -> None:
        """A lane's head is put off."""
        heads = [self.first(lane).id for lane in {item.lane for item in self.model}]
        if name in heads:
            self.box.defer(name, delay)
            lane = next(item.lane for item in self.model if item.id == name)
            self.waiting[lane] = self.box.clock.mono + delay

    def first(self, lane: object) -> Message:
        return next(item for item in self.model if item.lane == lane)

    @rule(seconds=st.integers(1, 60))
    def time_passes(self, seconds: int) -> None:
        """Delays that are over end."""
        self.box.clock.pass_(seconds)
        with self.box:
            self.box.outbox.wake_due()
        self.waiting = {lane: until for lane, until in self.waiting.items() if until > self.box.clock.mono}

    @rule(name=stored, size=st.integers(0, 20))
    def roll_back(self, name: str, size: int) -> None:
        """A transaction that fails leaves no trace."""
        try:
            with self.box:
                self.box.outbox.accept(self.make("a", size, Priority.HIGH, CLOUD))
                for queued in self.box.all():
                    if queued.id == name:
                        self.box.outbox.defer(queued, 9, Traffic(1, 1), 5.0)
                        self.box.outbox.remove(queued)
                raise KeyError(name)
        except KeyError:
            pass

    @rule()
    def reopen(self) -> None:
        """The daemon starts anew."""
        self.box.reopen()

    @invariant()
    def agrees(self) -> None:
        """Messages, their lanes' heads, sums and depth are what the model says."""
        assert self.box.ids() == [item.id for item in self.model]
        ledger = self.box.outbox.ledger
        assert (ledger.messages, ledger.bytes) == (
            len(self.model), sum(len(item.payload) for item in self.model)
        )  # fmt: skip
        lanes = {item.lane for item in self.model}
        assert self.box.lanes() == len(lanes)
        for endpoint in ENDPOINTS:
            ready = [
                self.first(lane) for lane in lanes if lane.endpoint == endpoint and lane not in self.waiting
            ]
            ready.sort(key=lambda item: (item.lane.priority, self.model.index(item)))
            assert self.box.heads(endpoint) == [item.id for item in ready]
            for priority in Priority:
                here = [
                    item
                    for item in self.model
                    if item.lane.endpoint == endpoint and item.lane.priority is priority
                ]
                counted = ledger.depth.get((endpoint.channel, priority), (0, 0))
                assert counted == (len(here), sum(len(item.payload) for item in here))


TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
