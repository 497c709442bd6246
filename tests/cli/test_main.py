"""``hologram-bridge`` itself: what it says where it does not know what to do."""

import subprocess
import sys

import pytest

from tests.harness.bridge import PROGRAM
from tests.harness.process import ROOT


def said(*words: str) -> tuple[int, str, str]:
    """Run the program; return its exit code and what it wrote."""
    done = subprocess.run(
        [*PROGRAM, *words], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "commands"),
    [
        ((), ("run", "check-config", "doctor", "queue", "modem", "simulate")),
        (("queue",), ("stats", "list", "retry", "purge")),
        (("modem",), ("info", "signal", "sms", "reset")),
        (("simulate",), ("cloud", "push", "modem", "tell")),
    ],
    ids=lambda value: value[0] if value and len(value) == 1 else "",
)
def test_without_a_command_the_commands_are_listed(words: tuple[str, ...], commands: tuple[str, ...]) -> None:
    """The help, where errors go, and the exit code of a usage error."""
    code, out, aside = said(*words)
    assert (code, out) == (2, "")
    assert aside == said(*words, "--help")[1]
    for command in commands:
        assert f"\n    {command}" in aside


def test_another_mistake_stays_one_line() -> None:
    """A command that is not known, and an option that is none, are named after the usage."""
    for words, line in ((("quue",), "invalid choice: 'quue'"), (("run", "--no"), "arguments: --no")):
        code, out, aside = said(*words)
        assert (code, out) == (2, "")
        assert line in aside.splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "others"), [("run", "bridge.sim"), ("simulate", "pydantic"), ("unpack", "asyncio")]
)
def test_a_command_loads_nothing_that_only_others_need(command: str, others: str) -> None:
    """A small box takes seconds for it, and the daemon would keep it in memory."""
    code = (
        f"import sys; from bridge.__main__ import build_parser; build_parser({command!r}); "
        f"sys.exit({others!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
