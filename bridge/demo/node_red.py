"""``python -m bridge.demo.node_red``: the demo with a private Node-RED that runs the flows.

The flows in ``node-red-flows`` are changed only in the broker's address, as a user does it too.
"""

import argparse
import http.client
import json
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridge.demo.board import DemoBoard
from bridge.demo.children import Child, free_port, wait_until
from bridge.demo.plain import DemoLines
from bridge.demo.stage import Stage, play, try_lines
from bridge.demo.tries import Try
from bridge.errors import BridgeError, OperationError
from bridge.watch.stop import Stop

ROOT = Path(__file__).resolve().parents[2]
FLOWS = ROOT / "node-red-flows" / "flows.json"
INSTALLED = ROOT / ".node-red"
"""Folder in which ``.ci/node-packages`` installs Node-RED and its dashboard."""

PAGE = "/dashboard/bridge"
"""Path of the dashboard's first page in the flows."""

USUAL_PORT = 1880
"""Node-RED's default port, used if it is free."""

START_WAIT = 120.0
"""Seconds for Node-RED to listen; a small Raspberry Pi loads its nodes slowly."""

_SETTINGS = """\
// A private Node-RED: this machine only, no installations, no telemetry.
module.exports = {
    uiHost: "127.0.0.1",
    uiPort: %(port)d,
    mqttReconnectTime: 1000,
    flowFile: "flows.json",
    credentialSecret: require("crypto").randomBytes(16).toString("hex"),
    telemetry: { enabled: false, updateNotification: false },
    diagnostics: { enabled: false },
    externalModules: { palette: { allowInstall: false }, modules: { allowInstall: false } },
    editorTheme: { tours: false },
    logging: { console: { level: "info" } },
};
"""


def prepare(folder: Path, port: int, broker_port: int) -> list[str]:
    """Fill ``folder`` for a Node-RED on ``port`` whose flows use the broker on ``broker_port``.

    Returns the command that runs it; raises `OperationError` where something is not installed.
    """
    program = INSTALLED / "node_modules" / "node-red" / "red.js"
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None or not program.exists():
        what = "node" if node is None else str(program)
        raise OperationError(f"{what} is missing; run: sh .ci/node-packages")
    flows = json.loads(FLOWS.read_text())
    for each in flows:
        if each["type"] == "mqtt-broker":
            each |= {"broker": "127.0.0.1", "port": str(broker_port)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flows.json").write_text(json.dumps(flows))
    settings = folder / "settings.js"
    settings.write_text(_SETTINGS % {"port": port})
    return [node, str(program), "--userDir", str(folder), "--settings", str(settings)]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(
        prog="python -m bridge.demo.node_red",
        description="Run the demo, and a private Node-RED with the flows of node-red-flows against it. "
        "Ctrl-C ends everything it started.",
    )
    parser.add_argument("--plain", action="store_true", help="lines instead of a screen")
    parser.add_argument("--seconds", type=float, metavar="N", help="end by itself after N seconds of traffic")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the demo with Node-RED; return the exit code: 0 ended as asked, 1 something failed, 2 usage."""
    stop = Stop()
    args = build_parser().parse_args(arguments)
    plain = args.plain or not (sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb")
    try:
        _run(stop, args.seconds, plain=plain)
    except BridgeError as exc:
        print(f"hologram-bridge demo: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


def _run(stop: Stop, seconds: float | None, *, plain: bool) -> None:
    board = DemoBoard()

    def view_of(built: Stage) -> Any:
        """Start Node-RED on the stage, and return the demo's own view with its address among the lines."""
        port = _port()
        # As a child of the stage it is watched, and ended before the broker.
        built.children.append(_start(built, port, stop))
        address = f"http://127.0.0.1:{port}"
        print(f"Node-RED with the flows: {address}/  the dashboard: {address}{PAGE}")
        sys.stdout.flush()
        lines = [Try("browse", f"{address}{PAGE}"), *try_lines(built)]
        return DemoLines(board, lines) if plain else _screen(board, lines, built)

    play(view_of, board, stop, seconds)
    print(f"ended: {board.summary()}; what the demo started is stopped, its files are removed")


def _screen(board: DemoBoard, lines: list[Try], built: Stage) -> Any:
    try:
        from bridge.demo.live import DemoView
    except ModuleNotFoundError as error:
        raise OperationError(f"{error.name} is missing; run: make setup (or use --plain)") from None
    return DemoView(board, lines, built.broker_port)


def _start(built: Stage, port: int, stop: Stop) -> Child:
    """Start Node-RED and wait for the dashboard; raises `OperationError` if it does not appear."""
    folder = built.cloud_log.parent / "node-red"
    command = prepare(folder, port, built.broker_port)
    print("starting Node-RED; the first time it takes a while")
    sys.stdout.flush()
    child = Child("Node-RED", command, folder / "node-red.log", _environment(os.environ))
    child.start()
    try:
        lacking = "does not show the dashboard"
        wait_until(child, lambda: stop.wanted or _shown(port), lacking, seconds=START_WAIT)
    except BaseException:
        child.stop()
        raise
    return child


def _shown(port: int) -> bool:
    """Return whether the dashboard is served; Node-RED listens some time before its flows run."""
    request = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        request.request("GET", PAGE)
        return request.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        request.close()


def _port() -> int:
    """Return Node-RED's default port if it is free, otherwise any free port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", USUAL_PORT))
        except OSError:
            return free_port()
    return USUAL_PORT


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return ``given`` without the variables that would change the prepared Node-RED."""
    return {name: value for name, value in given.items() if not name.upper().startswith("NODE_RED")}


if __name__ == "__main__":
    sys.exit(main())
