"""``hologram/budget/set`` as users publish it."""

import pytest

from bridge.core.messages import Channel
from bridge.errors import InvalidCommand
from bridge.protocol.api.budget import BudgetChange
from bridge.protocol.api.commands import Control, parse


@pytest.mark.parametrize(
    ("payload", "change"),
    [
        (b"reset", BudgetChange({})),
        (b" reset\n", BudgetChange({})),
        (b'{"day": "2MB"}', BudgetChange({"day": 2_000_000})),
        (b'{"month": 5, "sms_day": null, "sms_month": 0}',
         BudgetChange({"month": 5, "sms_day": None, "sms_month": 0})),
        (b'{"day": 1, "until": "2026-12-24"}', BudgetChange({"day": 1}, 1_798_070_400.0)),
        (b'{"day": 1, "until": "2026-12-24T01:00+01:00"}', BudgetChange({"day": 1}, 1_798_070_400.0)),
        (b'{"day": 1, "until": null}', BudgetChange({"day": 1})),
    ],
)  # fmt: skip
def test_changes_are_read(payload: bytes, change: BudgetChange) -> None:
    """As in the configuration, and until when."""
    command = parse("budget/set", payload)
    assert isinstance(command, Control)
    assert (command.channel, command.change) == (Channel.BUDGET, change)


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (b"", "payload"),
        (b"more", "payload"),
        (b"[]", "payload"),
        (b"{}", "payload"),
        (b'{"until": "2026-12-24"}', "payload"),
        (b'{"day": 0}', "day"),
        (b'{"day": "2 parsecs"}', "day"),
        (b'{"month": true}', "month"),
        (b'{"sms_day": -1}', "sms_day"),
        (b'{"sms_day": 1.5}', "sms_day"),
        (b'{"sms_month": "5"}', "sms_month"),
        (b'{"day": 1, "until": "tomorrow"}', "until"),
        (b'{"day": 1, "until": 5}', "until"),
        (b'{"day": 1, "reserve": "5%"}', "reserve"),
        (b'{"day": 1, "id": ""}', "id"),
    ],
)
def test_a_bad_change_names_its_field(payload: bytes, field: str) -> None:
    """And what is allowed."""
    with pytest.raises(InvalidCommand) as caught:
        parse("budget/set", payload)
    assert str(caught.value).startswith(f"{field}:")
