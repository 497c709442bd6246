"""The lines that a viewer can try in another terminal."""

from pathlib import Path
from typing import NamedTuple


class Try(NamedTuple):
    """A name, and a line for the shell."""

    what: str
    line: str


def options(port: int, hosts: Path = Path("/etc/hosts")) -> str:
    """Return what leads the broker's clients to ``port``.

    They connect to localhost. Where ``hosts`` does not name it, as in a minimal root, the address is given.
    """
    try:
        named = "localhost" in hosts.read_text(errors="replace").split()
    except OSError:
        named = False
    return f"-p {port}" if named else f"-h 127.0.0.1 -p {port}"


def lines(
    to_broker: str, inbound: int, configuration: Path, desk: Path, prefix: str = "hologram"
) -> list[Try]:
    """Return the lines for a broker; with ``-p PORT`` alone each has room on a terminal 80 wide.

    ``to_broker`` is what `options` returns. ``inbound`` is the port on which the simulated modem takes the
    cloud's messages to the device. ``configuration`` is the file that the bridge reads, and ``desk`` the
    script that commands it from afar.
    """
    publish = f"mosquitto_pub {to_broker} -q 1 -t {prefix}"
    ask = publish.replace("mosquitto_pub", "mosquitto_rr", 1)
    return [
        # On a reply topic that is used twice a late result answers in the place of another message. In an
        # outage of the cloud the result comes some 30 seconds later.
        Try("send", f"{ask}/out/hi -m hi -e r/$RANDOM -W 60"),
        Try("burst", f"seq 20 | {publish}/out/count -l"),
        Try("SMS", f"{publish}/sms/15551234567 -m 'Hello'"),
        Try("listen", f"mosquitto_sub {to_broker} -v -t '{prefix}/#'"),
        Try("inbound", f"echo on | nc -N 127.0.0.1 {inbound}"),
        Try("command", f"sh {desk} status"),
        Try("pause", f"{publish}/queue/set -m pause"),
        Try("resume", f"{publish}/queue/set -m resume"),
        Try("watch", f".venv/bin/hologram-bridge watch {to_broker}"),
        Try("doctor", f".venv/bin/hologram-bridge doctor -c {configuration}"),
    ]
