"""Run a private keyring for the demonstration and the tests: gnome-keyring on its own D-Bus.

This is the real Secret Service: the client stores its passwords as on a desktop. It does not touch
the user's own keyring, and needs no desktop. When the process that started it dies for any reason,
the kernel ends the bus, and gnome-keyring ends with its bus.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from xml.sax.saxutils import escape

PACKAGES = {"dbus-daemon": "dbus-daemon", "gnome-keyring-daemon": "gnome-keyring"}
"""The needed programs, and the Debian packages that have them."""
ENDS_WITH_US = ("setpriv", "--pdeathsig=TERM")
"""Put before a command: the kernel ends the program when the thread that started it ends."""
START_TIMEOUT_S = 15.0

# Without service directories, the bus itself starts no program: no second keyring, no password
# prompt, and no service of the machine.
_BUS_CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class DemoKeyringError(Exception):
    """Raised when the private keyring cannot run; the text says what to do."""


@contextmanager
def private_keyring(directory: Path) -> Iterator[dict[str, str]]:
    """Run a keyring with its files in `directory`; yield the variables by which programs find it.

    Raise DemoKeyringError.
    """
    keyring = PrivateKeyring(directory)
    try:
        keyring.start()
        yield keyring.environment
    finally:
        keyring.stop()


class PrivateKeyring:
    """A session bus and a Secret Service on it, which can be stopped and started separately."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # Not in `directory`, because a socket's path can have at most 107 bytes.
        self._runtime = TemporaryDirectory(prefix="coconowork-bus-")
        self._socket = Path(self._runtime.name) / "bus"
        self.environment = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={self._socket}"}
        """The variables by which programs find this bus, the same after a restart."""
        self._key = secrets.token_urlsafe(16).encode()
        self._bus: subprocess.Popen[bytes] | None = None
        self._service: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start bus and service, and wait until the keyring is open. Raise DemoKeyringError."""
        if missing := [package for name, package in PACKAGES.items() if shutil.which(name) is None]:
            raise DemoKeyringError(f"programs are missing: apt-get install {' '.join(missing)}")
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.start_bus()
        self.start_service()

    def stop(self) -> None:
        """End bus and service, if they run, and remove the socket's folder."""
        self.stop_service()
        self.stop_bus()
        self._runtime.cleanup()

    def start_bus(self) -> None:
        """Start the bus at its fixed address. Raise DemoKeyringError."""
        config = self._socket.with_name("bus.conf")
        config.write_text(_BUS_CONFIG.format(socket=escape(str(self._socket))), encoding="utf-8")
        self._bus = _start(
            "dbus-daemon", "--nofork", "--print-address=1", f"--config-file={config}"
        )
        assert self._bus.stdout is not None  # noqa: S101 - it is a pipe
        if not self._bus.stdout.readline():
            raise DemoKeyringError("the private D-Bus did not start")

    def stop_bus(self) -> None:
        """End the bus, which also ends every connection to it."""
        _end(self._bus)
        self._socket.unlink(missing_ok=True)

    def start_service(self) -> None:
        """Start the Secret Service and wait until it is on the bus. Raise DemoKeyringError."""
        data, runtime = self.directory / "data", self._socket.parent
        data.mkdir(exist_ok=True, mode=0o700)
        self._service = _start(
            "gnome-keyring-daemon",
            *("--foreground", "--unlock", "--components=secrets"),
            f"--control-directory={runtime / 'keyring'}",
            **self.environment,
            XDG_DATA_HOME=str(data),
            XDG_RUNTIME_DIR=str(runtime),
        )
        assert self._service.stdin is not None  # noqa: S101 - it is a pipe
        with self._service.stdin as stdin:
            stdin.write(self._key)
        self._wait_until_open(self._service)

    def stop_service(self) -> None:
        """End the Secret Service, but not the bus."""
        _end(self._service)

    def _wait_until_open(self, service: subprocess.Popen[bytes]) -> None:
        from jeepney import message_bus
        from jeepney.io.blocking import Proxy, open_dbus_connection

        deadline = monotonic() + START_TIMEOUT_S
        address = self.environment["DBUS_SESSION_BUS_ADDRESS"]
        with closing(open_dbus_connection(address)) as connection:
            bus = Proxy(message_bus, connection, timeout=START_TIMEOUT_S)
            while not bus.NameHasOwner("org.freedesktop.secrets")[0]:
                if service.poll() is not None or monotonic() > deadline:
                    raise DemoKeyringError("the private keyring did not start")
                sleep(0.02)


def _start(program: str, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
    """Start a program that ends with this process and does not get the terminal's Ctrl-C."""
    return subprocess.Popen(  # noqa: S603 - a fixed program with our own arguments
        [*ENDS_WITH_US, program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        process_group=0,
        env={**os.environ, **environ},
    )


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None:
        with process:  # closes its pipes
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
