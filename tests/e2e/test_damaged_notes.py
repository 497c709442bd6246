"""Notes in the store that damage has changed: SQLite has no checksums, so nothing else finds them."""

import sqlite3
from contextlib import closing

import pytest

from tests.harness import BridgeProcess, Client, eventually


@pytest.mark.parametrize("damage", ['{"', "[[", "7", "null"])
def test_a_damaged_note_keeps_no_bridge_from_starting(
    bridge: BridgeProcess, client: Client, damage: str
) -> None:
    """It starts with what it has without the note, says which it left out, and takes messages."""
    bridge.configure(
        home_assistant={"enabled": True},
        budget={"day": "1MB"},
        heartbeat={"every": "1h"},
        remote={"key": "correct horse battery staple"},
    )
    bridge.start()
    eventually(lambda: client.messages("hologram/bridge/usage"), what="all parts have started")
    assert bridge.stop() == 0
    with closing(sqlite3.connect(bridge.store)) as store, store:
        for key in ("budget", "budget_warned", "heartbeat_at", "remote:1"):
            store.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, 'x')", (key,))
        damaged = store.execute(
            "UPDATE meta SET value = ? WHERE value = 'x' OR typeof(value) = 'text' AND json_valid(value)",
            (damage,),
        )
        assert damaged.rowcount > 6
    bridge.start()
    client.publish("hologram/out/a", "1", qos=1)
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 1, what="the message is taken")
    assert "is damaged and left out" in bridge.said()
