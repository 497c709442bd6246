"""Columns: an endpoint as it is stored, in the form that earlier versions wrote."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from bridge.core.messages import CLOUD, CLOUD_SMS, MODEM_ANSWERS, MODEM_SMS, Channel, Endpoint
from bridge.store.rows import endpoint_key, is_lane, read_endpoint
from tests.store.box import Box, message

ACCOUNT = (1 << 24) + 77


@pytest.mark.parametrize(
    ("endpoint", "column"),
    [
        (CLOUD, "cloud"),
        (CLOUD_SMS, '["sms", "", 0, null]'),
        (MODEM_SMS, '["sms", "modem", 0, null]'),
        (MODEM_ANSWERS, '["sms", "modem answers", 0, null]'),
        (Endpoint(Channel.TCP, "scada.example.net", 5020, "OK"), '["tcp", "scada.example.net", 5020, "OK"]'),
        (Endpoint(Channel.CLOUD, account=ACCOUNT), f'["cloud", "", {ACCOUNT}, null]'),
        (Endpoint(Channel.SMS, account=1), '["sms", "", 1, null]'),
    ],
)
def test_an_endpoint_is_stored_as_earlier_versions_did(endpoint: Endpoint, column: str) -> None:
    """An account is in the port's place: a later version finds the same lane, and an earlier one reads it."""
    assert endpoint_key(endpoint) == column
    assert read_endpoint(column) == endpoint


def test_a_lane_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """A message of a device's account that an earlier version stored is read, and the next joins its lane."""
    path = tmp_path / "outbox.db"
    box = Box(path)
    box.put(message("old"))
    box.database.close()
    with contextlib.closing(sqlite3.connect(path)) as earlier, earlier:
        earlier.execute("UPDATE lane SET endpoint = ?", (f'["cloud", "", {ACCOUNT}, null]',))
    box.open()
    endpoint = Endpoint(Channel.CLOUD, account=ACCOUNT)
    assert [queued.lane.endpoint for queued in box.all()] == [endpoint]
    box.put(message("new", endpoint=endpoint))
    assert (box.heads(endpoint), box.lanes()) == (["old"], 1)
    box.finish("old")
    assert box.heads(endpoint) == ["new"]
    box.database.close()


@pytest.mark.parametrize("port", ['"5020"', "[1]", "{}"])
def test_an_account_that_is_no_number_is_damage(port: str) -> None:
    """The repair drops such a lane."""
    assert is_lane('["cloud", "", 5, null]', "", 1)
    assert not is_lane(f'["cloud", "", {port}, null]', "", 1)
