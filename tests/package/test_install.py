"""The Debian package, built: what is in it, that it needs nothing else, that only known files get in."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bridge import __version__
from tests.harness.process import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="there is no dpkg-deb here"),
]

PIP = f"{sys.executable} -m pip"
RELEASE = "{}.{}".format(*sys.version_info)
"""The Python that runs the tests stands for the release's."""

ELF_MACHINE = {"amd64": 0x3E, "arm64": 0xB7, "armhf": 0x28}


def script(name: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(ROOT / "config/debian" / name), *words]
    return subprocess.run(
        command,
        env={**os.environ, "PIP": PIP, "PYTHON_VERSION": "", "RELEASE_PYTHON": sys.executable, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def build(folder: Path, arch: str) -> Path:
    done = script("build", arch, OUT=str(folder))
    assert done.returncode == 0, done.stderr
    return folder / f"hologram-bridge_{__version__}+py{RELEASE}_{arch}.deb"


def deb(*words: str) -> str:
    return subprocess.run(["dpkg-deb", *words], capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package for amd64."""
    return build(tmp_path_factory.mktemp("deb"), "amd64")


@pytest.fixture(scope="module")
def tree(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in it."""
    folder = tmp_path_factory.mktemp("tree")
    deb("-x", str(package), str(folder))
    return folder


@pytest.mark.parametrize("arch", ["amd64", "arm64", "armhf"])
def test_it_is_built_for_each_architecture_here(arch: str, tmp_path: Path) -> None:
    """The wheels are those of that machine, whatever machine builds; their Python is depended on."""
    built = build(tmp_path, arch)
    assert deb("-f", str(built), "Architecture").strip() == arch
    major, minor = map(int, RELEASE.split("."))
    wanted = f"python3 (>= {RELEASE}), python3 (<< {major}.{minor + 1})"
    assert wanted in deb("-f", str(built), "Depends")
    assert deb("-f", str(built), "Version").strip() == f"{__version__}+py{RELEASE}"
    deb("-x", str(built), str(tmp_path / "tree"))
    libraries = list((tmp_path / "tree").rglob("*.so"))
    assert libraries
    for library in libraries:
        assert library.read_bytes()[18] == ELF_MACHINE[arch]


@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_it_is_for_the_python_of_the_release(python: str, tmp_path: Path) -> None:
    """Without a word it is that of /usr/bin, and the name, the version and what it depends on say which."""
    release = tmp_path / "python3"
    release.write_text(f"#!/bin/sh\necho {python}\n")
    release.chmod(0o755)
    done = script("build", "arm64", OUT=str(tmp_path), RELEASE_PYTHON=str(release))
    assert done.returncode == 0, done.stderr
    built = tmp_path / f"hologram-bridge_{__version__}+py{python}_arm64.deb"
    assert f"sudo apt install {built}" in done.stdout
    assert f"python3 (>= {python}), python3 (<< 3.{int(python[2:]) + 1})" in deb("-f", str(built), "Depends")
    tag = f"cpython-{python.replace('.', '')}-aarch64"
    assert tag in deb("-c", str(built))


@pytest.mark.parametrize("python", ["", "three"])
def test_a_release_without_a_python_is_asked_for_one(python: str, tmp_path: Path) -> None:
    """One line that names the variable; nothing is built."""
    done = script("build", "amd64", OUT=str(tmp_path), PYTHON_VERSION=python, RELEASE_PYTHON="/no/python3")
    assert done.returncode == 2
    assert f"PYTHON_VERSION='{python}': name the Python of the machines it is for" in done.stderr
    assert not list(tmp_path.iterdir())


def test_another_architecture_is_refused_in_one_line(tmp_path: Path) -> None:
    """With those that there are."""
    done = script("build", "s390x", OUT=str(tmp_path))
    assert done.returncode == 2
    assert "amd64, arm64 and armhf" in done.stderr


def test_the_same_sources_give_the_same_package(package: Path, tmp_path: Path) -> None:
    """Bit for bit, so that anybody can check it."""
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (package, build(tmp_path, "amd64"))}
    assert len(digests) == 1


def test_what_may_be_changed_by_hand_is_nothing_of_the_package(tree: Path) -> None:
    """What stands below /etc is its owner's, so that no upgrade has a question about it."""
    assert not (tree / "etc").exists()
    share = tree / "usr/share/hologram-bridge"
    assert (share / "bridge.hjson").exists()
    assert (share / "ppp/options").exists()


def test_the_pages_are_there_with_all_that_they_link_to(tree: Path) -> None:
    """On a box without a network they are all the documentation there is; the license is in `copyright`."""
    folder = tree / "usr/share/doc/hologram-bridge"
    pages = [folder / "README.md", *(folder / "docs").rglob("*.md")]
    assert len(pages) > 20
    for page in pages:
        for link in re.findall(r"\]\((?![a-z]+:|#)([^)#]+)", page.read_text()):
            assert link == "LICENSE" or (page.parent / link).resolve().is_file(), f"{page}: {link}"


def test_everything_belongs_to_root_and_nobody_else_writes(package: Path) -> None:
    """Root's units run it."""
    for line in deb("-c", str(package)).splitlines():
        mode, owner = line.split()[:2]
        assert owner == "root/root", line
        assert mode[5] == mode[8] == "-", line


def test_it_brings_all_that_it_imports(tree: Path, tmp_path: Path) -> None:
    """With nothing of this machine's Python packages, from a folder full of traps."""
    (tmp_path / "json.py").write_text("raise SystemExit('the working folder was imported')")
    lib = tree / "usr/lib/hologram-bridge"
    for launcher in sorted((tree / "usr/bin").iterdir()):
        text = launcher.read_text()
        assert text.startswith("#!/usr/bin/python3 -I\n")
        moved = tmp_path / launcher.name
        moved.write_text(text.replace('"/usr/lib/hologram-bridge', f'"{lib}'))
        python = getattr(sys, "_base_executable", sys.executable)
        done = subprocess.run(
            [python, "-I", "-S", str(moved), "--help"],
            cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), launcher.name
        assert "usage:" in done.stdout


def test_a_dependency_that_is_not_the_known_one_is_refused(tmp_path: Path) -> None:
    """A file whose hash is not listed, and nothing is built."""
    copy = tmp_path / "project"
    for name in ("bridge", "config", "docs", "systemd", "node-red-flows"):
        shutil.copytree(
            ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "ARCHITECTURE.md"):
        shutil.copy(ROOT / name, copy / name)
    pins = copy / "config/debian/requirements.txt"
    pins.write_text(re.sub(r"(?<=sha256:)[0-9a-f]{4}", "0000", pins.read_text()))
    done = subprocess.run(
        ["sh", str(copy / "config/debian/build"), "amd64"],
        env={**os.environ, "PIP": PIP, "OUT": str(tmp_path)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "HASH" in done.stderr.upper()
    assert not list(tmp_path.glob("*.deb"))


def test_lintian_has_nothing_to_say(package: Path) -> None:
    """But for what is overridden, with the reason."""
    if shutil.which("lintian") is None:
        pytest.skip("there is no lintian here")
    root = ["--allow-root"] if os.geteuid() == 0 else []
    done = subprocess.run(
        ["lintian", *root, str(package)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout == ""


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="there is no shellcheck here")
@pytest.mark.parametrize(
    "name", ["build", "install", "postinst", "postrm", "preinst", "prerm", "stage", "uninstall"]
)
def test_the_scripts_are_sound(name: str) -> None:
    """As shellcheck sees it."""
    command = ["shellcheck", "--shell=sh", str(ROOT / "config/debian" / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == ""
