"""A bridge with all that it talks to under load, while one after the other is killed; and what is made of it.

::

    commands ─ mosquitto ─ bridge ─ simulated cloud          numbered messages, several topics and priorities
                             └───── simulated modem          texts over the air, both ways
    machines ─ TCP ─────────┘                                inbound messages

A PUBACK does not say that a message is safe, as mosquitto acknowledges before it saves. So each has an ``id``
of the producer's, and what has no result at the end is published again under it.
"""

import contextlib
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, free_port
from tests.harness.modem import SimModem

PARALLEL = 4
PARTS = ("bridge", "broker", "cloud", "modem")
NUMBER = "+15551234567"
STUCK = 120.0
"""Seconds within which what is left becomes less, once nothing is killed any more."""

STARTED = ("--registration", "0.2", "--boot", "0.2", "--sim-delay", "0.1")


class Command(NamedTuple):
    """What is published for one message."""

    topic: str
    payload: str
    user: dict[str, str] | None

    @property
    def is_sms(self) -> bool:
        return self.topic == "hologram/sms"


def command(number: int) -> tuple[str, Command]:
    """Return the id and the publication of message ``number``: each second one has a topic of its own."""
    name = f"m{number}"
    if number % 30 == 7:
        return name, Command("hologram/sms", json.dumps({"to": NUMBER, "body": name, "id": name}), None)
    if number % 10 == 3:
        sent = {"data": name, "topics": ["a", "b"], "id": name, "priority": "high"}
        return name, Command("hologram/send", json.dumps(sent), None)
    if number % 2 == 0:
        return name, Command(f"hologram/out/n/{number}", name, {"id": name})
    priority = ("low", "normal", "high")[number % 3]
    return name, Command(f"hologram/out/lane/{number % 8}", name, {"id": name, "priority": priority})


class Soak:
    """All of it. `run` works until the time is over; then `settle`."""

    def __init__(self, keeper: Keeper, folder: Path, *, seconds: float, rate: float) -> None:
        self.seconds, self.rate = seconds, rate
        self.broker = Mosquitto(keeper, folder / "broker", shipped=True, lines=("log_type all",))
        self.cloud = Cloud(keeper, folder / "cloud")
        # Without sockets, so that no link comes up: messages take the machine's own network, texts need none.
        self.modem = SimModem(keeper, folder / "modem", "e303")
        self.bridge = BridgeProcess(keeper, folder / "bridge", self.broker, self.cloud.port)
        self.port = free_port()
        self.bridge.configure(
            cloud={"parallel": PARALLEL},
            inbound={"enabled": True, "host": "127.0.0.1", "port": self.port},
            network={
                "interface": "cellular-e303",
                "device": [str(self.modem.at), str(self.modem.dial)],
                "autoconnect": False,
                "scope": "hologram",
            },
            sms={"via": "modem"},
        )
        topics = ("hologram/result", "hologram/in", "hologram/in/sms")
        self.client = Client(self.broker.port, *topics, client_id="soak")
        keeper.finally_(self.client.close)
        self.wanted: dict[str, Command] = {}
        """What was published, by its id."""
        self.kills: Counter[str] = Counter()
        self.pushed: Counter[bytes] = Counter()
        """Inbound messages whose sender saw the clean close, and how often each was sent."""
        self.texts: Counter[str] = Counter()
        """Inbound texts that the bridge has taken from the modem, and how often each came."""
        self._over = threading.Event()
        self._errors: list[BaseException] = []

    def start(self) -> None:
        """Start all of it."""
        self.broker.start()
        self.client.connect()
        self.cloud.start("--delay", "0.02")
        self.modem.start(*STARTED)
        self.bridge.start()

    def run(self, chance: random.Random) -> None:
        """Let everything flow, and kill one part after the other until the time is over."""
        with self._aside(self._publish), self._aside(self._push), self._aside(self._text):
            deadline = time.monotonic() + self.seconds
            while time.monotonic() < deadline and not self._errors:
                for part in chance.sample(PARTS, len(PARTS)):
                    if not self._over.wait(min(chance.uniform(1, 8), max(0.0, deadline - time.monotonic()))):
                        self._kill(part, chance.uniform(0, 2))
            self._over.set()
        assert not self._errors, self._errors

    @contextlib.contextmanager
    def _aside(self, work: Callable[[], None]) -> Iterator[None]:
        """Do ``work`` in a thread; its error ends the soak."""

        def guarded() -> None:
            try:
                work()
            except BaseException as exc:  # noqa: BLE001  # handed to the test
                self._errors.append(exc)

        thread = threading.Thread(target=guarded)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(120)

    def _kill(self, part: str, away: float) -> None:
        """Kill a part, and start it again after ``away`` seconds."""
        assert self.bridge.running, f"the bridge ended by itself: {self.bridge.said()[-2000:]}"
        self.kills[part] += 1
        if part == "bridge":
            self.bridge.kill()
            self._over.wait(away)
            self.bridge.start(wait=False)
        elif part == "broker":
            self.broker.kill()
            self._over.wait(away)
            self.broker.start()
        elif part == "cloud":
            self.cloud.kill()
            self._over.wait(away)
            self.cloud.start("--delay", "0.02")
        else:
            self.modem.kill()
            self._over.wait(away)
            self.modem.start(*STARTED)

    def _publish(self) -> None:
        """Publish ``rate`` messages a second."""
        begun = time.monotonic()
        while not self._over.wait(0.02):
            while len(self.wanted) < (time.monotonic() - begun) * self.rate:
                name, given = command(len(self.wanted))
                self.wanted[name] = given
                self.publish(name)

    def publish(self, name: str) -> None:
        """Publish the message ``name``, once more if it was before."""
        given = self.wanted[name]
        self.client.publish(given.topic, given.payload, user=given.user, wait=False)

    def _push(self) -> None:
        """Send a message a second to the inbound port, each again until the close says that it is durable."""
        from tests.e2e.test_inbound import push

        number = 0
        while not self._over.wait(1.0):
            data = f"i{number} ".encode().ljust(20 + number, b".")  # no two of one size
            tries = 0
            while True:
                tries += 1
                with contextlib.suppress(OSError):
                    push(self.port, data, 10)
                    break
                threading.Event().wait(0.2)
            self.pushed[data] = tries
            number += 1

    def _text(self) -> None:
        """Have a text come over the air every 6 seconds, again where the modem died with it."""
        number = 0
        while not self._over.wait(6.0):
            text = f"t{number} ".ljust(10 + number, ".")
            tries = 1
            while not self._comes(text):
                tries += 1
                threading.Event().wait(0.3)
            self.texts[text] = tries
            number += 1

    def _comes(self, text: str) -> bool:
        """Have ``text`` come; tell whether the bridge has taken it from the modem that got it."""
        with contextlib.suppress(OSError, ValueError):
            process = self.modem.popen
            self.modem.tell("sms", from_="+15557654321", text=text)
            for _ in range(600):
                sms = self.modem.state()["sms"]
                if self.modem.popen is not process:
                    return False
                if sms["stored"] == sms["waiting"] == 0:
                    return True
                threading.Event().wait(0.1)
            raise AssertionError(f"the bridge does not take {text!r} from the modem")
        return False

    # -- the end -----------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until the broker has taken all, and the bridge has no more to do."""
        self.client.wait_connected(60)
        self._while_it_goes_on(lambda: max(0, len(self.wanted) - self.client.published), "unpublished")
        self.bridge.wait_online(60)
        self._while_it_goes_on(lambda: int(self.bridge.queue("stats")["queue"]["messages"]), "queued")
        before = -1
        while before != (before := len(self.client.results())):
            threading.Event().wait(5)

    def _while_it_goes_on(self, left: Callable[[], int], what: str) -> None:
        """Wait until nothing is ``left``, however slow the machine; fail where it gets no less for long."""
        least, since = left(), time.monotonic()
        while least:
            threading.Event().wait(1)
            if (now := left()) < least:
                least, since = now, time.monotonic()
            assert time.monotonic() - since < STUCK, f"{least} stay {what}"

    def results(self) -> dict[str, list[dict[str, Any]]]:
        """Return the different results of each id: one that is told again is the same."""
        found: dict[str, list[dict[str, Any]]] = {}
        for each in self.client.results():
            if each not in found.setdefault(each["id"], []):
                found[each["id"]].append(each)
        return found

    def repeat(self) -> set[str]:
        """Publish again what has no result, until all have one; return those that had none."""
        without = self.wanted.keys() - self.results().keys()
        for name in without:
            self.publish(name)
        self._while_it_goes_on(lambda: len(self.wanted.keys() - self.results().keys()), "without a result")
        return without


_SENT = re.compile(r"Sending PUBLISH to hologram-bridge-\S+ \(d\d, q1, r0, m(\d+), 'hologram/out/n/(\d+)'")
_ACKED = re.compile(r"Received PUBACK from hologram-bridge-\S+ \(Mid: (\d+)")
_CAME = re.compile(
    r"Received PUBLISH from hologram-bridge-\S+ \(d\d, q1, r0, m(\d+), '(hologram/in(?:/sms)?)', "
    r"\.\.\. \((\d+) bytes\)"
)
_TAKEN = re.compile(r"Sending PUBACK to hologram-bridge-\S+ \(m(\d+)")


def taken_by_the_bridge(broker: Mosquitto) -> set[str]:
    """Return the ids, of those with a topic of their own, whose PUBACK came from the bridge."""
    sent: dict[str, str] = {}
    acknowledged: set[str] = set()
    for line in broker.said().splitlines():
        if match := _SENT.search(line):
            sent[match[1]] = f"m{match[2]}"
        elif (match := _ACKED.search(line)) and match[1] in sent:
            acknowledged.add(sent.pop(match[1]))
        elif line.endswith("starting"):
            sent.clear()
    return acknowledged


def taken_by_the_broker(broker: Mosquitto, topic: str) -> set[int]:
    """Return the sizes of the bridge's reports on ``topic`` that the broker has acknowledged."""
    came: dict[str, int] = {}
    found: set[int] = set()
    for line in broker.said().splitlines():
        if match := _CAME.search(line):
            if match[2] == topic:
                came[match[1]] = int(match[3])
            else:
                came.pop(match[1], None)
        elif (match := _TAKEN.search(line)) and match[1] in came:
            found.add(came.pop(match[1]))
        elif line.endswith("starting"):
            came.clear()
    return found
