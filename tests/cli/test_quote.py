"""``hologram-bridge quote``: what is wrong with its options is told before anything is asked."""

import subprocess

import pytest

from tests.harness.bridge import PROGRAM
from tests.harness.process import ROOT


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["x", "--to", "+15551234567", "--topic", "a"], "an SMS has no topic: give either --to or --topic"),
        (["x", "--via", "cloud"], "--via is for an SMS: give --to too"),
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(options: list[str], said: str) -> None:
    """One line that names them, exit code 2."""
    done = subprocess.run(
        [*PROGRAM, "quote", *options], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"hologram-bridge: {said}\n")
