"""``hologram send``, ``heartbeat``, ``receive`` and ``spacebridge`` [hologram-python 0.10]."""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bridge.cli.tools import common
from bridge.cli.tools import send as messages
from bridge.cli.tools.which_modem import bridge, modem
from bridge.errors import OperationError, UsageError

if TYPE_CHECKING:
    from bridge.sdk import HologramCloud, Response

HEARTBEAT = 30
"""Seconds between messages, unless --repeat says otherwise."""


# -- out ---------------------------------------------------------------------------------------------------


def heartbeat(args: argparse.Namespace) -> int:
    """Send a message repeatedly."""
    args.host = args.port = None
    args.repeat = args.repeat or HEARTBEAT
    return send(args)


def send(args: argparse.Namespace) -> int:
    """Send a message, or an SMS; return the exit code."""
    if args.message is None:
        raise UsageError("Message body cannot be empty")
    if args.cloud and args.sms:
        raise UsageError("must pick either one of cloud or sms")
    if args.sms:
        return _send_sms(args)
    if args.authtype not in ("totp", "csrpsk"):
        raise UsageError(f"--authtype: {args.authtype!r} is not available here; totp or csrpsk is")
    if not args.devicekey and args.authtype == "csrpsk":
        raise UsageError("Device key not specified")
    if args.devicekey and (args.host is not None or args.port is not None):
        return _send_to_a_host(args)
    if not args.devicekey and not args.repeat and bridge(args.config) is not None:
        return _send_via_bridge(args)
    with _cloud(args) as cloud:
        if args.repeat:
            args.message = [args.message]
            return messages.repeat(args, cloud)
        timeout = args.timeout or common.DEFAULT_TIMEOUT
        return _report(cloud, cloud.sendMessage(args.message, topics=args.topic, timeout=timeout))


def _send_sms(args: argparse.Namespace) -> int:
    if args.devicekey is None:
        raise UsageError("--devicekey is required")
    if args.destination is None:
        raise UsageError(
            "--destination missing. A destination number must be provided in order to send SMS to it"
        )
    with _cloud(args) as cloud:
        return _report(cloud, cloud.sendSMS(args.destination, args.message))


def _send_to_a_host(args: argparse.Namespace) -> int:
    from bridge.sdk import CustomCloud

    if args.host is None or args.port is None:
        raise UsageError("--host and --port go together")
    with common.no_outbox() as outbox:
        cloud = CustomCloud(None, send_host=args.host, send_port=args.port, outbox=outbox)
        cloud.keeps = False
        response = cloud.sendMessage(args.message, timeout=args.timeout or common.DEFAULT_TIMEOUT)
        cloud.close()
    why = common.not_delivered(response)
    if why:
        raise OperationError(why)
    print(f"RESPONSE FROM CLOUD: {response}")
    return 0


def _send_via_bridge(args: argparse.Namespace) -> int:
    """Send by the bridge with the bridge's own credentials; it keeps a message that it cannot send now."""
    from bridge.cli.tools.via_bridge import Bridge
    from bridge.sdk.engine.response import RESULT_STRINGS

    with Bridge(args.config) as broker:
        result = broker.request("send", {"data": args.message, "topics": args.topic or []}, None)
    if result.get("code") not in RESULT_STRINGS:
        raise OperationError(f"{result['state']}: {result['description']}")
    print(f"RESPONSE MESSAGE: {RESULT_STRINGS[result['code']]}")
    return 0 if result["state"] == "delivered" else 1


def _report(cloud: "HologramCloud", response: "Response") -> int:
    why = common.not_delivered(response)
    if why:
        raise OperationError(why)
    print(f"RESPONSE MESSAGE: {cloud.getResultString(response)}")
    return 0 if cloud.resultWasSuccess(response) else 1


@contextmanager
def _cloud(args: argparse.Namespace) -> "Iterator[HologramCloud]":
    """Yield the cloud, reached by the modem, or by this machine's network while a bridge has the modem."""
    from bridge.sdk import HologramCloud

    key = getattr(args, "devicekey", None)
    ours = bridge(args.config) is None
    if not key and not ours:
        raise OperationError(
            "the running bridge has the modem; give --devicekey, or let the bridge repeat it"
        )
    with common.no_outbox() as outbox:
        cloud = HologramCloud(
            {"devicekey": key} if key else {},
            enable_inbound=False,
            network="cellular" if ours else "",
            authentication_type="csrpsk" if key else "totp",
            modem=modem(args.config) if ours else None,
            outbox=outbox,
        )
        cloud.keeps = False
        try:
            if ours and not cloud.network.at_sockets_available and not cloud.network.connect():
                raise OperationError("Failed to connect to cell network")
            yield cloud
        finally:
            cloud.close()


# -- in ----------------------------------------------------------------------------------------------------


def receive(args: argparse.Namespace) -> int:
    """Print inbound messages until the timeout or Ctrl-C."""
    if args.data and args.sms:
        raise UsageError("must pick either one of data or sms")
    if bridge(args.config) is not None:
        return _receive_via_bridge(args)
    with _cloud(args) as cloud:
        if args.sms:
            cloud.enableSMS()
            print("Ready to receive sms", flush=True)
            _poll(args.timeout, lambda: _show_all(cloud.popReceivedSMS, _show_sms))
        else:
            _receive_data(cloud, args.timeout)
    return 0


def tunnel(args: argparse.Namespace) -> int:
    """Hold a connection for Hologram's networks alone, so that a SpaceBridge tunnel reaches this machine."""
    from bridge.sdk import HologramCloud, NetworkScope

    if bridge(args.config) is not None:
        raise OperationError(
            'spacebridge: the running bridge has the modem; configure network.scope: "hologram" there'
        )
    with common.no_outbox() as outbox:
        found = modem(args.config)
        cloud = HologramCloud({}, enable_inbound=False, network="cellular", modem=found, outbox=outbox)
        try:
            cloud.network.disable_at_sockets_mode()
            cloud.network.scope = NetworkScope.HOLOGRAM
            if not cloud.network.connect():
                raise OperationError("Failed to connect to cell network")
            _receive_data(cloud, args.timeout)
        finally:
            cloud.close()
    return 0


def _receive_data(cloud: "HologramCloud", timeout: int | None) -> None:
    cloud.openReceiveSocket()
    print(f"Ready to receive data on port {cloud.receive_port}", flush=True)
    try:
        _poll(timeout, lambda: _show_all(cloud.popReceivedMessage, _show_message))
    finally:
        print("Closing socket...", flush=True)
        cloud.closeReceiveSocket()


def _poll(timeout: int | None, look: Callable[[], None]) -> None:
    """Call ``look`` once a second for ``timeout`` seconds, or until Ctrl-C without a timeout."""
    if timeout not in (None, -1):
        print(f"waiting for {timeout} seconds...", flush=True)
    until = None if timeout in (None, -1) else time.monotonic() + (timeout or 0)
    try:
        look()
        while until is None or time.monotonic() < until:
            time.sleep(1.0 if until is None else max(0.0, min(1.0, until - time.monotonic())))
            look()
    except KeyboardInterrupt:
        return  # Ctrl-C is the documented end


def _show_all(pop: Callable[[], Any], show: Callable[[Any], None]) -> None:
    while (found := pop()) is not None:
        show(found)


def _show_message(message: object) -> None:
    print(f"Received message: {message}", flush=True)


def _show_sms(sms: object) -> None:
    print(f"Received SMS: {sms}", flush=True)


def _receive_via_bridge(args: argparse.Namespace) -> int:
    from bridge.cli.tools.via_bridge import Bridge

    timeout = None if args.timeout in (None, -1) else float(args.timeout)
    with Bridge(args.config) as broker:
        if args.sms:
            broker.listen(timeout, lambda text: _show_sms(_sms(text)), "in/sms", "sms")
        else:
            broker.listen(timeout, _show_message)
    return 0


def _sms(text: str) -> object:
    """Return an SMS that the bridge published, as the SDK's value."""
    from bridge.sdk.engine.values import SMS

    said = json.loads(text)
    stamp = said["sent_at"] or said["received_at"]
    sent = datetime.fromisoformat(stamp).replace(tzinfo=None)
    return SMS((said["from"] or "").removeprefix("+"), sent, said["body"] or "")
