"""A bare Debian 12 in a container with its own systemd, on the network of this machine.

`debootstrap` makes it once, from the mirror that this machine's apt uses, and `build/` keeps it.
What a container changes is in memory and ends with it. All of this needs root.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from tests.support.places import ROOT
from tests.support.polling import eventually

BASE = ROOT / "build" / "debian-12"
SUITE = "bookworm"
COMMAND_S = 110


def _mirror() -> list[str]:
    """Return the mirror of this machine's Debian 12; without one, debootstrap has a default."""
    query = ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Component: main"]
    found = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    pairs = dict(zip(found[::2], found[1::2], strict=True))
    return [pairs[SUITE]] if SUITE in pairs else []


def make_base() -> None:
    """Make the folder that all containers begin with, unless it is there."""
    if BASE.exists():
        return
    BASE.parent.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=BASE.parent) as folder:
        draft = Path(folder) / BASE.name
        options = ["--variant=minbase", "--include=python3,systemd-sysv"]
        make = ["debootstrap", *options, SUITE, str(draft), *_mirror()]
        done = subprocess.run(make, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
        for archive in (draft / "var/cache/apt/archives").glob("*.deb"):
            archive.unlink()
        draft.rename(BASE)


class BareDebian:
    """A running container, entered through its first process."""

    def __init__(self, init: psutil.Process) -> None:
        self._root = Path(f"/proc/{init.pid}/root")
        self._enter = ["nsenter", f"--target={init.pid}", "--mount", "--pid", "--uts", "--ipc"]
        self._enter += ["--cgroup", "--", "env", "-i", "PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8"]

    def run(self, command: str, *, stdin: str = "", succeeds: bool = True) -> str:
        """Run a command of the shell as root, in /root. Return all of its output."""
        done = subprocess.run(
            [*self._enter, "HOME=/root", "sh", "-ec", f"cd /root; {command}"],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        assert (done.returncode == 0) == succeeds, (command, done.stdout)
        return done.stdout

    def path(self, path: str) -> Path:
        """Return where a file of the container is for this machine."""
        return self._root / path.lstrip("/")

    def has_booted(self) -> bool:
        """Return whether systemd has started everything."""
        command = [*self._enter, "systemctl", "is-system-running"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() in {"running", "degraded"}


@contextmanager
def bare_debian(console: Path) -> Iterator[BareDebian]:
    """Run a container until the end of the context; its console is written to a file.

    `make_base` must have been called.
    """
    options = ["--volatile=overlay", "--register=no", "--keep-unit", "--boot"]
    start = ["systemd-nspawn", f"--directory={BASE}", *options]
    with console.open("wb") as log:
        container = subprocess.Popen(start, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def booted() -> BareDebian | None:
        assert container.poll() is None, console.read_text(errors="replace")
        machines = [BareDebian(init) for init in psutil.Process(container.pid).children()]
        return next((each for each in machines if each.has_booted()), None)

    try:
        yield eventually(booted, or_say=lambda: console.read_text(errors="replace"))
    finally:
        container.send_signal(signal.SIGTERM)  # an orderly shutdown
        container.wait(timeout=COMMAND_S)
