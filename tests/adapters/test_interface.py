"""The counters of a network interface."""

from pathlib import Path

from bridge.adapters.system.interface import counters


def test_the_loopback_has_counters_under_its_name_index_and_boot() -> None:
    """They grow."""
    before = counters("lo", "boot")
    assert before is not None
    assert before.name == "boot lo 1"
    after = counters("lo", "boot")
    assert after is not None
    assert after.since(before) >= 0


def test_an_interface_that_is_gone_or_unreadable_has_none(tmp_path: Path) -> None:
    """As between its end and the moment when the bridge learns of it."""
    assert counters("ppp9", "boot") is None
    folder = tmp_path / "ppp0" / "statistics"
    folder.mkdir(parents=True)
    (tmp_path / "ppp0" / "ifindex").write_text("7\n")
    (folder / "rx_bytes").write_text("12\n")
    assert counters("ppp0", "boot", sysfs=tmp_path) is None
    (folder / "tx_bytes").write_text("30\n")
    assert counters("ppp0", "boot", sysfs=tmp_path) == ("boot ppp0 7", 12, 30)
