"""``make node-red``: the demo with Node-RED, as a person starts it."""

import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.harness.process import ROOT

DEMO = [sys.executable, "-m", "bridge.demo.node_red"]


def test_it_prints_an_address_that_works_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """The dashboard is served at the printed address while the demo runs; then all of it is gone."""
    demo = subprocess.Popen(
        [*DEMO, "--plain", "--seconds", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert demo.stdout is not None
    said = ""
    for line in demo.stdout:
        said += line
        if found := re.search(r"the dashboard: (http://127\.0\.0\.1:\d+/\S+)", line):
            with urllib.request.urlopen(found[1], timeout=30) as page:
                assert b"<title>" in page.read()
            break
    said += demo.stdout.read()
    assert demo.wait(60) == 0, said
    assert "delivered" in said
    assert "what the demo started is stopped" in said
    assert list(tmp_path.iterdir()) == []


def test_it_says_what_is_missing(tmp_path: Path) -> None:
    """Without Node.js it ends with one line that names the script that installs it."""
    done = subprocess.run(
        [*DEMO, "--plain"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path), "PATH": str(tmp_path)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "hologram-bridge demo: node is missing; run: sh .ci/node-packages\n"
    assert list(tmp_path.iterdir()) == []
