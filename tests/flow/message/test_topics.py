"""The topics below the prefix."""

import pytest

from bridge.flow.message.topics import Names
from bridge.protocol.api import commands


def test_every_topic_is_below_the_prefix() -> None:
    """Whatever it is."""
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
    """The broker may still have messages for it: they are rejected, not taken for something else."""
    assert Names("hologram").below(topic) == below


def test_each_command_comes_by_one_session() -> None:
    """What must work on a full disk has its own, and the filters do not overlap."""
    names = Names("hologram")
    assert not set(names.data_filters) & set(names.control_filters)
    topics = {each.removesuffix("/#").removeprefix("hologram/") for each in names.data_filters}
    assert topics == {"out", "send", "sms"}
    assert {commands.channel_of(names.below(each)).value for each in names.control_filters} == {
        "network",
        "queue",
    }
