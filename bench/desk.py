"""Set up the PC of the client's benches: the real client on Linux, or on Windows under Wine.

The server behind TLS and the keyring are real, too. The baseline is an interpreter that has
imported websockets and truststore.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from demo.installation import Client
from demo.private_keyring import private_keyring
from installer.wine import windows_path
from tests.support.installation import P1
from tests.support.polling import eventually
from tests.support.reverse_proxies import Organisation, organisation

BASELINE = "bare interpreter"
IMPORTS = "import websockets.asyncio.client, truststore"
BARE = f"{IMPORTS}, time; print(end='!', flush=True); time.sleep(1_000_000)"
USER = "tanaka"
WINDOWS_EXE = r"C:\client\coconowork-client.exe"
EMPTY_EXE = r"C:\client\empty.exe"
EMPTY = """
import marshal, pathlib, shutil
from PyInstaller.archive.readers import CArchiveReader
from PyInstaller.archive.writers import CArchiveWriter

class Copy(CArchiveWriter):
    def _write_entry(self, fp, entry):
        return self._write_blob(fp, *entry)

folder = pathlib.Path("C:/client")
source = CArchiveReader(str(folder / "coconowork-client.pkg"))
nothing = marshal.dumps(compile("", "nothing", "exec"))
entries = [(b"", option, "o") for option in source.options]
for name, (*_, compressed, kind) in source.toc.items():
    blob = nothing if name == "__main__" else source.extract(name) or b""
    entries.append((blob, name, kind, bool(compressed)))
[library] = (folder / "_internal").glob("python3?*.dll")
Copy(str(folder / "empty.pkg"), entries, library.name)
shutil.copy(folder / "coconowork-client.exe", folder / "empty.exe")
"""
"""Script that makes the empty frozen program: the client's modules with an empty start."""
LOOK_S = 0.005
"""Interval at which a log is read."""


def watch(pids: list[int], seconds: float) -> list[dict[str, float]]:
    """Watch processes for some seconds; return the costs of each. Memory is measured at the end."""
    before, began = [_counters(pid) for pid in pids], time.monotonic()
    time.sleep(seconds)  # the measurement itself
    took = time.monotonic() - began
    costs = []
    for pid, (wakes, cpu_s) in zip(pids, before, strict=True):
        wakes_now, cpu_now_s = _counters(pid)
        memory = psutil.Process(pid).memory_full_info()
        costs.append(
            {
                "private memory, MiB": memory.uss / 2**20,
                "resident memory, MiB": memory.rss / 2**20,
                "threads": psutil.Process(pid).num_threads(),
                "wake-ups per minute": 60 * (wakes_now - wakes) / took,
                "CPU, s per hour": 3600 * (cpu_now_s - cpu_s) / took,
            }
        )
    return costs


def _counters(pid: int) -> tuple[int, float]:
    """Return a process's voluntary context switches and CPU seconds, for all its threads."""
    wakes, cpu_ns = 0, 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        status = (thread / "status").read_text()
        wakes += int(re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M)[0])
        cpu_ns += int((thread / "schedstat").read_text().split()[0])
    return wakes, cpu_ns / 1e9


def start(client: Client) -> float:
    """Start a client; return the seconds until standby."""
    since, began = len(client.output), time.perf_counter()
    client.start()
    eventually(lambda: any("-> standby:" in line for line in client.output[since:]), pause_s=LOOK_S)
    return time.perf_counter() - began


@contextmanager
def linux_desk() -> Iterator[Client]:
    """Yield a client on Linux that has logged in and does not run."""
    with _place() as (directory, site), private_keyring(directory / "keyring") as keyring:
        hidden = directory / "hidden"
        hidden.mkdir()
        # Hide a library that is only installed for development, but that others then import.
        (hidden / "typing_extensions.py").write_text("raise ImportError\n")
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("COCONOWORK_")},
            **keyring,
            "SSL_CERT_FILE": str(site.authority.file),
            "COCONOWORK_LOG_LEVEL": "info",
            "PYTHONPATH": str(hidden),
        }
        client = Client(directory / "pc", environ)
        code, said = client.command("login", "--server", site.host, "--user", USER, answer=P1)
        assert code == 0, said
        try:
            yield client
        finally:
            client.stop()


@contextmanager
def bare_process(environ: Mapping[str, str]) -> Iterator[int]:
    """Run the baseline on Linux; yield its process id."""
    with subprocess.Popen(
        [sys.executable, "-c", BARE], env=environ, stdout=subprocess.PIPE
    ) as bare:
        try:
            assert bare.stdout is not None
            bare.stdout.read(1)
            yield bare.pid
        finally:
            bare.kill()


@dataclass
class WindowsDesk:
    """The built program on a Windows desktop under Wine, with a user who is logged in."""

    desktop: Any
    site: Organisation

    def start_steps(self) -> dict[str, float]:
        """Start the client; return the seconds to icon and standby, and the CPU seconds."""
        since, began = len(self._log()), time.perf_counter()
        process = self.desktop.launch(WINDOWS_EXE)
        steps = {
            name: self._seconds(line, since=since, began=began)
            for name, line in (("icon", b"the icon is shown"), ("standby", b"-> standby:"))
        }
        used = psutil.Process(process.pid).cpu_times()
        return {**steps, "CPU": used.user + used.system}

    def start_empty(self) -> tuple[float, float]:
        """Run the program that does nothing; return its seconds and CPU seconds."""
        began = time.perf_counter()
        process = self.desktop.launch(EMPTY_EXE)
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
        return time.perf_counter() - began, used.ru_utime + used.ru_stime

    def change(self, current: str, new: str) -> float:
        """Change the password in the console; return the seconds to the client's login with it."""
        with self.site.browser(USER, current) as browser:
            since, began = len(self._log()), time.perf_counter()
            browser.change_password(current, new)
            return self._seconds(b"-> standby:", since=since, began=began)

    def _seconds(self, line: bytes, *, since: int, began: float) -> float:
        """Wait until the log has this line; return the seconds since `began`."""
        eventually(lambda: line in self._log()[since:], pause_s=LOOK_S)
        return time.perf_counter() - began

    def quit(self) -> None:
        """Stop the client, as the setup program does."""
        since = len(self._log())
        self.desktop.run(WINDOWS_EXE, "quit")
        eventually(lambda: b"-> stopped" in self._log()[since:])

    def _log(self) -> bytes:
        (user,) = [p for p in (self.desktop.drive_c / "users").iterdir() if p.name != "Public"]
        file = Path(user, "AppData", "Local", "coconowork", "Logs", "client.log")
        return file.read_bytes() if file.exists() else b""


@contextmanager
def windows_desk() -> Iterator[WindowsDesk]:
    """Yield a desk under Wine. Build the program, if needed; that takes minutes."""
    from installer.winpy.assemble import assemble
    from tests.support import wine, x11
    from tests.support.windows_product import built

    winpy, product = assemble(), built()
    with (
        _place() as (directory, site),
        x11.screen(wine.SCREEN) as display,
        wine.signed_in(directory, winpy, display, "ja") as desktop,
    ):
        desktop.environment["COCONOWORK_LOG_LEVEL"] = "debug"
        desktop.ask("trust", windows_path(site.authority.der))
        shutil.copytree(product.onedir, desktop.drive_c / "client")
        login = ["login", "--server", site.host, "--user", USER]
        done = desktop.run(WINDOWS_EXE, *login, stdin=P1 + "\n")
        assert done.code == 0, done.output
        made = desktop.python("-c", EMPTY)
        assert made.code == 0, made.output
        yield WindowsDesk(desktop, site)


@contextmanager
def _place() -> Iterator[tuple[Path, Organisation]]:
    """Yield a temporary folder, and a server with its files there."""
    with (
        TemporaryDirectory(prefix="coconowork-bench-") as name,
        organisation(Path(name, "organisation")) as site,
    ):
        site.installation.add_user(USER)
        yield Path(name), site
