"""The guided tour succeeds, and its passwords leak nowhere."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.places import ROOT

TOUR = """
import json, sys
from pathlib import Path
from demo.tour.__main__ import tour
from tests.support.pbkdf2 import derived_once

with derived_once():
    guide = tour(Path(sys.argv[1]), log_level="debug")
Path(sys.argv[2]).write_text(json.dumps(guide.passwords))
print(*guide.client.output, *guide.new_pc.output, sep="\\n")
sys.exit(guide.conclude())
"""
"""Runs the tour, derives each key once, writes the passwords, prints the clients' output."""


class ProcessList:
    """Collects command lines and environments of all processes, each read ten times."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._looks = Counter[Path]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> ProcessList:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.2):
            for process in Path("/proc").glob("[0-9]*"):
                self._looks[process] += 1
                if self._looks[process] > 10:
                    continue
                for name in ("cmdline", "environ"):
                    with suppress(OSError):  # ended, or not readable
                        self.seen.add((process / name).read_bytes())


def spellings(password: str) -> Iterator[bytes]:
    """Yield the forms that a password can have in a file."""
    yield password.encode()
    yield password.encode("utf-16-le")
    yield quote(password).encode()
    yield b64encode(password.encode()).rstrip(b"=")[:-1]


@pytest.mark.keyring
def test_the_manual_holds_and_no_password_leaks(tmp_path: Path) -> None:
    """Each case of the tour succeeds, and files, output and processes have no password."""
    kept, secrets = tmp_path / "kept", tmp_path / "secrets.json"
    kept.mkdir()
    with ProcessList() as processes:
        tour = subprocess.run(
            [sys.executable, "-c", TOUR, str(kept), str(secrets)],
            cwd=ROOT,
            capture_output=True,
            timeout=600,
            check=False,
        )
    output = tour.stdout + tour.stderr
    assert tour.returncode == 0, output.decode(errors="replace")
    places = {str(path): path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    places["output"] = output
    for number, text in enumerate(processes.seen):
        places[f"process {number}"] = text
    assert any(b"DEBUG" in text for text in places.values())
    assert any(name.endswith("coconowork.sqlite3") for name in places)
    passwords = json.loads(secrets.read_text())
    assert len(passwords) > 8
    for spelling in (each for password in passwords for each in spellings(password)):
        assert [name for name, text in places.items() if spelling in text] == []


def test_the_search_finds_what_is_there() -> None:
    """The search for leaks finds a password in each spelling."""
    for spelling in spellings("Geheim-123"):
        assert spelling in b"before " + spelling + b" after"
    assert len(set(spellings("Geheim-123"))) >= 3
