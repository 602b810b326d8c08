"""The whole way of the manual with the installed program: setup, tray, Credential Manager, toast.

The server is the real one with a certificate of an organisation's own; people change passwords at
its pages; what the program keeps is read by another program through the Windows API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installer.wine import windows_path
from tests.windows.office import Office
from tests.windows.product import Built
from tests.windows.setup_program import (
    EXE,
    install,
    programs_folder,
    running,
    traces,
    uninstall,
)
from tests.windows.wine import Control, Desktop, Window, wait_for

USER = "tanaka"


class Pc:
    """What a person, and an auditor, does on the PC."""

    def __init__(self, desktop: Desktop) -> None:
        self.desktop = desktop
        self.folder = programs_folder(desktop)
        self.exe = rf"{self.folder}\{EXE}"

    def status(self) -> dict[str, Any]:
        """What the running client says of itself."""
        done = self.desktop.run(self.exe, "status", "--json")
        found: dict[str, Any] = json.loads(done.output)
        return found

    def wait_for_state(self, state: str) -> dict[str, Any]:
        """Until the client says so."""
        last: dict[str, Any] = {}

        def look() -> dict[str, Any] | None:
            nonlocal last
            last = self.status()
            return last if last["state"] == state else None

        try:
            return wait_for(f"the state {state}", look, timeout_s=60)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {last}") from None

    def stored(self) -> str:
        """The one entry of the Credential Manager."""
        entries = self.desktop.inside("credentials")
        ours = [entry for entry in entries if "coconowork" in entry["target"]]
        assert len(ours) == 1, [entry["target"] for entry in ours]
        assert ours[0]["persist"] == 2, "CRED_PERSIST_LOCAL_MACHINE: it must not roam"
        text = ours[0]["text"]
        assert isinstance(text, str)
        return text

    def icon(self) -> Control:
        """The icon in the tray."""

        def look() -> Control | None:
            bar = self.desktop.window(kind="Shell_TrayWnd")
            return (
                next((c for c in bar.children if c.visible and "Icon" in c.kind), None)
                if bar
                else None
            )

        return wait_for("the icon", look)

    def choose(self, item: str) -> None:
        """Right click on the icon, click on the item."""
        raise NotImplementedError

    def dialog(self) -> Window:
        """The client's open window."""
        return wait_for("a dialog", lambda: self.desktop.window(exe=EXE, kind="TkTopLevel"))


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """The organisation's server."""
    with Office(tmp_path_factory.mktemp("office")).open() as running_server:
        yield running_server
