"""The lines that a viewer can try in another terminal."""

from typing import NamedTuple


class Try(NamedTuple):
    """A name, and a line for the shell."""

    what: str
    line: str


def lines(port: int, inbound: int, prefix: str = "hologram") -> list[Try]:
    """Return the lines for the broker on ``port``; each fits a terminal of 80 columns.

    ``inbound`` is the port on which the simulated modem takes the cloud's messages to the device.
    """
    publish = f"mosquitto_pub -p {port} -q 1 -t {prefix}"
    return [
        Try("send", f"{publish}/out/test -m 'hello from here'"),
        Try("burst", f"seq 20 | {publish}/out/count -l"),
        Try("SMS", f"{publish}/sms/15551234567 -m 'Hello'"),
        Try("inbound", f"echo on | nc -N 127.0.0.1 {inbound}"),
        Try("hang up", f"{publish}/network/set -m reconnect"),
        Try("pause", f"{publish}/queue/set -m pause"),
        Try("resume", f"{publish}/queue/set -m resume"),
        Try("watch", f"mosquitto_sub -p {port} -v -t '{prefix}/#'"),
    ]
