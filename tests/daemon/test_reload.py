"""Comparing configurations: what a reload applies and what it leaves for a restart."""

from typing import Any

from bridge.daemon.reload import compare
from bridge.settings import Settings


def settings(devicekey: str = "abcd1234", **sections: dict[str, Any]) -> Settings:
    """Return a configuration with ``sections`` beside the credentials."""
    return Settings.model_validate({"credentials": {"devicekey": devicekey}, **sections})


def test_a_changed_key_is_applied_and_named_without_its_value() -> None:
    """New credentials take effect at once; their value appears nowhere."""
    changes = compare(settings(), settings("wxyz9876"))
    assert changes.applied == ("credentials.devicekey",)
    assert "wxyz9876" not in repr(changes)


def test_sockets_and_files_wait_for_a_restart() -> None:
    """The broker's address and the listening port are named as waiting; limits are not."""
    new = settings(mqtt={"port": 1884}, inbound={"port": 4011, "max_bytes": 10}, store={"max_messages": 5})
    changes = compare(settings(), new)
    assert set(changes.waiting) == {"mqtt.port", "inbound.port"}
    assert set(changes.applied) == {"inbound.max_bytes", "store.max_messages"}


def test_a_section_that_appears_is_compared_key_by_key() -> None:
    """TLS that was null and is given now is a change of the broker's section."""
    waiting = compare(settings(), settings(mqtt={"tls": {}})).waiting
    assert waiting
    assert all(key.startswith("mqtt.tls") for key in waiting)


def test_the_same_configuration_changes_nothing() -> None:
    """A reload of an unchanged file applies nothing."""
    assert compare(settings(), settings()) == ((), ())
