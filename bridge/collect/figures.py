"""What a collector counts, as JSON for ``/health`` and in Prometheus's text format for ``/metrics``.

[Prometheus documentation, "Exposition formats", 0.0.4]
"""

from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

LATEST = 20
"""Entries of what was set aside last."""

Sample = tuple[str, int]
"""The labels in braces, or nothing, and the value."""


class Figures:
    """The counters of one collector since its start; belongs to the loop's thread."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()
        """By the status of the answer."""
        self.messages = 0
        """Messages that are acknowledged, without repeats."""
        self.repeats = 0
        """Messages that were there before."""
        self.body_bytes = 0
        self.set_aside: Counter[str] = Counter()
        """By kind."""
        self.latest: deque[dict[str, str]] = deque(maxlen=LATEST)
        """What was set aside last: device, kind and reason."""

    def put_aside(self, device: str, kind: str, reason: str) -> None:
        """Count what was set aside."""
        self.set_aside[kind] += 1
        self.latest.append({"device": device, "kind": kind, "reason": reason})

    def health(self, problem: str | None) -> dict[str, Any]:
        """Return the JSON of ``/health``; ``problem`` is why nothing can be published."""
        return {
            "state": "ok" if problem is None else "unavailable",
            "problem": problem,
            "requests": {str(status): number for status, number in sorted(self.requests.items())},
            "messages": self.messages,
            "repeats": self.repeats,
            "set_aside": dict(self.set_aside),
            "set_aside_latest": list(self.latest),
        }

    def metrics(self, problem: str | None, in_flight: int) -> str:
        """Return the text of ``/metrics``."""
        return "".join(_family(*family) for family in self._families(problem, in_flight))

    def _families(self, problem: str | None, in_flight: int) -> Iterator[tuple[str, str, str, list[Sample]]]:
        statuses = [(f'{{status="{status}"}}', number) for status, number in sorted(self.requests.items())]
        kinds = [(f'{{kind="{kind}"}}', number) for kind, number in sorted(self.set_aside.items())]
        yield "requests_total", "counter", "Requests, by the status of the answer.", statuses
        yield "requests_in_flight", "gauge", "Requests that are not answered yet.", [("", in_flight)]
        yield "body_bytes_total", "counter", "Bytes of bodies.", [("", self.body_bytes)]
        yield "messages_total", "counter", "Messages that are acknowledged.", [("", self.messages)]
        yield "repeats_total", "counter", "Messages that were there before.", [("", self.repeats)]
        yield "set_aside_total", "counter", "What no repeat would mend, by kind.", kinds
        yield "up", "gauge", "1 while broker or stream is there.", [("", int(problem is None))]


def _family(name: str, kind: str, text: str, samples: list[Sample]) -> str:
    full = f"hologram_collect_{name}"
    lines = [f"# HELP {full} {text}", f"# TYPE {full} {kind}"]
    lines += [f"{full}{labels} {value}" for labels, value in samples]
    return "\n".join(lines) + "\n"
