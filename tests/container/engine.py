"""Podman as a test needs it: storage of its own, and a base without a registry.

No registry can be asked, so the image stands on a Debian that mmdebstrap makes. ``--isolation=chroot`` builds
and runc runs where the machine is a container itself.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.box import recipe
from tests.harness.process import ROOT

TOOLS = ("podman", "runc", "mmdebstrap")
"""What must be installed; ``.ci/container-packages`` sees to it."""

BASE, IMAGE = "localhost/hologram-base:bookworm", "localhost/hologram-bridge:latest"

BUILD = ("--isolation=chroot", "--ulimit=nofile=1024:4096", "--network=host")
RUN = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096", "--network=host")

USER = 4010
"""Number of the image's user."""

LIMITS = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")
"""What users are told to run it with."""


def missing() -> str | None:
    """Say why no image can be built here, or None."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    absent = [tool for tool in TOOLS if not shutil.which(tool, path=path)]
    if absent:
        return f"not installed: {', '.join(absent)} (sh .ci/container-packages installs them)"
    return "only root can make the base" if os.geteuid() else None


def folder() -> Path:
    """Return the folder of the storage, which outlives a run: what did not change is not built again."""
    given = os.environ.get("PODMAN_OF_TESTS")
    return Path(given) if given else recipe.cache().with_name("hologram-bridge-podman")


class Podman:
    """The engine, with storage in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.command = [
            *("podman", "--root", str(folder / "storage"), "--runroot", str(folder / "run")),
            *("--cgroup-manager=cgroupfs", "--runtime=runc"),
        ]

    def __call__(self, *words: str, timeout: float = 120, check: bool = True) -> str:
        """Run a command to its end; return what it wrote."""
        done = subprocess.run(
            [*self.command, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{words}: {done.stdout}"
        return done.stdout

    def once(self, *options: str, image: str = IMAGE, words: Sequence[str] = ()) -> tuple[int, str]:
        """Run a container to its end; return its exit code and its standard output."""
        done = subprocess.run(
            [*self.command, "run", "--rm", *RUN, *options, image, *words],
            stdout=subprocess.PIPE, text=True, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def inspect(self, name: str, kind: str = "container") -> Any:
        return json.loads(self(kind, "inspect", name))[0]

    def make_base(self, folder: Path) -> None:
        """Import the base, if it is not there; raises `CannotBuild` where no packages are to be had."""
        if BASE in self("images", "--format={{.Repository}}:{{.Tag}}"):
            return
        sources = folder / "sources.list"
        sources.write_text(recipe._sources())
        root = folder / "root"
        exclude = [f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("man", "doc", "locale")]
        recipe._do(
            [
                *("mmdebstrap", "--mode=root", "--variant=minbase", "--quiet", *exclude),
                *(*recipe._apt_options(), recipe.SUITE, str(root), str(sources)),
            ],
            900,
        )
        _lend_pip(root)
        archive = folder / "base.tar"
        subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True, timeout=300)
        self("import", "--quiet", str(archive), BASE, timeout=600)
        shutil.rmtree(root)
        archive.unlink()

    def make_image(self) -> str:
        """Build the image as `make image` does; return what that said."""
        return self.build(ROOT / "config/container/build", *BUILD)

    def build(self, script: Path, *options: str) -> str:
        environment = {
            **os.environ,
            "ENGINE": " ".join(self.command),
            "BASE": BASE,
            "OPTIONS": " ".join(options),
        }
        done = subprocess.run(
            ["sh", str(script)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=1800, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout


def _lend_pip(root: Path) -> None:
    """Give the base this machine's way to PyPI: its pip's settings, and the authorities it trusts."""
    for source, target in (
        ("/etc/pip.conf", "etc/pip.conf"),
        ("/etc/ssl/certs/ca-certificates.crt", "usr/local/share/ca-certificates/lent.crt"),
    ):
        if Path(source).exists():
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, root / target)
