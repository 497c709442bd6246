"""The health figures in Prometheus's text format [Prometheus documentation, "Exposition formats", 0.0.4]."""

from collections.abc import Iterator, Mapping
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[dict[str, str], float]


def render(figures: Mapping[str, Any]) -> str:
    """Return the exposition of ``figures``, as `bridge.flow.health.figures` returns them."""
    return "".join(_family(*family) for family in _families(figures))


def _families(figures: Mapping[str, Any]) -> Iterator[tuple[str, str, str, list[Sample] | float]]:
    queue = figures["queue"]
    depth = [
        ({"channel": channel, "priority": priority}, number)
        for channel, priorities in queue["by_channel"].items()
        for priority, number in priorities.items()
    ]
    yield "queue_messages", "gauge", "Messages in the outbox.", depth
    yield "queue_bytes", "gauge", "Payload bytes in the outbox.", queue["bytes"]
    yield "queue_oldest_age_seconds", "gauge", "Age of the oldest message.", queue["oldest_age"] or 0
    yield "queue_under_way", "gauge", "Messages being sent now.", queue["under_way"]
    yield "queue_paused", "gauge", "1 while sending is paused.", queue["paused"]
    results = [({"state": state}, number) for state, number in figures["results"].items()]
    yield "results_total", "counter", "Commands that ended, by state.", results
    for period in ("today", "month"):
        traffic = [({"direction": way}, number) for way, number in figures["bytes"][period].items()]
        yield f"ip_bytes_{period}", "gauge", f"Bytes that the IP layer carried, {period} (UTC).", traffic
    yield from _budget(figures.get("budget") or {}, queue.get("held") or {})
    down = [
        ({"channel": each["channel"], "to": each["to"] or ""}, each["condition"] == "up")
        for each in figures["destinations"]
    ]
    yield "destination_up", "gauge", "1 while the destination answers.", down
    inbound: list[Sample] = [
        ({"outcome": name}, number)
        for name, number in (figures.get("inbound") or {}).items()
        if isinstance(number, int)
    ]
    yield "inbound_total", "counter", "Inbound connections and datagrams, by outcome.", inbound
    yield "set_aside", "gauge", "Reports and deliveries that could not be passed on.", figures["set_aside"]
    yield "sessions_lost_total", "counter", "Broker sessions lost.", figures["sessions_lost"]
    yield "healthy", "gauge", "1 while the state is ok.", figures["state"] == "ok"
    yield "uptime_seconds", "gauge", "Seconds since the start.", figures["uptime"]
    yield "memory_bytes", "gauge", "Resident memory.", figures["memory"]


def _budget(
    bounds: Mapping[str, Mapping[str, Any]], held: Mapping[str, int]
) -> Iterator[tuple[str, str, str, list[Sample] | float]]:
    for key, name, text in (
        ("limit", "budget_limit", "The bound, in bytes or SMS."),
        ("use", "budget_used", "What is used of the bound, in bytes or SMS."),
        ("holds", "budget_holds", "1 while messages of normal priority wait for the bound."),
    ):
        yield name, "gauge", text, [({"bound": bound}, of[key]) for bound, of in bounds.items()]
    waiting: list[Sample] = [({"bound": bound}, held.get(bound, 0)) for bound in bounds]
    yield "budget_held_messages", "gauge", "Messages that wait for the bound.", waiting


def _family(name: str, kind: str, text: str, samples: list[Sample] | float) -> str:
    if not isinstance(samples, list):
        samples = [({}, samples)]
    if not samples:
        return ""
    full = f"hologram_bridge_{name}"
    lines = [f"# HELP {full} {text}", f"# TYPE {full} {kind}"]
    lines += [f"{full}{_labels(labels)} {value:g}" if value % 1 else f"{full}{_labels(labels)} {int(value)}"
              for labels, value in samples]  # fmt: skip
    return "\n".join(lines) + "\n"


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
