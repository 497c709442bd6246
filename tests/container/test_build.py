"""The script behind `make image`: what it tells the engine, with a stand-in that only repeats its words."""

import os
import subprocess
from pathlib import Path

import pytest

from bridge import __version__
from tests.harness.process import ROOT


def build(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(ROOT / "config/container/build"), *words],
        env={**os.environ, "ENGINE": "echo", **variables},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arch", "platform"), [("amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("armv7", "linux/arm/v7")]
)
def test_each_architecture_is_a_platform(arch: str, platform: str) -> None:
    """By the same recipe, under the same names."""
    done = build(arch)
    assert done.returncode == 0
    assert f"--platform={platform} " in done.stdout
    assert f"--file={ROOT}/config/container/Containerfile {ROOT}\n" in done.stdout
    assert f"--tag=hologram-bridge:{__version__} --tag=hologram-bridge:latest" in done.stdout


def test_without_a_word_it_is_this_machines() -> None:
    """And stands on what BASE names."""
    done = build(BASE="localhost/debian")
    assert "--platform" not in done.stdout
    assert "--build-arg=BASE=localhost/debian " in done.stdout


def test_podmans_image_keeps_the_health_check(tmp_path: Path) -> None:
    """Its own format has none; Docker knows no such option."""
    podman = tmp_path / "podman"
    podman.write_text('#!/bin/sh\necho "$@"\n')
    podman.chmod(0o755)
    assert "--format=docker " in build(ENGINE=str(podman)).stdout
    assert "--format" not in build().stdout


def test_another_architecture_is_refused_in_one_line() -> None:
    """With those that there are."""
    done = build("s390x")
    assert done.returncode == 2
    assert done.stdout == "build: ARCH=s390x: there are dependencies for amd64, arm64 and armv7 only\n"


def test_without_an_engine_it_says_what_to_install(tmp_path: Path) -> None:
    """One line."""
    for name in ("dirname", "sed"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "config/container/build")], env={"PATH": str(tmp_path)}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "build: there is neither Podman nor Docker here: sudo apt install podman\n"
