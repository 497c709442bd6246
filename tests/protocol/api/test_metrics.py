"""The health figures as Prometheus reads them."""

import re
from typing import Any

from bridge.protocol.api.metrics import render

FIGURES: dict[str, Any] = {
    "state": "ok",
    "queue": {
        "messages": 3,
        "bytes": 300,
        "by_channel": {"cloud": {"high": 1, "normal": 2, "low": 0}},
        "oldest_age": 12.5,
        "under_way": 1,
        "paused": False,
    },
    "results": {"delivered": 7, "failed": 0},
    "bytes": {"today": {"up": 466, "down": 252}, "month": {"up": 4660, "down": 2520}},
    "destinations": [
        {"channel": "cloud", "to": None, "condition": "up", "reason": None},
        {"channel": "tcp", "to": 'a"b\\c\nd', "condition": "down", "reason": "x"},
    ],
    "inbound": {"received": 4, "refused": 1, "open": "not a number"},
    "set_aside": 2,
    "sessions_lost": 1,
    "uptime": 3600.4,
    "memory": 30_000_000,
}

LABEL = r'[a-z]+="(?:[^"\\\n]|\\.)*"'
SAMPLE = re.compile(rf"hologram_bridge_[a-z_]+(?:\{{{LABEL}(?:,{LABEL})*\}})? -?[0-9.]+")


def samples(**more: Any) -> dict[str, str]:
    lines = [line for line in render(FIGURES | more).splitlines() if not line.startswith("#")]
    assert all(SAMPLE.fullmatch(line) for line in lines)
    return dict(line.removeprefix("hologram_bridge_").rsplit(" ", 1) for line in lines)


def test_each_figure_is_a_sample() -> None:
    """The labels are channel, priority, state and direction; a whole number has no point."""
    found = samples()
    assert found['queue_messages{channel="cloud",priority="normal"}'] == "2"
    assert found["queue_oldest_age_seconds"] == "12.5"
    assert found['results_total{state="delivered"}'] == "7"
    assert found['ip_bytes_month{direction="up"}'] == "4660"
    assert found['inbound_total{outcome="received"}'] == "4"
    assert not any("open" in name for name in found), "only counts are samples"
    assert (found["healthy"], found["set_aside"], found["uptime_seconds"]) == ("1", "2", "3600.4")


def test_each_bound_of_the_budget_has_its_gauges() -> None:
    """Its limit, what is used, whether it holds, and what waits for it; without a bound there are none."""
    day = {"limit": 500_000, "use": 450_001, "percent": 90, "left": 49_999, "holds": True}
    texts = {"limit": 80, "use": 2, "percent": 2, "left": 78, "holds": False}
    queue = FIGURES["queue"] | {"held": {"day": 4}}
    found = samples(budget={"day": day, "sms_month": texts}, queue=queue)
    shown = {name: value for name, value in found.items() if name.startswith("budget")}
    assert shown == {
        'budget_limit{bound="day"}': "500000",
        'budget_limit{bound="sms_month"}': "80",
        'budget_used{bound="day"}': "450001",
        'budget_used{bound="sms_month"}': "2",
        'budget_holds{bound="day"}': "1",
        'budget_holds{bound="sms_month"}': "0",
        'budget_held_messages{bound="day"}': "4",
        'budget_held_messages{bound="sms_month"}': "0",
    }
    assert not any(name.startswith("budget") for name in samples(budget={}))


def test_labels_are_escaped() -> None:
    """Quotes, backslashes and line ends would break the line."""
    assert samples()[r'destination_up{channel="tcp",to="a\"b\\c\nd"}'] == "0"


def test_each_family_is_declared_once_before_its_samples() -> None:
    """A family without samples is left out."""
    lines = render(FIGURES | {"destinations": [], "inbound": {}}).splitlines()
    helps = [line.split()[2] for line in lines if line.startswith("# HELP")]
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert helps == types == list(dict.fromkeys(helps))
    declared = ""
    for line in lines:
        if line.startswith("# TYPE"):
            declared = line.split()[2]
        elif not line.startswith("#"):
            assert re.split(r"[{ ]", line)[0] == declared
    assert "hologram_bridge_destination_up" not in declared
    assert not any("destination_up" in line or "inbound_total" in line for line in lines)


def test_an_empty_queue_is_no_gap() -> None:
    """The age of an empty queue is 0."""
    queue = FIGURES["queue"] | {"oldest_age": None}
    found = samples(queue=queue, state="degraded")
    assert (found["queue_oldest_age_seconds"], found["healthy"]) == ("0", "0")


def test_the_end_is_a_line_end() -> None:
    """The format requires it."""
    assert render(FIGURES).endswith("\n")
