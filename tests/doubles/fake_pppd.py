"""A program that behaves as pppd does towards whoever starts it: arguments, log lines, signals, exit codes.

It stands in for pppd where the kernel has no PPP. What it does is in the file ``script`` beside its options
file, one step a line: ``say TEXT``, ``chat`` (run the connect script on the port), ``wait NAME`` (until that
file is there), ``ignore`` (SIGTERM), ``child`` (one that keeps the output open), ``exit CODE``, ``kill
SIGNAL``, ``hold``. What it was given is in the files ``argv``, ``env``, ``secrets`` and ``pids`` there.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(sys.argv[sys.argv.index("file") + 1]).parent


def end(number: int, _frame: object) -> None:
    print(f"Terminating on signal {number}", flush=True)
    print("Connection terminated.", flush=True)
    sys.exit(5)


def given() -> None:
    files = [value for name, value in zip(sys.argv, sys.argv[1:], strict=False) if name == "file"]
    (FOLDER / "argv").write_text("\n".join(sys.argv))
    (FOLDER / "env").write_text("\n".join(f"{name}={value}" for name, value in os.environ.items()))
    (FOLDER / "secrets").write_text(Path(files[1]).read_text() if len(files) > 1 else "")
    with (FOLDER / "pids").open("a") as pids:
        pids.write(f"{os.getpid()}\n")


def dial() -> bool:
    command = sys.argv[sys.argv.index("connect") + 1]
    port = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
    try:
        return subprocess.run(command, shell=True, stdin=port, stdout=port, check=False).returncode == 0
    finally:
        os.close(port)


def wait(name: str) -> None:
    while not (FOLDER / name).exists():
        time.sleep(0.01)


def step(word: str, rest: str) -> int | None:
    """Do one step; return the exit code where it is the last."""
    match word:
        case "say":
            print(rest, flush=True)
        case "chat":
            if not dial():
                print("Connect script failed", flush=True)
                return 8
        case "wait":
            wait(rest)
        case "ignore":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "child":
            child = subprocess.Popen(["sleep", "600"])
            (FOLDER / "child").write_text(str(child.pid))
        case "kill":
            os.kill(os.getpid(), int(rest))
        case "exit":
            return int(rest)
        case "hold":
            wait("never")
    return None


def main() -> int:
    signal.signal(signal.SIGTERM, end)
    given()
    for line in (FOLDER / "script").read_text().splitlines():
        word, _, rest = line.partition(" ")
        code = step(word, rest)
        if code is not None:
            return code
    return 0


sys.exit(main())
