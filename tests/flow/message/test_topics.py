"""Topics and filters below the prefix."""

import pytest

from bridge.flow.message.topics import Names
from bridge.protocol.api import commands


def test_every_topic_is_below_the_prefix() -> None:
    """The prefix may have several levels."""
    names = Names("site/box7")
    found = [value for name, value in vars(names).items() if isinstance(value, str) and name != "prefix"]
    assert len(found) > 5
    assert all(
        topic.startswith("site/box7/") for topic in [*found, *names.data_filters, *names.control_filters]
    )
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("topic", "below"),
    [
        ("hologram/out/a/b", "out/a/b"),
        ("hologram/out", "out"),
        ("hologram/", ""),
        ("former/out/a", "/former/out/a"),
        ("hologramme/out/a", "/hologramme/out/a"),
    ],
)
def test_a_topic_of_a_former_prefix_is_no_command(topic: str, below: str) -> None:
    """The broker may still deliver messages on it; they are rejected."""
    assert Names("hologram").below(topic) == below


def test_each_command_comes_by_one_session() -> None:
    """Commands that must work on a full disk have their own session."""
    names = Names("hologram")
    assert not set(names.data_filters) & set(names.control_filters)
    topics = {each.removesuffix("/#").removeprefix("hologram/") for each in names.data_filters}
    assert topics == {"out", "send", "sms"}
    assert {commands.channel_of(names.below(each)).value for each in names.control_filters} == {
        "network",
        "queue",
        "budget",
        "quote",
    }
