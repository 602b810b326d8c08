"""On Windows, build the program or try a setup program: `python -m installer.native build|try`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from installer import NAME, BuildError
from installer.guard import compile_guard

NOT_RUNNING = 3
"""Exit status of the client's commands when no client is running."""


def build() -> Path:
    """Freeze the program natively and start it once. Raise BuildError."""
    done = subprocess.run(
        [sys.executable, "-m", "PyInstaller", "--noconfirm", "build.spec"], check=False
    )
    if done.returncode != 0:
        raise BuildError(f"PyInstaller failed with exit status {done.returncode}")
    program = Path("dist", NAME, f"{NAME}.com").resolve()
    compile_guard(program.parent)
    _expect(NOT_RUNNING, str(program), "status")
    return program


def try_setup(setup: Path) -> None:
    """Install silently, start the program once, and remove everything. Raise BuildError."""
    folder = Path(os.environ["LOCALAPPDATA"], "Programs", "Coconowork Client")
    _expect(0, str(setup), "/S", "/SERVER=gw.example.com", "/NOAUTOSTART")
    _expect(NOT_RUNNING, str(folder / f"{NAME}.com"), "status")
    _expect(0, str(folder / "uninstall.exe"), "/S")
    # The uninstaller ends at once, after it has started a copy of itself that does the work.
    deadline = time.monotonic() + 60
    while folder.exists():
        if time.monotonic() > deadline:
            raise BuildError(f"the uninstaller left {folder}")
        time.sleep(0.2)


def _expect(status: int, *command: str) -> None:
    done = subprocess.run(
        command, timeout=300, capture_output=True, text=True, errors="replace", check=False
    )
    print(f"{Path(command[0]).name} {' '.join(command[1:])}: exit status {done.returncode}")
    if done.returncode != status:
        raise BuildError(f"exit status {status} was expected\n{done.stdout}{done.stderr}")


def main() -> int:
    """Run one of the two commands, and return exit status 1 when it failed."""
    parser = argparse.ArgumentParser(prog="python -m installer.native", description=__doc__)
    parser.add_argument("command", choices=["build", "try"])
    parser.add_argument("setup", type=Path, nargs="?", help="the setup program to try")
    options = parser.parse_args()
    try:
        if options.command == "build":
            print(build())
        else:
            try_setup(options.setup)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
