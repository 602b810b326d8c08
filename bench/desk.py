"""The PC of the client's benches: the real program at a desk on Linux or on Windows under Wine.

The server is the real one with TLS, the keyring real, the icon in a real tray. Beside the client
runs the bare baseline: an interpreter that has imported pystray and websockets and does nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from demo.installation import Client
from demo.private_keyring import private_keyring
from installer.wine import windows_path
from tests.support.windows_office import Office
from tests.support.x11 import SystemTray, screen

_REST = "time; print(end='!', flush=True); time.sleep(1_000_000)"
BARE = f"import pystray, websockets, {_REST}"
USED = f"import pystray, websockets.asyncio.client, truststore, {_REST}"
"""The same with what has to be loaded to use them: importing `websockets` alone loads nothing."""
BASELINE = "bare interpreter"
USER = "tanaka"
WINDOWS_EXE = r"C:\client\coconowork-client.exe"
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Line:
    """A line of the client's log, and when it came (`time.perf_counter`)."""

    at: float
    text: str


class Log:
    """What the client says, as it says it."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._news = threading.Condition()

    def add(self, text: str) -> None:
        """From the thread that reads."""
        with self._news:
            self._lines.append(Line(time.perf_counter(), text))
            self._news.notify_all()

    @property
    def length(self) -> int:
        return len(self._lines)

    def wait_for(self, text: str, *, since: int = 0) -> Line:
        """The first line from number `since` on that has `text` in it. Raise TimeoutError."""
        end = time.monotonic() + PATIENCE_S
        with self._news:
            while True:
                for line in self._lines[since:]:
                    if text in line.text:
                        return line
                if not self._news.wait(max(0.0, end - time.monotonic())):
                    raise TimeoutError(f"the client did not say: {text}")

    def since(self, number: int) -> list[Line]:
        """All lines from that one on."""
        return self._lines[number:]


@dataclass(frozen=True)
class Cost:
    """What a process costs; rates are over the time that it was watched."""

    private_mib: float
    resident_mib: float
    threads: int
    handles: int
    wake_ups_a_minute: float
    cpu_s_an_hour: float
    written_bytes_an_hour: float

    @staticmethod
    def watch(pids: list[int], seconds: float) -> list[Cost]:
        """Watch these processes side by side; memory is that at the end."""
        before = [_counters(pid) for pid in pids]
        began = time.monotonic()
        time.sleep(seconds)  # the measurement itself: nothing is waited for
        took = time.monotonic() - began
        costs = []
        for pid, (wakes, cpu, written) in zip(pids, before, strict=True):
            wakes_now, cpu_now, written_now = _counters(pid)
            process = psutil.Process(pid)
            memory = process.memory_full_info()
            costs.append(
                Cost(
                    private_mib=memory.uss / 2**20,
                    resident_mib=memory.rss / 2**20,
                    threads=process.num_threads(),
                    handles=process.num_fds(),
                    wake_ups_a_minute=60 * (wakes_now - wakes) / took,
                    cpu_s_an_hour=3600 * (cpu_now - cpu) / took,
                    written_bytes_an_hour=3600 * (written_now - written) / took,
                )
            )
        return costs


def _counters(pid: int) -> tuple[int, float, int]:
    """Sleeps that ended, on all threads; CPU seconds to the nanosecond; bytes for the disk."""
    wakes, nanoseconds = 0, 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", _read(thread / "status"), re.M)
        wakes += int(found[1]) if found else 0
        nanoseconds += int((_read(thread / "schedstat") or "0").split()[0])
    return wakes, nanoseconds / 1e9, psutil.Process(pid).io_counters().write_bytes


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:  # the thread has ended
        return ""


class LinuxDesk:
    """A user with a password, signed in; the client is started by each bench."""

    def __init__(self, office: Office, client: Client, tray: SystemTray, password: str) -> None:
        self.office = office
        self.client = client
        self.tray = tray
        self.password = password
        self.log = Log()

    def start(self, *, within: Callable[[], object] = lambda: None) -> tuple[int, float]:
        """Start the client; its process id and when. `within` is called just before."""
        within()
        began = time.perf_counter()
        self.client.start(on_line=self.log.add)
        process = self.client._process
        assert process is not None
        return process.pid, began

    def wait_for_standby(self, *, since: int = 0) -> Line:
        """When it waits."""
        return self.log.wait_for("-> standby:", since=since)

    def wait_for_icon(self, before: int) -> float:
        """When the tray has taken in one more icon than `before`."""
        end = time.monotonic() + PATIENCE_S
        while len(self.tray.icons) <= before:
            if time.monotonic() > end:
                raise TimeoutError("no icon")
            time.sleep(0.001)
        return time.perf_counter()

    def stored_password(self) -> str:
        """What the keyring has, read by another process."""
        code = (
            "from agent.vault import KeyringVault\n"
            "from agent.paths import find_paths\n"
            "from agent.settings import load\n"
            "record = KeyringVault().read(load(find_paths()).identity)\n"
            "print(record.password if record and record.pending is None else '')"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=self.client.environ,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.rstrip("\n")


@contextmanager
def linux_desk(*, log_level: str = "info") -> Iterator[LinuxDesk]:
    """A desk on Linux, everything gone with the context."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="coconowork-bench-")))
        office, password = _office(stack, directory)
        display = stack.enter_context(screen())
        previous = os.environ.get("DISPLAY")
        os.environ["DISPLAY"] = display
        stack.callback(_restore, "DISPLAY", previous)
        tray = SystemTray()
        stack.callback(tray.close)
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("COCONOWORK_")},
            **stack.enter_context(private_keyring(directory / "keyring")),
            "SSL_CERT_DIR": str(_trusted(directory, office)),
            "COCONOWORK_LOG_LEVEL": log_level,
            "PYTHONPATH": str(_without_development(directory)),
        }
        client = Client(directory / "pc", environ)
        stack.callback(client.stop)
        code, said = client.command(
            "login", "--server", office.gateway, "--user", USER, answer=password
        )
        assert code == 0, said
        yield LinuxDesk(office, client, tray, password)


def _without_development(directory: Path) -> Path:
    """For PYTHONPATH: hides what a client is installed without, and libraries load when it is
    there. It comes with the tools of development."""
    folder = directory / "hidden"
    folder.mkdir()
    (folder / "typing_extensions.py").write_text("raise ImportError\n")
    return folder


@contextmanager
def bare_process(environ: dict[str, str], code: str = BARE) -> Iterator[int]:
    """The baseline on Linux; its process id."""
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE
    ) as bare:
        try:
            assert bare.stdout is not None
            bare.stdout.read(1)
            yield bare.pid
        finally:
            bare.kill()


@dataclass
class WindowsDesk:
    """The built program on a Windows desktop under Wine, signed in."""

    office: Office
    desktop: Any
    password: str
    winpy: Path

    def pid(self, argument: str) -> int:
        """Linux' number of the Windows program that has `argument` on its command line."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for process in psutil.process_iter():
                try:
                    ours = process.environ().get("WINEPREFIX") == str(self.desktop.prefix)
                    # Its loader comes before it, under its own name.
                    if ours and any(argument in part for part in process.cmdline()[:4]):
                        return process.pid
                except psutil.Error:
                    continue
            time.sleep(0.1)
        raise TimeoutError(f"{argument} does not run")

    def start(self) -> float:
        """Start the client; when."""
        began = time.perf_counter()
        self.desktop.launch(WINDOWS_EXE)
        return began

    @property
    def log_file(self) -> Path:
        """What the client writes."""
        (users,) = [p for p in (self.desktop.drive_c / "users").iterdir() if p.name != "Public"]
        found: Path = users / "AppData" / "Local" / "coconowork" / "Logs" / "client.log"
        return found

    def wait_for_line(self, text: str, *, since: int) -> float:
        """When the log, from byte `since` on, has `text` in it."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if self.log_file.exists() and text.encode() in self.log_file.read_bytes()[since:]:
                return time.perf_counter()
            time.sleep(0.005)
        raise TimeoutError(f"the client did not say: {text}")

    @property
    def log_length(self) -> int:
        return self.log_file.stat().st_size if self.log_file.exists() else 0

    def quit(self) -> None:
        """End the client, as the setup program does."""
        self.desktop.run(WINDOWS_EXE, "quit")

    def launch_bare(self, code: str = BARE) -> int:
        """The baseline; its process id."""
        self.desktop.launch(windows_path(self.winpy / "python.exe"), "-c", code)
        return self.pid(code)


@contextmanager
def windows_desk() -> Iterator[WindowsDesk]:
    """Builds the program unless just these sources are built already, which takes minutes."""
    from installer.winpy.assemble import assemble
    from tests.support import wine
    from tests.support.windows_product import built

    winpy, product = assemble(), built()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="coconowork-bench-")))
        office, password = _office(stack, directory)
        display = stack.enter_context(wine.screen())
        desktop = wine.Desktop(directory / "prefix", winpy, display=display, language="ja")
        stack.callback(desktop.close)
        desktop.start()
        desktop.inside("trust", windows_path(office.directory / "ca.der"))
        shutil.copytree(product.product.onedir, desktop.drive_c / "client")
        done = desktop.run(
            WINDOWS_EXE, "login", "--server", office.gateway, "--user", USER, stdin=password + "\n"
        )
        assert done.code == 0, done.output
        yield WindowsDesk(office, desktop, password, winpy)


def _office(stack: ExitStack, directory: Path) -> tuple[Office, str]:
    home = directory / "office"
    home.mkdir()
    office = stack.enter_context(Office(home).open())
    return office, office.new_user(USER)


def _trusted(directory: Path, office: Office) -> Path:
    """A folder of roots, looked up one by one as Debian's are."""
    folder = directory / "roots"
    folder.mkdir()
    shutil.copy(office.ca, folder)
    subprocess.run(["openssl", "rehash", str(folder)], check=True, capture_output=True)
    return folder


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
