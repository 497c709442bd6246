"""Batches under whatever the cloud, the box and its users do, in any order: one result each, none lost."""

import json
import random
from collections import Counter
from typing import Any

import pytest

from bridge.batch import decode
from bridge.core.batching import Batching
from bridge.core.exchange import Outcome
from bridge.core.routing import Route
from tests.doubles.heart import UNREACHED, Heart, answered, silent
from tests.doubles.time import Clock
from tests.flow.conftest import MakeHeart

ROUTES = [
    ("a/#", Route(match="a/#", batching=Batching(every=20.0, messages=7, bytes=900))),
    ("b/#", Route(match="b/#", batching=Batching(every=5.0, messages=3), max_attempts=3)),
    ("#", Route()),
]
LANES = [("a", ""), ("a", "high"), ("b", ""), ("b", "high")]
REFUSED = answered(b"[4,0]")
FAILURES: dict[str, Outcome] = {
    "lost": silent(),
    "unreached": UNREACHED,
    "busy": answered(b"[6,0]"),
    "key": answered(b"[3,0]"),
}


class World:
    """A bridge, a cloud, and a receiver that drops the repeats of a batch by its id."""

    def __init__(self, make_heart: MakeHeart, chance: random.Random) -> None:
        self._make = make_heart
        self.chance = chance
        self.clock = Clock()
        self.heart: Heart = make_heart(routes=ROUTES, clock=self.clock, slots=3)
        self.lanes: dict[str, tuple[str, str]] = {}
        """The route and the priority of each message."""
        self.batched: list[str] = []
        """The messages that the receiver has out of batches."""
        self.received: list[str] = []
        """All that it has."""
        self._contents: dict[str, str] = {}
        self._accepted: set[str] = set()

    def publish(self) -> None:
        name, topic = f"m{len(self.lanes)}", self.chance.choice(["a/x", "a/y", "b/z", "c"])
        priority = self.chance.choice(["", "", "high"])
        options = {"priority": priority} if priority else {}
        if self.chance.random() < 0.2:
            options["expires"] = f"{self.chance.randrange(1, 30)}s"
        noise = "".join(chr(self.chance.randrange(48, 91)) for _ in range(self.chance.choice([5, 30, 1500])))
        bad = " bad" * (self.chance.random() < 0.05)
        self.lanes[name] = (topic[0], priority)
        self.heart.publish(f"out/{topic}", f"{name} {noise}{bad}".encode(), id=name, **options)

    def answer(self, *, manner: str | None = None) -> None:
        """End the oldest exchange: refused if there is a bad message in it, else as it comes."""
        peer = self.heart.cloud
        if not peer.in_progress:
            return
        request = json.loads(peer._open[0][0].request)
        batch = decode(request["d"]) if request.get("t") == "batch" else None
        texts = [each.payload.decode() for each in batch.readings] if batch else [request["d"]]
        if batch:
            known = self._contents.setdefault(str(batch.id), request["d"])
            assert known == request["d"], "a repeat is the same"
        manner = manner or self.chance.choice(["ok", "ok", "ok", "late", *FAILURES])
        if manner in FAILURES:
            peer.end(FAILURES[manner])
        elif any(text.endswith(" bad") for text in texts):
            peer.end(REFUSED)
        else:
            self._accept(None if batch is None else str(batch.id), [text.split()[0] for text in texts])
            peer.end(answered() if manner == "ok" else silent())

    def _accept(self, batch_id: str | None, names: list[str]) -> None:
        if batch_id is None:
            self.received += names
        elif batch_id not in self._accepted:
            self._accepted.add(batch_id)
            self.batched += names
            self.received += names

    def restart(self) -> None:
        self.heart = self._make(routes=ROUTES, clock=self.clock, slots=3)

    def step(self) -> None:
        """Let something happen."""
        what = self.chance.choices(
            ["publish", "answer", "time", "flush", "restart", "purge", "pause"], [40, 40, 20, 3, 3, 1, 1]
        )[0]
        if what == "publish":
            self.publish()
        elif what == "answer":
            self.answer()
        elif what == "time":
            self.heart.turn(self.chance.choice([0.5, 3.0, 10.0]))
        elif what == "restart":
            self.restart()
        else:
            self.heart.command("queue/set", what.encode())
            self.heart.command("queue/set", b"resume")
        self.heart.turn()

    def drain(self) -> None:
        """Let everything end well."""
        for _ in range(3000):
            if not self.heart.outbox.ledger.messages:
                return
            self.answer(manner="ok")
            self.heart.turn(1.0 if self.heart.cloud.in_progress else 20.0)
        raise AssertionError(f"{self.heart.queued()} never end")

    def results(self) -> list[dict[str, Any]]:
        return [each for each in self.heart.ended() if each["channel"] == "cloud"]


@pytest.mark.parametrize("seed", range(12))
def test_each_message_has_one_result_and_what_is_delivered_arrived(make_heart: MakeHeart, seed: int) -> None:
    """Once out of a batch, in the order of its lane, whatever happens; the bytes told are those spent."""
    world = World(make_heart, random.Random(seed))
    for _ in range(400):
        world.step()
    world.drain()
    results = world.results()
    assert Counter(each["id"] for each in results) == Counter(list(world.lanes))
    delivered = {each["id"] for each in results if each["state"] == "delivered"}
    assert delivered <= set(world.received)
    assert max(Counter(world.batched).values()) == 1, "a receiver that drops repeats has each once"
    for lane in LANES:
        mine = [int(name[1:]) for name in dict.fromkeys(world.received) if world.lanes[name] == lane]
        assert mine == sorted(mine)
    spent = world.heart.outbox.ledger.spent(world.clock.wall)[0]
    assert sum(each["bytes_up"] for each in results) <= spent.up
    assert delivered
    assert world.heart.outbox.in_flight == set()
    assert world.heart.journal.database.execute("batch_all").fetchall() == []
