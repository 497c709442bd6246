"""``hologram/bridge/usage``: what it has, and how seldom it comes."""

import json
from typing import Any

from bridge.core.budget import Bounds, Prices
from bridge.core.messages import Traffic
from bridge.flow.health.usage import DAYS, EVERY, LOOK, MONTHS, UsageReport
from bridge.flow.message.budget import Budget, Plan
from bridge.flow.message.publisher import Publisher
from bridge.flow.message.topics import Names
from tests.doubles.heart import Heart

TO_MIDNIGHT = 6400.0  # the tests' clock begins at 22:13:20 on 2023-11-14


class _Publisher(Publisher):
    """Keeps the states."""

    said: list[dict[str, Any]]

    def state(self, topic: str, payload: bytes, *, again: bool = False) -> None:
        assert topic == "hologram/bridge/usage"
        self.said.append(json.loads(payload))


def reporting(heart: Heart, plan: Plan) -> list[dict[str, Any]]:
    publisher = _Publisher(heart.journal, Names("hologram"))
    publisher.said = []
    UsageReport(heart.journal, publisher, Budget(heart.journal, heart.notices, plan, heart.uplink)).start()
    return publisher.said


def spend(heart: Heart, number: int, texts: int = 0) -> None:
    heart.outbox.ledger.usage.count_texts(texts)
    heart.write(lambda: heart.outbox.ledger.spend(Traffic(number, 0)))


def test_it_comes_once_an_hour_where_it_changed_and_at_a_days_end(heart: Heart) -> None:
    """Not with each message."""
    said = reporting(heart, Plan(Bounds(day=5000)))
    assert len(said) == 1
    for _ in range(10):
        spend(heart, 100)
        heart.turn(LOOK)
    assert len(said) == 1
    heart.turn(EVERY)
    assert len(said) == 2
    assert said[-1]["days"][-1] == {"day": "2023-11-14", "bytes": 1000, "sms": 0, "cost": None}
    assert said[-1]["budget"] == {"day": 5000, "month": None}
    heart.turn(TO_MIDNIGHT - EVERY - 11 * LOOK)
    spend(heart, 1)
    heart.turn(2 * LOOK)
    assert len(said) == 3
    assert [each["bytes"] for each in said[-1]["days"][-2:]] in ([1001, 0], [1000, 1])
    heart.turn(3 * EVERY)
    assert len(said) == 3, "nothing has changed"


def test_it_has_thirty_days_and_twelve_months_with_their_cost(heart: Heart) -> None:
    """The oldest first; a month begins on its day."""
    plan = Plan(month_starts=14, prices=Prices(mb=1000.0, sms=2.0, currency="EUR"))
    spend(heart, 500, texts=3)
    heart.time.clock.step(86400.0)
    spend(heart, 100)
    heart.time.clock.step(-2 * 86400.0)
    spend(heart, 7)
    heart.time.clock.step(86400.0)
    heart.outbox.turn_day()
    (said,) = reporting(heart, plan)
    assert (len(said["days"]), len(said["months"]), said["currency"]) == (DAYS, MONTHS, "EUR")
    assert said["days"][0]["day"] == "2023-10-16"
    assert [each["bytes"] for each in said["days"][-2:]] == [7, 500]
    assert said["days"][-1]["cost"] == 6.5
    assert [(each["month"], each["bytes"]) for each in said["months"][-2:]] == [
        ("2023-10-14", 7), ("2023-11-14", 600),
    ]  # fmt: skip
    assert said["months"][0]["month"] == "2022-12-14"
