"""How a command ends: one line for each error, and an exit code."""

import subprocess
import sys

import pytest

from bridge.cli.ending import exit_code
from bridge.errors import BridgeError, ConfigError, OperationError, UsageError

LONG = """
import sys
from bridge.cli.ending import exit_code
sys.exit(exit_code("tool", lambda: print("x" * 1_000_000) or 3))
"""


def failing(error: BaseException) -> int:
    """Return how a program ends whose work raises ``error``."""

    def work() -> int:
        raise error

    return exit_code("tool", work)


def test_work_says_how_it_ended() -> None:
    """Without an error the exit code is the work's own."""
    assert exit_code("tool", lambda: 4) == 4


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OperationError("no modem; plug one in"), 1, "tool: no modem; plug one in\n"),
        (UsageError("give a message"), 2, "tool: give a message\n"),
        (ConfigError("a: 1 is not allowed\nb: 2 is not allowed"), 78,
         "tool: a: 1 is not allowed\ntool: b: 2 is not allowed\n"),
        (BridgeError(), 1, "tool: BridgeError\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)  # fmt: skip
def test_errors_are_lines_on_stderr(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line of an error names the program, an error without a text its kind; Ctrl-C needs no word."""
    assert failing(error) == code
    assert capsys.readouterr() == ("", said)


def test_other_errors_are_not_hidden() -> None:
    """What is nobody's error but ours keeps its traceback."""
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())


def test_a_reader_that_has_enough_is_no_error() -> None:
    """Whoever reads our output may stop, as `head` does: no complaint, and exit code 0."""
    command = [sys.executable, "-c", LONG]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0
