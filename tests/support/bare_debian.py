"""A bare Debian 12 in a container with its own systemd, on the network of this machine.

`debootstrap` makes the base once, in `build/`, from the mirror that this machine's apt uses.
A container's changes are in memory and are lost at its end. All of this needs root.
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
    """Return the mirror of this machine's Debian 12, or nothing for debootstrap's default."""
    query = ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Component: main"]
    found = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    pairs = dict(zip(found[::2], found[1::2], strict=True))
    return [pairs[SUITE]] if SUITE in pairs else []


def make_base() -> None:
    """Make the base folder of all containers, unless it exists."""
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
    """A running container. Commands enter the namespaces of its first process."""

    def __init__(self, init: psutil.Process) -> None:
        self._root = Path(f"/proc/{init.pid}/root")
        self._enter = ["nsenter", f"--target={init.pid}", "--mount", "--pid", "--uts", "--ipc"]
        self._enter += ["--cgroup", "--", "env", "-i", "PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8"]

    def run(self, command: str, *, stdin: str = "", succeeds: bool = True) -> str:
        """Run a shell command as root, in /root. Return its output and errors."""
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
        """Return this machine's path of a file in the container."""
        return self._root / path.lstrip("/")

    def has_booted(self) -> bool:
        """Return whether systemd has started everything."""
        command = [*self._enter, "systemctl", "is-system-running"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() in {"running", "degraded"}


@contextmanager
def bare_debian(console: Path) -> Iterator[BareDebian]:
    """Run a container until the end of the context; the file `console` gets its console.

    Call `make_base` first.
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
