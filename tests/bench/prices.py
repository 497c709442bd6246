"""Bytes of each function, counted by a capture of all that leaves and reaches the box."""

import random
import socket
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bridge.batch import Reading
from tests.bench.figures import Row
from tests.bench.metered import DEAD, DNS, LISTEN, MeteredBox, metered_box
from tests.bench.price_list import BATCHES, LISTED, agrees
from tests.doubles.namespace import HERE, THERE

TOPIC = "sensors/kitchen"
READING = '{"temperature":21.5}'
TEXT = "The tank is at 21.5."
COMMAND = b"close the valve no 3"

IDLE = 5.0
"""Seconds in which an idle bridge is watched."""

HEARTBEAT = 3.0
"""Seconds from one heartbeat to the next, long enough to see one alone."""

RESOLVER = 6.0
"""Seconds of quiet after a look-up's last packet: its two tries are 5 s apart [resolv.conf(5)]."""

_LINEAR = Path("/proc/sys/net/ipv4/tcp_syn_linear_timeouts")  # since Linux 6.5 [ip-sysctl]
_LINEAR_DEFAULT = "4"


def measure(folder: Path) -> dict[str, int]:
    """Return the bytes of each line of the list that this machine can measure; needs root."""
    with metered_box(folder) as box:
        return dict([*_functions(box), *_failures(box)])


def prices(_quick: bool) -> list[Row]:
    """Beside each figure of the list what is measured now."""
    try:
        with tempfile.TemporaryDirectory(prefix="bridge-prices-") as folder:
            found = measure(Path(folder))
    except PermissionError as exc:
        return [Row("prices", "the price list", note=f"not measured: {exc.strerror}; run it as root")]
    return [
        Row("prices", each.what, found[each.key], "B", each.each, "the price list",
            aim="within 3 %", met=agrees(found[each.key], each.each))
        for each in LISTED.values() if each.key in found
    ]  # fmt: skip


def _least(key: str, once: Callable[[], int]) -> tuple[str, int]:
    """Return the least of up to five measurements; one that is not above the list is enough.

    On a busy machine an acknowledgement of 40 bytes travels alone that rides with another packet else.
    """
    least = once()
    for _ in range(4):
        if least <= LISTED[key].each:
            break
        least = min(least, once())
    return key, least


def _functions(box: MeteredBox) -> Iterator[tuple[str, int]]:
    yield "idle", box.meter.spent(quiet=IDLE)
    box.send(f"out/{TOPIC}", READING)
    yield "lookup", box.meter.spent(DNS)
    yield _least("single", partial(box.cost, f"out/{TOPIC}", READING))
    for key, number in BATCHES.items():
        box.routes({"match": TOPIC, "batch": {"every": "1h", "messages": number}})
        yield _least(key, partial(_batch, box, number))
    yield _least("text", partial(box.cost, "sms/15551234567", TEXT))
    yield _least("inbound", partial(_command, box))
    yield _least("heartbeat", partial(_heartbeat, box))
    yield _least("tunnel", partial(_kept_alive, box))


def readings(number: int) -> Iterator[Reading]:
    """Yield ``number`` readings, a minute apart and each a little off the one before."""
    draw, tenths = random.Random(1), 215
    for minute in range(number):
        payload = f'{{"temperature":{tenths / 10}}}'.encode()
        yield Reading((TOPIC,), 1_700_000_000 + 60 * minute, payload)
        tenths += draw.randint(-2, 2)


def _batch(box: MeteredBox, number: int) -> int:
    """Publish the readings of one full batch; return its bytes."""
    box.meter.settled()
    with box.ended(number):
        for each in readings(number):
            box.client.publish(f"hologram/out/{TOPIC}", each.payload, user={"at": str(each.at)})
    return box.meter.spent()


def _command(box: MeteredBox) -> int:
    """Send one message to the box as the cloud does: connect, write, close; return its bytes."""

    def send() -> None:
        with socket.create_connection((HERE, LISTEN), 10) as connection:
            connection.sendall(COMMAND)

    box.meter.settled()
    box.far.do(send)
    return box.meter.spent()


def _heartbeat(box: MeteredBox) -> int:
    """Have the bridge send one heartbeat; return its bytes."""
    box.routes()
    box.meter.settled()
    with box.ended(1):
        box.reload(heartbeat={"every": HEARTBEAT})
    spent = box.meter.spent()
    box.reload(heartbeat={"every": None})
    return spent


def _kept_alive(box: MeteredBox) -> int:
    """Return the bytes of one keepalive of the kernel's and its answer, on a connection like a tunnel's."""
    with box.near.do(lambda: socket.create_server((HERE, 0))) as listener:
        port = listener.getsockname()[1]
        with box.far.do(lambda: socket.create_connection((HERE, port), 10)), listener.accept()[0] as served:
            box.meter.settled()
            served.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
            served.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            box.meter.wait()
            served.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
            return box.meter.spent()


def _failures(box: MeteredBox) -> Iterator[tuple[str, int]]:
    box.routes({"match": "#", "max_attempts": 1})
    fail = partial(box.cost, f"out/{TOPIC}", READING, "failed")
    box.cloud.stop()
    fail()
    yield _least("refused", fail)  # the name is looked up again, as after each connection that failed
    box.names.address = DEAD
    for key, timeouts in {"dead": "0", "dead, linear": _LINEAR_DEFAULT}.items():
        if _LINEAR.exists():
            box.near.do(partial(_LINEAR.write_text, timeouts))
        if _LINEAR.exists() or key == "dead":
            yield _least(key, fail)
    box.names.address = THERE
    box.start_cloud()
    box.send(f"out/{TOPIC}", READING)
    box.cloud.stop()
    for fault in ("reset", "close", "silent"):
        box.start_cloud("--fault", f"{fault}:1")
        yield _least(fault, fail)
        box.cloud.stop()
    fail()
    box.names.address = None
    yield _least("nameless", partial(fail, quiet=RESOLVER))
